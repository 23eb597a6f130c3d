/* Narrow products, up to seven columns at a time: sums stay in registers, rows
 * are widened from float on the way. Wide ones are BLIS's (blas.c). */
#include "math/skinny.h"

#include <string.h>

#include "math/simd.h"

enum { LANES = SIMD / 2, MOST = 7 };                                        /* columns at a time */
enum { ROWS = SIMD_BYTES == 64 ? 4 : 2, WIDTH = SIMD_BYTES == 64 ? 4 : 1 }; /* rows; registers of a row */
typedef simd_double lanes;

/* x[0..LANES-1] - mean[0..LANES-1], in double. */
static inline lanes centred(const float *x, const double *mean)
{
    lanes m;
    memcpy(&m, mean, sizeof m);
    return simd_load_double(x) - m;
}

static inline lanes load(const double *x)
{
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* Sum of the lanes: a tree of halves. */
static inline double sum_of(lanes v)
{
    double lane[LANES];
    memcpy(lane, &v, sizeof v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

/* n columns of `rows` rows; n and rows are constants where this is inlined. */
static inline __attribute__((always_inline)) void forward(double *z, const float *x, const double *mean,
                                                          const double *w, int rows, int n, int C, int D)
{
    lanes sum[ROWS][MOST];
    memset(sum, 0, sizeof sum);
    int whole = D - D % LANES;
    for (int d = 0; d < whole; d += LANES)
        for (int i = 0; i < rows; i++) {
            lanes v = centred(x + (long)i * D + d, mean + d);
            for (int c = 0; c < n; c++)
                sum[i][c] += v * load(w + (long)c * D + d);
        }
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < n; c++) {
            double rest = sum_of(sum[i][c]);
            for (int d = whole; d < D; d++)
                rest += ((double)x[(long)i * D + d] - mean[d]) * w[(long)c * D + d];
            z[i * C + c] = rest;
        }
}

static inline __attribute__((always_inline)) void forward_rows(double *z, const float *x, const double *mean,
                                                               const double *w, int rows, int n, int C, int D)
{
    int i = 0;
    for (; i + ROWS <= rows; i += ROWS)
        forward(z + (long)i * C, x + (long)i * D, mean, w, ROWS, n, C, D);
    for (; i < rows; i++)
        forward(z + (long)i * C, x + (long)i * D, mean, w, 1, n, C, D);
}

/* n columns of slope, `width` vectors of g at a time. */
static inline __attribute__((always_inline)) void backward(double *g, const double *slope, const float *x,
                                                           const double *mean, int rows, int n, int width, int C, int D)
{
    lanes sum[MOST][WIDTH];
    for (int c = 0; c < n; c++)
        for (int k = 0; k < width; k++)
            sum[c][k] = load(g + (long)c * D + k * LANES);
    for (int i = 0; i < rows; i++) {
        lanes v[WIDTH];
        for (int k = 0; k < width; k++)
            v[k] = centred(x + (long)i * D + k * LANES, mean + k * LANES);
        for (int c = 0; c < n; c++)
            for (int k = 0; k < width; k++)
                sum[c][k] += v[k] * slope[(long)i * C + c];
    }
    for (int c = 0; c < n; c++)
        for (int k = 0; k < width; k++)
            memcpy(g + (long)c * D + k * LANES, &sum[c][k], sizeof sum[c][k]);
}

static inline __attribute__((always_inline)) void backward_rows(double *g, const double *slope, const float *x,
                                                                const double *mean, int rows, int n, int C, int D)
{
    int d = 0;
    for (; d + WIDTH * LANES <= D; d += WIDTH * LANES)
        backward(g + d, slope, x + d, mean + d, rows, n, WIDTH, C, D);
    for (; d + LANES <= D; d += LANES)
        backward(g + d, slope, x + d, mean + d, rows, n, 1, C, D);
    for (; d < D; d++)
        for (int c = 0; c < n; c++)
            for (int i = 0; i < rows; i++)
                g[(long)c * D + d] += slope[(long)i * C + c] * ((double)x[(long)i * D + d] - mean[d]);
}

/* Each number of columns as a constant. */
#define BY_COLUMNS(call)                                                                                               \
    switch (n) {                                                                                                       \
    case 1:                                                                                                            \
        call(1);                                                                                                       \
        break;                                                                                                         \
    case 2:                                                                                                            \
        call(2);                                                                                                       \
        break;                                                                                                         \
    case 3:                                                                                                            \
        call(3);                                                                                                       \
        break;                                                                                                         \
    case 4:                                                                                                            \
        call(4);                                                                                                       \
        break;                                                                                                         \
    case 5:                                                                                                            \
        call(5);                                                                                                       \
        break;                                                                                                         \
    case 6:                                                                                                            \
        call(6);                                                                                                       \
        break;                                                                                                         \
    default:                                                                                                           \
        call(7);                                                                                                       \
        break;                                                                                                         \
    }

void skinny_forward(double *z, const float *x, const double *mean, const double *w, int rows, int C, int D)
{
    for (int c = 0; c < C; c += MOST) {
        int n = C - c < MOST ? C - c : MOST;
#define FORWARD(k) forward_rows(z + c, x, mean, w + (long)c * D, rows, k, C, D)
        BY_COLUMNS(FORWARD)
    }
}

void skinny_backward(double *g, const double *slope, const float *x, const double *mean, int rows, int C, int D)
{
    for (int c = 0; c < C; c += MOST) {
        int n = C - c < MOST ? C - c : MOST;
#define BACKWARD(k) backward_rows(g + (long)c * D, slope + c, x, mean, rows, k, C, D)
        BY_COLUMNS(BACKWARD)
    }
}
