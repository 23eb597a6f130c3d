/* Lazy greedy: a queue of gains of earlier steps (Minoux 1978), exact or
 * approximate. Batches of stale leaders are refreshed at once: the same picks,
 * fewer messages. */
#include <math.h>

#include "base/arena.h"
#include "concept/select/greedy_run.h"

/* A heap of candidates, largest bound first and the lowest candidate among equals. */
struct queue {
    int64_t *heap; /* [n] places in cand */
    int64_t n;
    const int64_t *cand; /* [all] increasing */
    double *gain, *key;  /* [all] last known; key = gain, or gain per cost */
    int64_t *step;       /* [all] at which it was formed */
    int64_t now;
    double slack; /* by which rounding may let a gain grow */
};

static double bound(const struct queue *q, int64_t a)
{
    return q->step[a] == q->now ? q->key[a] : q->key[a] + q->slack;
}

static bool leads(const struct queue *q, int64_t a, int64_t b)
{
    double first = bound(q, a), second = bound(q, b);
    return first > second || (first == second && a < b);
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

static void queue_push(struct queue *q, int64_t place)
{
    int64_t at = q->n++;
    for (int64_t parent = (at - 1) / 2; at > 0 && leads(q, place, q->heap[parent]); parent = (at - 1) / 2) {
        q->heap[at] = q->heap[parent];
        at = parent;
    }
    q->heap[at] = place;
}

static int64_t queue_pop(struct queue *q)
{
    int64_t top = q->heap[0];
    q->heap[0] = q->heap[--q->n];
    if (q->n > 0)
        queue_down(q, 0);
    return top;
}

static void heapify(struct queue *q)
{
    for (int64_t at = q->n / 2 - 1; at >= 0; at--)
        queue_down(q, at);
}

/* A batch doubles while a step goes on: few evaluations when the first guess is right, few messages when it is not. */
enum { BATCH_FIRST = 8, BATCH_MOST = 1024 };

/* All candidates with their gains, formed now. */
static struct queue queue_create(struct greedy_run *run)
{
    int64_t n = run->left;
    struct queue q = { .heap = arena_array(run->scratch, int64_t, n + 1),
                       .n = n,
                       .cand = run->open,
                       .gain = arena_array(run->scratch, double, n + 1),
                       .key = arena_array(run->scratch, double, n + 1),
                       .step = arena_array(run->scratch, int64_t, n + 1) };
    if (n > 0)
        run_evaluate(run, q.gain, run->open, n);
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        q.heap[i] = i;
        q.key[i] = run_key(run, run->open[i], q.gain[i]);
        most = fmax(most, fabs(q.key[i]));
    }
    heapify(&q);
    /* Sums of the state grow to count times the largest first gain, and with them their rounding. */
    q.slack = run->goal->exact ? 0 : 1e-13 * most * (double)(run->spec->count + 1);
    return q;
}

/* Gains of a batch taken off the queue, and back onto it. */
static void refresh(struct greedy_run *run, struct queue *q, const int64_t *place, int64_t count, int64_t *list,
                    double *gains)
{
    for (int64_t i = 0; i < count; i++)
        list[i] = q->cand[place[i]];
    run_evaluate(run, gains, list, count);
    for (int64_t i = 0; i < count; i++) {
        /* Tiles of another shape may round another way: a bound stays a bound. */
        double gain = q->slack > 0 || gains[i] < q->gain[place[i]] ? gains[i] : q->gain[place[i]];
        q->gain[place[i]] = gain;
        q->key[place[i]] = run_key(run, list[i], gain);
        q->step[place[i]] = q->now;
        queue_push(q, place[i]);
    }
}

/* Refreshes stale leaders until the leader is fresh. A stale leader that ties with a fresh one and has the lower
 * number stands above it in the queue, so it is refreshed first: ties end as in the naive optimiser. */
static void refresh_leaders(struct greedy_run *run, struct queue *q, int64_t *place, int64_t *list, double *gains)
{
    for (int64_t batch = BATCH_FIRST; q->n > 0 && q->step[q->heap[0]] != q->now;
         batch = batch < BATCH_MOST ? 2 * batch : batch) {
        int64_t count = 0;
        while (count < batch && q->n > 0 && q->step[q->heap[0]] != q->now) {
            int64_t top = queue_pop(q);
            if (run_fits(run, q->cand[top]))
                place[count++] = top;
        }
        if (count > 0)
            refresh(run, q, place, count, list, gains);
    }
}

void select_lazy(struct greedy_run *run)
{
    struct queue q = queue_create(run);
    double gains[BATCH_MOST];
    int64_t place[BATCH_MOST], list[BATCH_MOST];
    while (!run_ends(run)) {
        refresh_leaders(run, &q, place, list, gains);
        if (q.n == 0)
            return;
        int64_t best = queue_pop(&q);
        if (!run_fits(run, q.cand[best]))
            continue;
        run_take(run, q.cand[best], q.gain[best]);
        q.now++;
        if (q.slack > 0)
            heapify(&q); /* the fresh ones are stale now: their bounds rose */
    }
}

/* The first stale leader whose refreshed gain is at least beta of the old one. Gains within a step do not depend on
 * each other, so a batch is refreshed ahead and gone through in order. */
void select_approximate(struct greedy_run *run)
{
    enum { AHEAD = 8 };
    struct queue q = queue_create(run);
    q.slack = 0;
    heapify(&q);
    while (!run_ends(run) && q.n > 0) {
        int64_t place[AHEAD], list[AHEAD], count = 0, best = -1;
        double gains[AHEAD];
        while (count < AHEAD && q.n > 0 && (count == 0 || q.step[q.heap[0]] != q.now)) {
            int64_t top = queue_pop(&q);
            if (!run_fits(run, q.cand[top]))
                continue;
            list[count] = q.cand[top];
            place[count++] = top;
        }
        if (count == 0)
            return;
        if (q.step[place[0]] == q.now)
            best = 0, gains[0] = q.gain[place[0]];
        else
            run_evaluate(run, gains, list, count);
        int64_t seen = 0;
        for (; best < 0 && seen < count; seen++) {
            int64_t p = place[seen];
            double before = q.key[p], key = run_key(run, list[seen], gains[seen]);
            /* One put back with a smaller gain may stand above the rest of the batch: then that one is next. */
            if (seen > 0 && q.n > 0 && q.step[q.heap[0]] == q.now && leads(&q, q.heap[0], p))
                break;
            if (key >= run->spec->beta * before) {
                best = seen;
                break;
            }
            q.gain[p] = gains[seen];
            q.key[p] = key;
            q.step[p] = q.now;
            queue_push(&q, p);
        }
        int64_t taken = best;
        for (int64_t i = best < 0 ? seen : best + 1; i < count; i++)
            queue_push(&q, place[i]); /* as they were */
        if (taken < 0)
            continue;
        run_take(run, list[taken], gains[taken]);
        q.now++;
    }
}

void select_two_stage(struct greedy_run *run)
{
    enum { FIRST = 10 };
    struct greedy_spec first = *run->spec;
    const struct greedy_spec *whole = run->spec;
    first.count = whole->count < FIRST ? whole->count : FIRST;
    run->spec = &first;
    select_naive(run);
    run->spec = whole;
    if (!run_ends(run) && run->left > 0)
        select_lazy(run);
}
