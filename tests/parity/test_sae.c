/* A hundred steps of the sparse autoencoder against plain PyTorch (scripts/dump_sae.py), the same draws on both
 * sides: each loss within 1e-5 relative. Single precision leaves about 1e-6 after a hundred Adam steps. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/sae.h"
#include "formula.h"
#include "math/adam.h"

struct run {
    struct sae sae, grad, m, v;
    struct sae_work work;
    float *part;
    int64_t *fired;
};

/* One step on `rows` rows; the loss before it. The gradient is formed in two pieces, as a leaf's is. */
static double step(struct run *run, const float *x, int rows, double l1, double lr, int number)
{
    struct adam adam = { lr, 0.9, 0.999, 1e-8, 0 };
    int half = rows / 2;
    double loss = 0;
    for (int piece = 0; piece < 2; piece++) {
        int n = piece == 0 ? half : rows - half;
        const float *part = x + (int64_t)piece * half * run->sae.dim;
        sae_encode(&run->work, &run->sae, part, n);
        sae_decode(&run->work, &run->sae, part, n);
        for (int r = 0; r < n; r++)
            loss += sae_row_loss(&run->work, &run->sae, r, l1);
        sae_backward(&run->grad, run->fired, &run->work, &run->sae, n, l1, 1.0 / rows, piece > 0);
    }
    sae_finish_gradient(&run->grad, run->part, &run->sae);
    adam_step(run->sae.flat, run->m.flat, run->v.flat, run->grad.flat, run->sae.count, &adam, number);
    sae_normalise(&run->sae);
    return loss / rows;
}

static void same_loss_curve_as_pytorch(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/sae.txt", "r");
    assert_non_null(file);
    int D, K, rows, batch, steps;
    double l1, lr, worst = 0;
    assert_int_equal(fscanf(file, "%d %d %d %d %d %lf %lf", &D, &K, &rows, &batch, &steps, &l1, &lr), 7);
    struct arena *arena = arena_create("test", 1 << 20);
    int64_t count = sae_count(D, K);
    struct run run = { .sae = sae_view(arena_array(arena, float, count), D, K),
                       .grad = sae_view(arena_array(arena, float, count), D, K),
                       .m = sae_view(arena_array(arena, float, count), D, K),
                       .v = sae_view(arena_array(arena, float, count), D, K),
                       .work = sae_work(arena, D, K, batch, NULL),
                       .part = arena_array(arena, float, D),
                       .fired = arena_array(arena, int64_t, K) };
    float *x = arena_array(arena, float, rows *D);
    formula_fill(x, rows * D, 1, 1, 0);
    formula_fill(run.sae.encoder, K * D, 2, 0.25f, 0);
    formula_fill(run.sae.encoder_bias, K, 3, 0.125f, 0);
    formula_fill(run.sae.decoder, K * D, 4, 1, 0);
    formula_fill(run.sae.bias, D, 5, 0.0625f, 0);
    sae_normalise(&run.sae);
    for (int s = 0; s < steps; s++) {
        double expected;
        int first = s % 3 * batch, n = rows - first < batch ? rows - first : batch;
        assert_int_equal(fscanf(file, "%lf", &expected), 1);
        double loss = step(&run, x + (int64_t)first * D, n, l1, lr, s + 1);
        worst = fmax(worst, fabs(loss - expected) / expected);
    }
    if (!(worst < 1e-5))
        fail_msg("largest relative difference of a loss: %g", worst);
    fclose(file);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(same_loss_curve_as_pytorch) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
