/* Mean, deviation, resizing and interpolation of the input belong to a model as its weights do: they are kept in its
 * file, and later stages take them from there. */
#include "stage/preprocess.h"

#include <stdlib.h>
#include <string.h>

#include "config/key.h"
#include "config/statistics.h"
#include "job/home.h"

static const char *const filters[] = {
    [FILTER_BICUBIC] = "bicubic", [FILTER_BILINEAR] = "bilinear", [FILTER_NEAREST] = "nearest"
};

static const enum filter filter_of[] = { [INTERPOLATION_BICUBIC] = FILTER_BICUBIC,
                                         [INTERPOLATION_BILINEAR] = FILTER_BILINEAR,
                                         [INTERPOLATION_NEAREST] = FILTER_NEAREST };

/* The filter of this name in a file; false: there is none. */
static bool filter_named(enum filter *filter, const char *name)
{
    for (int f = 0; f < (int)(sizeof filters / sizeof filters[0]); f++)
        if (strcmp(filters[f], name) == 0) {
            *filter = (enum filter)f;
            return true;
        }
    return false;
}

struct preprocess preprocess_configured(const struct job *job)
{
    const struct image_config *c = &job->config->image;
    struct preprocess view = { .size = c->size, .resize = c->resize, .filter = filter_of[c->interpolation] };
    statistics_read(view.mean, c->mean, false);
    statistics_read(view.deviation, c->std, true);
    return view;
}

/* The shortest decimals that read back as the same numbers. */
static const char *numbers(struct arena *arena, const float values[3])
{
    struct text out = text_new(arena);
    for (int c = 0; c < 3; c++) {
        const char *digits = "";
        for (int precision = 1; precision <= 9; precision++) {
            digits = arena_printf(arena, "%.*g", precision, (double)values[c]);
            if (strtof(digits, NULL) == values[c])
                break;
        }
        text_add(&out, "%s%s", c ? " " : "", digits);
    }
    return out.data;
}

void preprocess_write(struct job *job, struct store *store, const struct preprocess *view)
{
    store_set_text(store, "/", "image_mean", numbers(job->run, view->mean));
    store_set_text(store, "/", "image_std", numbers(job->run, view->deviation));
    store_set_i64(store, "/", "image_resize", view->resize);
    store_set_text(store, "/", "image_interpolation", filters[view->filter]);
}

/* The file has another value than the configuration: refused when that was given, otherwise said. */
static void settle(struct job *job, struct store *model, bool say, const char *key, const char *theirs)
{
    const char *ours = config_value(job->run, job->config, key);
    const char *origin = job->config->values[key_find(key)].origin;
    agree(job->world, strcmp(origin, "default") == 0, EXIT_BAD_CONFIG,
          "%s: %s (%s), but %s was made with %s\nLeave the key away to take the model's.", key, ours, origin,
          store_path(model), theirs);
    if (say)
        log_info("%s: %s of %s", key, theirs, store_path(model));
}

/* Into `own`, whose size is this run's; false: the file says nothing. */
static bool read_stored(struct job *job, struct store *model, struct preprocess *own)
{
    const char *mean, *deviation, *filter;
    int64_t resize;
    if (!store_get_text(model, "/", "image_mean", &mean) || !store_get_text(model, "/", "image_std", &deviation) ||
        !store_get_text(model, "/", "image_interpolation", &filter) ||
        !store_get_i64(model, "/", "image_resize", &resize))
        return false;
    bool fine = statistics_read(own->mean, mean, false) && statistics_read(own->deviation, deviation, true) &&
                filter_named(&own->filter, filter) && (resize == 0 || (resize >= own->size && resize <= 8192));
    agree(job->world, fine, EXIT_BAD_DATA,
          "%s: its image_mean, image_std, image_resize or image_interpolation is damaged", store_path(model));
    own->resize = (int)resize;
    return true;
}

struct preprocess preprocess_of_model(struct job *job, struct store *model, bool say)
{
    struct preprocess view = preprocess_configured(job), own = view;
    if (!read_stored(job, model, &own))
        return view;
    if (memcmp(own.mean, view.mean, sizeof own.mean) != 0)
        settle(job, model, say, "image.mean", numbers(job->run, own.mean));
    if (memcmp(own.deviation, view.deviation, sizeof own.deviation) != 0)
        settle(job, model, say, "image.std", numbers(job->run, own.deviation));
    if (own.resize != view.resize)
        settle(job, model, say, "image.resize", arena_printf(job->run, "%d", own.resize));
    if (own.filter != view.filter)
        settle(job, model, say, "image.interpolation", filters[own.filter]);
    return own;
}

static const char *described(struct arena *arena, const struct preprocess *p)
{
    return arena_printf(arena, "image.mean %s, image.std %s, image.resize %d, image.interpolation %s",
                        numbers(arena, p->mean), numbers(arena, p->deviation), p->resize, filters[p->filter]);
}

void preprocess_compare(struct job *job, struct store *model, const struct preprocess *view)
{
    struct preprocess own = *view;
    if (!read_stored(job, model, &own))
        return;
    const char *theirs = described(job->run, &own), *ours = described(job->run, view);
    if (strcmp(theirs, ours) != 0)
        log_warn("%s was made with %s; it is trained further with %s", store_path(model), theirs, ours);
}

struct preprocess preprocess_of_run(struct job *job)
{
    if (!job_has_input(job, "embeddings.h5"))
        return preprocess_configured(job);
    struct store *store = job_open(job, "embeddings.h5", "embed");
    struct preprocess view = preprocess_of_model(job, store, false);
    store_close(store);
    return view;
}
