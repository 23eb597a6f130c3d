/* Near-identical pictures among made-up ones: what is planted is found and nothing else, the same at any rank count,
 * also with ranks that hold no row; in a crowd only what stands out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "digest.h"
#include "dist/world.h"
#include "image/decode.h"
#include "image/near_copies.h"
#include "test_arena.h"

enum { SIDE = 96, PIXELS = SIDE * SIDE };
static struct world *world;

/* Pattern `pattern` (-1: none) under texture of its own; the texture is that of `row`, smoothed over 3 x 3. */
static void draw(uint8_t *out, int64_t row, int pattern, double gain, double offset)
{
    struct rng rng = { .purpose = RNG_TEST };
    static double noise[(SIDE + 2) * (SIDE + 2)];
    for (int i = 0; i < (SIDE + 2) * (SIDE + 2); i++)
        noise[i] = rng_normal(&rng, (uint64_t)row, (uint64_t)i);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double v = 0;
            for (int k = 0; k < 9; k++)
                v += noise[(y + k / 3) * (SIDE + 2) + x + k % 3];
            v *= 8;
            if (pattern >= 0)
                v += 50 * sin((pattern + 1) * x / 9.0) * cos((5 - pattern) * y / 14.0);
            v = offset + gain * (120 + v);
            out[y * SIDE + x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
}

/* Rows of this rank's block: row r is `make`s picture. */
static struct near_rows rows_of(int64_t n, void (*make)(uint8_t *, int64_t))
{
    struct span mine = shard_rows(n, world->size, world->rank);
    struct likeness *of = arena_array(arena, struct likeness, mine.count + 1);
    uint8_t *thumbnail = arena_array(arena, uint8_t, (mine.count + 1) * LIKENESS_PIXELS);
    uint8_t *pixels = arena_array(arena, uint8_t, PIXELS);
    for (int64_t i = 0; i < mine.count; i++) {
        make(pixels, mine.first + i);
        likeness_measure(&of[i], thumbnail + i * LIKENESS_PIXELS, arena, pixels, SIDE, SIDE, SIDE);
    }
    return (struct near_rows){ .rows = n, .mine = mine, .of = of, .thumbnail = thumbnail };
}

static bool same_everywhere(const char *name, const struct near_found *found)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < found->count; i++) {
        const struct near_pair *p = &found->pair[i];
        hash = digest(hash, &p->first, sizeof p->first);
        hash = digest(hash, &p->second, sizeof p->second);
        hash = digest(hash, &p->correlation, sizeof p->correlation);
        hash = digest(hash, &p->bits, sizeof p->bits);
    }
    return world->rank != 0 || digest_same(name, hash);
}

/* Of 120 pictures row 3k + 100 is a brighter copy of row k, for k < 6. */
static int64_t source_of(int64_t row)
{
    return row >= 100 && (row - 100) % 3 == 0 && (row - 100) / 3 < 6 ? (row - 100) / 3 : row;
}

static void planted(uint8_t *out, int64_t row)
{
    int64_t source = source_of(row);
    draw(out, source, -1, source == row ? 1 : 1.1, source == row ? 0 : 9);
}

static void test_planted(void **state)
{
    (void)state;
    struct near_rows rows = rows_of(120, planted);
    struct near_found found = near_copies(world, arena, arena, &rows);
    assert_int_equal(found.count, 6);
    for (int64_t k = 0; k < found.count; k++) {
        assert_int_equal(found.pair[k].first, k);
        assert_int_equal(found.pair[k].second, 100 + 3 * k);
        assert_true(found.pair[k].correlation > 0.95 && found.pair[k].correlation < 1 + 1e-12);
        assert_true(found.pair[k].resolution == SIDE);
    }
    assert_int_equal(found.flat, 0);
    assert_int_equal(found.crowded, 0);
    assert_true(same_everywhere("near_planted", &found));
    rows.left_out = arena_array(arena, bool, 120);
    ((bool *)(uintptr_t)rows.left_out)[100] = true;
    assert_int_equal(near_copies(world, arena, arena, &rows).count, 5);
}

/* 60 pictures of each of 2 strong patterns, and two copies: rows 120 and 121 of 7 and 8. */
static void crowd(uint8_t *out, int64_t row)
{
    int64_t source = row < 120 ? row : row - 113;
    draw(out, source, 2 * (int)(source % 2), row < 120 ? 1 : 0.9, row < 120 ? 0 : 20);
}

static void test_crowd(void **state)
{
    (void)state;
    struct near_rows rows = rows_of(122, crowd);
    struct near_found found = near_copies(world, arena, arena, &rows);
    assert_true(found.count >= 2);
    assert_int_equal(found.pair[0].first, 7);
    assert_int_equal(found.pair[0].second, 120);
    assert_int_equal(found.pair[1].first, 8);
    assert_int_equal(found.pair[1].second, 121);
    assert_int_equal(found.count, 2);
    assert_true(same_everywhere("near_crowd", &found));
}

/* Above 4,096 rows the hashes are searched band by band: 4,300 small clouds, the last 8 copies of the first. */
static void many(uint8_t *out, int64_t row)
{
    draw(out, row < 4292 ? row : row - 4292, -1, 1, row < 4292 ? 0 : 12);
}

static void test_bands(void **state)
{
    (void)state;
    struct near_rows rows = rows_of(4300, many);
    struct near_found found = near_copies(world, arena, arena, &rows);
    assert_int_equal(found.count, 8);
    for (int64_t k = 0; k < found.count; k++)
        assert_true(found.pair[k].first == k && found.pair[k].second == 4292 + k);
    assert_true(same_everywhere("near_bands", &found));
}

static void flat(uint8_t *out, int64_t row)
{
    memset(out, 10 * (int)row, PIXELS);
}

static void test_few_rows(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 4; n++) {
        struct near_rows rows = rows_of(n, n == 3 ? flat : planted);
        struct near_found found = near_copies(world, arena, arena, &rows);
        assert_int_equal(found.count, 0);
        assert_int_equal(found.flat, n == 3 ? 3 : 0);
    }
}

int main(int argc, char **argv)
{
    world = world_start(&argc, &argv);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_planted), cmocka_unit_test(test_crowd),
                                        cmocka_unit_test(test_bands), cmocka_unit_test(test_few_rows) };
    int failed = cmocka_run_group_tests(tests, open_arena, close_arena);
    return world_end(world, failed);
}
