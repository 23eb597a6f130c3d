/* Selection in parts: greedi (Mirzasoleiman et al. 2013) and the tree greedyml
 * (arXiv 2403.10332). Parts are drawn by candidate, not by rank: a part is
 * worked by one rank alone, with its own matrix, so picks and gains do not
 * depend on how many ranks there are. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "concept/select/greedy_run.h"
#include "dist/progress.h"
#include "dist/world.h"

/* Candidates in groups: members of node k are member[first[k]] ... member[first[k + 1] - 1], increasing. */
struct nodes {
    int64_t count, *first, *member;
};

struct parts {
    const struct greedy_problem *problem;
    const struct greedy_spec *spec;
    struct greedy_cost *cost;
    struct arena *scratch;
    bool matrix; /* the vectors are rows of a square matrix */
    const char *why;
};

static void sift(int64_t *x, int64_t at, int64_t n)
{
    for (int64_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && x[child + 1] > x[child])
            child++;
        if (x[child] <= x[at])
            return;
        int64_t kept = x[child];
        x[child] = x[at];
        x[at] = kept;
        at = child;
    }
}

void run_sort(int64_t *x, int64_t n)
{
    for (int64_t at = n / 2 - 1; at >= 0; at--)
        sift(x, at, n);
    for (int64_t last = n - 1; last > 0; last--) {
        int64_t kept = x[0];
        x[0] = x[last];
        x[last] = kept;
        sift(x, 0, last);
    }
}

/* greedyml: nodes of equal size all the way up. Parts of m candidates cost n m D flops and the tree above them
 * n / m (arity count)^2 D: least at m = arity count. greedi: eight, as apricot. */
static int64_t parts_wanted(const struct greedy_spec *spec, int64_t n)
{
    enum { LEAST = 8 };
    int64_t member = spec->arity * spec->count, parts = member > 0 ? (n + member - 1) / member : 1;
    if (spec->parts > 0)
        return spec->parts;
    return spec->optimiser->tree && parts > LEAST ? parts : LEAST;
}

/* The candidates in random parts of equal size. */
static struct nodes draw_parts(struct parts *p)
{
    int64_t n = p->problem->ground->n, left = 0;
    struct rng rng = { .seed = p->spec->seed, .purpose = RNG_SELECT, .epoch = DRAW_PARTS };
    int64_t *order = arena_array(p->scratch, int64_t, n + 1);
    rng_permutation(&rng, 0, order, n);
    for (int64_t i = 0; i < n; i++)
        if (!p->spec->barred || !p->spec->barred[order[i]])
            order[left++] = order[i];
    int64_t wanted = parts_wanted(p->spec, left), count = wanted < left ? wanted : left > 0 ? left : 1;
    struct nodes nodes = { count, arena_array(p->scratch, int64_t, count + 1), order };
    for (int64_t k = 0; k < count; k++) {
        struct span part = shard_rows(left, (int)count, (int)k);
        nodes.first[k] = part.first;
        nodes.first[k + 1] = part.first + part.count;
        run_sort(order + part.first, part.count);
    }
    return nodes;
}

/* Vectors of the members (of a square matrix: their columns as well). Collective when no rank holds all vectors. */
static float *member_vectors(const struct parts *p, const int64_t *member, int64_t count)
{
    const struct ground *g = p->problem->ground;
    bool whole = g->mine.count == g->n;
    int64_t width = p->matrix ? count : g->dim;
    float *x = arena_take_raw(p->scratch, (size_t)(count * width + 1), sizeof *x);
    if (!whole) {
        world_fetch_rows(p->problem->world, x, member, count, g->vectors, g->mine.first, g->mine.count,
                         (size_t)g->dim * sizeof *x);
        return x;
    }
    for (int64_t i = 0; i < count; i++)
        for (int64_t d = 0; d < width; d++)
            x[i * width + d] = g->vectors[member[i] * g->dim + (p->matrix ? member[d] : d)];
    return x;
}

static double *members_of(struct arena *arena, const double *values, const int64_t *member, int64_t count)
{
    double *out = values ? arena_array(arena, double, count + 1) : NULL;
    for (int64_t i = 0; values && i < count; i++)
        out[i] = values[member[i]];
    return out;
}

/* One node, on this rank alone. Returns its picks' number. */
static int64_t select_node(struct parts *p, int64_t *picks, double *gains, const int64_t *member, int64_t count,
                           const float *vectors, int64_t most)
{
    struct world alone = { .rank = 0, .size = 1, .node_size = 1, .nodes = 1, .threads = p->problem->world->threads };
    struct term_spec term[GOAL_TERMS];
    for (int t = 0; t < p->problem->terms; t++) {
        term[t] = p->problem->term[t];
        term[t].score = members_of(p->scratch, term[t].score, member, count);
    }
    struct ground ground = { count, p->matrix ? (int)count : p->problem->ground->dim, vectors, { 0, count }, 1 };
    while (count / ground.leaves > 512)
        ground.leaves *= 2;
    const char *why = NULL;
    struct goal *goal = goal_create(p->scratch, &alone, &ground, term, p->problem->terms, true, &why);
    if (!goal) {
        p->why = why;
        return 0;
    }
    struct greedy_spec spec = *p->spec;
    spec.count = most < count ? most : count;
    spec.cost = members_of(p->scratch, p->spec->cost, member, count);
    struct greedy_run run = { .picks = picks, .gains = gains, .spec = &spec, .goal = goal, .scratch = p->scratch };
    run.open = arena_array(p->scratch, int64_t, count + 1);
    for (int64_t i = 0; i < count; i++)
        run.open[run.left++] = i;
    int64_t taken = run_on_goal(&run, p->spec->optimiser);
    for (int64_t i = 0; i < taken; i++)
        picks[i] = member[picks[i]];
    p->cost->evaluations += run.cost.evaluations;
    p->cost->naive_instead = p->cost->naive_instead || run.cost.naive_instead;
    p->cost->bytes = fmax(p->cost->bytes, goal->bytes);
    return taken;
}

/* One value of this rank or zero from the others: sums are exact. */
static void share(const struct parts *p, int64_t *values, int64_t count)
{
    int most = 1 << 20;
    for (int64_t at = 0; p->problem->world->size > 1 && at < count; at += most)
        world_sum_i64(p->problem->world, values + at, (int)(count - at < most ? count - at : most));
}

/* Every node picks `most`; ranks share the nodes. gains [most] of the last node, on every rank. Collective. */
static struct nodes select_level(struct parts *p, struct nodes nodes, int64_t most, double *gains)
{
    const struct world *world = p->problem->world;
    struct span mine = shard_rows(nodes.count, world->size, world->rank);
    int64_t trips = (nodes.count + world->size - 1) / world->size;
    int64_t *picks = arena_array(p->scratch, int64_t, nodes.count * most),
            *bits = arena_array(p->scratch, int64_t, most);
    int64_t *taken = arena_array(p->scratch, int64_t, nodes.count + 1);
    int64_t before = p->cost->evaluations, formed;
    for (int64_t t = 0; t < trips; t++) {
        struct arena_mark mark = arena_mark(p->scratch);
        int64_t k = t < mine.count ? mine.first + t : -1, count = k < 0 ? 0 : nodes.first[k + 1] - nodes.first[k];
        const int64_t *member = nodes.member + (k < 0 ? 0 : nodes.first[k]);
        const float *vectors = member_vectors(p, member, count);
        double *own = arena_array(p->scratch, double, most);
        if (k >= 0)
            taken[k] = select_node(p, picks + k * most, own, member, count, vectors, most);
        if (k == nodes.count - 1)
            memcpy(bits, own, (size_t)most * sizeof *bits);
        arena_release(p->scratch, mark);
        progress("select", "parts", (double)(t + 1), (double)trips, "round");
    }
    share(p, picks, nodes.count * most);
    share(p, taken, nodes.count);
    share(p, bits, most);
    memcpy(gains, bits, (size_t)most * sizeof *gains);
    formed = p->cost->evaluations - before;
    share(p, &formed, 1);
    p->cost->evaluations = before + formed;
    int64_t wrong = p->why != NULL;
    share(p, &wrong, 1);
    if (wrong && !p->why)
        p->why = "the objective does not fit the vectors";
    p->cost->rounds++;
    struct nodes out = { nodes.count, arena_array(p->scratch, int64_t, nodes.count + 1), picks };
    for (int64_t k = 0, at = 0; k < nodes.count; k++) {
        memmove(picks + at, picks + k * most, (size_t)taken[k] * sizeof *picks);
        at += taken[k];
        out.first[k + 1] = at;
    }
    return out;
}

/* Unions of `arity` neighbours. */
static struct nodes unite(struct parts *p, struct nodes nodes, int64_t arity)
{
    int64_t count = (nodes.count + arity - 1) / arity;
    struct nodes out = { count, arena_array(p->scratch, int64_t, count + 1), nodes.member };
    for (int64_t k = 0; k < count; k++) {
        int64_t end = (k + 1) * arity < nodes.count ? (k + 1) * arity : nodes.count;
        out.first[k + 1] = nodes.first[end];
        run_sort(out.member + out.first[k], out.first[k + 1] - out.first[k]);
    }
    return out;
}

/* greedi's last step: the union as candidates, all rows behind the gains. */
static int64_t select_union(struct parts *p, int64_t *picks, double *gains, struct nodes parts)
{
    const struct greedy_problem *problem = p->problem;
    struct nodes all = unite(p, parts, parts.count);
    struct greedy_spec spec = *p->spec;
    bool *barred = arena_array(p->scratch, bool, problem->ground->n);
    memset(barred, 1, (size_t)problem->ground->n * sizeof *barred);
    for (int64_t i = 0; i < all.first[1]; i++)
        barred[all.member[i]] = false;
    spec.barred = barred;
    spec.optimiser = optimiser_find("lazy");
    struct greedy_cost cost;
    int64_t taken = greedy_select(picks, gains, problem, &spec, &cost, p->scratch, &p->why);
    p->cost->evaluations += cost.evaluations;
    p->cost->rounds += cost.rounds;
    p->cost->start = cost.start;
    p->cost->picks = cost.picks;
    p->cost->bytes = fmax(p->cost->bytes, cost.bytes);
    return taken;
}

int64_t select_in_parts(int64_t *picks, double *gains, const struct greedy_problem *problem,
                        const struct greedy_spec *spec, struct greedy_cost *cost, struct arena *scratch,
                        const char **why)
{
    struct parts p = { problem, spec, cost, scratch, false, NULL };
    for (int t = 0; t < problem->terms; t++)
        p.matrix = p.matrix || (problem->term[t].similarity && problem->term[t].similarity->is_matrix);
    struct nodes nodes = draw_parts(&p);
    int64_t count = spec->count, n = problem->ground->n, taken = 0;
    double *level = arena_array(scratch, double, count + 1);
    if (!spec->optimiser->tree) {
        /* count / 4 in each part as apricot has it, but enough that the union holds `count`. */
        int64_t each = count / 4 < n / nodes.count ? count / 4 : n / nodes.count;
        int64_t least = (count + nodes.count - 1) / nodes.count;
        each = each < least ? least : each;
        nodes = select_level(&p, nodes, each < count ? each : count, level);
        taken = p.why ? 0 : select_union(&p, picks, gains, nodes);
    } else {
        for (nodes = select_level(&p, nodes, count, level); !p.why && nodes.count > 1;)
            nodes = select_level(&p, unite(&p, nodes, spec->arity), count, level);
        taken = p.why ? 0 : nodes.first[1];
        memcpy(picks, nodes.member, (size_t)taken * sizeof *picks);
        memcpy(gains, level, (size_t)taken * sizeof *gains);
    }
    *why = p.why;
    return p.why ? -1 : taken;
}
