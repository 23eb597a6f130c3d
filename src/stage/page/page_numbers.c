/* Sections of the page about the whole: how good the models are, what the
 * corpus can show, where the errors are, how the page was made. */
#include <string.h>

#include <math.h>

#include "base/timer.h"
#include "base/version.h"
#include "image/corpus.h"
#include "report/html.h"
#include "report/json.h"
#include "report/plot.h"
#include "stage/gallery.h"
#include "stage/page/page.h"
#include "stage/sae_summary.h"

struct model {
    const char *key, *name, *what;
};
static const struct model models[] = {
    { "backbone", "Network", "the original, opaque model" },
    { "probe", "Linear probe", "a linear head on the whole representation" },
    { "cbm", "Concept model", "decides from the concepts alone" },
    { "random_concepts", "Random control", "the same steps with random directions instead of concepts" },
    { "majority", "Floor", "always answers with the most frequent class" },
    { "hybrid", "With the residual", "the concept model and a second head on what no concept explains" },
};
enum { MODELS = sizeof models / sizeof models[0] };

/* Without a backbone of its own, imported representations have no first row; the last is there with
 * classify.residual. */
static bool has_model(const struct page *page, int m)
{
    return json_member(page->metrics, models[m].key) != NULL;
}

/* What the concept model is measured against: the network, or without one the linear probe. */
static bool is_of_probe(const struct page *page)
{
    const char *of = json_as_text(json_member(json_member(page->metrics, "retention"), "of"), "backbone");
    return strcmp(of, "probe") == 0;
}

/* The metric that says most: accuracy, or AUROC where several findings can be present. */
static const char *main_metric(const struct page *page)
{
    return page->corpus->multi_label ? "auroc" : "accuracy";
}
static const char *main_name(const struct page *page)
{
    return page->corpus->multi_label ? "AUROC" : "accuracy";
}

/* ---- numbers ---- */

static void card(struct text *out, double value, bool percent, const char *name, const char *what)
{
    text_add(out, "<div class=\"card\"><b>");
    page_number(out, percent ? 100 * value : value, percent ? 1 : 3, false);
    html_add(out, "%s</b>%s<span>%s</span></div>\n", percent && isfinite(value) ? " %" : "", name, what);
}

static void cards(struct page *page, struct text *out)
{
    double low, high;
    const char *metric = main_metric(page), *split = split_name((enum split)page->split);
    bool percent = !page->corpus->multi_label, probe = is_of_probe(page);
    struct arena *a = page->arena;
    text_add(out, "<div class=\"cards\">\n");
    card(out, page_metric(page, probe ? "probe" : "backbone", metric, &low, &high), percent,
         arena_printf(a, "%s of the %s", main_name(page), probe ? "linear probe" : "network"),
         arena_printf(a, "%s images it was not trained on", split));
    card(out, page_metric(page, "cbm", metric, &low, &high), percent,
         arena_printf(a, "%s of the concept model", main_name(page)),
         arena_printf(a, "%d concepts, %d per image", page->concepts, page->atoms));
    card(out, page_metric(page, "retention", metric, &low, &high), true, "retained",
         probe ? "concept model divided by linear probe" : "concept model divided by network");
    card(out, page_metric(page, "random_concepts", metric, &low, &high), percent, "random control",
         "random directions instead of concepts");
    card(out, page_metric(page, "majority", metric, &low, &high), percent, "floor",
         page->corpus->multi_label ? "no information" : "always the most frequent class");
    text_add(out, "</div>\n");
}

static void cell(struct page *page, struct text *out, const char *model, const char *metric)
{
    double low, high, value = page_metric(page, model, metric, &low, &high);
    text_add(out, "<td class=\"n\">");
    page_number(out, value, 3, false);
    if (isfinite(low) && isfinite(high))
        html_add(out, "<br><i>%.3f\xe2\x80\x93%.3f</i>", low, high);
    text_add(out, "</td>");
}

static void table(struct page *page, struct text *out)
{
    static const char *const metrics[] = { "accuracy", "balanced_accuracy", "auroc", "auprc", "f1" };
    static const char *const heads[] = { "Accuracy", "Balanced accuracy", "AUROC", "AUPRC", "F1" };
    text_add(out, "<table><tr><th>Model</th>");
    for (int k = 0; k < 5; k++)
        html_add(out, "<th class=\"n\">%s</th>", heads[k]);
    text_add(out, "</tr>\n");
    for (int m = 0; m < MODELS; m++) {
        if (!has_model(page, m))
            continue;
        html_add(out, "<tr><td>%s<br><i>%s</i></td>", models[m].name, models[m].what);
        for (int k = 0; k < 5; k++)
            cell(page, out, models[m].key, metrics[k]);
        text_add(out, "</tr>\n");
    }
    text_add(out, "</table>\n");
}

/* What the comparison means, when it would be easy to read too much into it. */
static void caution(struct page *page, struct text *out)
{
    double low, high, a, b, random = page_metric(page, "random_concepts", main_metric(page), &a, &b);
    double model = page_metric(page, "cbm", main_metric(page), &low, &high);
    double kept = page_metric(page, "retention", main_metric(page), &a, &b);
    double floor = isfinite(low) ? low : model;
    if (random >= floor)
        text_add(out,
                 "<div class=\"note\"><b>Random directions do about as well here.</b> The concept model is as good as "
                 "the representation it rebuilds, and on this corpus many directions rebuild it. Its accuracy "
                 "therefore does not show that the concepts are meaningful; look at their images and at their "
                 "agreement with ground truth instead.</div>\n");
    if (kept > 1 && is_of_probe(page))
        text_add(out, "<p class=\"small\">More than 100 %% is retained where the concepts leave out what misleads the "
                      "probe, or by chance: look at the intervals.</p>\n");
    else if (kept > 1)
        text_add(out,
                 "<p class=\"small\">More than 100 %% is retained because the concept model has a newly fitted last "
                 "layer, with its regularisation chosen on the validation split; the network keeps the one it was "
                 "trained with.</p>\n");
}

/* How much of the decisions does not come from concepts. */
static void residual_note(struct page *page, struct text *out)
{
    const struct json *r = json_member(json_member(page->metrics, "residual"), split_name((enum split)page->split));
    if (!r)
        return;
    html_add(
        out,
        "<div class=\"note\"><b>%.0f %% of the decisions come from what no concept explains.</b> Single predictions "
        "below are those of the concept model with its residual head, whose term is shown by itself. It changes "
        "the answer for %.1f %% of the images: %s %.3f with it, %.3f from the concepts alone.</div>\n",
        100 * json_as_number(json_member(r, "share"), NAN), 100 * json_as_number(json_member(r, "changed"), NAN),
        main_name(page), json_as_number(json_member(r, "with"), NAN), json_as_number(json_member(r, "without"), NAN));
}

static void bars(struct page *page, struct text *out)
{
    struct plot_bar bar[MODELS];
    int count = 0;
    for (int m = 0; m < MODELS; m++)
        if (has_model(page, m)) {
            struct plot_bar *b = &bar[count++];
            b->label = models[m].name;
            b->value = page_metric(page, models[m].key, main_metric(page), &b->low, &b->high);
        }
    plot_bars(out, &(struct plot_bars){ .title = arena_printf(page->arena, "%s of the models", main_name(page)),
                                        .axis = arena_printf(page->arena, "%s, %s split; whiskers: 95 %% interval",
                                                             main_name(page), split_name((enum split)page->split)),
                                        .bars = bar,
                                        .count = count,
                                        .width = 620,
                                        .label_width = 130,
                                        .low = 0,
                                        .high = 1,
                                        .digits = 3 });
}

/* The numbers of an array in metrics.json into out [count]; returns whether they are all there. */
static bool read_numbers(double *out, const struct json *array, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = json_as_number(json_item(array, i), NAN);
    return array && json_count(array) == count;
}

/* Score of sparse heads against concepts a class, for the concepts and for random directions. */
static void sparse_curve(struct page *page, struct text *out)
{
    enum { MOST = 32 };
    static const char *const keys[] = { "cbm", "random_concepts" }, *const names[] = { "concepts",
                                                                                       "random directions" };
    const struct json *sparse = json_member(page->metrics, "sparse"), *levels = json_member(sparse, "levels");
    double x[2][MOST], y[2][MOST];
    struct plot_series series[2];
    int count = 0;
    int64_t n = json_count(levels);
    for (int m = 0; m < 2 && levels && n <= MOST; m++) {
        const struct json *model = json_member(sparse, keys[m]);
        const struct json *split = json_member(model, split_name((enum split)page->split));
        if (read_numbers(x[m], json_member(model, "nec"), n) && read_numbers(y[m], json_member(split, "values"), n)) {
            series[count] = (struct plot_series){ names[m], x[m], y[m], n, PLOT_LINE };
            count++;
        }
    }
    if (count == 0)
        return;
    text_add(out, "<div><h3>How few concepts are enough?</h3>\n");
    plot_xy(out, &(struct plot_xy){ arena_printf(page->arena, "%s by number of concepts a class", main_name(page)),
                                    "concepts a class (NEC)", main_name(page), series, count, 460, 260 });
    text_add(out,
             "<p class=\"soft small\">Heads that may use only so many concepts a class, on the codes. The distance "
             "between the lines is what the concepts bring beyond random directions.</p></div>\n");
}

/* Confidence against the share of right answers, before and after the temperature. */
static void reliability(struct page *page, struct text *out)
{
    enum { BINS = 15 };
    static const char *const keys[] = { "before", "after" };
    static double ends[] = { 0, 1 };
    const struct json *model =
        json_member(json_member(page->metrics, "calibration"), page->residual ? "hybrid" : "cbm");
    const struct json *split = json_member(model, split_name((enum split)page->split));
    double x[2][BINS], y[2][BINS], error[2];
    struct plot_series series[3] = { { "perfect", ends, ends, 2, PLOT_LINE } };
    for (int k = 0; k < 2; k++) {
        const struct json *r = json_member(split, keys[k]);
        error[k] = json_as_number(json_member(r, "ece"), NAN);
        int64_t held = 0;
        if (!read_numbers(x[k], json_member(r, "confidence"), BINS) ||
            !read_numbers(y[k], json_member(r, "right"), BINS))
            return;
        for (int b = 0; b < BINS; b++)
            if (isfinite(x[k][b]) && json_as_number(json_item(json_member(r, "count"), b), 0) >= 5) {
                x[k][held] = x[k][b];
                y[k][held++] = y[k][b];
            }
        series[k + 1] = (struct plot_series){ k == 0 ? "as it is" : "calibrated", x[k], y[k], held, PLOT_LINE };
    }
    text_add(out, "<div><h3>Can its confidence be trusted?</h3>\n");
    plot_xy(out, &(struct plot_xy){ "confidence and share of right answers", "confidence", "right answers", series, 3,
                                    460, 260 });
    html_add(
        out,
        "<p class=\"soft small\">Expected calibration error %.3f; %.3f after dividing the logits by a temperature of "
        "%.3g, found on the validation split. Bins of fewer than five answers are not drawn.</p></div>\n",
        error[0], error[1], json_as_number(json_member(model, "temperature"), NAN));
}

void page_numbers(struct page *page, struct text *out)
{
    text_add(out, "<section id=\"numbers\">\n<h2>How good is it?</h2>\n");
    if (!page->metrics) {
        text_add(out, "<p>metrics.json is not there: <code>cfn classify</code> writes it.</p></section>\n");
        return;
    }
    html_add(out, "<p>Measured on the %s split: %lld images%s.</p>\n", split_name((enum split)page->split),
             (long long)page->split_rows, page->split == SPLIT_TEST ? " that no step of the method has seen" : "");
    cards(page, out);
    if (page->autoencoder && *page->autoencoder->warning)
        html_add(out, "<div class=\"note\"><b>The autoencoder:</b> %s</div>\n", page->autoencoder->warning);
    if (json_as_number(json_member(json_member(page->metrics, "head"), "converged"), 1) == 0)
        text_add(
            out,
            "<div class=\"note\"><b>The head has not converged:</b> its weights, and with them all contributions on "
            "this page, are not final. Raise <code>classify.max_iter</code>.</div>\n");
    caution(page, out);
    residual_note(page, out);
    bars(page, out);
    table(page, out);
    text_add(out, "<div class=\"figures\">\n");
    sparse_curve(page, out);
    reliability(page, out);
    text_add(out, "</div>\n");
    text_add(out,
             "<p class=\"soft small\">Small figures: 95 %% interval from resampling the images. The random control "
             "shows what the numbers would be if the concepts meant nothing: with many directions a representation "
             "can be rebuilt from noise too, so look at the distance between the two.</p>\n</section>\n");
}

/* ---- limits ---- */

static void audit_findings(struct page *page, struct text *out)
{
    const struct json *notes = json_member(page->audit, "notes");
    for (int64_t i = 0; i < json_count(notes); i++) {
        const char *said = json_as_text(json_item(notes, i), NULL);
        if (said)
            html_add(out, "<li>Audit: %s</li>\n", said);
    }
}

/* explain.note, a line a paragraph. */
static void own_notes(struct page *page, struct text *out)
{
    static const char between[] = " | ";
    const char *at = page->job->config->explain.note;
    while (*at) {
        const char *end = strstr(at, between);
        const int length = end ? (int)(end - at) : (int)strlen(at);
        html_add(out, "<li>%s</li>\n", arena_printf(page->arena, "%.*s", length, at));
        at += length + (end ? (int)strlen(between) : 0);
    }
}

void page_limits(struct page *page, struct text *out)
{
    text_add(out, "<section id=\"limits\">\n<h2>What this page can and cannot show</h2>\n<div class=\"note\"><ul>\n");
    own_notes(page, out);
    text_add(out, "<li>Numbers hold for images like those of this collection. Other scanners, hospitals, patients "
                  "or labelling habits can give other numbers.</li>\n"
                  "<li>A concept is what a neuron reacts to. It may be anatomy or disease, but also a ruler, a "
                  "marker, a view or a scanner: look at the images before believing a name.</li>\n"
                  "<li>Explanations describe how the concept model decides. They do not prove that the finding "
                  "causes the disease, nor that the label is right.</li>\n");
    text_add(out, "<li>Names are made from correlations with labels%s; nobody has checked them by eye.</li>\n",
             page->corpus->attributes > 0 ? " and measured attributes" : "");
    if (page->gallery->encoder)
        html_add(out,
                 "<li>What %s was trained on is not known here. Where images of the test split were among it, the "
                 "numbers flatter.</li>\n",
                 page->gallery->encoder);
    if (!page->thumbs)
        text_add(out, "<li>The representations came without images, so this page shows none: look the ids up before "
                      "you believe a name.</li>\n");
    audit_findings(page, out);
    text_add(out, "</ul></div>\n</section>\n");
}

/* ---- errors and training ---- */

static int argmax(const float *v, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (v[i] > v[best])
            best = i;
    return best;
}

static void confusion(struct page *page, struct text *out)
{
    int C = page->classes;
    int64_t *counts = arena_array(page->arena, int64_t, (int64_t)C * C);
    for (int64_t i = 0; i < page->corpus->rows; i++)
        if (page->corpus->split[i] == page->split)
            counts[(int64_t)page->corpus->label[i] * C + argmax(page->logits + i * C, C)]++;
    text_add(out, "<div><h3>Concept model: true and predicted class</h3>\n");
    plot_matrix(out, &(struct plot_matrix){ .title = "confusion matrix of the concept model",
                                            .row_axis = "true",
                                            .column_axis = "predicted (shade: share of the true class)",
                                            .names = page->corpus->class_names,
                                            .counts = counts,
                                            .size = C });
    text_add(out, "</div>\n");
}

/* Right and wrong answers per finding, at probability one half. */
static void findings_table(struct page *page, struct text *out)
{
    text_add(out, "<div><h3>Concept model: each finding at probability \xc2\xbd</h3>\n<table><tr><th>Finding</th><th "
                  "class=\"n\">present</th>"
                  "<th class=\"n\">found</th><th class=\"n\">absent</th><th class=\"n\">false alarms</th></tr>\n");
    for (int c = 0; c < page->classes; c++) {
        int64_t present = 0, found = 0, absent = 0, alarms = 0;
        for (int64_t i = 0; i < page->corpus->rows; i++) {
            int8_t state = page->corpus->labels[i * page->classes + c];
            if (page->corpus->split[i] != page->split || state == LABEL_UNCERTAIN)
                continue;
            bool said = page->logits[i * page->classes + c] > 0;
            present += state == LABEL_POSITIVE, found += state == LABEL_POSITIVE && said;
            absent += state != LABEL_POSITIVE, alarms += state != LABEL_POSITIVE && said;
        }
        html_add(out,
                 "<tr><td>%s</td><td class=\"n\">%lld</td><td class=\"n\">%lld</td><td class=\"n\">%lld</td><td "
                 "class=\"n\">%lld</td></tr>\n",
                 page_class(page, c), (long long)present, (long long)found, (long long)absent, (long long)alarms);
    }
    text_add(out, "</table></div>\n");
}

static void curve(struct page *page, struct text *out, const char *dataset, const char *what)
{
    int64_t dims[4];
    if (store_dims(page->backbone, dataset, dims) != 1 || dims[0] < 1 || dims[0] > 100000 ||
        store_typeof(page->backbone, dataset) != STORE_F64)
        return;
    double *y = arena_array(page->arena, double, dims[0]), *x = arena_array(page->arena, double, dims[0]);
    store_read_range(page->backbone, dataset, 0, dims[0], y);
    for (int64_t i = 0; i < dims[0]; i++)
        x[i] = (double)(i + 1);
    struct plot_series series = { what, x, y, dims[0], dims[0] == 1 ? PLOT_DOTS : PLOT_LINE };
    plot_xy(out,
            &(struct plot_xy){ arena_printf(page->arena, "%s by epoch", what), "epoch", what, &series, 1, 460, 230 });
}

void page_errors(struct page *page, struct text *out)
{
    text_add(out, "<section id=\"errors\">\n<h2>Where it errs, and how it was trained</h2>\n<div class=\"figures\">\n");
    if (page->corpus->multi_label)
        findings_table(page, out);
    else
        confusion(page, out);
    if (page->backbone) {
        text_add(out, "<div><h3>Training of the network</h3>\n");
        curve(page, out, "/history/loss", "training loss");
        curve(page, out, "/history/val_accuracy", "validation accuracy");
        text_add(out, "</div>\n");
    }
    page_sweep(page, out);
    text_add(out, "</div>\n</section>\n");
}

/* ---- provenance ---- */

void page_made(struct page *page, struct text *out)
{
    const struct job *job = page->job;
    char now[32];
    timer_utc(now, sizeof now);
    text_add(out, "<section id=\"made\">\n<h2>How this page was made</h2>\n<table>\n");
    html_add(out, "<tr><th>Command</th><td><code>%s</code></td></tr>\n", job->command_line ? job->command_line : "");
    html_add(out, "<tr><th>Seed</th><td>%lld, trial %d</td></tr>\n", (long long)job->config->run.seed,
             job->config->run.trial);
    html_add(out, "<tr><th>Program</th><td>cfn %s, revision %s</td></tr>\n", version_number(), version_revision());
    html_add(out, "<tr><th>Built with</th><td>%s; %s</td></tr>\n", version_compiler(), store_library());
    html_add(out, "<tr><th>Made</th><td>%s</td></tr>\n</table>\n", now);
    text_add(out,
             "<p>All numbers behind it are in HDF5 files beside this page: <code>explanations.h5</code> has the "
             "contributions "
             "of every image, <code>cbm.h5</code> the weights, <code>metrics.json</code> the measurements, and each "
             "file says in <code>/run</code> how it was made.</p>\n<details><summary>All settings</summary>\n<pre>");
    html_escape(out, config_used(page->arena, job->config));
    text_add(out, "</pre></details>\n</section>\n");
}
