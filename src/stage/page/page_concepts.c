/* Sections of the page about concepts: the strongest of each class with the
 * images that activate them, and how well neurons follow ground truth. */
#include <math.h>
#include <string.h>

#include "image/corpus.h"
#include "report/html.h"
#include "report/json.h"
#include "stage/gallery.h"
#include "stage/page/page.h"

enum { FOR = 4, AGAINST = 2 }; /* concepts shown per class */

/* Concepts of class c by mean contribution: `count` strongest of one sign, out [count]; returns how many there are. */
static int strongest(const struct page *page, int c, int sign, int *out, int count)
{
    const double *effect = page->effect + (int64_t)c * page->concepts;
    int found = 0;
    while (found < count) {
        int best = -1;
        for (int m = 0; m < page->concepts; m++) {
            bool taken = !(sign * effect[m] > 0);
            for (int i = 0; i < found && !taken; i++)
                taken = out[i] == m;
            if (!taken && (best < 0 || sign * effect[m] > sign * effect[best]))
                best = m;
        }
        if (best < 0)
            break;
        out[found++] = best;
    }
    return found;
}

static void concept_row(struct page *page, struct text *out, int c, int m)
{
    int64_t at = (int64_t)c * page->concepts + m;
    double effect = page->effect[at], weight = (double)page->weight[at];
    text_add(out, "<div class=\"row\">");
    page_strip(page, out, page->concept[m].neuron, page->concept[m].name);
    struct text extra = text_new(page->arena);
    text_add(&extra, "neuron %d \xc2\xb7 weight ", page->concept[m].neuron);
    page_number(&extra, weight, 2, true);
    text_add(&extra, " \xc2\xb7 used in %.0f %% of images", 100 * page->concept[m].used);
    page_name(page, out, m, extra.data);
    text_add(out, "<div class=\"amount %s\">", effect < 0 ? "neg" : "pos");
    page_number(out, effect, 2, true);
    text_add(out, "</div></div>\n");
}

void page_concepts(struct page *page, struct text *out)
{
    text_add(out, "<section id=\"concepts\">\n<h2>The concepts behind each %s</h2>\n",
             page->corpus->multi_label ? "finding" : "class");
    html_add(out,
             "<p>A sparse autoencoder split the %s representation into %d neurons; %d of them were chosen "
             "as concepts. Each line shows the %s that activate a concept most, its name, and at the right what it "
             "adds on average to the score (logit) of the %s, over the %s images of that class: "
             "<span class=\"pos\">blue speaks for it</span>, <span class=\"neg\">orange against it</span>.</p>\n",
             page->gallery->encoder ? "imported" : "network\xe2\x80\x99s inner", page->neurons, page->concepts,
             page->thumbs ? "images" : "ids of the images", page->corpus->multi_label ? "finding" : "class",
             split_name((enum split)page->split));
    text_add(out, "<div class=\"two\">\n");
    for (int c = 0; c < page->classes; c++) {
        int list[FOR + AGAINST];
        html_add(out, "<div class=\"panel\"><h3>%s</h3>\n", page_class(page, c));
        int count = strongest(page, c, 1, list, FOR);
        count += strongest(page, c, -1, list + count, AGAINST);
        for (int i = 0; i < count; i++)
            concept_row(page, out, c, list[i]);
        if (count == 0)
            text_add(out, "<p class=\"soft small\">No image of this split has it.</p>\n");
        text_add(out, "</div>\n");
    }
    text_add(out, "</div>\n</section>\n");
}

/* ---- ground truth ---- */

static void number_cell(struct text *out, const struct json *value)
{
    text_add(out, "<td class=\"n\">");
    page_number(out, fabs(json_as_number(value, NAN)), 2, false);
    text_add(out, "</td>");
}

/* The neuron chosen without the test split is the one whose images are shown. */
static void region_row(struct page *page, struct text *out, const char *name, const struct json *r)
{
    const struct json *honest = json_member(r, "chosen_without_test");
    double neuron = json_as_number(json_member(honest, "neuron"), -1);
    html_add(out, "<tr><td>%s</td>", name);
    number_cell(out, json_member(r, "r_test"));
    number_cell(out, json_member(honest, "r_test"));
    if (neuron >= 0 && neuron < page->neurons) {
        html_add(out, "<td class=\"n\">%.0f</td><td>", neuron);
        page_strip(page, out, (int)neuron, name);
        text_add(out, "</td></tr>\n");
    } else {
        text_add(out, "<td class=\"n\">none</td><td></td></tr>\n");
    }
}

void page_regions(struct page *page, struct text *out)
{
    const struct json *regions = json_member(page->names, "regions");
    int64_t count = json_count(regions), clear = 0;
    if (count == 0)
        return;
    for (int64_t i = 0; i < count; i++) {
        const char *key;
        clear += fabs(json_as_number(json_member(json_element(regions, i, &key), "r_test"), 0)) >= 0.6;
    }
    html_add(
        out,
        "<section id=\"regions\">\n<h2>Do neurons follow ground truth?</h2>\n"
        "<p>For every measured attribute of the images: the neuron whose activation follows it best on the test "
        "images, as |correlation| (1 = perfectly). %lld of %lld reach 0.6. Picking the best of many neurons on the "
        "test images flatters; the second column picks it on training and validation images and only then "
        "looks at the test images.</p>\n",
        (long long)clear, (long long)count);
    text_add(
        out,
        "<table><tr><th>Attribute</th><th class=\"n\">best of all<br>on test</th><th class=\"n\">chosen without<br>"
        "looking at test</th><th class=\"n\">its neuron</th><th>what activates it most</th></tr>\n");
    for (int64_t i = 0; i < count; i++) {
        const char *key = "";
        const struct json *r = json_element(regions, i, &key);
        region_row(page, out, key, r);
    }
    text_add(out, "</table>\n</section>\n");
}
