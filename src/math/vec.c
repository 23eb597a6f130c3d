/* Vectors. Floats are added in double over LANES partial sums, element i into lane i mod LANES, and the lanes along
 * one fixed tree: the order never depends on length, alignment or threads. Dense products are in blas.c. */
#include "math/vec.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

/* ((0+8)+(4+12)) + ... : halves are added until one lane is left. */
static double lanes_sum(double *lane)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

double vec_dot(const float *a, const float *b, int64_t n)
{
    double lane[LANES] = { 0 };
    const int64_t whole = n - n % LANES;
    for (int64_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)a[i + l] * (double)b[i + l];
    for (int64_t i = whole; i < n; i++)
        lane[i - whole] += (double)a[i] * (double)b[i];
    return lanes_sum(lane);
}

double vec_ddot(const double *a, const double *b, int64_t n)
{
    double lane[LANES] = { 0 };
    const int64_t whole = n - n % LANES;
    for (int64_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    for (int64_t i = whole; i < n; i++)
        lane[i - whole] += a[i] * b[i];
    return lanes_sum(lane);
}

double vec_sum(const float *a, int64_t n)
{
    double lane[LANES] = { 0 };
    const int64_t whole = n - n % LANES;
    for (int64_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)a[i + l];
    for (int64_t i = whole; i < n; i++)
        lane[i - whole] += (double)a[i];
    return lanes_sum(lane);
}

double vec_norm(const float *a, int64_t n)
{
    return sqrt(vec_dot(a, a, n)); /* squares of floats neither overflow nor vanish in double */
}

double vec_normalise(float *x, int64_t n)
{
    const double norm = vec_norm(x, n);
    if (norm > 0.0)
        for (int64_t i = 0; i < n; i++)
            x[i] = (float)((double)x[i] / norm);
    return norm;
}

void vec_axpy(float *restrict y, float alpha, const float *restrict x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += alpha * x[i];
}

void vec_daxpy(double *restrict y, double alpha, const double *restrict x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += alpha * x[i];
}

void vec_copy(float *y, const float *x, int64_t n)
{
    enum { PIECE = 1 << 16 };
#pragma omp parallel for schedule(static) if (n > 4 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        memcpy(y + i, x + i, (size_t)(n - i < PIECE ? n - i : PIECE) * sizeof *y);
}

void vec_scale(float *x, float alpha, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= alpha;
}

void vec_add(float *restrict y, const float *restrict x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

bool vec_all_finite(const float *x, int64_t n)
{
    /* x - x is 0 for numbers and NaN for NaN and both infinities; a NaN spoils its lane for good. */
    float lane[LANES] = { 0 };
    const int64_t whole = n - n % LANES;
    for (int64_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] += x[i + l] - x[i + l];
    for (int64_t i = whole; i < n; i++)
        lane[i - whole] += x[i] - x[i];
    bool finite = true;
    for (int l = 0; l < LANES; l++)
        finite = finite && lane[l] == 0.0f;
    return finite;
}

/* Puts the k-th smallest of x [n] at x[k], smaller ones before it, larger ones after (Hoare's selection). */
static double select_kth(double *x, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const double pivot = x[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i <= j) {
                const double held = x[i];
                x[i++] = x[j];
                x[j--] = held;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return x[k];
}

double vec_median(double *x, int64_t n)
{
    if (n <= 0)
        return NAN;
    const double upper = select_kth(x, n, n / 2);
    if (n % 2 == 1)
        return upper;
    double lower = x[0];
    for (int64_t i = 1; i < n / 2; i++)
        lower = x[i] > lower ? x[i] : lower;
    return lower + (upper - lower) / 2;
}
