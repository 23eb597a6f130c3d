/* Explained images: which ones are shown (by rule, not by taste), and for each
 * how the logit adds up from concepts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "concept/explain.h"
#include "image/corpus.h"
#include "report/html.h"
#include "stage/gallery.h"
#include "stage/page/page.h"

enum { ROWS = 6, ODDS = 4 }; /* concepts and classes shown per image */

/* ---- choice ---- */

/* A row of the split, how sure the model is (largest logit minus the second), and whether it is right. */
struct candidate {
    int64_t row;
    double margin;
    int group; /* true class, or predicted finding */
    bool right, taken;
};

static bool has_class(const struct page *page, int64_t row, int c)
{
    const struct corpus *k = page->corpus;
    return k->multi_label ? k->labels[row * k->classes + c] == LABEL_POSITIVE : k->label[row] == c;
}

static struct candidate judge(const struct page *page, int64_t row)
{
    const float *z = page->logits + row * page->classes;
    int best = 0;
    for (int c = 1; c < page->classes; c++)
        if (z[c] > z[best])
            best = c;
    double second = -INFINITY;
    for (int c = 0; c < page->classes; c++)
        if (c != best)
            second = fmax(second, (double)z[c]);
    struct candidate found = { .row = row, .margin = (double)z[best] - second, .right = has_class(page, row, best) };
    found.group = page->corpus->multi_label ? best : page->corpus->label[row];
    return found;
}

/* By group, right before wrong, then by margin, then by row. */
static int by_margin(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->right != y->right)
        return x->right ? -1 : 1;
    if (x->margin != y->margin)
        return x->margin < y->margin ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* 1/2, 1/4, 3/4, 1/8, ...: the median first, then ever finer between. */
static double corput(int k)
{
    double x = 0, half = 0.5;
    for (k += 1; k > 0; k >>= 1, half /= 2)
        x += (k & 1) * half;
    return x;
}

/* Takes the k-th example of the candidates [count]; -1 when all are taken. */
static int64_t take(struct candidate *list, int64_t count, int k)
{
    int64_t start = (int64_t)(corput(k) * (double)count);
    for (int64_t i = 0; i < count; i++) {
        struct candidate *c = &list[(start + i) % count];
        if (!c->taken) {
            c->taken = true;
            return c->row;
        }
    }
    return -1;
}

static void add_image(struct page *page, int64_t row)
{
    struct candidate c = judge(page, row);
    const float *z = page->logits + row * page->classes;
    int best = 0;
    for (int k = 1; k < page->classes; k++)
        if (z[k] > z[best])
            best = k;
    int truth = page->corpus->multi_label ? -1 : page->corpus->label[row];
    page->image[page->images++] = (struct page_image){ row, truth, best, c.right };
}

/* Round after round: one right example of every class, then one wrong example of every class. */
static void choose_images(struct page *page, int wanted)
{
    int64_t N = page->corpus->rows, count = 0;
    struct candidate *list = arena_array(page->arena, struct candidate, N + 1);
    for (int64_t row = 0; row < N; row++)
        if (page->corpus->split[row] == page->split)
            list[count++] = judge(page, row);
    qsort(list, (size_t)count, sizeof *list, by_margin);
    wanted = wanted < count ? wanted : (int)count;
    page->image = arena_array(page->arena, struct page_image, wanted + 1);
    for (int round = 0; page->images < wanted; round++) {
        bool right = round % 2 == 0;
        for (int64_t first = 0; first < count && page->images < wanted;) {
            int64_t end = first;
            while (end < count && list[end].group == list[first].group && list[end].right == list[first].right)
                end++;
            int64_t row = list[first].right == right ? take(list + first, end - first, round / 2) : -1;
            if (row >= 0)
                add_image(page, row);
            first = end;
        }
    }
}

/* By true class, so that the page can be read like a chapter; right ones first. */
static int by_class(const void *a, const void *b)
{
    const struct page_image *x = a, *y = b;
    int left = x->truth >= 0 ? x->truth : x->prediction, other = y->truth >= 0 ? y->truth : y->prediction;
    if (left != other)
        return left < other ? -1 : 1;
    if (x->right != y->right)
        return x->right ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* ---- one image ---- */

/* A bar from the middle; `scale` is the value that fills one half. */
static void put_bar(struct text *out, double value, double scale, const char *colour)
{
    double share = scale > 0 ? fmin(1, fabs(value) / scale) * 50 : 0;
    html_add(out, "<div class=\"bar\"><i class=\"%s\" style=\"left:%.1f%%;width:%.1f%%\"></i></div>", colour,
             value < 0 ? 50 - share : 50, fmax(share, 0.4));
}

static void put_amount(struct text *out, double value)
{
    html_add(out, "<div class=\"amount %s\">", value < 0 ? "neg" : "pos");
    page_number(out, value, 2, true);
    text_add(out, "</div>");
}

/* A line without pictures: what is not shown one by one, or the sum. */
static void plain_row(struct text *out, const char *css, const char *what, double value, double scale, bool bar)
{
    html_add(out, "<div class=\"row %s\"><div class=\"what\">%s</div>", css, what);
    if (bar)
        put_bar(out, value, scale, "r");
    put_amount(out, value);
    text_add(out, "</div>\n");
}

struct code {
    const int32_t *atom;
    const float *value;
    double *part; /* [S] scratch */
};

static void concept_line(struct page *page, struct text *out, int m, double value, double scale)
{
    text_add(out, "<div class=\"row\">");
    page_strip(page, out, page->concept[m].neuron, page->concept[m].name);
    page_name(page, out, m, NULL);
    put_bar(out, value, scale, value < 0 ? "m" : "p");
    put_amount(out, value);
    text_add(out, "</div>\n");
}

/* How the logit of class c adds up for this image, by the kernel that fills explanations.h5: the strongest concepts,
 * the others, the constant, what a residual head adds, the sum. */
static void put_sum(struct page *page, struct text *out, const struct code *code, int64_t row, int c)
{
    const int M = page->concepts, S = page->atoms, top = page->job->config->explain.top;
    const float *weight = page->weight + (int64_t)c * M;
    const double logit = (double)page->logits[row * page->classes + c];
    const double residual = page->residual ? (double)page->residual[row * page->classes + c] : 0;
    const float explained = (float)(logit - residual);
    const double constant = (double)explained - explain_class(code->part, code->atom, code->value, weight, 0, M, S);
    int32_t concept[ROWS];
    float value[ROWS], rest;
    int limit = top < ROWS ? top : ROWS, used = 0, shown = 0;
    explain_row(concept, value, &rest, code->atom, code->value, weight, &explained, 1, M, S, limit);
    for (int s = 0; s < S; s++)
        used += code->atom[s] >= 0;
    while (shown < limit && concept[shown] >= 0)
        shown++;
    const double others = (double)rest - constant;
    double scale = fmax(fmax(fabs(constant), fabs(residual)), used > shown ? fabs(others) : 0);
    for (int i = 0; i < shown; i++)
        scale = fmax(scale, fabs((double)value[i]));
    for (int i = 0; i < shown; i++)
        concept_line(page, out, concept[i], (double)value[i], scale);
    if (used > shown)
        plain_row(out, "", arena_printf(page->arena, "%d other concepts together", used - shown), others, scale, true);
    plain_row(out, "", "not from concepts (constant part)", constant, scale, true);
    if (page->residual)
        plain_row(out, "", "not from concepts (residual of this image)", residual, scale, true);
    plain_row(out, "sum", arena_printf(page->arena, "score (logit) for %s", page_class(page, c)), logit, 0, false);
}

/* Probabilities: softmax over classes, or one logistic curve per finding. */
static void put_odds(struct page *page, struct text *out, int64_t row)
{
    int C = page->classes;
    const float *z = page->logits + row * C;
    double top = -INFINITY, sum = 0;
    bool *taken = arena_array(page->arena, bool, C);
    for (int c = 0; c < C; c++)
        top = fmax(top, (double)z[c]);
    for (int c = 0; c < C; c++)
        sum += exp((double)z[c] - top);
    text_add(out, "<table class=\"odds\"><tr><td></td><td class=\"n\">logit</td><td class=\"n\">prob.</td></tr>\n");
    for (int k = 0; k < ODDS && k < C; k++) {
        int best = -1;
        for (int c = 0; c < C; c++)
            if (!taken[c] && (best < 0 || z[c] > z[best]))
                best = c;
        taken[best] = true;
        double p = page->corpus->multi_label ? 1 / (1 + exp(-(double)z[best])) : exp((double)z[best] - top) / sum;
        html_add(out, "<tr><td>%s</td><td class=\"n\">", page_class(page, best));
        page_number(out, (double)z[best], 2, false);
        html_add(out, "</td><td class=\"n\">%.0f %%</td></tr>\n", 100 * p);
    }
    text_add(out, "</table>\n");
}

static void put_verdict(struct page *page, struct text *out, const struct page_image *image)
{
    html_add(out, "<p class=\"verdict\"><span class=\"tag%s\">%s</span><br>", image->right ? "" : " wrong",
             image->right ? "right" : "wrong");
    if (image->truth >= 0) {
        html_add(out, "true: <b>%s</b><br>", page_class(page, image->truth));
    } else {
        text_add(out, "present: <b>");
        int present = 0;
        for (int c = 0; c < page->classes; c++)
            if (has_class(page, image->row, c))
                html_add(out, "%s%s", present++ ? ", " : "", page_class(page, c));
        html_add(out, "%s</b><br>", present ? "" : "none");
    }
    html_add(out, "%s: <b>%s</b></p>\n", image->truth >= 0 ? "predicted" : "strongest",
             page_class(page, image->prediction));
}

static void put_view(struct page *page, struct text *out, int64_t row)
{
    struct arena *scratch = page->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    if (!page->views) {
        html_add(out, "<p class=\"ids\"><b>%s</b><br>imported without its image</p>\n",
                 gallery_name(page->gallery, scratch, row));
        arena_release(scratch, mark);
        return;
    }
    struct picture view = tiles_sheet(page->views, scratch, &row, 1, (struct sheet_style){ 1, 0, 0 });
    size_t length;
    uint8_t *png = picture_png(scratch, view, NULL, NULL, &length);
    html_add(out, "<img class=\"view\" width=\"%d\" height=\"%d\" alt=\"image of row %lld\" src=\"", view.width,
             view.height, (long long)row);
    html_data_png(out, png, length);
    text_add(out, "\">\n");
    arena_release(scratch, mark);
}

static void put_image(struct page *page, struct text *out, const struct page_image *image, const struct code *code)
{
    html_add(out, "<div class=\"image\" id=\"row%lld\"><div>\n", (long long)image->row);
    put_view(page, out, image->row);
    put_verdict(page, out, image);
    put_odds(page, out, image->row);
    html_add(out, "<p class=\"soft small\">row %lld of %s</p></div>\n<div>\n<h3>Why %s?</h3>\n", (long long)image->row,
             page->gallery->encoder ? "embeddings.h5" : "corpus.h5", page_class(page, image->prediction));
    put_sum(page, out, code, image->row, image->prediction);
    if (!image->right && image->truth >= 0) {
        html_add(out, "<details><summary>And why not %s, which is the true class?</summary>\n",
                 page_class(page, image->truth));
        put_sum(page, out, code, image->row, image->truth);
        text_add(out, "</details>\n");
    }
    text_add(out, "</div></div>\n");
}

void page_images(struct page *page, struct text *out)
{
    choose_images(page, page->job->config->explain.images);
    qsort(page->image, (size_t)page->images, sizeof *page->image, by_class);
    int S = page->atoms, n = page->images;
    int64_t *rows = arena_array(page->arena, int64_t, n + 1);
    for (int i = 0; i < n; i++)
        rows[i] = page->image[i].row;
    int32_t *atom = arena_array(page->arena, int32_t, (int64_t)n * S + 1);
    float *value = arena_array(page->arena, float, (int64_t)n *S + 1);
    store_read_list(page->codes, "/atom", rows, n, atom);
    store_read_list(page->codes, "/value", rows, n, value);
    html_add(
        out,
        "<section id=\"images\">\n<h2>Single predictions, explained</h2>\n"
        "<p>%d images of the %s split, chosen by rule and not by looks: for each %s in turn, the right and then the "
        "wrong prediction of median confidence, then those between. Bars add up, with what does not come from "
        "concepts, exactly to the score of the predicted %s. A concept can also be subtracted: it then corrects others "
        "that overlap with it, and can count against the very thing it is named after.</p>\n",
        n, split_name((enum split)page->split), page->corpus->multi_label ? "finding" : "class",
        page->corpus->multi_label ? "finding" : "class");
    double *part = arena_array(page->arena, double, S + 1);
    for (int i = 0; i < n; i++)
        put_image(page, out, &page->image[i], &(struct code){ atom + (int64_t)i * S, value + (int64_t)i * S, part });
    text_add(out, "</section>\n");
}
