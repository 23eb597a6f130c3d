/* The rule that all ranks run the same code: the sentence for made-up nodes, and
 * jobs of this program in which the last rank says that it runs another variant. */
#include "own_job.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "dist/alike.h"
#include "dist/world.h"

#define V4 "x86-64-v4, BLIS skx"
#define V3 "x86-64-v3, BLIS haswell"

static struct arena *arena;

static void same_code_is_no_problem(void **unused)
{
    (void)unused;
    const struct alike ranks[] = { { "a", "Zen 4", V3, 4 }, { "b", "Zen 3", V3, 3 }, { "b", "Zen 3", V3, 3 } };
    assert_null(alike_problem(arena, ranks, 3));
    assert_null(alike_problem(arena, ranks, 1));
}

static void hosts_are_named_once_by_what_they_run(void **unused)
{
    (void)unused;
    const struct alike ranks[] = { { "a", "Zen 4", V4, 4 },
                                   { "b", "Zen 3", V3, 3 },
                                   { "a", "Zen 4", V4, 4 },
                                   { "b", "Zen 3", V3, 3 },
                                   { "c", "Zen 4", V4, 4 } };
    assert_string_equal(alike_problem(arena, ranks, 5),
                        "ranks of one job run different code, which does not give the same bits: a, c run " V4
                        "; b runs " V3 "; set CFN_ISA=x86-64-v3 for all of them, or use nodes of one kind");
}

static void many_hosts_are_counted(void **unused)
{
    (void)unused;
    struct alike ranks[20];
    for (int r = 0; r < 20; r++)
        ranks[r] = (struct alike){ arena_printf(arena, "n%d", r), "Zen", r == 7 ? V3 : V4, r == 7 ? 2 : 4 };
    const char *said_now = alike_problem(arena, ranks, 20);
    assert_non_null(strstr(said_now, ": n0, n1, n2, n3 and 15 more hosts run " V4 "; n7 runs " V3 "; "));
    assert_non_null(strstr(said_now, "CFN_ISA=x86-64-v2 "));
}

static void without_levels_none_is_advised(void **unused)
{
    (void)unused;
    const struct alike ranks[] = { { "a", "N1", "BLIS thunderx2", 0 }, { "b", "A64FX", "BLIS a64fx", 0 } };
    assert_non_null(strstr(alike_problem(arena, ranks, 2), "; use nodes of one kind"));
    assert_null(strstr(alike_problem(arena, ranks, 2), "CFN_ISA"));
}

static void a_job_of_one_kind_goes_on(void **unused)
{
    (void)unused;
    for (int ranks = 1; ranks <= 4; ranks += 3) {
        assert_int_equal(run_job(ranks == 1 ? "" : "mpirun -n 4", "same"), EXIT_DONE);
        assert_string_equal(said, "");
    }
}

static void a_mixed_job_ends_with_64_and_one_line(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("mpirun -n 3", "mixed"), EXIT_USAGE);
    const char *line = strstr(said, "ranks of one job run different code");
    assert_non_null(line);
    assert_null(strstr(line + 1, "ranks of one job run different code"));
    assert_non_null(strstr(line, "node0, node1 run " V4 "; node2 runs " V3 "; set CFN_ISA=x86-64-v3 "));
    assert_null(strstr(said, "went on"));
}

static void other_processors_with_the_same_code_are_noted(void **unused)
{
    (void)unused;
    assert_int_equal(run_job("mpirun -n 3", "processors"), EXIT_DONE);
    assert_non_null(strstr(said, "note: node0 is a Zen 4, node2 a Zen 3: they run the same kernels"));
}

/* The small jobs: the last rank has something of its own. */
static int job(const char *name, int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    arena = arena_create("job", 65536);
    bool other = world->rank == world->size - 1 && world->size > 1;
    struct alike mine = { arena_printf(arena, "node%d", world->rank), "Zen 4", V4, 4 };
    if (other && strcmp(name, "same") != 0)
        mine.processor = "Zen 3";
    if (other && strcmp(name, "mixed") == 0) {
        mine.code = V3;
        mine.level = 3;
    }
    world_alike(world, &mine);
    if (strcmp(name, "mixed") == 0)
        puts("went on");
    return world_end(world, EXIT_DONE);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1)
        return job(argv[1], argc, argv);
    arena = arena_create("test", 65536);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_code_is_no_problem),
        cmocka_unit_test(hosts_are_named_once_by_what_they_run),
        cmocka_unit_test(many_hosts_are_counted),
        cmocka_unit_test(without_levels_none_is_advised),
        cmocka_unit_test(a_job_of_one_kind_goes_on),
        cmocka_unit_test(a_mixed_job_ends_with_64_and_one_line),
        cmocka_unit_test(other_processors_with_the_same_code_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
