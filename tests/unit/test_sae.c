/* Sparse autoencoder kernels: gradient against differences of a plain loss in double, unit rows, new starts,
 * and the statistics of codes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "concept/sae.h"
#include "concept/sae_census.h"
#include "formula.h"
#include "test_arena.h"

enum { D = 7, K = 19, ROWS = 13 };
static const double L1 = 0.01;

static float x[ROWS * D];

static struct sae make_sae(void)
{
    struct sae sae = sae_view(arena_array(arena, float, sae_count(D, K)), D, K);
    formula_fill(sae.flat, sae.count, 8, 0.5f, 0.02f);
    sae_normalise(&sae);
    return sae;
}

/* Mean loss over the rows, in double, from the definition. */
static double plain_loss(const struct sae *sae)
{
    double loss = 0;
    for (int r = 0; r < ROWS; r++) {
        double out[D];
        for (int d = 0; d < D; d++)
            out[d] = (double)sae->bias[d];
        for (int k = 0; k < K; k++) {
            double p = (double)sae->encoder_bias[k];
            for (int d = 0; d < D; d++)
                p += ((double)x[r * D + d] - (double)sae->bias[d]) * (double)sae->encoder[k * D + d];
            p = fmax(p, 0);
            loss += L1 * p / ROWS;
            for (int d = 0; d < D; d++)
                out[d] += p * (double)sae->decoder[k * D + d];
        }
        for (int d = 0; d < D; d++)
            loss += pow(out[d] - (double)x[r * D + d], 2) / D / ROWS;
    }
    return loss;
}

static void gradient_is_that_of_the_loss(void **state)
{
    (void)state;
    struct sae sae = make_sae(), grad = sae_view(arena_array(arena, float, sae.count), D, K);
    struct sae_work work = sae_work(arena, D, K, ROWS, NULL);
    int64_t fired[K] = { 0 };
    double loss = 0;
    formula_fill(x, ROWS * D, 9, 1, 0);
    /* In two pieces: the second is added to the first. */
    for (int piece = 0; piece < 2; piece++) {
        int first = piece == 0 ? 0 : 5, n = piece == 0 ? 5 : ROWS - 5;
        sae_encode(&work, &sae, x + first * D, n);
        sae_decode(&work, &sae, x + first * D, n);
        for (int r = 0; r < n; r++)
            loss += sae_row_loss(&work, &sae, r, L1) / ROWS;
        sae_backward(&grad, fired, &work, &sae, n, L1, 1.0 / ROWS, piece > 0);
    }
    assert_true(fabs(loss - plain_loss(&sae)) < 1e-6);
    struct sae full = sae_view(arena_array(arena, float, sae.count), D, K);
    memcpy(full.flat, grad.flat, (size_t)sae.count * sizeof(float));
    float part[D];
    sae_finish_gradient(&full, part, &sae);
    for (int64_t i = 0; i < sae.count; i++) {
        float keep = sae.flat[i], step = 1e-3f;
        sae.flat[i] = keep + step;
        double up = plain_loss(&sae), width = (double)sae.flat[i];
        sae.flat[i] = keep - step;
        double down = plain_loss(&sae);
        width -= (double)sae.flat[i];
        sae.flat[i] = keep;
        bool in_decoder = i >= sae.decoder - sae.flat && i < sae.bias - sae.flat;
        double found = (double)(in_decoder ? grad.flat[i] : full.flat[i]);
        if (fabs((up - down) / width - found) > 2e-4)
            fail_msg("element %lld: %g, by differences %g", (long long)i, found, (up - down) / width);
    }
    for (int k = 0; k < K; k++) { /* what is left of the decoder's gradient is at right angles to its rows */
        double along = 0;
        for (int d = 0; d < D; d++)
            along += (double)full.decoder[k * D + d] * (double)sae.decoder[k * D + d];
        assert_true(fabs(along) < 1e-7);
    }
}

static void counts_and_sums_of_activations(void **state)
{
    (void)state;
    struct sae sae = make_sae();
    struct sae_work work = sae_work(arena, D, K, ROWS, NULL);
    formula_fill(x, ROWS * D, 10, 1, 0);
    sae_encode(&work, &sae, x, ROWS);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;
        int active = 0;
        for (int k = 0; k < K; k++) {
            assert_true(work.f[r * K + k] >= 0);
            sum += (double)work.f[r * K + k];
            active += work.f[r * K + k] > 0;
        }
        assert_true(fabs(sum - work.sum[r]) < 1e-12 && active == work.active[r]);
    }
}

static void initial_weights(void **state)
{
    (void)state;
    struct sae sae = sae_view(arena_array(arena, float, sae_count(D, K)), D, K), other = sae;
    sae_init(&sae, 7);
    double bound = sqrt(6.0 / (K * D)), most = 0;
    for (int i = 0; i < K * D; i++) {
        most = fmax(most, fabs((double)sae.encoder[i]));
        assert_true(fabs((double)sae.encoder[i]) <= bound + 1e-6);
    }
    assert_true(most > 0.9 * bound);
    for (int k = 0; k < K; k++) {
        double squared = 0;
        for (int d = 0; d < D; d++)
            squared += pow((double)sae.decoder[k * D + d], 2);
        assert_true(fabs(squared - 1) < 1e-6);
        assert_true(fabs((double)sae.encoder_bias[k]) <= 1 / sqrt(K));
    }
    for (int d = 0; d < D; d++)
        assert_true(sae.bias[d] == 0);
    other.flat = arena_array(arena, float, sae.count);
    other = sae_view(other.flat, D, K);
    sae_init(&other, 8);
    assert_true(memcmp(sae.flat, other.flat, (size_t)sae.count * sizeof(float)) != 0);
}

static void replanted_neuron(void **state)
{
    (void)state;
    struct sae sae = make_sae();
    assert_true(sae_replant(&sae, 3, x, 0.2));
    double squared = 0, along = 0;
    for (int d = 0; d < D; d++) {
        squared += pow((double)sae.decoder[3 * D + d], 2);
        along += (double)sae.encoder[3 * D + d] * (double)sae.decoder[3 * D + d];
    }
    assert_true(fabs(squared - 1) < 1e-6 && fabs(along - 0.2) < 1e-6 && sae.encoder_bias[3] == 0);
    assert_false(sae_replant(&sae, 4, sae.bias, 0.2));
}

/* Lists of the most exciting rows: strongest first, the lowest row among equals, -1 where there are no more. */
static void census_of_codes(void **state)
{
    (void)state;
    enum { N = 5, NEURONS = 3, TOP = 3 };
    const float f[N * NEURONS] = { 1, 0, 0, 2, 0, 5, 2, 0, 0, 3, 0, 5, 2, 0, 0 };
    const bool train[N] = { true, true, false, false, true };
    int64_t active[N];
    struct sae_census *c = sae_census_create(arena, NEURONS, TOP);
    sae_census_add(c, active, f, train, 100, 2);
    sae_census_add(c, active + 2, f + 2 * NEURONS, train + 2, 102, 3);
    assert_int_equal(c->top_index[0], 103);
    assert_int_equal(c->top_index[1], 101);
    assert_int_equal(c->top_index[2], 102);
    for (int t = 0; t < TOP; t++)
        assert_int_equal(c->top_index[TOP + t], -1);
    assert_int_equal(c->top_index[2 * TOP], 101);
    assert_int_equal(c->top_index[2 * TOP + 1], 103);
    assert_int_equal(c->top_index[2 * TOP + 2], -1);
    assert_int_equal(c->fired[0], 3);
    assert_int_equal(c->fired[2], 1);
    assert_int_equal(active[1], 2);
    assert_true(c->largest == 5);

    int32_t index[N * NEURONS];
    float value[N * NEURONS];
    assert_int_equal(sae_compress(index, value, f, N, NEURONS), 7);
    assert_int_equal(index[2], 2);
    assert_true(value[2] == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_that_of_the_loss),
        cmocka_unit_test(counts_and_sums_of_activations),
        cmocka_unit_test(initial_weights),
        cmocka_unit_test(replanted_neuron),
        cmocka_unit_test(census_of_codes),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
