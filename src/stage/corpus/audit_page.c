/* audit.html: the notes, the images of each class by split, the shortcut probe as bars, and pairs of copies side by
 * side. One offline file, as the report page. */
#include <math.h>
#include <string.h>

#include "image/decode.h"
#include "image/loader.h"
#include "image/resize.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/sheet.h"
#include "stage/corpus/audit.h"

enum { PAIRS_SHOWN = 24, TILE = 128, BORDER = 4, ROWS_SHOWN = 100 };

static const char css[] =
    "body{margin:0 auto;max-width:1120px;padding:12px 24px;color:#1d2530;font:16px/1.5 system-ui,'Segoe UI',"
    "Roboto,'DejaVu Sans',sans-serif}\n"
    "h1{font-size:28px}\nh2{font-size:21px;margin:28px 0 6px}\n.soft{color:#5b6673;font-size:14px;max-width:820px}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{text-align:right;padding:4px 14px 4px 0;border-bottom:1px solid #dfe3e8}\n"
    "th:first-child,td:first-child{text-align:left}\n"
    ".note{border-left:4px solid #e69f00;background:#fff8ea;padding:6px 16px;max-width:860px}\n"
    ".pairs{display:flex;flex-wrap:wrap;gap:14px}\n.pairs figure{margin:0}\n"
    ".pairs figcaption{font-size:13px;line-height:1.35;width:284px}\n.pairs img{display:block}\n";
/* Frames of a picture by its split, and what the caption calls them: Okabe & Ito, as in plots. */
static const uint8_t frame_of[SPLITS][3] = { { 0x00, 0x72, 0xb2 }, { 0xe6, 0x9f, 0x00 }, { 0xd5, 0x5e, 0x00 } };

static void notes(const struct audit *audit, struct text *out)
{
    if (audit->note_count == 0) {
        text_add(out, "<p>Nothing to note.</p>\n");
        return;
    }
    text_add(out, "<div class=\"note\"><ul>\n");
    for (const char *at = audit->notes.data, *end; (end = strchr(at, '\n')); at = end + 1) {
        at += strlen("  note: ");
        html_add(out, "<li>%s</li>\n", arena_printf(audit->job->scratch, "%.*s", (int)(end - at), at));
    }
    text_add(out, "</ul></div>\n");
}

static void counts(const struct audit *audit, struct text *out)
{
    const struct corpus *c = audit->corpus;
    html_add(out,
             "<h2>Images</h2>\n<table><tr><th></th><th>train</th><th>val</th><th>test</th></tr>\n"
             "<tr><td>images</td><td>%lld</td><td>%lld</td><td>%lld</td></tr>\n",
             (long long)audit->rows[0], (long long)audit->rows[1], (long long)audit->rows[2]);
    for (int k = 0; k < c->classes && k < ROWS_SHOWN; k++)
        html_add(out, "<tr><td>%s</td><td>%lld</td><td>%lld</td><td>%lld</td></tr>\n", c->class_names[k],
                 (long long)audit->count[k], (long long)audit->count[c->classes + k],
                 (long long)audit->count[2 * c->classes + k]);
    text_add(out, "</table>\n");
    if (c->classes > ROWS_SHOWN)
        html_add(out, "<p class=\"soft\">%d more: audit.json has all.</p>\n", c->classes - ROWS_SHOWN);
}

static void shortcut(const struct audit *audit, struct text *out)
{
    if (audit->bar_count == 0)
        return;
    struct plot_bar bars[APPEARANCE_FAMILIES + 2];
    for (int b = 0; b < audit->bar_count; b++)
        bars[b] =
            (struct plot_bar){ audit->bars[b].name, audit->bars[b].auroc, audit->bars[b].low, audit->bars[b].high };
    bars[audit->bar_count] = (struct plot_bar){ "permuted labels", audit->permuted, NAN, NAN };
    html_add(
        out,
        "<h2>What can be told without looking at the content?</h2>\n<p class=\"soft\">AUROC on the %s split of a "
        "linear model that knows grey levels, borders, size, sharpness and colour alone, with 95 %% intervals; 0.5 "
        "is guessing, and the last bar the best of fits to permuted labels. A network that is no better than the first "
        "bar need not have learnt anything about what the images show.</p>\n",
        audit->measured_on);
    plot_bars(out, &(struct plot_bars){ .title = "AUROC of the shortcut probe",
                                        .axis = "AUROC",
                                        .bars = bars,
                                        .count = audit->bar_count + 1,
                                        .width = 620,
                                        .label_width = 120,
                                        .low = 0,
                                        .high = 1,
                                        .digits = 3 });
}

/* ---- pairs ---- */

/* A whole picture in a square of TILE pixels, centred on grey. */
static void fit_tile(void *data, struct arena *scratch, const struct image *picture, int64_t i)
{
    enum { AROUND = 225 };
    uint8_t *tile = (uint8_t *)data + i * TILE * TILE * 3;
    int h = picture->height, w = picture->width, longer = h > w ? h : w;
    int to_h = (int)((int64_t)h * TILE / longer), to_w = (int)((int64_t)w * TILE / longer);
    to_h = to_h > 0 ? to_h : 1;
    to_w = to_w > 0 ? to_w : 1;
    struct image wide = image_widen(scratch, *picture);
    uint8_t *small = arena_take_raw(scratch, (size_t)to_h * (size_t)to_w, 3);
    resize_image(scratch, small, to_h, to_w, wide.pixels, h, w, 3, FILTER_BICUBIC);
    memset(tile, AROUND, (size_t)TILE * TILE * 3);
    int top = (TILE - to_h) / 2, left = (TILE - to_w) / 2;
    for (int y = 0; y < to_h; y++)
        memcpy(tile + ((top + y) * TILE + left) * 3, small + (int64_t)y * to_w * 3, (size_t)to_w * 3);
}

static const char *label_of(const struct audit *audit, int64_t row)
{
    const struct corpus *c = audit->corpus;
    if (!c->multi_label)
        return c->class_names[c->label[row]];
    struct text names = text_new(audit->job->scratch);
    for (int k = 0; k < c->classes; k++)
        if (c->labels[row * c->classes + k] == LABEL_POSITIVE)
            text_add(&names, "%s%s", names.length ? ", " : "", c->class_names[k]);
    return names.length ? names.data : "none";
}

static void one_pair(const struct audit *audit, struct text *out, const struct near_pair *p)
{
    struct arena *scratch = audit->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    const int64_t row[2] = { p->first, p->second };
    uint8_t *tiles = arena_take_raw(scratch, 2 * TILE * TILE, 3), frame[2][3];
    loader_each(audit->loader, row, 2, fit_tile, tiles);
    for (int k = 0; k < 2; k++)
        memcpy(frame[k], frame_of[audit->corpus->split[row[k]]], 3);
    struct picture sheet = sheet_grid(scratch, tiles, 2, TILE, (struct sheet_style){ 2, BORDER, 2 }, frame[0]);
    size_t length;
    uint8_t *png = picture_png(scratch, sheet, NULL, NULL, &length);
    text_add(out, "<figure><img alt=\"two pictures\" src=\"");
    html_data_png(out, png, length);
    html_add(out, "\"><figcaption>%s row %lld (%s), %s row %lld (%s); ",
             split_name((enum split)audit->corpus->split[row[0]]), (long long)row[0], label_of(audit, row[0]),
             split_name((enum split)audit->corpus->split[row[1]]), (long long)row[1], label_of(audit, row[1]));
    if (audit->hash && audit->hash[row[0]] == audit->hash[row[1]])
        text_add(out, "identical");
    else
        html_add(out, "correlation %.3f", p->correlation);
    text_add(out, "</figcaption></figure>\n");
    arena_release(scratch, mark);
}

static void pairs(const struct audit *audit, struct text *out)
{
    text_add(out, "<h2>The same picture twice</h2>\n");
    if (audit->shown_count == 0) {
        text_add(out, "<p>No identical and no near-identical pictures were found.</p>\n");
        return;
    }
    int64_t shown = audit->shown_count < PAIRS_SHOWN ? audit->shown_count : PAIRS_SHOWN;
    html_add(
        out,
        "<p class=\"soft\">%lld of %lld pairs: first those of two splits, then those with different labels. Frames: "
        "blue train, orange val, red test. near_duplicates.csv names all.</p>\n<div class=\"pairs\">\n",
        (long long)shown, (long long)audit->shown_count);
    for (int64_t i = 0; i < shown; i++)
        one_pair(audit, out, &audit->near.pair[audit->shown[i]]);
    text_add(out, "</div>\n");
}

void audit_page(struct audit *audit, struct text *out)
{
    const char *title = arena_printf(audit->job->run, "Audit of %s", audit->job->config->run.data);
    html_begin(out, title, css);
    html_add(out, "<h1>%s</h1>\n", title);
    notes(audit, out);
    counts(audit, out);
    shortcut(audit, out);
    pairs(audit, out);
    html_end(out);
}
