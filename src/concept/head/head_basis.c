/* An orthonormal basis of what concepts can rebuild. */
#include "concept/head_basis.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "dist/world.h"
#include "math/vec.h"

/* A vector whose part outside the basis is below this share of its length adds nothing but rounding. */
static const double DEPENDENT = 1e-10;

/* Takes off v [D] what the basis explains, twice (once loses digits when vectors are close), and adds the rest to it.
 */
static int extend(double *rows, int width, double *v, int D)
{
    double length = sqrt(vec_ddot(v, v, D));
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < width; b++)
            vec_daxpy(v, -vec_ddot(v, rows + (int64_t)b * D, D), rows + (int64_t)b * D, D);
    double left = sqrt(vec_ddot(v, v, D));
    if (!(left > DEPENDENT * length) || width == D)
        return width;
    for (int d = 0; d < D; d++)
        rows[(int64_t)width * D + d] = v[d] / left;
    return width + 1;
}

static void orthogonalise(struct head_basis *basis, const float *atoms, int M, double *v)
{
    int D = basis->dim;
    for (int d = 0; d < D; d++)
        v[d] = 1;
    basis->width = extend(basis->rows, 0, v, D);
    for (int m = 0; m < M; m++) {
        for (int d = 0; d < D; d++)
            v[d] = (double)atoms[(int64_t)m * D + d];
        basis->width = extend(basis->rows, basis->width, v, D);
    }
}

/* out [width] = v [D] in the basis. */
static void project(double *out, const double *v, const struct head_basis *basis)
{
    if (!basis->rows)
        memcpy(out, v, (size_t)basis->dim * sizeof *out);
    for (int b = 0; b < basis->width && basis->rows; b++)
        out[b] = vec_ddot(basis->rows + (int64_t)b * basis->dim, v, basis->dim);
}

struct head_basis *head_basis_create(struct arena *arena, struct world *world, const float *atoms, int M, int D)
{
    struct head_basis *basis = arena_array(arena, struct head_basis, 1);
    *basis = (struct head_basis){ .dim = D, .width = D };
    double *v = arena_array(arena, double, D);
    if (2 * (M + 1) <= D) {
        basis->rows = arena_array(arena, double, (int64_t)(M + 1) * D);
        if (world->rank == 0)
            orthogonalise(basis, atoms, M, v);
        world_broadcast(world, &basis->width, sizeof basis->width, 0);
        world_broadcast(world, basis->rows, (size_t)basis->width * (size_t)D * sizeof(double), 0);
    }
    basis->atoms = arena_array(arena, double, (int64_t)M * basis->width);
    basis->ones = arena_array(arena, double, basis->width);
    for (int m = 0; m <= M; m++) {
        for (int d = 0; d < D; d++)
            v[d] = m < M ? (double)atoms[(int64_t)m * D + d] : 1;
        project(m < M ? basis->atoms + (int64_t)m * basis->width : basis->ones, v, basis);
    }
    return basis;
}

void head_basis_rebuild(float *x, const struct head_basis *basis, const int32_t *atom, const double *value, int S,
                        double constant)
{
    int width = basis->width;
    for (int first = 0; first < width; first += 64) { /* a few columns at a time: the sum stays in registers */
        double sum[64];
        int count = width - first < 64 ? width - first : 64;
        for (int d = 0; d < count; d++)
            sum[d] = constant * basis->ones[first + d];
        for (int s = 0; s < S && atom[s] >= 0; s++) {
            const double *row = basis->atoms + (int64_t)atom[s] * width + first;
            for (int d = 0; d < count; d++)
                sum[d] += value[s] * row[d];
        }
        for (int d = 0; d < count; d++)
            x[first + d] = (float)sum[d];
    }
}

void head_basis_weight(double *weight, const double *weight_in, const struct head_basis *basis, int classes)
{
    int64_t D = basis->dim, width = basis->width;
    if (!basis->rows) {
        memcpy(weight, weight_in, (size_t)(classes * D) * sizeof *weight);
        return;
    }
    memset(weight, 0, (size_t)(classes * D) * sizeof *weight);
    for (int c = 0; c < classes; c++)
        for (int64_t b = 0; b < width; b++)
            vec_daxpy(weight + c * D, weight_in[c * width + b], basis->rows + b * D, D);
}
