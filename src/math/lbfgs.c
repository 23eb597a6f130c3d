/* L-BFGS (Nocedal 1980; Liu & Nocedal 1989) by liblbfgs, with the stopping rule of scikit-learn's lbfgs solver: the
 * largest |gradient|. A failed line search restarts from the best point; when that brings nothing, the best point is
 * the answer. The objective, and any sum over ranks in it, is the caller's. */
#include "math/lbfgs.h"

#include <lbfgs.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

enum { MEMORY = 10, LINE_SEARCH_TRIALS = 50, RESTARTS = 5 };

struct search {
    lbfgs_objective *objective;
    void *data;
    const struct lbfgs_stop *stop;
    double *best; /* [n] point of the lowest value seen */
    double best_value;
    int64_t n;
    int iterations;
    bool converged;
};

static double largest(const double *g, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fabs(g[i]) > most ? fabs(g[i]) : most;
    return most;
}

static bool enough(const struct search *s, const double *g, double value)
{
    return s->stop->done ? s->stop->done(s->data, g, value, s->n) : largest(g, s->n) <= s->stop->tolerance;
}

static void keep(struct search *s, const double *x, double value)
{
    memcpy(s->best, x, (size_t)s->n * sizeof *x);
    s->best_value = value;
}

static lbfgsfloatval_t evaluate(void *instance, const lbfgsfloatval_t *x, lbfgsfloatval_t *g, const int n,
                                const lbfgsfloatval_t step)
{
    (void)n, (void)step;
    struct search *s = instance;
    const double value = s->objective(s->data, x, g, s->n);
    if (value < s->best_value)
        keep(s, x, value);
    return value;
}

static int progress_made(void *instance, const lbfgsfloatval_t *x, const lbfgsfloatval_t *g, const lbfgsfloatval_t fx,
                         const lbfgsfloatval_t xnorm, const lbfgsfloatval_t gnorm, const lbfgsfloatval_t step, int n,
                         int k, int ls)
{
    (void)xnorm, (void)gnorm, (void)step, (void)n, (void)k, (void)ls;
    struct search *s = instance;
    s->iterations++;
    if (enough(s, g, fx)) {
        keep(s, x, fx);
        s->converged = true;
    }
    return s->converged || s->iterations >= s->stop->max_iter;
}

/* Value and gradient at the start; true when nothing is to be done. */
static bool start_is_minimum(struct search *s, const double *x, double *g)
{
    const double value = s->objective(s->data, x, g, s->n);
    require(isfinite(value), EXIT_INTERNAL, "L-BFGS: the objective is %g at the start\ncheck the inputs for NaN",
            value);
    keep(s, x, value);
    s->converged = enough(s, g, value);
    return s->stop->max_iter <= 0 || s->converged;
}

int lbfgs_minimise(double *x, int64_t n, lbfgs_objective *objective, void *data, const struct lbfgs_stop *stop,
                   double *value, bool *done)
{
    require(n > 0 && n <= INT_MAX - 64, EXIT_INTERNAL, "L-BFGS: %lld variables; 1 to 2^31 are possible", (long long)n);
    double *point = lbfgs_malloc((int)n), *best = lbfgs_malloc((int)n); /* aligned as the library's vector code needs */
    require(point && best, EXIT_INTERNAL, "L-BFGS: no memory for %lld variables", (long long)n);
    struct search s = { objective, data, stop, best, INFINITY, n, 0, false };
    lbfgs_parameter_t parameter;
    lbfgs_parameter_init(&parameter);
    parameter.m = MEMORY;
    parameter.epsilon = 0; /* the rule is ours: progress_made */
    parameter.max_linesearch = LINE_SEARCH_TRIALS;

    memcpy(point, x, (size_t)n * sizeof *x);
    bool over = start_is_minimum(&s, point, x); /* x serves as the first gradient */
    for (int attempt = 0; !over && attempt <= RESTARTS; attempt++) {
        const double before = s.best_value;
        memcpy(point, s.best, (size_t)n * sizeof *point);
        lbfgs((int)n, point, NULL, evaluate, progress_made, &s, &parameter);
        over = s.converged || s.iterations >= stop->max_iter || !(s.best_value < before);
    }
    memcpy(x, s.best, (size_t)n * sizeof *x);
    if (value)
        *value = s.best_value;
    if (done)
        *done = s.converged;
    lbfgs_free(point);
    lbfgs_free(best);
    return s.iterations;
}
