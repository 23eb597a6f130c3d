/* Sparse products of the autoencoder: every variant's gradient against differences of its loss in double, the sparse
 * gradient against the dense one, choices with ties against their definition, and thresholds of jumprelu against the
 * formula of the straight-through estimator. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "concept/sae/sae_sparse.h"
#include "concept/sae/sae_top.h"
#include "dist/tree.h"
#include "dist/world.h"
#include "formula.h"
#include "test_arena.h"

enum { D = 9, K = 24, ROWS = 13, LEAVES = 4, BLOCKS = 4, AUX = 3, DEAD = 5 };
static const double PENALTY = 0.02, AUX_WEIGHT = 0.25;

static struct world world = { .size = 1 };
static float x[ROWS * D];
static const int32_t dead[DEAD] = { 1, 6, 7, 15, 22 };

struct pass {
    struct sae sae, grad;
    struct sae_sparse sparse;
    struct tree *tree;
    struct span leaf[LEAVES];
    int64_t fired[K];
    bool aux;
    double residual[ROWS * D]; /* x - x^ at the start, which the auxiliary loss holds fixed */
};

static struct pass *begin_pass(struct sae_rule rule, bool aux)
{
    struct pass *p = arena_array(arena, struct pass, 1);
    p->sae = sae_view(arena_array(arena, float, sae_count(D, K)), D, K);
    p->sae.rule = rule;
    p->sae.blocks = tree_create(arena, &world, BLOCKS);
    p->tree = tree_create(arena, &world, LEAVES);
    p->grad = sae_view(arena_array(arena, float, p->sae.count *tree_depth(p->tree)), D, K);
    const struct sae_depths depths = { tree_depth(p->tree), tree_depth(p->sae.blocks), 1 };
    const struct sae_sizes sizes = {
        .dim = D, .neurons = K, .rows = ROWS, .entries = ROWS * K, .kept = ROWS * K, .aux_k = aux ? AUX : 0
    };
    p->sparse = sae_sparse(arena, &rule, &depths, &sizes);
    p->aux = aux;
    formula_fill(p->sae.flat, p->sae.count, 8, 0.5f, 0.02f);
    formula_fill(x, ROWS * D, 9, 1, 0);
    for (int k = 0; k < K; k++)
        p->sae.log_threshold[k] = logf(0.1f + 0.01f * (float)k);
    sae_normalise(&p->sae);
    for (int l = 0; l < LEAVES; l++)
        p->leaf[l] = shard_rows(ROWS, LEAVES, l);
    return p;
}

/* Codes by the rule, in two pieces, and the gradient. */
static void run(struct pass *p)
{
    struct sae_sparse *s = &p->sparse;
    struct sae_codes *codes = &s->codes;
    float *f = arena_array(arena, float, ROWS *K), *gathered = arena_array(arena, float, ROWS *DEAD);
    double sum[ROWS * BLOCKS];
    int64_t active[ROWS], ties;
    sae_sparse_start(s, &p->sae);
    sae_project(f, s->centred, NULL, &p->sae, x, ROWS);
    sae_activate(f, sum, active, &p->sae, ROWS);
    if (p->sae.rule.variant == SAE_JUMPRELU)
        sae_apply(f, active, s->threshold, &p->sae, ROWS);
    for (int piece = 0; piece < 2; piece++) {
        const int first = piece * 7, n = piece == 0 ? 7 : ROWS - 7;
        if (p->sae.rule.variant == SAE_TOPK)
            sae_codes_add_largest(codes, f + first * K, n, K, p->sae.rule.k);
        else
            assert_true(sae_codes_add(codes, f + first * K, n, K, 0));
        if (p->aux)
            sae_codes_add_largest_of(&s->dead, gathered, f + first * K, dead, DEAD, n, K, AUX);
    }
    if (sae_by_batch(&p->sae.rule)) {
        float kth = sae_kth_largest_of_list(codes->value, codes->start[ROWS], p->sae.rule.k * ROWS, &ties);
        sae_codes_cut(codes, kth, ties);
        assert_int_equal(codes->start[ROWS], p->sae.rule.k * ROWS);
    }
    sae_sparse_forward(s, &p->sae, PENALTY, 1.0 / ROWS, AUX_WEIGHT, p->aux);
    sae_sparse_gradient(p->grad.flat, p->sae.count, p->fired, s, &p->sae, p->tree, p->leaf, p->aux);
}

static double activation(const struct sae *sae, int r, int k)
{
    double p = (double)sae->encoder_bias[k];
    for (int d = 0; d < D; d++)
        p += ((double)x[r * D + d] - (double)sae->bias[d]) * (double)sae->encoder[k * D + d];
    return p;
}

/* Mean loss in double, from the definition, with the chosen neurons held. `keep` fills the residual. */
static double plain_loss(struct pass *p, bool keep)
{
    const struct sae *sae = &p->sae;
    const struct sae_codes *c = &p->sparse.codes, *a = &p->sparse.dead;
    const int prefixes = sae_prefixes(&sae->rule);
    double loss = 0;
    for (int r = 0; r < ROWS; r++) {
        for (int g = 0; g < prefixes; g++) {
            double out[D];
            for (int d = 0; d < D; d++)
                out[d] = (double)sae->bias[d];
            for (int64_t at = c->start[r]; at < c->start[r + 1]; at++) {
                const int k = c->index[at];
                if (k >= sae_prefix(&sae->rule, K, g) || !(c->value[at] > 0))
                    continue;
                const double f = activation(sae, r, k);
                for (int d = 0; d < D; d++)
                    out[d] += f * (double)sae->decoder[k * D + d];
                if (g == 0)
                    loss += sae_row_penalty(&sae->rule, PENALTY, f, 1) / ROWS;
            }
            for (int d = 0; d < D; d++) {
                const double e = (double)x[r * D + d] - out[d];
                loss += e * e / D / prefixes / ROWS;
                if (keep && g == prefixes - 1)
                    p->residual[r * D + d] = e;
            }
        }
        double rest[D];
        for (int d = 0; d < D; d++)
            rest[d] = p->residual[r * D + d];
        for (int64_t at = p->aux ? a->start[r] : 0; p->aux && at < a->start[r + 1]; at++)
            for (int d = 0; d < D; d++)
                rest[d] -= activation(sae, r, a->index[at]) * (double)sae->decoder[a->index[at] * D + d];
        for (int d = 0; p->aux && d < D; d++)
            loss += AUX_WEIGHT * rest[d] * rest[d] / D / ROWS;
    }
    return loss;
}

static void check_gradient(struct sae_rule rule, bool aux)
{
    struct pass *p = begin_pass(rule, aux);
    run(p);
    const double loss = plain_loss(p, true);
    double found = 0;
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;
        int64_t active = 0;
        for (int64_t at = p->sparse.codes.start[r]; at < p->sparse.codes.start[r + 1]; at++) {
            sum += (double)p->sparse.codes.value[at];
            active += p->sparse.codes.value[at] > 0;
        }
        found += (p->sparse.squared[r] / D + AUX_WEIGHT * p->sparse.aux[r] / D) / ROWS;
        found += sae_row_penalty(&rule, PENALTY, sum, active) / ROWS;
    }
    assert_true(fabs(loss - found) < 1e-6);
    struct sae full = sae_view(arena_array(arena, float, p->sae.count), D, K);
    memcpy(full.flat, p->grad.flat, (size_t)p->sae.count * sizeof(float));
    float part[BLOCKS * D];
    sae_finish_gradient(&full, part, &p->sae);
    for (int64_t i = 0; i < p->sae.log_threshold - p->sae.flat; i++) {
        const float keep = p->sae.flat[i], step = 1e-3f;
        p->sae.flat[i] = keep + step;
        double up = plain_loss(p, false), width = (double)p->sae.flat[i];
        p->sae.flat[i] = keep - step;
        double down = plain_loss(p, false);
        width -= (double)p->sae.flat[i];
        p->sae.flat[i] = keep;
        const bool in_decoder = i >= p->sae.decoder - p->sae.flat && i < p->sae.bias - p->sae.flat;
        const double gradient = (double)(in_decoder ? p->grad.flat[i] : full.flat[i]);
        /* The auxiliary loss holds x - x^, b included, so only its encoder moves with b. */
        if (fabs((up - down) / width - gradient) > 5e-5)
            fail_msg("variant %d, element %lld: %g, by differences %g", (int)rule.variant, (long long)i, gradient,
                     (up - down) / width);
    }
}

static void gradient_is_that_of_the_loss(void **state)
{
    (void)state;
    check_gradient((struct sae_rule){ .variant = SAE_RELU }, false);
    check_gradient((struct sae_rule){ .variant = SAE_JUMPRELU, .bandwidth = 0.1 }, false);
    for (int aux = 0; aux < 2; aux++) {
        check_gradient((struct sae_rule){ .variant = SAE_TOPK, .k = 4 }, aux);
        check_gradient((struct sae_rule){ .variant = SAE_BATCHTOPK, .k = 5 }, aux);
        check_gradient((struct sae_rule){ .variant = SAE_MATRYOSHKA, .k = 5, .prefixes = 3 }, aux);
        check_gradient((struct sae_rule){ .variant = SAE_MATRYOSHKA, .k = 3, .prefixes = 8 }, aux);
    }
}

/* relu and jumprelu: both ways give one gradient, thresholds included. */
static void sparse_is_dense(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct pass *p =
            begin_pass((struct sae_rule){ .variant = v == 0 ? SAE_RELU : SAE_JUMPRELU, .bandwidth = 0.2 }, false);
        struct sae dense = sae_view(arena_array(arena, float, p->sae.count), D, K);
        struct sae_work work = sae_work(arena, D, K, ROWS, p->sae.blocks);
        int64_t fired[K] = { 0 };
        run(p);
        sae_encode(&work, &p->sae, x, ROWS);
        sae_decode(&work, &p->sae, x, ROWS);
        sae_backward(&dense, fired, &work, &p->sae, ROWS, PENALTY, 1.0 / ROWS, false);
        for (int64_t i = 0; i < dense.count; i++)
            assert_true(fabsf(dense.flat[i] - p->grad.flat[i]) < 1e-6f);
        assert_memory_equal(fired, p->fired, sizeof fired);
    }
}

/* Rajamanoharan et al. 2024, equations 11 and 12: pseudo-derivatives with a rectangular kernel, for log thresholds. */
static void thresholds_follow_the_estimator(void **state)
{
    (void)state;
    const double width = 0.2;
    struct pass *p = begin_pass((struct sae_rule){ .variant = SAE_JUMPRELU, .bandwidth = width }, false);
    run(p);
    int inside = 0;
    for (int k = 0; k < K; k++) {
        const double cut = exp((double)p->sae.log_threshold[k]);
        double expected = 0;
        for (int r = 0; r < ROWS; r++) {
            const double z = activation(&p->sae, r, k);
            if (!(z > 0 && fabs(z - cut) < width / 2))
                continue;
            double df = 0; /* dL/df_k of this row */
            for (int d = 0; d < D; d++) {
                double out = (double)p->sae.bias[d];
                for (int j = 0; j < K; j++) {
                    const double f = activation(&p->sae, r, j);
                    out += f > exp((double)p->sae.log_threshold[j]) ? f * (double)p->sae.decoder[j * D + d] : 0;
                }
                df += 2.0 / D / ROWS * (out - (double)x[r * D + d]) * (double)p->sae.decoder[k * D + d];
            }
            expected += cut * (-cut / width * df - PENALTY / ROWS / width);
            inside++;
        }
        assert_true(fabs(expected - (double)p->grad.log_threshold[k]) < 1e-6);
    }
    assert_true(inside > K);
}

/* The k largest, ties to the lowest neuron; also through a list of neurons, and with fewer than k above 0. */
static void largest_of_a_row(void **state)
{
    (void)state;
    enum { N = 150, MOST = 40 };
    static float f[3 * N], gathered[3 * N];
    struct sae_codes c = sae_codes(arena, 3, 3 * MOST, 0, false), d = sae_codes(arena, 3, 3 * MOST, 0, false);
    int32_t list[N / 3];
    for (int i = 0; i < 3 * N; i++)
        f[i] = i < N ? floorf(fabsf(formula(i, 4)) * 6) : i < 2 * N ? fmaxf(formula(i, 4), 0) : i % 50 == 0 ? 1 : 0;
    for (int i = 0; i < N / 3; i++)
        list[i] = 3 * i + 1;
    sae_codes_add_largest(&c, f, 3, N, MOST);
    sae_codes_add_largest_of(&d, gathered, f, list, N / 3, 3, N, MOST / 4);
    for (int r = 0; r < 3; r++) {
        int64_t at = c.start[r], of = d.start[r];
        for (int k = 0; k < N; k++) {
            int before = 0, listed = 0;
            for (int j = 0; j < N; j++) {
                const bool first = f[r * N + j] > f[r * N + k] || (f[r * N + j] >= f[r * N + k] && j < k);
                before += first;
                listed += first && j % 3 == 1;
            }
            if (f[r * N + k] > 0 && before < MOST) {
                assert_int_equal(c.index[at], k);
                assert_true(c.value[at++] == f[r * N + k]);
            }
            if (f[r * N + k] > 0 && k % 3 == 1 && listed < MOST / 4)
                assert_int_equal(d.index[of++], k);
        }
        assert_int_equal(at, c.start[r + 1]);
        assert_int_equal(of, d.start[r + 1]);
    }
    assert_int_equal(c.start[3], 2 * MOST + 3);
}

/* Outside training: topk as in training, one threshold for batchtopk. */
static void rules_outside_training(void **state)
{
    (void)state;
    struct pass *p = begin_pass((struct sae_rule){ .variant = SAE_TOPK, .k = 4 }, false);
    struct sae_work work = sae_work(arena, D, K, ROWS, p->sae.blocks),
                    plain = sae_work(arena, D, K, ROWS, p->sae.blocks);
    struct sae relu = p->sae;
    relu.rule.variant = SAE_RELU;
    run(p);
    sae_encode(&work, &p->sae, x, ROWS);
    sae_encode(&plain, &relu, x, ROWS);
    for (int r = 0; r < ROWS; r++) {
        const int64_t at = p->sparse.codes.start[r], n = p->sparse.codes.start[r + 1] - at;
        for (int64_t i = at; i < at + n; i++)
            assert_true(work.f[r * K + p->sparse.codes.index[i]] == p->sparse.codes.value[i]);
        assert_true(work.active[r] == n);
    }
    p->sae.rule = (struct sae_rule){ .variant = SAE_BATCHTOPK, .threshold = 0.25 };
    sae_encode(&work, &p->sae, x, ROWS);
    for (int i = 0; i < ROWS * K; i++)
        assert_true(work.f[i] == (plain.f[i] > 0.25f ? plain.f[i] : 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_that_of_the_loss),    cmocka_unit_test(sparse_is_dense),
        cmocka_unit_test(thresholds_follow_the_estimator), cmocka_unit_test(largest_of_a_row),
        cmocka_unit_test(rules_outside_training),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
