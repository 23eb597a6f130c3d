/* Training steps and evaluation of densenet121 against torchvision's (scripts/dump_densenet.py), cut into 1, 2 and 4
 * shards. Of millions of relus some sit within rounding of zero; where one decides otherwise than in double, gradients
 * of the layers before it move by 1e-3 to 1e-2, in PyTorch's single precision too. Biases lifted off zero leave next to
 * none of them: there gradients are within 3e-4, of most layers within 2e-5. The last case is without the lift. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dist/world.h"
#include "parity_network.h"

static const struct parity_rule rules[] = {
    { "densenet121", 64, 1e-3, 1e-3, 1e-3, 3e-2, 3e-2 },
    { "densenet121", 75, 1e-3, 1e-3, 1e-3, 3e-2, 3e-2 },
    { "densenet121", 96, 2e-2, 5e-2, 1e-3, 3e-2, 1e-1 },
    { NULL },
};

static struct world *world;

static void same_as_torchvision(int shards)
{
    parity_network(world, "tests/parity/fixtures/densenet121.txt", rules, shards);
}

static void one_shard(void **state)
{
    (void)state;
    same_as_torchvision(1);
}

static void two_shards(void **state)
{
    (void)state;
    same_as_torchvision(2);
}

static void four_shards(void **state)
{
    (void)state;
    same_as_torchvision(4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_shard), cmocka_unit_test(two_shards),
                                        cmocka_unit_test(four_shards) };
    world = world_start(&argc, &argv);
    return world_end(world, cmocka_run_group_tests(tests, NULL, NULL));
}
