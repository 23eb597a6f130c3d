/* How a network ends a job: numbers that are not finite, specifications that cannot be. And what a step must not
 * do: take memory. This program starts itself under mpirun as a small job and looks at exit code and words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/arena.h"
#include "dist/world.h"
#include "formula.h"
#include "math/adam.h"
#include "nn/network.h"
#include "own_job.h"
#include "sanitized.h"

enum { SIZE = 32, BATCH = 4, CLASSES = 3 };

/* ---- the small jobs ---- */

static struct network *make(struct world *world, struct arena *arena, const char *backbone, int shards)
{
    struct network_spec spec = { .backbone = backbone,
                                 .classes = CLASSES,
                                 .image_size = SIZE,
                                 .batch = BATCH,
                                 .shards = shards,
                                 .train = true,
                                 .seed = 3 };
    return network_create(world, arena, &spec);
}

static float *weight(struct network *net, const char *name)
{
    const struct parameter *list;
    int count = network_parameters(net, &list);
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return network_weights(net, NULL) + list[i].offset;
    return NULL;
}

static int job(const char *name, int argc, char **argv)
{
    struct world *world = world_start(&argc, &argv);
    struct arena *arena = arena_create("test", 1 << 20);
    struct network *net =
        make(world, arena, strcmp(name, "unknown") == 0 ? "resnet19" : "resnet18", strcmp(name, "crowd") == 0 ? 1 : 4);
    static float images[BATCH * 3 * SIZE * SIZE];
    const int32_t labels[BATCH] = { 0, 1, 2, 0 };
    struct adam adam = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
    formula_fill(images, BATCH * 3 * SIZE * SIZE, 1, 1.0f, 0.0f);
    bool last = world->rank == world->size - 1;
    if (strcmp(name, "image") == 0 && last)
        images[5] = NAN;
    if (strcmp(name, "weight") == 0)
        weight(net, "layer2.0.conv1.weight")[7] = INFINITY;
    network_changed(net);
    for (int step = 1; step <= 3; step++) {
        network_gradient(net, &(struct network_batch){ .images = images, .labels = labels }, NULL);
        if (strcmp(name, "blows-up") == 0)
            adam.lr = 1e30;
        network_update(net, &adam, step);
    }
    size_t held = arena_bytes(arena);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    network_gradient(net, &(struct network_batch){ .images = images, .labels = labels }, NULL);
    network_update(net, &adam, 4);
    getrusage(RUSAGE_SELF, &after);
    if (world->rank == 0)
        printf("a step took %zu bytes and %ld new pages\n", arena_bytes(arena) - held,
               after.ru_minflt - before.ru_minflt);
    return world_end(world, 0);
}

/* ---- the tests ---- */

static void says(const char *text)
{
    if (!strstr(said, text))
        fail_msg("expected \"%s\" in:\n%s", text, said);
}

/* One rank's image is bad; all ranks notice in the same step and name where it begins. */
static void image_that_is_not_finite(void **state)
{
    (void)state;
    assert_int_equal(run_job("mpirun -n 3", "image"), EXIT_INTERNAL);
    says("the loss is not finite");
    says("is input");
}

static void weight_that_is_not_finite(void **state)
{
    (void)state;
    assert_int_equal(run_job("mpirun -n 2", "weight"), EXIT_INTERNAL);
    says("is layer2.0.conv1");
}

static void rate_that_blows_up(void **state)
{
    (void)state;
    assert_int_equal(run_job("mpirun -n 1", "blows-up"), EXIT_INTERNAL);
    says("not finite");
    says("lower train.lr");
}

static void unknown_backbone(void **state)
{
    (void)state;
    assert_int_equal(run_job("mpirun -n 2", "unknown"), EXIT_BAD_CONFIG);
    says("\"resnet19\" is not a backbone");
    says("did you mean \"resnet18\"?");
}

static void more_ranks_than_shards(void **state)
{
    (void)state;
    assert_int_equal(run_job("mpirun -n 2", "crowd"), EXIT_BAD_CONFIG);
    says("train.shards: expected at least one for each of 2 ranks, found 1");
}

static void steps_take_no_memory(void **state)
{
    (void)state;
    long bytes = -1, pages = -1;
    if (SANITIZED)
        skip();
    assert_int_equal(run_job("mpirun -n 1", "step"), 0);
    const char *line = strstr(said, "a step took");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "a step took %ld bytes and %ld new pages", &bytes, &pages), 2);
    assert_int_equal(bytes, 0);
    if (pages >
        1000) /* of the 40000 that the gradients alone have; the library's bookkeeping, under a sanitizer, is 200 */
        fail_msg("a step touched %ld new pages", pages);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return job(argv[1], argc, argv);
    self = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_that_is_not_finite), cmocka_unit_test(weight_that_is_not_finite),
        cmocka_unit_test(rate_that_blows_up),       cmocka_unit_test(unknown_backbone),
        cmocka_unit_test(more_ranks_than_shards),   cmocka_unit_test(steps_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
