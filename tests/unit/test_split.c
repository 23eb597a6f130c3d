/* Splits of whole groups: every class in its share at the size of HAM10000, groups whole, no matter in which order the
 * rows come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "image/corpus.h"
#include "image/reader/sets/split.h"
#include "test_arena.h"

enum { ROWS = 10015, LESIONS = 7470, CLASSES = 7 };
static const int64_t images_of[CLASSES] = { 327, 514, 1099, 115, 1113, 6705, 142 }; /* HAM10000 by class */
static const int lesions_of[7] = { 0, 5514, 1423, 490, 34, 5, 4 };                  /* and by images of a lesion */

static const char *id[ROWS];
static int64_t group[ROWS];
static int32_t label[ROWS];
static struct split_request request;

/* Lesions of these sizes in random order, given to classes in a row; what a class lacks at its end it gets cut off. */
static int start(void **state)
{
    static int size[LESIONS];
    const struct rng rng = { 5, RNG_TEST, 0 };
    int64_t order[LESIONS], row = 0, lesion = 0, lesions = 0;
    open_arena(state);
    for (int images = 1; images < 7; images++)
        for (int k = 0; k < lesions_of[images]; k++)
            size[lesions++] = images;
    if (lesions != LESIONS)
        return -1;
    rng_permutation(&rng, 0, order, LESIONS);
    for (int c = 0; c < CLASSES; c++)
        for (int64_t left = images_of[c], had = 0; left > 0; had++) {
            int images = lesion < LESIONS ? size[order[lesion]] : 1;
            for (; images > 0 && left > 0; images--, left--, row++) {
                id[row] = arena_printf(arena, "ISIC_%07lld.jpg", 24306 + (long long)row);
                group[row] = lesion;
                label[row] = c;
            }
            lesion++;
        }
    request = (struct split_request){ .rows = ROWS,
                                      .id = id,
                                      .group = group,
                                      .label = label,
                                      .classes = CLASSES,
                                      .val_fraction = 0.1,
                                      .test_fraction = 0.1 };
    return row == ROWS ? 0 : -1;
}

static void count(int64_t counts[SPLITS][CLASSES], const uint8_t *split)
{
    memset(counts, 0, SPLITS * sizeof *counts);
    for (int64_t i = 0; i < ROWS; i++)
        counts[split[i]][label[i]]++;
}

static void every_class_in_its_share(void **state)
{
    (void)state;
    static const double share[SPLITS] = { 0.8, 0.1, 0.1 };
    uint8_t split[ROWS];
    int64_t counts[SPLITS][CLASSES];
    for (uint64_t seed = 0; seed < 20; seed++) {
        request.seed = seed;
        split_grouped(arena, split, &request);
        count(counts, split);
        for (int s = 0; s < SPLITS; s++)
            for (int c = 0; c < CLASSES; c++)
                if (fabs((double)counts[s][c] - share[s] * (double)images_of[c]) > 1.0)
                    fail_msg("seed %d, class %d, split %d: %lld of %lld", (int)seed, c, s, (long long)counts[s][c],
                             (long long)images_of[c]);
    }
    request.seed = 0;
}

static void groups_stay_whole(void **state)
{
    (void)state;
    uint8_t split[ROWS];
    split_grouped(arena, split, &request);
    for (int64_t i = 1; i < ROWS; i++)
        assert_true(group[i] != group[i - 1] || split[i] == split[i - 1]);
    /* Lesions with several images are not all in train. */
    int64_t several[SPLITS] = { 0 };
    for (int64_t i = 1; i < ROWS; i++)
        several[split[i]] += group[i] == group[i - 1];
    double share = (double)several[SPLIT_TEST] / (double)(several[0] + several[1] + several[2]);
    assert_true(share > 0.08 && share < 0.12);
}

static void order_does_not_matter(void **state)
{
    (void)state;
    static const char *other_id[ROWS];
    static int64_t other_group[ROWS], order[ROWS];
    static int32_t other_label[ROWS];
    uint8_t split[ROWS], other[ROWS];
    const struct rng rng = { 6, RNG_TEST, 0 };
    struct split_request shuffled = request;
    split_grouped(arena, split, &request);
    rng_permutation(&rng, 0, order, ROWS);
    for (int64_t i = 0; i < ROWS; i++) {
        other_id[i] = id[order[i]];
        other_group[i] = ROWS - 1 - group[order[i]];
        other_label[i] = label[order[i]];
    }
    shuffled.id = other_id;
    shuffled.group = other_group;
    shuffled.label = other_label;
    split_grouped(arena, other, &shuffled);
    for (int64_t i = 0; i < ROWS; i++)
        assert_int_equal(other[i], split[order[i]]);
    /* Another seed is another split of the same shares. */
    request.seed = 1;
    split_grouped(arena, other, &request);
    request.seed = 0;
    assert_memory_not_equal(other, split, ROWS);
}

/* Rows of several classes in a group, no labels, no groups, nothing for a split. */
static void odd_requests(void **state)
{
    (void)state;
    uint8_t split[ROWS];
    int64_t counts[SPLITS] = { 0 };
    int32_t mixed[ROWS];
    for (int64_t i = 0; i < ROWS; i++)
        mixed[i] = (int32_t)(i % 3);
    struct split_request odd = request;
    odd.label = mixed;
    odd.classes = 3;
    split_grouped(arena, split, &odd);
    for (int64_t i = 0; i < ROWS; i++)
        counts[split[i]] += mixed[i] == 1;
    assert_true(llabs(counts[SPLIT_VAL] - 334) <= 2 && llabs(counts[SPLIT_TEST] - 334) <= 2);
    odd.label = NULL;
    odd.group = NULL;
    odd.test_fraction = 0.0;
    split_grouped(arena, split, &odd);
    memset(counts, 0, sizeof counts);
    for (int64_t i = 0; i < ROWS; i++)
        counts[split[i]]++;
    assert_int_equal(counts[SPLIT_TEST], 0);
    assert_true(llabs(counts[SPLIT_VAL] - 1001) <= 1);
    odd.rows = 0;
    split_grouped(arena, split, &odd);
}

/* Few groups, larger than what a split wants: each split gets one of every class that has three. */
static void few_groups(void **state)
{
    (void)state;
    enum { LARGE = 4, IMAGES = 3 };
    for (int groups = 1; groups <= LARGE; groups++) {
        uint8_t split[2 * LARGE * IMAGES];
        struct split_request few = request;
        int64_t numbers[2 * LARGE * IMAGES], counts[SPLITS][2] = { { 0 } };
        int32_t classes[2 * LARGE * IMAGES];
        few.rows = 2 * groups * IMAGES;
        few.group = numbers;
        few.label = classes;
        few.classes = 2;
        for (int64_t i = 0; i < few.rows; i++) {
            numbers[i] = i / IMAGES;
            classes[i] = (int32_t)(numbers[i] % 2);
        }
        split_grouped(arena, split, &few);
        for (int64_t i = 0; i < few.rows; i++)
            counts[split[i]][classes[i]]++;
        for (int c = 0; c < 2; c++) {
            assert_int_equal(counts[SPLIT_TRAIN][c], groups < 4 ? IMAGES : 2 * IMAGES);
            assert_int_equal(counts[SPLIT_VAL][c], groups < 2 ? 0 : IMAGES);
            assert_int_equal(counts[SPLIT_TEST][c], groups < 3 ? 0 : IMAGES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_class_in_its_share), cmocka_unit_test(groups_stay_whole),
                                        cmocka_unit_test(order_does_not_matter), cmocka_unit_test(odd_requests),
                                        cmocka_unit_test(few_groups) };
    return cmocka_run_group_tests(tests, start, close_arena);
}
