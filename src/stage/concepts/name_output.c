/* What `cfn name` writes: contact sheets, drawn by all ranks, and names.json. */
#include <dirent.h>
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "image/loader.h"
#include "report/json.h"
#include "stage/concepts/name.h"
#include "stage/tiles.h"

enum { SHEET_TILE = 96, TILES_KEPT = 1 << 12 }; /* pixels, or image.size if that is smaller; tiles */

/* ---- contact sheets ---- */

/* Neurons that get a sheet: all that fire, or the `sheets` that fire most often; in ascending order. */
static int64_t choose_sheets(const struct name_task *t, int32_t *out)
{
    int limit = t->job->config->name.sheets;
    int64_t alive = 0, count = 0;
    bool *taken = arena_array(t->job->run, bool, t->neurons);
    for (int k = 0; k < t->neurons; k++)
        alive += t->neuron[k].text != NULL;
    for (int64_t pick = 0; limit > 0 && pick < limit && pick < alive; pick++) {
        int best = -1;
        for (int k = 0; k < t->neurons; k++)
            if (t->neuron[k].text && !taken[k] && (best < 0 || t->fire_rate[k] > t->fire_rate[best]))
                best = k;
        taken[best] = true;
    }
    for (int k = 0; k < t->neurons; k++)
        if (t->neuron[k].text && (limit <= 0 || taken[k]))
            out[count++] = k;
    return count;
}

static const char *sheet_name(struct arena *arena, int k)
{
    return arena_printf(arena, "sheets/neuron-%05d.png", k);
}

/* Sheets of an earlier run do not belong to these neurons. Rank 0. */
static void remove_old_sheets(struct job *job, const char *dir)
{
    DIR *open = opendir(dir);
    for (struct dirent *e = open ? readdir(open) : NULL; e; e = readdir(open))
        if (text_starts(e->d_name, "neuron-") && (text_ends(e->d_name, ".png") || text_ends(e->d_name, ".part")))
            unlink(path_join(job->scratch, dir, e->d_name));
    if (open)
        closedir(open);
}

static void prepare_sheets(struct job *job)
{
    const char *dir = job_path(job, "sheets"), *why = "";
    bool ok = true;
    if (job->world->rank == 0) {
        ok = path_make_dirs(job->scratch, dir, &why);
        if (ok && !job->resume)
            remove_old_sheets(job, dir);
    }
    agree(job->world, ok, EXIT_CANNOT_CREATE, "%s: %s\nname writes one contact sheet per neuron there", dir, why);
}

static void write_sheet(struct name_task *t, struct tiles *tiles, int k)
{
    struct arena *scratch = t->job->scratch;
    const char *path = job_path(t->job, sheet_name(scratch, k)), *why = "";
    if (t->job->resume && file_exists(path))
        return;
    int64_t *rows = arena_array(scratch, int64_t, t->top + 1);
    int count = tiles_top_rows(rows, t->top, t->top_index + (int64_t)k * t->T, t->top_value + (int64_t)k * t->T, t->T);
    int columns = (int)ceil(sqrt((double)count));
    struct picture sheet = tiles_sheet(tiles, scratch, rows, count, (struct sheet_style){ columns, 1, 3 });
    size_t length;
    uint8_t *png = picture_png(scratch, sheet, arena_printf(scratch, "neuron %d", k), t->neuron[k].text, &length);
    require(file_write(scratch, path, (const char *)png, length, &why), EXIT_IO, "%s: %s", path, why);
}

/* Each rank draws its block of the sheets. */
int64_t name_write_sheets(struct name_task *t)
{
    struct job *job = t->job;
    int32_t *chosen = arena_array(job->run, int32_t, t->neurons);
    int64_t count = choose_sheets(t, chosen);
    struct span mine = shard_rows(count, job->world->size, job->world->rank);
    struct loader *loader = gallery_loader(job, t->gallery);
    int size = job->config->image.size < SHEET_TILE ? job->config->image.size : SHEET_TILE;
    int64_t room = t->corpus->rows < TILES_KEPT ? t->corpus->rows : TILES_KEPT;
    prepare_sheets(job);
    if (!loader) {
        log_info("name: the representations were imported without images: no contact sheets");
        return 0;
    }
    if (mine.count > 0) {
        struct tiles *tiles = tiles_create(job->run, loader, t->gallery->picture, size, room);
        for (int64_t i = 0; i < mine.count; i++) {
            struct arena_mark mark = arena_mark(job->scratch);
            write_sheet(t, tiles, chosen[mine.first + i]);
            arena_release(job->scratch, mark);
            progress("name", "sheets", (double)(i + 1) * job->world->size, (double)count, "sheet");
        }
    }
    progress_end();
    world_barrier(job->world); /* names.json says that all sheets are there */
    phase_count("sheets", (double)mine.count);
    return count;
}

/* ---- names.json ---- */

static void put_neuron(const struct name_task *t, struct json_writer *w, int k)
{
    const struct name_neuron *n = &t->neuron[k];
    json_object(w, NULL);
    json_integer(w, "neuron", k);
    json_text(w, "name", n->text ? n->text : "never fires");
    json_number(w, "fire_rate", (double)t->fire_rate[k]);
    if (n->text) {
        json_number(w, "score", n->score);
        if (n->attribute >= 0) {
            json_text(w, "attribute", t->targets.name[n->attribute]);
            json_number(w, "r_train", n->r);
            json_number(w, "r_test", name_correlation(t, NAME_TEST, k, n->attribute));
        }
        if (n->class_match >= 0) {
            json_text(w, "class", t->targets.name[n->class_match]);
            json_number(w, "class_r_train", n->class_r);
            json_number(w, "class_r_test", name_correlation(t, NAME_TEST, k, n->class_match));
            json_number(w, "class_lift", names_lift(t->sums, t->neurons, &t->targets, NAME_TRAIN, k, n->class_match));
        }
        if (n->top_class >= 0) {
            json_text(w, "top_class", t->corpus->class_names[n->top_class]);
            json_number(w, "top_class_share", n->top_share);
        }
        json_integer(w, "top_images", n->tops);
    }
    json_end_object(w);
}

/* For one attribute: the neuron that follows it best on the test split, and honestly, the neuron chosen without
 * looking at the test split. */
static void put_region(const struct name_task *t, struct json_writer *w, int j)
{
    int best = names_best_neuron(t->sums, t->neurons, t->targets.count, NAME_TEST, j);
    int chosen = names_best_neuron(t->sums, t->neurons, t->targets.count, NAME_CHOOSE, j);
    json_object(w, t->targets.name[j]);
    json_integer(w, "neuron", best);
    json_number(w, "r_test", best < 0 ? NAN : name_correlation(t, NAME_TEST, best, j));
    json_object(w, "chosen_without_test");
    json_integer(w, "neuron", chosen);
    json_number(w, "r_train_val", chosen < 0 ? NAN : name_correlation(t, NAME_CHOOSE, chosen, j));
    json_number(w, "r_test", chosen < 0 ? NAN : name_correlation(t, NAME_TEST, chosen, j));
    json_end_object(w);
    json_end_object(w);
}

void name_write_json(struct name_task *t, int64_t sheets)
{
    struct job *job = t->job;
    const char *path = job_path(job, "names.json"), *why = "";
    bool ok = true;
    if (job->world->rank == 0) {
        struct text out = text_new(job->run);
        struct json_writer w = json_start(&out);
        json_object(&w, NULL);
        json_text(&w, "method", "offline: correlation of activations with attributes and classes, training split");
        json_integer(&w, "sheets", sheets);
        json_object(&w, "regions");
        for (int j = 0; j < t->targets.attributes; j++)
            put_region(t, &w, j);
        json_end_object(&w);
        json_array(&w, "neurons");
        for (int k = 0; k < t->neurons; k++)
            put_neuron(t, &w, k);
        json_end_array(&w);
        json_end_object(&w);
        ok = file_write(job->scratch, path, out.data, out.length, &why);
    }
    agree(job->world, ok, EXIT_IO, "%s: %s", path, why);
}
