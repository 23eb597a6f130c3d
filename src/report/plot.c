/* SVG figures: bars with signs, lines and points, confusion matrices. Axes with
 * ticks at round numbers; colours of Okabe & Ito (2008). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html.h"
#include "report/plot.h"

static const char *const palette[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6b6b6b" };
#define INK   "#222"
#define FAINT "#d9d9d9"

const char *plot_colour(int k)
{
    enum { COUNT = sizeof palette / sizeof palette[0] };
    return palette[((k % COUNT) + COUNT) % COUNT];
}

int plot_ticks(double low, double high, int wanted, double *out, int max, int *digits)
{
    double span = high - low;
    *digits = 0;
    if (!(span > 0) || !isfinite(span) || wanted < 1)
        return 0;
    double power = pow(10, floor(log10(span / wanted))), step = power;
    static const double factors[] = { 1, 2, 5, 10 };
    for (int f = 0; f < 4; f++)
        if (span / (factors[f] * power) <= wanted + 1e-9) {
            step = factors[f] * power;
            break;
        }
    *digits = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    int count = 0;
    for (double k = ceil(low / step - 1e-9); k * step <= high + 1e-9 * span && count < max; k++)
        out[count++] = k == 0 ? 0 : k * step; /* no minus zero */
    return count;
}

/* Opening tag with the figure's title; the page scales it down on small screens. */
static void svg_begin(struct text *out, const char *title, int width, int height)
{
    html_add(out,
             "<svg class=\"plot\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
             "font-family=\"system-ui,sans-serif\" font-size=\"12\"><title>%s</title>\n",
             width, height, width, height, title ? title : "figure");
}

static void svg_text(struct text *out, double x, double y, const char *anchor, const char *colour, const char *value)
{
    html_add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, anchor, colour,
             value);
}
static void svg_number(struct text *out, double x, double y, const char *anchor, int digits, double value)
{
    char buffer[64];
    snprintf(buffer, sizeof buffer, "%s%.*f", value < 0 ? "\xe2\x88\x92" : "", digits, fabs(value)); /* a real minus */
    svg_text(out, x, y, anchor, INK, buffer);
}
static void svg_line(struct text *out, double x1, double y1, double x2, double y2, const char *colour)
{
    html_add(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, colour);
}
static void svg_rect(struct text *out, double x, double y, double width, double height, const char *fill)
{
    html_add(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, width, height,
             fill);
}

/* A value range and where it lies in pixels. */
struct scale {
    double low, high, from, to;
};
static double place(const struct scale *s, double v)
{
    return s->from + (v - s->low) / (s->high - s->low) * (s->to - s->from);
}

/* ---- bars ---- */

enum { BAR_STEP = 22, BAR_HEIGHT = 14, VALUE_ROOM = 52 };

static struct scale bars_scale(const struct plot_bars *plot)
{
    double low = plot->low, high = plot->high;
    if (!(low < high)) {
        low = 0, high = 0;
        for (int i = 0; i < plot->count; i++) {
            const struct plot_bar *b = &plot->bars[i];
            const double ends[] = { b->value, b->low, b->high };
            for (int e = 0; e < 3; e++) {
                low = isfinite(ends[e]) && ends[e] < low ? ends[e] : low;
                high = isfinite(ends[e]) && ends[e] > high ? ends[e] : high;
            }
        }
        if (!(low < high))
            high = 1;
    }
    /* Numbers are written outside the bars: leave room on the sides that have bars. */
    double from = plot->label_width + (low < 0 ? VALUE_ROOM : 8);
    return (struct scale){ low, high, from, plot->width - VALUE_ROOM };
}

static void one_bar(struct text *out, const struct plot_bars *plot, const struct scale *scale, int i)
{
    const struct plot_bar *b = &plot->bars[i];
    double y = 4 + i * BAR_STEP, middle = y + BAR_HEIGHT - 3,
           zero = place(scale, fmin(fmax(0, scale->low), scale->high));
    svg_text(out, plot->label_width - 8, middle, "end", INK, b->label);
    if (!isfinite(b->value)) {
        svg_text(out, zero + 6, middle, "start", "#777", "not available");
        return;
    }
    double end = place(scale, fmin(fmax(b->value, scale->low), scale->high)), reach = end;
    svg_rect(out, fmin(zero, end), y, fabs(end - zero), BAR_HEIGHT, b->value < 0 ? palette[1] : palette[0]);
    if (isfinite(b->low) && isfinite(b->high)) {
        double from = place(scale, fmax(b->low, scale->low)), to = place(scale, fmin(b->high, scale->high));
        double half = y + BAR_HEIGHT / 2.0;
        svg_line(out, from, half, to, half, INK);
        svg_line(out, from, half - 4, from, half + 4, INK);
        svg_line(out, to, half - 4, to, half + 4, INK);
        reach = b->value < 0 ? fmin(reach, from) : fmax(reach, to);
    }
    svg_number(out, b->value < 0 ? reach - 5 : reach + 5, middle, b->value < 0 ? "end" : "start", plot->digits,
               b->value);
}

void plot_bars(struct text *out, const struct plot_bars *plot)
{
    struct scale scale = bars_scale(plot);
    double ticks[16], bottom = 6 + plot->count * BAR_STEP;
    int digits, count = plot_ticks(scale.low, scale.high, 5, ticks, 16, &digits);
    svg_begin(out, plot->title, plot->width, (int)bottom + (plot->axis ? 38 : 20));
    for (int t = 0; t < count; t++) {
        double x = place(&scale, ticks[t]);
        svg_line(out, x, 0, x, bottom, FAINT);
        svg_number(out, x, bottom + 14, "middle", digits, ticks[t]);
    }
    for (int i = 0; i < plot->count; i++)
        one_bar(out, plot, &scale, i);
    double zero = place(&scale, fmin(fmax(0, scale.low), scale.high));
    svg_line(out, zero, 0, zero, bottom, INK);
    if (plot->axis)
        svg_text(out, (scale.from + scale.to) / 2, bottom + 32, "middle", "#555", plot->axis);
    text_add(out, "</svg>\n");
}

/* ---- lines and points ---- */

static void widen(double *low, double *high, const double *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (isfinite(v[i])) {
            *low = fmin(*low, v[i]);
            *high = fmax(*high, v[i]);
        }
}

/* Range of one axis over all series, grown a little; a single value gets a range around it. */
static struct scale xy_scale(const struct plot_xy *plot, bool vertical, double from, double to)
{
    double low = INFINITY, high = -INFINITY;
    for (int s = 0; s < plot->count; s++)
        widen(&low, &high, vertical ? plot->series[s].y : plot->series[s].x, plot->series[s].count);
    if (!(low <= high))
        low = 0, high = 1;
    double margin = high > low ? (vertical ? 0.05 : 0.02) * (high - low) : 0.5;
    return (struct scale){ low - margin, high + margin, from, to };
}

static void xy_axes(struct text *out, const struct plot_xy *plot, const struct scale *x, const struct scale *y)
{
    double ticks[24];
    int digits, count = plot_ticks(y->low, y->high, 5, ticks, 24, &digits);
    for (int t = 0; t < count; t++) {
        double at = place(y, ticks[t]);
        svg_line(out, x->from, at, x->to, at, FAINT);
        svg_number(out, x->from - 6, at + 4, "end", digits, ticks[t]);
    }
    count = plot_ticks(x->low, x->high, 8, ticks, 24, &digits);
    for (int t = 0; t < count; t++) {
        double at = place(x, ticks[t]);
        svg_line(out, at, y->from, at, y->from + 4, INK);
        svg_number(out, at, y->from + 17, "middle", digits, ticks[t]);
    }
    svg_line(out, x->from, y->from, x->to, y->from, INK);
    svg_line(out, x->from, y->from, x->from, y->to, INK);
    svg_text(out, (x->from + x->to) / 2, y->from + 34, "middle", "#555", plot->x_axis ? plot->x_axis : "");
    if (plot->y_axis)
        svg_text(out, 4, 12, "start", "#555", plot->y_axis);
}

enum { FEW_DOTS = 64 }; /* are drawn larger */

static void xy_series(struct text *out, const struct plot_series *s, const struct scale *x, const struct scale *y,
                      int k)
{
    if (s->mark != PLOT_LINE) {
        const char *look =
            s->mark == PLOT_DOTS ? "fill-opacity=\"0.6\" fill" : "fill=\"none\" stroke-width=\"2.5\" stroke";
        const int radius = s->mark == PLOT_RINGS ? 8 : s->count <= FEW_DOTS ? 4 : 2;
        for (int64_t i = 0; i < s->count; i++)
            if (isfinite(s->x[i]) && isfinite(s->y[i]))
                text_add(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" %s=\"%s\"/>\n", place(x, s->x[i]),
                         place(y, s->y[i]), radius, look, plot_colour(k));
        return;
    }
    static const char *const dash[] = { "none", "7 3", "2 3" }; /* told apart without colour too */
    html_add(out, "<path fill=\"none\" stroke-width=\"2\" stroke=\"%s\" stroke-dasharray=\"%s\" d=\"", plot_colour(k),
             dash[k % 3]);
    bool down = false; /* the pen: lifted over missing values */
    for (int64_t i = 0; i < s->count; i++) {
        bool here = isfinite(s->x[i]) && isfinite(s->y[i]);
        if (here)
            text_add(out, "%s%.1f %.1f", down ? "L" : "M", place(x, s->x[i]), place(y, s->y[i]));
        down = here;
    }
    text_add(out, "\"/>\n");
}

void plot_xy(struct text *out, const struct plot_xy *plot)
{
    struct scale x = xy_scale(plot, false, 48, plot->width - 14);
    struct scale y = xy_scale(plot, true, plot->height - 42, 24);
    svg_begin(out, plot->title, plot->width, plot->height);
    xy_axes(out, plot, &x, &y);
    for (int s = 0; s < plot->count; s++)
        xy_series(out, &plot->series[s], &x, &y, s);
    double at = plot->width - 14; /* legend, from the right */
    for (int s = plot->count - 1; s >= 0 && plot->count > 1; s--) {
        svg_text(out, at, 12, "end", plot_colour(s), plot->series[s].name);
        at -= 18 + 7.0 * (double)strlen(plot->series[s].name);
    }
    text_add(out, "</svg>\n");
}

/* ---- confusion matrix ---- */

/* White to blue by share; the text on it stays readable. */
static void matrix_cell(struct text *out, double x, double y, int cell, int64_t count, double share)
{
    int red = (int)lround(255 - share * (255 - 0)), green = (int)lround(255 - share * (255 - 114)),
        blue = (int)lround(255 - share * (255 - 178));
    html_add(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"#%02x%02x%02x\" stroke=\"#ccc\"/>\n",
             x, y, cell, cell, red, green, blue);
    if (count > 0 && cell >= 18)
        html_add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"%s\">%lld</text>\n", x + cell / 2.0,
                 y + cell / 2.0 + 4, share > 0.55 ? "#fff" : INK, (long long)count);
}

void plot_matrix(struct text *out, const struct plot_matrix *plot)
{
    int n = plot->size, cell = plot->cell ? plot->cell : n <= 12 ? 40 : n <= 24 ? 28 : 16;
    size_t longest = 4;
    for (int i = 0; i < n; i++)
        longest = strlen(plot->names[i]) > longest ? strlen(plot->names[i]) : longest;
    int room = 22 + (int)(7 * (longest < 30 ? longest : 30)), below = 8 + (int)(0.75 * room) + 18, side = n * cell;
    int caption = room + 7 * (int)strlen(plot->column_axis ? plot->column_axis : ""), width = room + side + room / 2;
    svg_begin(out, plot->title, width > caption ? width : caption, 20 + side + below);
    svg_text(out, room - 6, 13, "end", "#555", plot->row_axis ? plot->row_axis : "");
    for (int i = 0; i < n; i++) {
        int64_t total = 0;
        for (int j = 0; j < n; j++)
            total += plot->counts[(int64_t)i * n + j];
        svg_text(out, room - 6, 20 + i * cell + cell / 2.0 + 4, "end", INK, plot->names[i]);
        for (int j = 0; j < n; j++) {
            int64_t count = plot->counts[(int64_t)i * n + j];
            matrix_cell(out, room + j * cell, 20 + i * cell, cell, count, total ? (double)count / (double)total : 0);
        }
        html_add(out, "<text transform=\"translate(%.1f %d) rotate(35)\" fill=\"" INK "\">%s</text>\n",
                 room + (i + 0.4) * cell, 20 + side + 14, plot->names[i]);
    }
    svg_text(out, room, 20 + side + below - 4, "start", "#555", plot->column_axis ? plot->column_axis : "");
    text_add(out, "</svg>\n");
}
