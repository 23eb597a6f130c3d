/* The report page: frame, style, and what its sections share. One offline file:
 * no scripts, no fonts, nothing fetched; every picture is kept once and used
 * by reference. */
#include "stage/page/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "image/corpus.h"
#include "report/html.h"
#include "report/json.h"
#include "stage/gallery.h"

enum { STRIP_IMAGES = 5 };

static const char css[] =
    ":root{--ink:#1d2530;--soft:#5b6673;--line:#dfe3e8;--pos:#0072b2;--neg:#d55e00;--good:#00694e;--bad:#a33a00;"
    "--wash:#f5f7f9}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;color:var(--ink);background:#fff;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto "
    "Sans',"
    "'DejaVu Sans',sans-serif}\n"
    "main,header>div,footer>div{max-width:1120px;margin:0 auto;padding:0 24px}\n"
    "header{background:#12324a;color:#fff;padding:34px 0 28px}\n"
    "header h1{margin:0 0 8px;font-size:32px;line-height:1.2;font-weight:650}\n"
    "header p{margin:0;max-width:820px;font-size:17px;color:#d7e3ec}\n"
    "nav{margin-top:16px;font-size:14px}\nnav a{color:#fff;margin-right:18px;text-underline-offset:3px}\n"
    "section{padding:30px 0 6px;border-top:1px solid var(--line)}\nsection:first-child{border-top:0}\n"
    "h2{font-size:23px;margin:0 0 6px;line-height:1.25}\nh3{font-size:17px;margin:0 0 8px}\n"
    "p{margin:6px 0 12px;max-width:820px}\n.soft{color:var(--soft)}\n.small{font-size:13.5px}\n"
    ".cards{display:flex;flex-wrap:wrap;gap:14px;margin:16px 0 18px}\n"
    ".card{flex:1 1 180px;border:1px solid var(--line);border-radius:10px;padding:12px 16px;background:var(--wash)}\n"
    ".card b{display:block;font-size:30px;line-height:1.2;font-weight:650;font-variant-numeric:tabular-nums}\n"
    ".card span{display:block;color:var(--soft);font-size:13.5px}\n"
    "table{border-collapse:collapse;margin:8px 0 18px;font-variant-numeric:tabular-nums}\n"
    "th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}\n"
    "th{font-size:13.5px;color:var(--soft);font-weight:600}\ntd.n,th.n{text-align:right}\n"
    "td i{white-space:nowrap;font-style:normal;color:var(--soft);font-size:13.5px}\n"
    ".note{border-left:4px solid #e69f00;background:#fff8ea;padding:10px 16px;margin:12px 0 18px;max-width:860px}\n"
    ".note ul{margin:4px 0;padding-left:20px}\n"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:18px;align-items:start}\n"
    ".panel{border:1px solid var(--line);border-radius:10px;padding:14px 16px 8px;break-inside:avoid}\n"
    ".row{display:flex;gap:12px;align-items:center;padding:7px 0;border-top:1px solid #eef0f3}\n"
    ".row:first-of-type{border-top:0}\n"
    ".strip{width:216px;height:auto;flex:none;display:block}\n"
    ".row .what{flex:1 1 auto;min-width:0;font-size:14px;line-height:1.35}\n"
    ".row .what b{font-weight:600}\n.row .what span{display:block;color:var(--soft);font-size:12.5px}\n"
    ".row .amount{flex:none;width:58px;text-align:right;font-variant-numeric:tabular-nums;font-size:14.5px;"
    "font-weight:600}\n"
    ".ids{width:216px;flex:none;font-size:12px;line-height:1.4;color:var(--soft);overflow-wrap:anywhere}\n"
    ".pos{color:var(--pos)}\n.neg{color:var(--neg)}\n"
    ".bar{flex:none;width:150px;height:16px;position:relative;background:linear-gradient(#b8c0c9,#b8c0c9) center/1px "
    "100%"
    " no-repeat}\n"
    ".bar i{position:absolute;top:1px;bottom:1px;border-radius:2px}\n"
    ".bar .p{background:var(--pos)}\n.bar .m{background:var(--neg)}\n.bar .r{background:#8a949f}\n"
    ".image{display:grid;grid-template-columns:210px 1fr;gap:24px;border:1px solid var(--line);border-radius:10px;"
    "padding:16px 18px;margin:0 0 16px;break-inside:avoid}\n"
    ".view{width:200px;height:auto;display:block;border-radius:6px;image-rendering:auto;background:#000}\n"
    ".verdict{font-size:14px;margin:10px 0 6px;line-height:1.45}\n.verdict b{font-weight:650}\n"
    ".tag{display:inline-block;border-radius:4px;padding:1px 8px;font-size:12.5px;font-weight:650;color:#fff;"
    "background:var(--good)}\n.tag.wrong{background:var(--bad)}\n"
    ".odds{font-size:13px;width:100%;margin:4px 0 0}\n.odds td{padding:2px 6px 2px 0;border:0}\n"
    ".sum{border-top:2px solid #9aa3ad}\n.sum .what{font-weight:650}\n"
    "details{margin:8px 0}\nsummary{cursor:pointer;color:#0b5a8a;font-size:14px}\n"
    "pre{background:var(--wash);border:1px solid var(--line);border-radius:8px;padding:12px 14px;overflow:auto;"
    "font-size:12.5px;line-height:1.45}\n"
    ".plot{max-width:100%;height:auto;display:block;margin:8px 0}\n"
    ".figures{display:flex;flex-wrap:wrap;gap:28px;align-items:flex-start}\n"
    "footer{border-top:1px solid var(--line);margin-top:30px;padding:18px 0 40px;color:var(--soft);font-size:13.5px}\n"
    ".defs{position:absolute;width:0;height:0;overflow:hidden}\n"
    "@media(max-width:760px){.two{grid-template-columns:1fr}.image{grid-template-columns:1fr}.row{flex-wrap:wrap}"
    ".strip{width:100%;max-width:280px}}\n"
    "@media print{header{background:#fff;color:#000}header p{color:#333}nav{display:none}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}section{padding-top:16px}}\n";

const char *page_class(const struct page *page, int c)
{
    return c >= 0 && c < page->classes ? page->corpus->class_names[c] : "none";
}

void page_number(struct text *out, double value, int digits, bool sign)
{
    if (!isfinite(value)) {
        text_add(out, "\xe2\x80\x93"); /* a dash */
        return;
    }
    double size = fabs(value), half = 0.5 * pow(10, -digits);
    const char *lead = size < half ? "" : value < 0 ? "\xe2\x88\x92" : sign ? "+" : "";
    text_add(out, "%s%.*f", lead, digits, size);
}

double page_metric(const struct page *page, const char *model, const char *metric, double *low, double *high)
{
    char name[64];
    snprintf(name, sizeof name, "%s_interval", metric);
    const struct json *m = json_member(json_member(page->metrics, model), split_name((enum split)page->split));
    const struct json *interval = json_member(m, name);
    *low = json_as_number(json_item(interval, 0), NAN);
    *high = json_as_number(json_item(interval, 1), NAN);
    return json_as_number(json_member(m, metric), NAN);
}

void page_name(struct page *page, struct text *out, int concept, const char *extra)
{
    const char *name = page->concept[concept].name, *brace = strstr(name, " ("), *rest = strchr(name, ';');
    const char *end = name + strlen(name), *stop = rest ? rest : end, *what = brace && brace < stop ? brace : stop;
    struct arena *a = page->arena;
    html_add(out, "<div class=\"what\"><b>%s</b><span>", arena_printf(a, "%.*s", (int)(what - name), name));
    const char *dot = "";
    if (what < stop) { /* what stands in the parentheses */
        int length = (int)(stop - what) - 2;
        html_add(out, "%s", arena_printf(a, "%.*s", stop[-1] == ')' ? length - 1 : length, what + 2));
        dot = " \xc2\xb7 ";
    }
    if (rest) {
        html_add(out, "%s%s", dot, rest + 1 + (rest[1] == ' '));
        dot = " \xc2\xb7 ";
    }
    if (extra)
        html_add(out, "%s%s", dot, extra);
    text_add(out, "</span></div>");
}

/* Names of the rows, where there are no pictures. */
static void put_ids(struct page *page, struct text *out, const int64_t *rows, int count)
{
    text_add(out, "<div class=\"ids\">");
    for (int i = 0; i < count; i++)
        html_add(out, "%s%s", i ? " \xc2\xb7 " : "", gallery_name(page->gallery, page->job->scratch, rows[i]));
    text_add(out, "</div>\n");
}

void page_strip(struct page *page, struct text *out, int neuron, const char *name)
{
    struct sheet_style style = { STRIP_IMAGES, 0, 3 };
    int64_t rows[STRIP_IMAGES], at = (int64_t)neuron * page->T;
    int count = tiles_top_rows(rows, STRIP_IMAGES, page->top_index + at, page->top_value + at, page->T);
    struct arena *scratch = page->job->scratch;
    struct arena_mark mark = arena_mark(scratch);
    if (!page->thumbs) {
        put_ids(page, out, rows, count);
        arena_release(scratch, mark);
        return;
    }
    struct picture sheet = tiles_sheet(page->thumbs, scratch, rows, count, style);
    char id[32];
    snprintf(id, sizeof id, "n%d", neuron);
    if (!page->defined[neuron]) {
        size_t length;
        uint8_t *png = picture_png(scratch, sheet, NULL, NULL, &length);
        html_define(&page->defs, id, png, length, sheet.width, sheet.height);
        page->defined[neuron] = true;
    }
    html_use(out, id, "strip", arena_printf(scratch, "images that activate it most: %s", name), sheet.width,
             sheet.height);
    arena_release(scratch, mark);
}

static void own_story(struct page *page, struct text *out)
{
    const struct run_config *run = &page->job->config->run;
    html_add(
        out,
        "<header><div>\n<h1>What the network sees: concepts behind its decisions</h1>\n"
        "<p>A %s network learned to tell %d %s apart in the images of \xe2\x80\x9c%s\xe2\x80\x9d. This page shows the "
        "concepts found inside it, how much of its skill a transparent model made only of these concepts keeps, "
        "and how each single prediction adds up from them.</p>\n",
        run->backbone, page->classes, page->corpus->multi_label ? "findings" : "classes", run->data);
}

/* The encoder was trained elsewhere, for whatever: its skill is what a linear head gets out of it. */
static void imported_story(struct page *page, struct text *out)
{
    html_add(
        out,
        "<header><div>\n<h1>What the encoder sees: concepts in its representations</h1>\n"
        "<p>The representations of the images of \xe2\x80\x9c%s\xe2\x80\x9d were computed elsewhere, by %s. This page "
        "shows the concepts found in them, how much of what a linear probe reads out of them a transparent model "
        "made only of these concepts keeps in telling %d %s apart, and how each single prediction adds up.%s</p>\n",
        page->job->config->run.data, page->gallery->encoder, page->classes,
        page->corpus->multi_label ? "findings" : "classes",
        page->thumbs ? "" : " They came without images: the ids of the rows stand in their place.");
}

static void head(struct page *page, struct text *out)
{
    (page->gallery->encoder ? imported_story : own_story)(page, out);
    text_add(out,
             "<nav><a href=\"#numbers\">Numbers</a><a href=\"#limits\">Limits</a><a href=\"#concepts\">Concepts</a>"
             "%s<a href=\"#errors\">Errors</a><a href=\"#images\">Explained images</a>"
             "<a href=\"#made\">How it was made</a></nav>\n</div></header>\n<main>\n",
             page->corpus->attributes > 0 ? "<a href=\"#regions\">Ground truth</a>" : "");
}

char *page_make(struct page *page, size_t *length)
{
    struct text out = text_new(page->arena);
    page->defs = text_new(page->arena);
    page->defined = arena_array(page->arena, bool, page->neurons);
    html_begin(&out,
               arena_printf(page->arena, "Concepts of %s, %s", page->job->config->run.data,
                            page->gallery->encoder ? page->gallery->encoder : page->job->config->run.backbone),
               css);
    head(page, &out);
    page_numbers(page, &out);
    page_limits(page, &out);
    page_concepts(page, &out);
    page_regions(page, &out);
    page_errors(page, &out);
    page_images(page, &out);
    page_made(page, &out);
    text_add(&out, "</main>\n<svg class=\"defs\" aria-hidden=\"true\"><defs>\n");
    text_add_bytes(&out, page->defs.data, page->defs.length);
    text_add(&out, "</defs></svg>\n<footer><div>Written by cfn (Concepts from Neurons). Not a medical device; not for "
                   "diagnosis.</div></footer>\n");
    html_end(&out);
    *length = out.length;
    return out.data;
}
