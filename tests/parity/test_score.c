/* Metrics beside sklearn.metrics, plain and weighted, with ties, unknown labels and a label without positives
 * (fixture: scripts/dump_head.py). Tolerance 1e-9: only the order of sums differs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "concept/score.h"

static struct arena *arena;

static struct score_rows single(int rows, int classes)
{
    double *p = arena_array(arena, double, rows *classes);
    int32_t *label = arena_array(arena, int32_t, rows), *said = arena_array(arena, int32_t, rows);
    for (int i = 0; i < rows; i++) {
        int sum = 0, raised[16];
        label[i] = (i * 7 + i / 5) % classes;
        for (int c = 0; c < classes; c++) {
            raised[c] = (i * 31 + c * 17 + i * c * 7) % 23 + 1 + (c == label[i] && i % 3 != 0 ? 9 : 0);
            sum += raised[c];
            said[i] = raised[c] > raised[said[i]] ? c : said[i];
        }
        for (int c = 0; c < classes; c++)
            p[i * classes + c] = (double)raised[c] / sum;
    }
    return (struct score_rows){ .rows = rows, .classes = classes, .probability = p, .predicted = said, .label = label };
}

static struct score_rows multi(int rows, int classes)
{
    double *p = arena_array(arena, double, rows *classes);
    int8_t *labels = arena_array(arena, int8_t, rows * classes);
    int32_t *said = arena_array(arena, int32_t, rows * classes);
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < classes; c++) {
            int at = i * classes + c, y = (i * 3 + c * 5 + i * c) % 7 < 3;
            p[at] = ((i * 31 + c * 17 + i * c * 7) % 23 + 20 * y * (i % 3 != 0) + 1) / 64.0;
            said[at] = p[at] > 0.5;
            int state = (i * 5 + c * 3) % 11;
            labels[at] = (int8_t)(state > 1 ? y : -1 - state);
        }
    return (struct score_rows){
        .rows = rows, .classes = classes, .multi_label = true, .probability = p, .predicted = said, .labels = labels
    };
}

static void metrics_are_those_of_scikit_learn(void **state)
{
    (void)state;
    FILE *file = fopen("tests/parity/fixtures/score.txt", "r");
    assert_non_null(file);
    int cases = 0;
    assert_int_equal(fscanf(file, "%d", &cases), 1);
    assert_true(cases >= 10);
    for (int k = 0; k < cases; k++, arena_reset(arena)) {
        char kind[16];
        int rows, classes, weighted;
        assert_int_equal(fscanf(file, "%15s %d %d %d", kind, &rows, &classes, &weighted), 4);
        struct score_rows r = strcmp(kind, "multi") == 0 ? multi(rows, classes) : single(rows, classes);
        int32_t *weight = arena_array(arena, int32_t, rows);
        for (int i = 0; i < rows; i++)
            weight[i] = (i * 13) % 4;
        double *ours = arena_array(arena, double, score_count(classes));
        score_compute(ours, score_plan_create(arena, &r), weighted ? weight : NULL);
        for (int m = 0; m < score_count(classes); m++) {
            double theirs;
            assert_int_equal(fscanf(file, "%lf", &theirs), 1);
            if (!(fabs(ours[m] - theirs) <= 1e-9 || (isnan(ours[m]) && isnan(theirs))))
                fail_msg("%s, %d rows, %d classes, weighted %d: metric %d (%s) is %.12g instead of %.12g", kind, rows,
                         classes, weighted, m, m < SCORE_SCALARS ? score_name(m) : "per class", ours[m], theirs);
        }
    }
    fclose(file);
}

int main(void)
{
    arena = arena_create("test", 1 << 20);
    const struct CMUnitTest tests[] = { cmocka_unit_test(metrics_are_those_of_scikit_learn) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
