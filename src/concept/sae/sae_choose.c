/* The choice among several autoencoders: limits first, then the smallest of one figure, or the knee of two. */
#include "concept/sae_choose.h"

#include <math.h>

static bool exists(const struct sae_score *s)
{
    return isfinite(s->fvu) && isfinite(s->l0) && isfinite(s->dead);
}

static bool within(const struct sae_score *s, const struct sae_criterion *c)
{
    return s->dead <= c->max_dead && s->fvu <= c->max_fvu && (!(c->max_l0 > 0) || s->l0 <= c->max_l0);
}

/* Smallest `first`, then smallest `second`, then lowest number. */
static bool before(double first, double second, double best_first, double best_second)
{
    return first < best_first || (!(first > best_first) && second < best_second);
}

static int smallest(const struct sae_score *s, const bool *candidate, int count, bool by_l0)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        const double a = by_l0 ? s[i].l0 : s[i].fvu, b = by_l0 ? s[i].fvu : s[i].l0;
        if (candidate[i] &&
            (best < 0 || before(a, b, by_l0 ? s[best].l0 : s[best].fvu, by_l0 ? s[best].fvu : s[best].l0)))
            best = i;
    }
    return best;
}

/* A model that another one is at least equal to in both figures cannot have the least sum alone. */
static struct sae_choice knee(const struct sae_score *s, const bool *candidate, int count)
{
    const int sparse = smallest(s, candidate, count, true), exact = smallest(s, candidate, count, false);
    if (sparse < 0 || !(s[exact].l0 > s[sparse].l0))
        return (struct sae_choice){ exact, false };
    int best = exact;
    double least = 1;
    for (int i = 0; i < count; i++) {
        const double x = (s[i].l0 - s[sparse].l0) / (s[exact].l0 - s[sparse].l0);
        const double y = (s[i].fvu - s[exact].fvu) / (s[sparse].fvu - s[exact].fvu);
        if (candidate[i] && x + y < least) {
            least = x + y;
            best = i;
        }
    }
    return (struct sae_choice){ best, least < 1 };
}

struct sae_choice sae_choose(bool *admitted, const struct sae_score *s, int count, const struct sae_criterion *c)
{
    int within_limits = 0;
    struct sae_choice choice = { -1, false };
    for (int i = 0; i < count; i++)
        within_limits += admitted[i] = exists(&s[i]) && within(&s[i], c);
    for (int i = 0; i < count && within_limits == 0; i++) /* for the choice only */
        admitted[i] = exists(&s[i]);
    if (c->goal == SAE_GOAL_KNEE)
        choice = knee(s, admitted, count);
    else
        choice.kept = smallest(s, admitted, count, c->goal == SAE_GOAL_L0);
    for (int i = 0; i < count && within_limits == 0; i++)
        admitted[i] = false;
    return choice;
}
