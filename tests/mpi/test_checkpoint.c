/* Checkpoints: values come back on every rank, two are kept, damage at any place is noticed and the one before used.
 *
 * With arguments, for tests/cli/test_store_errors.sh:  save DIR STEP IDENTITY COUNT  |  load DIR IDENTITY COUNT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "dist/world.h"
#include "store/checkpoint.h"

static struct world *world;
static struct arena *arena;
static const char *top;

enum { WEIGHTS = 1000 };
struct state {
    float weights[WEIGHTS];
    double best[2];
    int64_t epoch;
    uint8_t flags[3];
    int32_t *none;
};

static void fill(struct state *s, int64_t step)
{
    for (int i = 0; i < WEIGHTS; i++)
        s->weights[i] = (float)(i * step) / 7.0f;
    s->best[0] = 1.0 / (double)step;
    s->best[1] = -0.0;
    s->epoch = step * 1000000000039;
    memset(s->flags, (int)step, sizeof s->flags);
    s->none = NULL;
}

static int table(struct state *s, struct checkpoint_field fields[5])
{
    const struct checkpoint_field all[] = { { "/weights", STORE_F32, s->weights, WEIGHTS },
                                            { "/best", STORE_F64, s->best, 2 },
                                            { "/position/epoch", STORE_I64, &s->epoch, 1 },
                                            { "/flags", STORE_U8, s->flags, 3 },
                                            { "/none", STORE_I32, s->none, 0 } };
    memcpy(fields, all, sizeof all);
    return 5;
}

static void save(const char *dir, int64_t step)
{
    struct state s;
    struct checkpoint_field fields[5];
    fill(&s, step);
    checkpoint_save(world, dir, "train", step, "data=abc\nmodel=resnet18\n", fields, table(&s, fields));
}

/* Step found; the values must be those of that step, on every rank. */
static int64_t load(const char *dir)
{
    struct state s, expected;
    struct checkpoint_field fields[5];
    memset(&s, 0x55, sizeof s);
    const int64_t step = checkpoint_load(world, dir, "train", "data=abc\nmodel=resnet18\n", fields, table(&s, fields));
    if (step >= 0) {
        fill(&expected, step);
        assert_memory_equal(s.weights, expected.weights, sizeof s.weights);
        assert_memory_equal(s.best, expected.best, sizeof s.best);
        assert_true(s.epoch == expected.epoch);
        assert_memory_equal(s.flags, expected.flags, sizeof s.flags);
    }
    return step;
}

/* The newest files of `dir` (sorted by name); returns how many there are. */
static int files(const char *dir, char newest[512])
{
    int count = 0;
    newest[0] = '\0';
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            count++;
            if (strcmp(e->d_name, strrchr(newest, '/') ? strrchr(newest, '/') + 1 : "") > 0)
                snprintf(newest, 512, "%.200s/%.200s", dir, e->d_name);
        }
    if (d)
        closedir(d);
    return count;
}

static const char *fresh(const char *name)
{
    const char *dir = path_join(arena, top, name);
    checkpoint_clear(world, dir, "train");
    return dir;
}

static void nothing_there(void **state)
{
    (void)state;
    assert_int_equal(load(path_join(arena, top, "no-such-directory")), -1);
}

static void newest_two_are_kept(void **state)
{
    (void)state;
    const char *dir = fresh("kept");
    char newest[512];
    assert_int_equal(load(dir), -1);
    for (int step = 100; step < 105; step++) {
        save(dir, step);
        assert_int_equal(load(dir), step);
        world_barrier(world);
        assert_int_equal(files(dir, newest), step == 100 ? 1 : 2);
        world_barrier(world);
    }
    save(dir, 104); /* the same step again replaces it */
    save(dir, 103); /* going on from an earlier step ends the later future */
    assert_int_equal(load(dir), 103);
    world_barrier(world);
    checkpoint_clear(world, dir, "train");
    assert_int_equal(files(dir, newest), 0);
}

static void stages_do_not_mix(void **state)
{
    (void)state;
    const char *dir = fresh("stages");
    struct state s, back;
    struct checkpoint_field fields[5];
    save(dir, 7);
    fill(&s, 9);
    checkpoint_save(world, dir, "train-more", 9, "x=1\n", fields, table(&s, fields));
    assert_int_equal(load(dir), 7);
    assert_int_equal(checkpoint_load(world, dir, "train-more", "x=1\n", fields, table(&back, fields)), 9);
    checkpoint_clear(world, dir, "train");
    assert_int_equal(load(dir), -1);
    assert_int_equal(checkpoint_load(world, dir, "train-more", "x=1\n", fields, table(&back, fields)), 9);
    checkpoint_clear(world, dir, "train-more");
}

/* Damages the newest file (rank 0): cut to `at` bytes, or the byte there flipped. */
static void damage(const char *path, int64_t at, bool cut)
{
    if (cut)
        assert_int_equal(truncate(path, at), 0);
    else {
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        fseek(file, at, SEEK_SET);
        const int byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 0x10, file);
        fclose(file);
    }
}

static void damage_everywhere(const char *name, bool cut)
{
    const char *dir = fresh(name), *why;
    char newest[512];
    struct stat status;
    save(dir, 1);
    save(dir, 2);
    assert_int_equal(files(dir, newest), 2);
    assert_int_equal(stat(newest, &status), 0);
    size_t length;
    char *whole = file_read(arena, newest, 1 << 24, &length, &why);
    for (int i = 0; i < 50; i++) {
        world_barrier(world);
        if (world->rank == 0)
            damage(newest, (int64_t)length * i / 50 + i % 3, cut);
        world_barrier(world);
        assert_int_equal(load(dir), 1);
        world_barrier(world);
        if (world->rank == 0)
            assert_true(file_write(arena, newest, whole, length, &why));
    }
    world_barrier(world);
    assert_int_equal(load(dir), 2);
    world_barrier(world);
    checkpoint_clear(world, dir, "train");
}

static void cut_off_anywhere(void **state)
{
    (void)state;
    damage_everywhere("cut", true);
}

static void a_byte_flipped_anywhere(void **state)
{
    (void)state;
    damage_everywhere("flipped", false);
}

static void one_life(int argc, char **argv)
{
    const bool saves = strcmp(argv[1], "save") == 0;
    const int64_t count = strtoll(argv[argc - 1], NULL, 10);
    float *x = arena_array(arena, float, count);
    const struct checkpoint_field field = { "/x", STORE_F32, x, count };
    char *identity = arena_strdup(arena, argv[argc - 2]);
    for (char *p = identity; *p; p++)
        *p = *p == ',' ? '\n' : *p;
    if (saves)
        checkpoint_save(world, argv[2], "train", strtoll(argv[3], NULL, 10), identity, &field, 1);
    else {
        const int64_t step = checkpoint_load(world, argv[2], "train", identity, &field, 1);
        if (world->rank == 0)
            printf("step %lld\n", (long long)step);
    }
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    arena = arena_create("test", 1 << 20);
    if (argc > 4) {
        one_life(argc, argv);
        return world_end(world, 0);
    }
    const char *tmp = getenv("CFN_TEST_TMP");
    top = arena_printf(arena, "%s/checkpoint-%d", tmp ? tmp : "/tmp", world->size);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_there),           cmocka_unit_test(newest_two_are_kept),
        cmocka_unit_test(stages_do_not_mix),       cmocka_unit_test(cut_off_anywhere),
        cmocka_unit_test(a_byte_flipped_anywhere),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return world_end(world, failed);
}
