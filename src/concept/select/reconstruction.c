/* Residuals of all candidates after projection on the picks, updated by rank
 * one: q = r_pick / |r_pick|, w = M q, and for each candidate
 *     a = q'r;  r'Mr <- r'Mr - 2 a w'r + a^2 q'w;  r'r <- r'r - a^2;  r <- r - a q.
 * All in double, each candidate on one rank, so bits do not depend on ranks. */
#include "concept/select/reconstruction.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "concept/similarity.h"
#include "dist/world.h"
#include "math/blas.h"
#include "math/vec.h"

enum { CHUNK = 64 }; /* candidates of one product */

struct residual {
    struct world *world;
    struct span mine; /* candidates */
    int dim;
    const double *moment;
    double least;
    double *r;           /* [mine.count x D] */
    double *drop, *left; /* [mine.count] r'Mr, r'r */
    double *whole;       /* [mine.count] c'c */
    double *q, *w;       /* [D] */
};

static double *moment_products(struct residual *s, struct arena *arena, int64_t at, int64_t count)
{
    double *product = arena_take_raw(arena, (size_t)(CHUNK * s->dim), sizeof *product);
    blas_dgemm('N', 'N', count, s->dim, s->dim, 1, s->r + at * s->dim, s->dim, s->moment, s->dim, 0, product, s->dim);
    return product;
}

struct residual *residual_create(struct arena *arena, struct world *world, const struct ground *ground,
                                 const double *moment, double least)
{
    struct residual *s = arena_array(arena, struct residual, 1);
    bool whole = ground->mine.count == ground->n;
    *s = (struct residual){ .world = world, .dim = ground->dim, .moment = moment, .least = least };
    s->mine = whole ? shard_chunks(ground->n, CHUNK, world->size, world->rank) : ground->mine;
    int64_t n = s->mine.count, dim = s->dim;
    s->r = arena_take_raw(arena, (size_t)(n * dim), sizeof *s->r);
    s->drop = arena_array(arena, double, n);
    s->left = arena_array(arena, double, n);
    s->whole = arena_array(arena, double, n);
    s->q = arena_array(arena, double, dim);
    s->w = arena_array(arena, double, dim);
    const float *from = ground->vectors + (s->mine.first - ground->mine.first) * dim;
    for (int64_t i = 0; i < n * dim; i++)
        s->r[i] = (double)from[i];
    for (int64_t at = 0; at < n; at += CHUNK) {
        struct arena_mark mark = arena_mark(arena);
        int64_t count = n - at < CHUNK ? n - at : CHUNK;
        const double *product = moment_products(s, arena, at, count);
        for (int64_t i = 0; i < count; i++) {
            const double *r = s->r + (at + i) * dim;
            s->drop[at + i] = vec_ddot(r, product + i * dim, dim);
            s->left[at + i] = s->whole[at + i] = vec_ddot(r, r, dim);
        }
        arena_release(arena, mark);
    }
    return s;
}

/* What is left of a candidate is mostly rounding. */
static bool depends(const struct residual *s, int64_t here)
{
    return !(s->left[here] > 0) || s->left[here] < s->least * s->whole[here];
}

void residual_gains(double *gains, struct residual *s, const int64_t *list, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t here = list[i] - s->mine.first;
        bool mine = here >= 0 && here < s->mine.count;
        if (!mine)
            gains[i] = 0;
        else if (depends(s, here))
            gains[i] = -INFINITY;
        else
            gains[i] = fmax(0, s->drop[here]) / s->left[here];
    }
    int most = 1 << 20; /* one value and zeros: exact in any order */
    for (int64_t at = 0; s->world->size > 1 && at < count; at += most)
        world_sum_f64_any_order(s->world, gains + at, (int)(count - at < most ? count - at : most));
}

void residual_take(struct residual *s, int64_t cand)
{
    int64_t here = cand - s->mine.first, dim = s->dim;
    memset(s->q, 0, (size_t)dim * sizeof *s->q);
    if (here >= 0 && here < s->mine.count && !depends(s, here)) /* else an initial one spans nothing new: q = 0 */
        vec_daxpy(s->q, 1 / sqrt(vec_ddot(s->r + here * dim, s->r + here * dim, dim)), s->r + here * dim, dim);
    if (s->world->size > 1)
        world_sum_f64_any_order(s->world, s->q, s->dim);
    blas_dgemv('N', dim, dim, 1, s->moment, dim, s->q, 0, s->w);
    double bend = vec_ddot(s->q, s->w, dim);
#pragma omp parallel for schedule(static) if (s->mine.count * dim > 65536)
    for (int64_t i = 0; i < s->mine.count; i++) {
        double *r = s->r + i * dim, a = vec_ddot(s->q, r, dim);
        s->drop[i] += a * (a * bend - 2 * vec_ddot(s->w, r, dim));
        s->left[i] = fmax(0, s->left[i] - a * a);
        vec_daxpy(r, -a, s->q, dim);
    }
    if (here >= 0 && here < s->mine.count)
        s->left[here] = 0;
}
