/* cfn select --compare A B: how far two selections agree, and what the heads
 * built on them reach. A and B are selection files or run directories. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "report/json.h"
#include "stage/concepts/select.h"

struct choice {
    const char *file, *objective, *similarity, *optimizer;
    int64_t count, *index;
    double accuracy[2]; /* val, test; NaN where there is no metrics.json beside it */
};

static double accuracy_in(struct job *job, const char *path, const char *split)
{
    const char *why;
    const struct json *at = file_exists(path) ? json_read(job->run, path, &why) : NULL;
    const char *const keys[] = { "cbm", split, "accuracy" };
    for (int k = 0; k < 3 && at; k++)
        at = json_member(at, keys[k]);
    if (at && json_member(at, "value"))
        at = json_member(at, "value");
    return at ? json_as_number(at, NAN) : NAN;
}

static struct choice read_choice(struct job *job, const char *path)
{
    struct choice c = { .objective = "?", .similarity = "?", .optimizer = "?" };
    size_t length = strlen(path);
    bool file = length > 3 && strcmp(path + length - 3, ".h5") == 0;
    c.file = file ? path : path_join(job->run, path, "selection.h5");
    const char *slash = strrchr(c.file, '/');
    const char *dir = slash ? arena_printf(job->run, "%.*s", (int)(slash - c.file), c.file) : ".";
    struct store *store = store_open(job->world, job->run, c.file);
    store_expect(store, "/index", STORE_I64, 1, (int64_t[]){ -1 });
    c.count = store_rows(store, "/index");
    c.index = arena_array(job->run, int64_t, c.count + 1);
    store_read_all(store, "/index", c.index);
    store_get_text(store, "/", "objective", &c.objective);
    store_get_text(store, "/", "similarity", &c.similarity);
    store_get_text(store, "/", "optimizer", &c.optimizer);
    const char *metrics = path_join(job->run, dir, "metrics.json");
    c.accuracy[0] = job->world->rank == 0 ? accuracy_in(job, metrics, "val") : NAN;
    c.accuracy[1] = job->world->rank == 0 ? accuracy_in(job, metrics, "test") : NAN;
    return c;
}

static void print_accuracy(const char *split, double a, double b)
{
    if (isnan(a) || isnan(b))
        printf("accuracy (%s): not known: no metrics.json beside both\n", split);
    else
        printf("accuracy (%s): %.4f and %.4f, difference %+.4f\n", split, a, b, b - a);
}

int select_compare(struct job *job, const char *path_a, const char *path_b)
{
    struct choice a = read_choice(job, path_a), b = read_choice(job, path_b);
    int64_t shared = 0, alike = 0;
    for (int64_t i = 0; i < a.count; i++)
        for (int64_t j = 0; j < b.count; j++)
            shared += a.index[i] == b.index[j];
    while (alike < a.count && alike < b.count && a.index[alike] == b.index[alike])
        alike++;
    int64_t all = a.count + b.count - shared;
    double jaccard = all ? (double)shared / (double)all : 1;
    if (job->world->rank != 0)
        return EXIT_DONE;
    if (job->json) {
        struct text out = text_new(job->run);
        struct json_writer w = json_start(&out);
        json_object(&w, NULL);
        json_integer(&w, "picks_a", a.count);
        json_integer(&w, "picks_b", b.count);
        json_integer(&w, "shared", shared);
        json_integer(&w, "first_alike", alike);
        json_number(&w, "jaccard", jaccard);
        json_number(&w, "val_accuracy_difference", b.accuracy[0] - a.accuracy[0]);
        json_number(&w, "test_accuracy_difference", b.accuracy[1] - a.accuracy[1]);
        json_end_object(&w);
        printf("%s\n", out.data);
        return EXIT_DONE;
    }
    printf("A  %s: %lld picks by %s (%s, %s)\n", a.file, (long long)a.count, a.objective, a.similarity, a.optimizer);
    printf("B  %s: %lld picks by %s (%s, %s)\n", b.file, (long long)b.count, b.objective, b.similarity, b.optimizer);
    printf("shared: %lld, Jaccard %.4f; the first %lld are the same in order\n", (long long)shared, jaccard,
           (long long)alike);
    print_accuracy("val", a.accuracy[0], b.accuracy[0]);
    print_accuracy("test", a.accuracy[1], b.accuracy[1]);
    return EXIT_DONE;
}
