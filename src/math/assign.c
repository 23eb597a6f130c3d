/* Assignment by shortest augmenting paths: rows that the greedy start leaves free are matched one after another, each
 * along the cheapest path over reduced costs -value - u - v >= 0, after which the prices u, v make its edges free. */
#include "math/assign.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

struct state {
    int32_t n;
    const float *value;
    double *u, *v;               /* [n] prices of rows and of columns */
    int32_t *column_of, *row_of; /* [n] -1 = free */
    /* One search: */
    double *distance;     /* [n] of each column from the free row */
    int32_t *from, *open; /* [n] row before each column; columns not reached yet, in no order */
    int32_t *closed;      /* [n] columns reached, in the order they were */
};

static double cost(const struct state *s, int32_t i, int32_t j)
{
    return -(double)s->value[(int64_t)i * s->n + j];
}

/* Prices that leave no reduced cost below 0, and the pairs that are free of cost at once. */
static void start(struct state *s)
{
    for (int32_t j = 0; j < s->n; j++) {
        s->v[j] = INFINITY;
        s->column_of[j] = s->row_of[j] = -1;
    }
    for (int32_t i = 0; i < s->n; i++)
        for (int32_t j = 0; j < s->n; j++)
            s->v[j] = fmin(s->v[j], cost(s, i, j));
    for (int32_t i = 0; i < s->n; i++) {
        int32_t best = 0;
        for (int32_t j = 1; j < s->n; j++)
            best = cost(s, i, j) - s->v[j] < cost(s, i, best) - s->v[best] ? j : best;
        s->u[i] = cost(s, i, best) - s->v[best];
        if (s->row_of[best] < 0) {
            s->row_of[best] = i;
            s->column_of[i] = best;
        }
    }
}

/* Goes over the open columns from row i at distance `base`; returns the place in `open` of the nearest. */
static int32_t relax(struct state *s, int32_t i, double base, int32_t left)
{
    const float *row = s->value + (int64_t)i * s->n;
    int32_t best = 0;
    base -= s->u[i];
    for (int32_t o = 0; o < left; o++) {
        const int32_t j = s->open[o], b = s->open[best];
        const double through = base - (double)row[j] - s->v[j];
        if (through < s->distance[j]) {
            s->distance[j] = through;
            s->from[j] = i;
        }
        if (s->distance[j] < s->distance[b] || (s->distance[j] <= s->distance[b] && j < b))
            best = o;
    }
    return best;
}

static void match(struct state *s, int32_t free_row)
{
    int32_t left = s->n, reached = 0, i = free_row, j;
    double base = 0;
    for (int32_t k = 0; k < s->n; k++) {
        s->open[k] = k;
        s->distance[k] = INFINITY;
    }
    for (;;) {
        const int32_t place = relax(s, i, base, left);
        j = s->open[place];
        base = s->distance[j];
        if (s->row_of[j] < 0)
            break;
        s->closed[reached++] = j;
        s->open[place] = s->open[--left];
        i = s->row_of[j];
    }
    s->u[free_row] += base;
    for (int32_t c = 0; c < reached; c++) {
        const int32_t column = s->closed[c];
        s->u[s->row_of[column]] += base - s->distance[column];
        s->v[column] -= base - s->distance[column];
    }
    for (bool done = false; !done;) { /* every row of the path moves on to the column it was reached from */
        const int32_t row = s->from[j], before = s->column_of[row];
        s->row_of[j] = row;
        s->column_of[row] = j;
        done = row == free_row;
        j = before;
    }
}

double assign_rows(int32_t *column_of, struct arena *scratch, const float *value, int32_t n)
{
    struct arena_mark mark = arena_mark(scratch);
    struct state s = { .n = n, .value = value, .column_of = column_of };
    double sum = 0;
    s.u = arena_array(scratch, double, n);
    s.v = arena_array(scratch, double, n);
    s.distance = arena_array(scratch, double, n);
    s.row_of = arena_array(scratch, int32_t, n);
    s.from = arena_array(scratch, int32_t, n);
    s.open = arena_array(scratch, int32_t, n);
    s.closed = arena_array(scratch, int32_t, n);
    if (arena_is_plan(scratch)) {
        arena_release(scratch, mark);
        return 0;
    }
    start(&s);
    for (int32_t i = 0; i < n; i++)
        if (column_of[i] < 0)
            match(&s, i);
    for (int32_t i = 0; i < n; i++)
        sum += (double)value[(int64_t)i * n + column_of[i]];
    arena_release(scratch, mark);
    return n > 0 ? sum / n : 0;
}
