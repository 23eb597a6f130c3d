/* Position embeddings at another image size: bicubic interpolation over the grid of patches. */
#include "nn/positions.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { TAPS = 4 };
#define SHARPNESS (-0.75) /* Keys' a, PyTorch's choice */

struct taps {
    int at[TAPS];
    double weight[TAPS];
};

/* Keys' cubic convolution kernel at distance d >= 0. */
static double cubic(double d)
{
    const double a = SHARPNESS;
    if (d <= 1.0)
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    return d < 2.0 ? a * (((d - 5.0) * d + 8.0) * d - 4.0) : 0.0;
}

/* What point `i` of `to` reads along a side of `from` points; a single point reads the first corner. */
static struct taps taps_of(int i, int to, int from)
{
    struct taps taps;
    double place = to > 1 ? (double)i * (from - 1) / (to - 1) : 0.0, whole = floor(place);
    for (int k = 0; k < TAPS; k++) {
        int at = (int)whole + k - 1;
        taps.at[k] = at < 0 ? 0 : at >= from ? from - 1 : at;
        taps.weight[k] = cubic(fabs(place - whole - (k - 1)));
    }
    return taps;
}

void positions_resize(float *out, int to, const float *in, int from, int width)
{
    if (to == from) {
        memcpy(out, in, (size_t)(1 + from * from) * (size_t)width * sizeof *out);
        return;
    }
    memcpy(out, in, (size_t)width * sizeof *out);
#pragma omp parallel for schedule(static)
    for (int64_t y = 0; y < to; y++) {
        struct taps rows = taps_of((int)y, to, from);
        for (int x = 0; x < to; x++) {
            struct taps columns = taps_of(x, to, from);
            float *o = out + (1 + y * to + x) * width;
            for (int c = 0; c < width; c++) {
                double sum = 0.0;
                for (int j = 0; j < TAPS; j++)
                    for (int i = 0; i < TAPS; i++)
                        sum += rows.weight[j] * columns.weight[i] *
                               (double)in[(1 + (int64_t)rows.at[j] * from + columns.at[i]) * width + c];
                o[c] = (float)sum;
            }
        }
    }
}
