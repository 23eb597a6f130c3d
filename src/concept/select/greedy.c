/* Greedy selection: which candidate to take next. Gains come from
 * objective.c, the same on every rank, so every rank decides alike without
 * another message. The queues of lazy optimisers are in greedy_lazy.c, parts
 * and trees in greedy_parts.c. */
#include "concept/greedy.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "concept/select/greedy_run.h"
#include "dist/progress.h"
#include "dist/world.h"

/* What was sent since `before`. */
static void add_traffic(struct greedy_traffic *sum, struct greedy_traffic before)
{
    sum->calls += world_calls() - before.calls;
    sum->bytes += world_bytes_sent() - before.bytes;
}

void run_evaluate(struct greedy_run *run, double *gains, const int64_t *list, int64_t count)
{
    struct greedy_traffic before = { world_calls(), world_bytes_sent() };
    goal_gains(gains, run->goal, list, count, run->scratch);
    add_traffic(run->taken > 0 ? &run->cost.picks : &run->cost.start, before);
    run->cost.evaluations += count;
    run->cost.rounds++;
}

double run_key(const struct greedy_run *run, int64_t cand, double gain)
{
    return run->spec->cost ? gain / run->spec->cost[cand] : gain;
}

static double cost_of(const struct greedy_run *run, int64_t cand)
{
    return run->spec->cost ? run->spec->cost[cand] : 1;
}

bool run_fits(const struct greedy_run *run, int64_t cand)
{
    return !(run->spec->budget > 0) || run->spent + cost_of(run, cand) <= run->spec->budget;
}

bool run_ends(const struct greedy_run *run)
{
    return run->taken >= run->spec->count;
}

void run_take(struct greedy_run *run, int64_t cand, double gain)
{
    run->picks[run->taken] = cand;
    run->gains[run->taken++] = gain;
    run->spent += cost_of(run, cand);
    struct greedy_traffic before = { world_calls(), world_bytes_sent() };
    goal_take(run->goal, cand);
    add_traffic(&run->cost.picks, before);
    if (run->shows)
        progress("select", "", (double)run->taken, (double)run->spec->count, "pick");
}

/* Takes what no longer fits the budget off `open`, keeping its order. */
static void drop_misfits(struct greedy_run *run)
{
    int64_t left = 0;
    for (int64_t i = 0; i < run->left; i++)
        if (run_fits(run, run->open[i]))
            run->open[left++] = run->open[i];
    run->left = left;
}

/* Place in `list` of the largest key, the lowest candidate among equals; -1 when none may be taken. */
static int64_t best_of(const struct greedy_run *run, const double *gains, const int64_t *list, int64_t count)
{
    int64_t best = -1;
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        double key = run_key(run, list[i], gains[i]);
        if (key > -INFINITY && (best < 0 || key > most || (key == most && list[i] < list[best]))) {
            best = i;
            most = key;
        }
    }
    return best;
}

void select_naive(struct greedy_run *run)
{
    double *gains = arena_array(run->scratch, double, run->left + 1);
    while (!run_ends(run)) {
        drop_misfits(run);
        if (run->left == 0)
            return;
        run_evaluate(run, gains, run->open, run->left);
        int64_t best = best_of(run, gains, run->open, run->left), cand = best < 0 ? -1 : run->open[best];
        if (best < 0)
            return;
        memmove(run->open + best, run->open + best + 1, (size_t)(--run->left - best) * sizeof *run->open);
        run_take(run, cand, gains[best]);
    }
}

/* Moves `count` random ones of `open` to its front. */
static void shuffle_front(struct greedy_run *run, uint32_t epoch, int64_t step, int64_t count)
{
    struct rng rng = { .seed = run->spec->seed, .purpose = RNG_SELECT, .epoch = epoch };
    for (int64_t t = 0; t < count; t++) {
        int64_t j = t + (int64_t)rng_below(&rng, (uint64_t)step, (uint64_t)t, (uint64_t)(run->left - t));
        int64_t kept = run->open[t];
        run->open[t] = run->open[j];
        run->open[j] = kept;
    }
}

static void select_stochastic(struct greedy_run *run)
{
    double share = -log(run->spec->epsilon) * (double)run->left / (double)run->spec->count;
    int64_t size = share >= 1 ? (int64_t)share : 1;
    double *gains = arena_array(run->scratch, double, size);
    for (int64_t step = 0; !run_ends(run); step++) {
        drop_misfits(run);
        int64_t count = size < run->left ? size : run->left;
        if (count == 0)
            return;
        shuffle_front(run, DRAW_STEP, step, count);
        run_evaluate(run, gains, run->open, count);
        int64_t best = best_of(run, gains, run->open, count);
        if (best < 0)
            return;
        int64_t cand = run->open[best];
        run->open[best] = run->open[--run->left];
        run_take(run, cand, gains[best]);
    }
}

static void select_sample(struct greedy_run *run)
{
    int64_t size = (int64_t)(run->spec->fraction * (double)run->left);
    size = size < run->spec->count ? run->spec->count : size;
    size = size > run->left ? run->left : size;
    shuffle_front(run, DRAW_SAMPLE, 0, size);
    run->left = size;
    run_sort(run->open, size);
    (run->goal->falls ? select_lazy : select_naive)(run);
}

/* Gains reported are those at the pick, so that they add up to the objective. */
static void select_modular(struct greedy_run *run)
{
    double *gains = arena_array(run->scratch, double, run->left + 1);
    run_evaluate(run, gains, run->open, run->left);
    while (!run_ends(run)) {
        int64_t best = best_of(run, gains, run->open, run->left);
        if (best < 0)
            return;
        int64_t cand = run->open[best];
        run->open[best] = run->open[--run->left];
        gains[best] = gains[run->left];
        double gain;
        if (!run_fits(run, cand))
            continue;
        run_evaluate(run, &gain, &cand, 1);
        if (gain > -INFINITY)
            run_take(run, cand, gain);
    }
}

static const struct optimiser OPTIMISERS[] = {
    { .name = "naive", .select = select_naive },
    { .name = "lazy", .select = select_lazy, .lazy = true },
    { .name = "approximate", .select = select_approximate, .lazy = true },
    { .name = "two_stage", .select = select_two_stage, .lazy = true },
    { .name = "stochastic", .select = select_stochastic },
    { .name = "sample", .select = select_sample },
    { .name = "modular", .select = select_modular },
    { .name = "greedi", .select = select_lazy, .lazy = true, .parts = true },
    { .name = "greedyml", .select = select_lazy, .lazy = true, .parts = true, .tree = true },
};

const struct optimiser *optimiser_find(const char *name)
{
    for (size_t i = 0; i < sizeof OPTIMISERS / sizeof *OPTIMISERS; i++)
        if (strcmp(OPTIMISERS[i].name, name) == 0)
            return &OPTIMISERS[i];
    return NULL;
}

void greedy_defaults(struct greedy_spec *spec)
{
    *spec = (struct greedy_spec){ .beta = 0.9, .epsilon = 0.9, .fraction = 0.9, .arity = 2 };
}

int64_t run_on_goal(struct greedy_run *run, const struct optimiser *optimiser)
{
    if (optimiser->lazy && !run->goal->falls) {
        run->cost.naive_instead = true;
        select_naive(run);
    } else {
        optimiser->select(run);
    }
    return run->taken;
}

/* Candidates that may be taken, after the initial ones have been. */
static void open_candidates(struct greedy_run *run, int64_t n)
{
    const struct greedy_spec *spec = run->spec;
    bool *out = arena_array(run->scratch, bool, n), *first = arena_array(run->scratch, bool, n);
    for (int64_t i = 0; i < spec->initial_count; i++) {
        int64_t cand = spec->initial[i];
        if (!first[cand])
            goal_take(run->goal, cand);
        first[cand] = true;
    }
    for (int64_t i = 0; i < n; i++)
        out[i] = first[i] || (spec->barred && spec->barred[i]);
    run->open = arena_array(run->scratch, int64_t, n + 1);
    for (int64_t i = 0; i < n; i++)
        if (!out[i])
            run->open[run->left++] = i;
}

int64_t greedy_select(int64_t *picks, double *gains, const struct greedy_problem *problem,
                      const struct greedy_spec *spec, struct greedy_cost *cost, struct arena *scratch, const char **why)
{
    assert(spec->count >= 0 && spec->count <= problem->ground->n);
    *cost = (struct greedy_cost){ 0 };
    *why = NULL;
    struct arena_mark mark = arena_mark(scratch);
    int64_t taken = 0;
    if (spec->optimiser->parts) {
        taken = select_in_parts(picks, gains, problem, spec, cost, scratch, why);
    } else {
        struct goal *goal =
            goal_create(scratch, problem->world, problem->ground, problem->term, problem->terms, problem->store, why);
        struct greedy_run run = {
            .picks = picks, .gains = gains, .spec = spec, .goal = goal, .scratch = scratch, .shows = true
        };
        if (goal) {
            open_candidates(&run, problem->ground->n);
            taken = run_on_goal(&run, spec->optimiser);
            *cost = run.cost;
            cost->bytes = goal->bytes;
        }
        taken = goal ? taken : -1;
    }
    progress_end();
    arena_release(scratch, mark);
    return taken;
}
