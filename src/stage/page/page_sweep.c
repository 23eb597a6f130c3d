/* The trainings the autoencoder was chosen from: FVU against L0, the kept one
 * marked, and their figures. Nothing without a sweep. */
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"
#include "stage/page/page.h"
#include "stage/sae_summary.h"

/* Is another training at least as good in both figures? Of equals the first counts as the better one. */
static bool beaten(const struct sae_summary *s, int64_t p)
{
    for (int64_t q = 0; q < s->points; q++) {
        const bool as_good = s->all_fvu[q] <= s->all_fvu[p] && s->all_l0[q] <= s->all_l0[p];
        const bool better = s->all_fvu[q] < s->all_fvu[p] || s->all_l0[q] < s->all_l0[p];
        if (as_good && (better || q < p))
            return true;
    }
    return false;
}

/* The trainings nobody beats, by rising L0; returns how many. */
static int64_t front(double *x, double *y, const struct sae_summary *s)
{
    int64_t count = 0;
    for (int64_t p = 0; p < s->points; p++) {
        if (!isfinite(s->all_fvu[p]) || beaten(s, p))
            continue;
        int64_t at = count++;
        for (; at > 0 && x[at - 1] > s->all_l0[p]; at--) {
            x[at] = x[at - 1];
            y[at] = y[at - 1];
        }
        x[at] = s->all_l0[p];
        y[at] = s->all_fvu[p];
    }
    return count;
}

static void figure(struct page *page, struct text *out, const struct sae_summary *s)
{
    enum { FRONT, INSIDE, OUTSIDE, KEPT, KINDS };
    static const char *const names[KINDS] = { "best at their L0", "trainings", "outside the limits", "kept (ring)" };
    static const enum plot_mark marks[KINDS] = { PLOT_LINE, PLOT_DOTS, PLOT_DOTS, PLOT_RINGS };
    struct plot_series series[KINDS];
    double *x[KINDS], *y[KINDS];
    int64_t count[KINDS] = { 0 };
    for (int k = 0; k < KINDS; k++) {
        x[k] = arena_array(page->arena, double, s->points);
        y[k] = arena_array(page->arena, double, s->points);
    }
    count[FRONT] = front(x[FRONT], y[FRONT], s);
    for (int64_t p = 0; p < s->points; p++) {
        const int k = s->within[p] ? INSIDE : OUTSIDE;
        x[k][count[k]] = s->all_l0[p];
        y[k][count[k]++] = s->all_fvu[p];
    }
    x[KEPT][0] = s->all_l0[s->chosen];
    y[KEPT][0] = s->all_fvu[s->chosen];
    count[KEPT] = 1;
    int shown = 0;
    for (int k = 0; k < KINDS; k++)
        if (count[k] > 0)
            series[shown++] = (struct plot_series){ names[k], x[k], y[k], count[k], marks[k] };
    plot_xy(out, &(struct plot_xy){ "FVU against L0 of the trainings of the sweep", "active neurons per image (L0)",
                                    "FVU", series, shown, 560, 320 });
}

static void table(struct text *out, const struct sae_summary *s)
{
    text_add(out, "<details><summary>All trainings</summary>\n<table><tr><th></th><th>Settings</th><th "
                  "class=\"n\">Neurons</th><th class=\"n\">FVU</th><th class=\"n\">L0</th><th class=\"n\">Dead</th>"
                  "<th class=\"n\">Dense</th></tr>\n");
    for (int64_t p = 0; p < s->points; p++) {
        html_add(out, "<tr><td>%s</td><td>%s</td><td class=\"n\">%lld</td>", p == s->chosen ? "kept" : "",
                 s->settings[p], (long long)s->all_neurons[p]);
        const double value[] = { s->all_fvu[p], s->all_l0[p], 100 * s->all_dead[p], 100 * s->all_dense[p] };
        for (int c = 0; c < 4; c++) {
            text_add(out, "<td class=\"n\">");
            page_number(out, value[c], c == 0 ? 4 : 1, false);
            text_add(out, c > 1 && isfinite(value[c]) ? " %%</td>" : "</td>");
        }
        text_add(out, "</tr>\n");
    }
    text_add(out, "</table></details>\n");
}

void page_sweep(struct page *page, struct text *out)
{
    const struct sae_summary *s = page->autoencoder;
    if (!s || s->points == 0)
        return;
    text_add(out, "<div><h3>Choice of the autoencoder</h3>\n");
    figure(page, out, s);
    html_add(out,
             "<p class=\"soft small\">%lld autoencoders were trained on the same batches. FVU is the share of the "
             "variance of the %s images that one leaves unexplained; down and to the left is better. Kept: %s, the one "
             "%s.</p>\n",
             (long long)s->points, strcmp(s->evaluated_on, "train") == 0 ? "training" : "validation",
             s->settings[s->chosen], s->why);
    table(out, s);
    text_add(out, "</div>\n");
}
