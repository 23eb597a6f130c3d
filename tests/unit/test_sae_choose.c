/* The choice among several autoencoders, by each rule and limit, with ties, without a knee, and with none within. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "concept/sae_choose.h"

/* fvu, l0, dead */
static const struct sae_score curve[] = {
    { 0.40, 8, 0.00 },  { 0.20, 16, 0.02 }, { 0.10, 32, 0.05 }, { 0.08, 64, 0.30 },
    { 0.30, 20, 0.00 }, { 0.10, 32, 0.05 }, { NAN, NAN, NAN },
};
enum { N = sizeof curve / sizeof *curve };

static int choose(enum sae_goal goal, double max_dead, double max_l0, double max_fvu, int *admitted_count)
{
    bool admitted[N];
    const struct sae_criterion c = { goal, max_dead, max_l0, max_fvu };
    const struct sae_choice choice = sae_choose(admitted, curve, N, &c);
    int count = 0;
    for (int i = 0; i < N; i++)
        count += admitted[i];
    if (admitted_count)
        *admitted_count = count;
    return choice.kept;
}

static void rules(void **state)
{
    (void)state;
    int within;
    assert_int_equal(choose(SAE_GOAL_FVU, 1, 0, 1, &within), 3);
    assert_int_equal(within, 6);
    assert_int_equal(choose(SAE_GOAL_L0, 1, 0, 1, NULL), 0);
    /* Sums: point 1 1/7 + 3/8, point 2 3/7 + 1/16: 0.518 and 0.491; twins to the lowest number. */
    assert_int_equal(choose(SAE_GOAL_KNEE, 1, 0, 1, NULL), 2);
}

static void limits(void **state)
{
    (void)state;
    int within;
    assert_int_equal(choose(SAE_GOAL_FVU, 0.1, 0, 1, &within), 2);
    assert_int_equal(within, 5);
    assert_int_equal(choose(SAE_GOAL_FVU, 0.1, 20, 1, NULL), 1);
    assert_int_equal(choose(SAE_GOAL_L0, 1, 0, 0.1, NULL), 2);
    /* Ends 8 and 32 now: point 1 1/3 + 1/3. */
    assert_int_equal(choose(SAE_GOAL_KNEE, 0.1, 0, 1, NULL), 1);
    /* Two are left, no knee between them: the smaller FVU. */
    assert_int_equal(choose(SAE_GOAL_KNEE, 0.1, 16, 1, NULL), 1);
}

static void none_within_the_limits(void **state)
{
    (void)state;
    int within;
    assert_int_equal(choose(SAE_GOAL_FVU, 1, 0, 0.01, &within), 3);
    assert_int_equal(within, 0);
    assert_int_equal(choose(SAE_GOAL_KNEE, 1, 0, 0.01, NULL), 2);
}

/* Above the line between the ends there is no knee; a single model, and none. */
static void without_a_knee(void **state)
{
    (void)state;
    const struct sae_score hill[] = { { 0.4, 10, 0 }, { 0.39, 20, 0 }, { 0.1, 30, 0 } }, lost = { NAN, NAN, NAN };
    const struct sae_criterion c = { SAE_GOAL_KNEE, 1, 0, 1 };
    bool admitted[N];
    assert_int_equal(sae_choose(admitted, hill, 3, &c).kept, 2);
    assert_false(sae_choose(admitted, hill, 3, &c).knee);
    assert_true(sae_choose(admitted, curve, 3, &c).knee);
    assert_int_equal(sae_choose(admitted, hill, 1, &c).kept, 0);
    assert_int_equal(sae_choose(admitted, &lost, 1, &c).kept, -1);
    assert_false(admitted[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test(limits),
        cmocka_unit_test(none_within_the_limits),
        cmocka_unit_test(without_a_knee),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
