/* Figures as inline SVG: bars, lines, matrices, points. Text stays text, colours are those of Okabe & Ito (safe for
 * colour-blind readers, distinct in print); no scripts, no fonts. Names are escaped. Values that are not finite are
 * left out. Local. */
#ifndef REPORT_PLOT_H
#define REPORT_PLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Signed horizontal bars from a common zero, one line each, the value written beside the bar. */
struct plot_bar {
    const char *label;
    double value;
    double low, high; /* interval drawn as a whisker; NaN = none */
};
struct plot_bars {
    const char *title; /* for readers who cannot see it; not drawn */
    const char *axis;  /* caption below the axis, may be NULL */
    const struct plot_bar *bars;
    int count;
    int width, label_width; /* pixels */
    double low, high;       /* axis range; low == high: from the data, zero included */
    int digits;             /* after the point */
};
void plot_bars(struct text *out, const struct plot_bars *plot);

/* Lines, points or rings around points over common axes. */
enum plot_mark { PLOT_LINE, PLOT_DOTS, PLOT_RINGS };
struct plot_series {
    const char *name;
    const double *x, *y; /* [count] */
    int64_t count;
    enum plot_mark mark;
};
struct plot_xy {
    const char *title, *x_axis, *y_axis;
    const struct plot_series *series;
    int count;
    int width, height;
};
void plot_xy(struct text *out, const struct plot_xy *plot);

/* counts [rows x columns], shaded by share of its row; row and column names. */
struct plot_matrix {
    const char *title, *row_axis, *column_axis;
    const char *const *names; /* [size] */
    const int64_t *counts;    /* [size x size] row = truth, column = prediction */
    int size;
    int cell; /* pixels; 0 = chosen by size */
};
void plot_matrix(struct text *out, const struct plot_matrix *plot);

/* Ticks at 1, 2 or 5 times a power of ten that cover low..high; out [max], returns how many; *digits after the point.
 */
int plot_ticks(double low, double high, int wanted, double *out, int max, int *digits);
/* Colour k of the palette, "#0072b2" first. */
const char *plot_colour(int k);

#endif
