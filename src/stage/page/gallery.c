/* Which images a run is about. Representations of the program's own backbone have the rows of corpus.h5; imported ones
 * say of their rows themselves, and which picture of corpus.h5 each has, if any. */
#include "stage/gallery.h"

#include "image/loader.h"
#include "job/home.h"
#include "stage/preprocess.h"

/* Row of its picture for each row of an import; NULL: it was imported without images. */
static const int64_t *read_pictures(struct job *job, struct store *embeddings, int64_t rows, struct store *pixels)
{
    int64_t *picture = arena_array(job->run, int64_t, rows + 1), bad = -1;
    const int64_t all = store_rows(pixels, "/split");
    store_expect(embeddings, "/corpus_row", STORE_I64, 1, &rows);
    store_read_all(embeddings, "/corpus_row", picture);
    for (int64_t i = 0; i < rows && bad < 0; i++)
        bad = picture[i] < 0 || picture[i] >= all ? i : -1;
    agree(job->world, bad < 0, EXIT_BAD_DATA,
          "%s: /corpus_row of row %lld is %lld, but %s has %lld images\nimport the representations again",
          store_path(embeddings), (long long)bad, bad < 0 ? 0 : (long long)picture[bad], store_path(pixels),
          (long long)all);
    return picture;
}

struct gallery *gallery_open(struct job *job)
{
    struct gallery *g = arena_array(job->run, struct gallery, 1);
    g->described = job_has_input(job, "embeddings.h5") ? job_open(job, "embeddings.h5", "import") : NULL;
    if (!g->described || !home_is_import(job, g->described, &g->encoder)) {
        if (g->described)
            store_close(g->described);
        g->pixels = job_open(job, "corpus.h5", "pack");
        g->corpus = corpus_load(g->pixels, job->run);
        g->described = g->pixels;
        return g;
    }
    g->corpus = corpus_load_any(g->described, job->run);
    if (store_has(g->described, "/corpus_row")) {
        g->pixels = job_open(job, "corpus.h5", "pack");
        g->picture = read_pictures(job, g->described, g->corpus->rows, g->pixels);
    }
    return g;
}

struct loader *gallery_loader(struct job *job, const struct gallery *g)
{
    if (!g->pixels)
        return NULL;
    struct preprocess preprocess = preprocess_of_run(job);
    return loader_open(g->pixels, job->run, &preprocess, (uint64_t)job->config->run.seed);
}

const char *gallery_name(const struct gallery *g, struct arena *arena, int64_t row)
{
    if (!store_has(g->described, "/id") || store_typeof(g->described, "/id") != STORE_TEXT)
        return arena_printf(arena, "row %lld", (long long)row);
    char *id = arena_take(arena, store_width(g->described, "/id") + 1, 1);
    store_read_list(g->described, "/id", &row, 1, id);
    return id;
}
