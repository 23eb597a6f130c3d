/* What a second head carries, on logits made by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "concept/hybrid.h"

static struct arena *arena;

static const int64_t reference[] = { 0, 1 }, list[] = { 2, 3 };

static void near(double found, double expected)
{
    assert_true(fabs(found - expected) < 1e-12);
}

/* Means of classes over rows 0 and 1 are (1, 0) and (2, 0); rows 2 and 3 stand off them by (4, 0), (0, 2) in the first
 * head and (0, 2), (0, 0) in the second. One label: half of the difference in each class. */
static const float first[] = { 0, 0, 2, 0, 5, 0, 1, 2 }, second[] = { 2, 1, 2, -1, 2, 2, 2, 0 },
                   both[] = { 2, 1, 4, -1, 7, 2, 3, 2 };

static void parts_of_one_label(void **state)
{
    (void)state;
    const struct hybrid_logits l = { first, second, both, 2, false };
    struct hybrid_parts p = hybrid_parts(&l, list, 2, reference, 2, arena);
    near(p.first, (4.0 + 2.0) / 2 / 2);
    near(p.second, (2.0 + 0.0) / 2 / 2);
    near(p.changed, 0.5); /* row 3: class 1, with the second head class 0 */
    near(hybrid_share(&p), 0.25);
}

static void parts_of_several_labels(void **state)
{
    (void)state;
    const struct hybrid_logits l = { first, second, both, 2, true };
    struct hybrid_parts p = hybrid_parts(&l, list, 2, reference, 2, arena);
    near(p.first, (4.0 + 2.0) / 2 / 2);
    near(p.second, (2.0 + 0.0) / 2 / 2);
    near(p.changed, 0.5); /* row 2: the second finding is above 0 now */
}

static void nothing_is_carried_by_nothing(void **state)
{
    (void)state;
    static const float zeros[8];
    const struct hybrid_logits l = { zeros, zeros, zeros, 2, false };
    struct hybrid_parts p = hybrid_parts(&l, list, 2, reference, 2, arena);
    near(hybrid_share(&p), 0);
    assert_true(isnan(hybrid_parts(&l, list, 0, reference, 2, arena).changed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_one_label),
        cmocka_unit_test(parts_of_several_labels),
        cmocka_unit_test(nothing_is_carried_by_nothing),
    };
    arena = arena_create("test", 1 << 16);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
