/* Greedy selection: which candidate to take next. Gains come from coverage.c,
 * the same on every rank, so every rank decides alike without another message. */
#include "concept/greedy.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "concept/coverage.h"
#include "dist/progress.h"
#include "dist/tree.h"

struct run {
    int64_t *picks;
    double *gains;
    int64_t count;
    struct coverage *coverage;
    const struct objective *objective;
    struct arena *scratch;
    struct greedy_cost cost;
};

struct optimiser {
    const char *name;
    void (*select)(struct run *run);
};

static void evaluate(struct run *run, double *gains, const int64_t *list, int64_t count, double *stack)
{
    coverage_gains(gains, run->coverage, run->objective, list, count, stack);
    run->cost.evaluations += count;
    run->cost.rounds++;
}

static void take(struct run *run, int64_t step, int64_t cand, double gain)
{
    run->picks[step] = cand;
    run->gains[step] = gain;
    run->objective->take(run->coverage, cand);
    progress("select", run->objective->name, (double)(step + 1), (double)run->count, "pick");
}

static double *take_stack(struct run *run, int64_t count)
{
    return arena_take_raw(run->scratch, (size_t)tree_depth(run->coverage->tree) * (size_t)count, sizeof(double));
}

static void select_naive(struct run *run)
{
    int64_t n = run->coverage->cands;
    double *gains = arena_array(run->scratch, double, n), *stack = take_stack(run, n);
    bool *taken = arena_array(run->scratch, bool, n);
    for (int64_t step = 0; step < run->count; step++) {
        evaluate(run, gains, NULL, n, stack);
        int64_t best = -1;
        for (int64_t i = 0; i < n; i++)
            if (!taken[i] && (best < 0 || gains[i] > gains[best]))
                best = i;
        taken[best] = true;
        take(run, step, best, gains[best]);
    }
}

/* The queue: a heap of candidates, largest gain first and the lowest candidate among equals. */
struct queue {
    int64_t *heap; /* [n] candidates */
    int64_t n;
    double *gain;  /* [cands] last known gain: never below the present one */
    int64_t *step; /* [cands] at which it was formed */
};

static bool leads(const struct queue *q, int64_t a, int64_t b)
{
    return q->gain[a] > q->gain[b] || (q->gain[a] == q->gain[b] && a < b);
}

static void queue_down(struct queue *q, int64_t at)
{
    int64_t moved = q->heap[at];
    for (int64_t child = 2 * at + 1; child < q->n; child = 2 * at + 1) {
        if (child + 1 < q->n && leads(q, q->heap[child + 1], q->heap[child]))
            child++;
        if (!leads(q, q->heap[child], moved))
            break;
        q->heap[at] = q->heap[child];
        at = child;
    }
    q->heap[at] = moved;
}

static void queue_push(struct queue *q, int64_t cand)
{
    int64_t at = q->n++;
    for (int64_t parent = (at - 1) / 2; at > 0 && leads(q, cand, q->heap[parent]); parent = (at - 1) / 2) {
        q->heap[at] = q->heap[parent];
        at = parent;
    }
    q->heap[at] = cand;
}

static int64_t queue_pop(struct queue *q)
{
    int64_t top = q->heap[0];
    q->heap[0] = q->heap[--q->n];
    if (q->n > 0)
        queue_down(q, 0);
    return top;
}

/* A batch doubles while a step goes on: few evaluations when the first guess is right, few messages when it is not. */
enum { BATCH_FIRST = 8, BATCH_MOST = 1024 };

/* Refreshes stale leaders until the leader is fresh. A stale leader that ties with a fresh one and has the lower
 * number stands above it in the queue, so it is refreshed first: ties end as in the naive optimiser. */
static void refresh_leaders(struct run *run, struct queue *q, int64_t step, int64_t *list, double *gains, double *stack)
{
    for (int64_t batch = BATCH_FIRST; q->step[q->heap[0]] != step; batch = batch < BATCH_MOST ? 2 * batch : batch) {
        int64_t count = 0;
        while (count < batch && q->n > 0 && q->step[q->heap[0]] != step)
            list[count++] = queue_pop(q);
        evaluate(run, gains, list, count, stack);
        for (int64_t i = 0; i < count; i++) {
            assert(gains[i] <= q->gain[list[i]]);
            q->gain[list[i]] = gains[i];
            q->step[list[i]] = step;
            queue_push(q, list[i]);
        }
    }
}

static void select_lazy(struct run *run)
{
    int64_t n = run->coverage->cands, room = n > BATCH_MOST ? n : BATCH_MOST;
    struct queue q = { .heap = arena_array(run->scratch, int64_t, n),
                       .gain = arena_array(run->scratch, double, n),
                       .step = arena_array(run->scratch, int64_t, n) };
    double *gains = arena_array(run->scratch, double, BATCH_MOST), *stack = take_stack(run, room);
    int64_t *list = arena_array(run->scratch, int64_t, BATCH_MOST);
    evaluate(run, q.gain, NULL, n, stack);
    for (int64_t i = 0; i < n; i++)
        queue_push(&q, i);
    for (int64_t step = 0; step < run->count; step++) {
        refresh_leaders(run, &q, step, list, gains, stack);
        int64_t best = queue_pop(&q);
        take(run, step, best, q.gain[best]);
    }
}

static const struct optimiser OPTIMISERS[] = {
    { "naive", select_naive },
    { "lazy", select_lazy },
};

const struct optimiser *optimiser_find(const char *name)
{
    for (size_t i = 0; i < sizeof OPTIMISERS / sizeof *OPTIMISERS; i++)
        if (strcmp(OPTIMISERS[i].name, name) == 0)
            return &OPTIMISERS[i];
    return NULL;
}

struct greedy_cost greedy_select(int64_t *picks, double *gains, int64_t count, struct coverage *coverage,
                                 const struct objective *objective, const struct optimiser *optimiser,
                                 struct arena *scratch)
{
    assert(count >= 0 && count <= coverage->cands);
    struct arena_mark mark = arena_mark(scratch);
    struct run run = {
        .picks = picks, .gains = gains, .count = count, .coverage = coverage, .objective = objective, .scratch = scratch
    };
    objective->start(coverage);
    if (count > 0)
        optimiser->select(&run);
    progress_end();
    arena_release(scratch, mark);
    return run.cost;
}
