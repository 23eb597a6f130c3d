/* The published search for the penalty of the head: a grid, then halving. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "concept/head.h"
#include "dist/progress.h"

enum { GRID = 7, STEPS = 8, MOST_TRIALS = GRID + 2 + STEPS, FIRST = -6, LAST = 4 };
/* log10 C, in the published order: the first maximum wins. */
static const double GRID_LOG10[GRID] = { 6, 4, 2, 0, -2, -4, -6 };

struct search {
    struct head_rows *rows;
    double tolerance;
    int max_iter;
    head_validate *validate;
    void *data;
    struct arena *arena, *scratch;
    int most;                  /* trials at most, for progress */
    struct head_trial *trials; /* [MOST_TRIALS] */
    struct head heads[MOST_TRIALS];
    int fits;
};

/* Starts from the solution whose C is nearest, the earliest of equals: the grid is climbed from small C, so each fit
 * begins a little short of where it ends. */
static void start_from_nearest(struct head *head, const struct search *s, double log10_c)
{
    int nearest = -1;
    for (int t = 0; t < s->fits; t++)
        if (nearest < 0 || fabs(s->trials[t].log10_c - log10_c) < fabs(s->trials[nearest].log10_c - log10_c))
            nearest = t;
    if (nearest >= 0)
        memcpy(head->weight, s->heads[nearest].weight,
               (size_t)head->classes * (size_t)(head->dim + 1) * sizeof *head->weight);
}

/* The trial with this C, fitted unless it has been. */
static int trial(struct search *s, double log10_c)
{
    for (int t = 0; t < s->fits; t++)
        if (s->trials[t].log10_c == log10_c)
            return t;
    struct head head = head_create(s->arena, s->rows->classes, s->rows->dim);
    start_from_nearest(&head, s, log10_c);
    struct head_trial *t = &s->trials[s->fits];
    t->log10_c = log10_c;
    t->iterations = head_fit(&head, s->rows, pow(10, log10_c), s->tolerance, s->max_iter, s->scratch);
    t->score = s->validate(s->data, &head);
    s->heads[s->fits] = head;
    progress("classify", "search for C", s->fits + 1, s->most, "fit");
    return s->fits++;
}

static double best_of_grid(struct search *s)
{
    double score[GRID];
    for (int g = GRID - 1; g >= 0; g--)
        score[g] = s->trials[trial(s, GRID_LOG10[g])].score;
    int best = 0;
    for (int g = 1; g < GRID; g++)
        best = score[g] > score[best] ? g : best;
    return GRID_LOG10[best];
}

static struct head_search answer(struct head *head, const struct search *s, int chosen)
{
    progress_end();
    *head = s->heads[chosen];
    return (struct head_search){
        .c = pow(10, s->trials[chosen].log10_c), .score = s->trials[chosen].score, .fits = s->fits, .trials = s->trials
    };
}

struct head_search head_search(struct head *head, struct head_rows *rows, double tolerance, int max_iter,
                               head_validate *validate, void *data, struct arena *arena, struct arena *scratch)
{
    struct search s = { rows, tolerance, max_iter, validate, data, arena, scratch, .most = GRID + 2 + STEPS };
    s.trials = arena_array(arena, struct head_trial, MOST_TRIALS);
    double peak = best_of_grid(&s), left = peak - 1, right = peak + 1;
    for (int step = 0; step < STEPS; step++) {
        double at_left = s.trials[trial(&s, left)].score, at_right = s.trials[trial(&s, right)].score;
        double middle = 0.5 * (left + right);
        if (at_left < at_right)
            left = middle;
        else
            right = middle;
    }
    return answer(head, &s, trial(&s, left));
}

struct head_search head_search_smallest(struct head *head, struct head_rows *rows, double tolerance, int max_iter,
                                        head_validate *validate, void *data, struct arena *arena, struct arena *scratch)
{
    struct search s = { rows, tolerance, max_iter, validate, data, arena, scratch, .most = LAST - FIRST + 1 };
    s.trials = arena_array(arena, struct head_trial, MOST_TRIALS);
    int best = 0;
    for (int log10_c = FIRST; log10_c <= LAST; log10_c++) {
        int t = trial(&s, log10_c);
        best = s.trials[t].score > s.trials[best].score ? t : best;
    }
    return answer(head, &s, best);
}

int head_search_iterations(const struct head_search *search)
{
    int chosen = 0;
    double at = log10(search->c);
    for (int f = 1; f < search->fits; f++)
        if (fabs(search->trials[f].log10_c - at) < fabs(search->trials[chosen].log10_c - at))
            chosen = f;
    return search->trials[chosen].iterations;
}
