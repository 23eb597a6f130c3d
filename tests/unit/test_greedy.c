/* Greedy selection on one rank: naive and lazy agree to the bit, gains are what the definition says, and fall. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "concept/greedy.h"
#include "config/key.h"
#include "dist/world.h"
#include "math/blas.h"

static struct world *world;
static struct arena *arena;

/* Random vectors, with copies and a zero row when `copies`. */
static float *vectors(int n, int dim, uint64_t seed, bool copies)
{
    struct rng rng = { .seed = seed, .purpose = RNG_TEST };
    float *x = arena_array(arena, float, n *dim);
    for (int i = 0; i < n; i++) {
        uint64_t row = copies ? rng_below(&rng, (uint64_t)i, 1 << 20, (uint64_t)(n / 3 + 1)) : (uint64_t)i;
        for (int d = 0; d < dim; d++)
            x[i * dim + d] = copies && row == 0 ? 0 : (float)rng_normal(&rng, row, (uint64_t)d);
    }
    return x;
}

struct result {
    int64_t picks[400];
    double gains[400];
    struct greedy_cost cost;
};

static int64_t run_one(struct result *r, const char *objective, const char *similarity, const char *optimiser,
                       const float *x, int n, int dim, int count, const char **why)
{
    struct term_spec term = { .objective = objective_find(objective),
                              .similarity = similarity_find(similarity),
                              .weight = 1,
                              .parameter = objective_find(objective)->parameter };
    struct ground ground = { n, dim, x, { 0, n }, 0 };
    struct greedy_problem problem = { world, &ground, &term, 1, true };
    struct greedy_spec spec;
    greedy_defaults(&spec);
    spec.optimiser = optimiser_find(optimiser);
    spec.count = count;
    return greedy_select(r->picks, r->gains, &problem, &spec, &r->cost, arena, why);
}

static struct result *run(const char *similarity, const char *optimiser, const float *x, int n, int dim, int count)
{
    struct result *r = arena_array(arena, struct result, 1);
    const char *why = NULL;
    assert_int_equal(run_one(r, "facility_location", similarity, optimiser, x, n, dim, count, &why), count);
    return r;
}

static void naive_and_lazy_agree_to_the_bit(void **state)
{
    (void)state;
    const int sizes[][3] = { { 1, 3, 1 },     { 7, 2, 7 },      { 60, 8, 60 },
                             { 200, 16, 90 }, { 400, 30, 400 }, { 1500, 12, 100 } };
    const char *similarities[] = { "cosine", "features" };
    for (int s = 0; s < 6; s++)
        for (int k = 0; k < 4; k++, arena_reset(arena)) {
            int n = sizes[s][0], dim = sizes[s][1], count = sizes[s][2];
            const float *x = vectors(n, dim, (uint64_t)(s + 1), k >= 2);
            struct result *naive = run(similarities[k % 2], "naive", x, n, dim, count);
            struct result *lazy = run(similarities[k % 2], "lazy", x, n, dim, count);
            assert_memory_equal(naive->picks, lazy->picks, (size_t)count * sizeof(int64_t));
            assert_memory_equal(naive->gains, lazy->gains, (size_t)count * sizeof(double));
            assert_int_equal(naive->cost.evaluations, (int64_t)n * count - (int64_t)count * (count - 1) / 2);
            assert_true(lazy->cost.evaluations <= naive->cost.evaluations);
        }
}

static void picks_differ_and_gains_never_grow(void **state)
{
    (void)state;
    enum { N = 300, DIM = 10 };
    for (int copies = 0; copies < 2; copies++, arena_reset(arena)) {
        struct result *r = run("cosine", "lazy", vectors(N, DIM, 77, copies), N, DIM, N);
        bool seen[N] = { false };
        for (int m = 0; m < N; m++) {
            assert_true(r->picks[m] >= 0 && r->picks[m] < N && !seen[r->picks[m]]);
            seen[r->picks[m]] = true;
            assert_true(r->gains[m] >= 0 && (m == 0 || r->gains[m] <= r->gains[m - 1]));
        }
    }
}

/* The gains add up to F(S), computed from its definition. */
static void gains_add_up_to_the_objective(void **state)
{
    (void)state;
    enum { N = 120, DIM = 9, COUNT = 25 };
    const float *x = vectors(N, DIM, 5, false);
    for (int features = 0; features < 2; features++) {
        struct result *r = run(features ? "features" : "cosine", "lazy", x, N, DIM, COUNT);
        double total = 0, value = 0;
        for (int m = 0; m < COUNT; m++)
            total += r->gains[m];
        for (int j = 0; j < (features ? DIM : N); j++) {
            double best = 0;
            for (int m = 0; m < COUNT; m++) {
                const float *a = x + r->picks[m] * DIM, *b = x + j * DIM;
                double ab = 0, aa = 0, bb = 0;
                for (int d = 0; d < DIM && !features; d++)
                    ab += (double)a[d] * b[d], aa += (double)a[d] * a[d], bb += (double)b[d] * b[d];
                best = fmax(best, features ? a[j] : ab * ab / (aa * bb));
            }
            value += best;
        }
        assert_true(fabs(total - value) < 1e-5 * value);
    }
    arena_reset(arena);
}

/* Copies of a vector have similarities with the same bits, wherever they stand: the lowest is taken first. */
static void the_first_of_equal_candidates_is_taken(void **state)
{
    (void)state;
    enum { N = 261, DIM = 37, KINDS = 29 };
    struct rng rng = { .seed = 8, .purpose = RNG_TEST };
    float *x = arena_array(arena, float, N *DIM);
    for (int i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)rng_normal(&rng, (uint64_t)(i % KINDS), (uint64_t)d);
    struct result *r = run("cosine", "lazy", x, N, DIM, KINDS);
    for (int m = 0; m < KINDS; m++)
        assert_true(r->picks[m] < KINDS);
    arena_reset(arena);
}

static const char *const *key_words(const char *path)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    int row = key_find(path);
    assert_true(row >= 0 && keys[row].choices[0]);
    return keys[row].choices; /* fewer than KEY_CHOICES: a NULL ends them */
}

/* Objectives that do not fit the vectors are refused with a reason; gains that can grow keep lazy away. */
static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    enum { N = 40, DIM = 6 };
    float *x = vectors(N, DIM, 3, false);
    struct result *r = arena_array(arena, struct result, 1);
    const char *why = NULL;
    assert_int_equal(run_one(r, "feature_sqrt", "features", "lazy", x, N, DIM, 5, &why), -1);
    assert_non_null(strstr(why, "feature_sqrt needs entries >= 0"));
    assert_int_equal(run_one(r, "graph_cut", "features", "lazy", x, N, DIM, 5, &why), -1);
    assert_non_null(strstr(why, "similarities between vectors"));
    assert_int_equal(run_one(r, "max_coverage", "cosine", "greedyml", x, N, DIM, 5, &why), -1);
    assert_non_null(strstr(why, "features"));
    const char *similarities[] = { "cosine", "correlation", "euclidean", "features" };
    const char *optimisers[] = { "naive", "stochastic", "greedi", "greedyml" };
    x[17 * DIM + 2] = NAN;
    for (int s = 0; s < 4; s++)
        for (int o = 0; o < 4; o++) {
            assert_int_equal(run_one(r, "facility_location", similarities[s], optimisers[o], x, N, DIM, 5, &why), -1);
            assert_non_null(strstr(why, "NaN"));
        }
    arena_reset(arena);
}

static void unknown_names_are_not_found(void **state)
{
    (void)state;
    assert_null(similarity_find("cosin"));
    assert_null(objective_find(""));
    assert_null(objective_of("modular", CONCAVE_SQRT)); /* a name, not a word */
    assert_null(optimiser_find("eager"));
}

/* The table of keys says which words a configuration may hold; each finds its row. */
static void words_of_the_configuration_are_rows(void **state)
{
    (void)state;
    const char *const *objective = key_words("select.objective"), *const *similarity = key_words("select.similarity"),
                      *const *optimiser = key_words("select.optimizer");
    const char *words[OBJECTIVE_WORDS];
    int rows = objective_words(words), sums = 0, count = 0;
    for (; objective[count]; count++) {
        bool sum = strcmp(objective[count], "labo") == 0 || strcmp(objective[count], "mixture") == 0;
        sums += sum;
        for (enum concave c = CONCAVE_SQRT; c <= CONCAVE_SIGMOID && !sum; c++)
            assert_non_null(objective_of(objective[count], c));
    }
    assert_int_equal(count, rows + sums);
    assert_ptr_not_equal(objective_of("feature_based", CONCAVE_SQRT), objective_of("feature_based", CONCAVE_LOG1P));
    assert_ptr_equal(objective_of("feature_based", CONCAVE_SIGMOID), objective_find("feature_sigmoid"));
    for (; *similarity; similarity++)
        assert_non_null(similarity_find(*similarity));
    for (; *optimiser; optimiser++)
        assert_non_null(optimiser_find(*optimiser));
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    log_setup(world->rank, LOG_QUIET);
    blas_start(1);
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(naive_and_lazy_agree_to_the_bit),     cmocka_unit_test(picks_differ_and_gains_never_grow),
        cmocka_unit_test(gains_add_up_to_the_objective),       cmocka_unit_test(the_first_of_equal_candidates_is_taken),
        cmocka_unit_test(what_does_not_fit_is_refused),        cmocka_unit_test(unknown_names_are_not_found),
        cmocka_unit_test(words_of_the_configuration_are_rows),
    };
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
