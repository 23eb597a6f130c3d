/* `cfn run`: all stages in order. A stage whose output is whole, and was made
 * from today's settings and inputs (store checksums), is skipped; the others
 * run, and replace what they had made. Ends with a summary. */
#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "cli/commands.h"
#include "dist/deadline.h"
#include "job/home.h"
#include "job/record.h"
#include "report/json.h"

enum { STAGES = 16 };
struct pipeline {
    const struct command *stage[STAGES];
    bool is_made[STAGES]; /* by this run, or would be in a dry run */
    double seconds[STAGES];
    int count, kept; /* kept: stages that imported representations leave nothing to do for */
    bool imported, pictures;
};

static struct pipeline all_stages(void)
{
    struct pipeline p = { .count = 0 };
    size_t count;
    const struct command *table = command_table(&count);
    for (size_t c = 0; c < count; c++)
        if (table[c].flags & COMMAND_STAGE && p.count < STAGES)
            p.stage[p.count++] = &table[c];
    return p;
}

/* Is one of the files, a line each, an output of stage r? */
static bool reads_from(struct arena *arena, const char *files, const struct command *r)
{
    const char *output;
    for (int o = 0; (output = command_word(arena, r->outputs, o)); o++)
        for (const char *at = files; *at; at += strcspn(at, "\n"), at += *at == '\n')
            if (strcspn(at, "\n") == strlen(output) && text_starts(at, output))
                return true;
    return false;
}

/* Is there nothing to do for stage s? *why says what is, or why nothing ("": it was done before). Collective. */
static bool is_done(struct job *job, const struct pipeline *p, int s, const char **why)
{
    *why = "--force";
    if (job->force)
        return false;
    if (record_is_imported(job, p->stage[s])) {
        *why = arena_printf(job->run, "%s was imported: kept", command_word(job->run, p->stage[s]->outputs, 0));
        return true;
    }
    const char *files = record_files(job, p->stage[s]);
    for (int r = 0; r < s; r++)
        if (p->is_made[r] && files && reads_from(job->run, files, p->stage[r])) {
            *why = arena_printf(job->run, "%s will be written anew", command_word(job->run, p->stage[r]->outputs, 0));
            return false;
        }
    return record_is_valid(job, p->stage[s], why);
}

/* Can a dry run ask stage s itself? Only when all it reads is there, and stays. What it reads is what it read when it
 * ran; before, whatever earlier stages write. Collective. */
static bool can_ask(struct job *job, const struct pipeline *p, int s)
{
    const char *files = record_files(job, p->stage[s]);
    for (int r = 0; r < s; r++)
        if (p->is_made[r] && (files ? reads_from(job->run, files, p->stage[r]) : !(p->stage[r]->flags & COMMAND_ASIDE)))
            return false;
    return true;
}

/* Why there is nothing to do for a stage before `sae` when the representations were imported; else NULL. */
static const char *not_needed(const struct pipeline *p, const struct command *stage)
{
    if (!p->imported)
        return NULL;
    if (stage->flags & COMMAND_NETWORK)
        return "embeddings.h5 was imported: kept";
    if (!(stage->flags & COMMAND_DATA))
        return NULL;
    if (!p->pictures)
        return "embeddings.h5 was imported without images: not needed";
    return strcmp(stage->outputs, "corpus.h5") == 0 ? "corpus.h5 is the one embeddings.h5 was imported with: kept"
                                                    : NULL;
}

/* Were the representations imported, and is what they were made from still there as it was? Collective. */
static void look_for_import(struct job *job, struct pipeline *p)
{
    const char *encoder;
    home_set(job, command_find("sae"));
    p->imported = home_imported(job, job_path(job, "embeddings.h5"), &encoder);
    if (!p->imported)
        return;
    struct store *store = job_open(job, "embeddings.h5", "import");
    p->pictures = store_has(store, "/corpus_row");
    store_close(store);
    agree(
        job->world, !record_changed_input(job, "embeddings.h5", "corpus.h5"), EXIT_BAD_DATA,
        "%s: its rows are those of another corpus.h5\nimport the representations again: cfn import ... --as embeddings "
        "--force",
        job_path(job, "embeddings.h5"));
    const char *changed = record_changed_input(job, "embeddings.h5", NULL);
    if (changed && job->world->rank == 0)
        log_warn("%s has changed since embeddings.h5 was imported from it; import it again to use it as it is now",
                 changed);
}

/* Runs one stage unless it is done. */
static int run_stage(struct job *job, struct pipeline *p, int s)
{
    const struct command *stage = p->stage[s];
    const char *why;
    if ((why = not_needed(p, stage))) {
        log_info("run: %-9s %s", stage->name, why);
        p->kept++;
        return EXIT_DONE;
    }
    home_set(job, stage);
    /* The corpus is shared: another run on the same data may be packing it right now. */
    bool shared = stage->flags & COMMAND_DATA;
    if (shared)
        home_lock(job, true);
    int code = EXIT_DONE;
    if (is_done(job, p, s, &why)) {
        log_info("run: %-9s %s", stage->name, *why ? why : "done before");
    } else if (job->dry_run) {
        log_info("run: %-9s would run (%s), writes %s", stage->name, why, stage->outputs);
        code = can_ask(job, p, s) ? stage->function(job) : EXIT_DONE;
        p->is_made[s] = true;
    } else {
        log_info("run: %-9s starts (%s)", stage->name, why);
        double begin = timer_seconds();
        code = stage->function(job);
        p->is_made[s] = true;
        p->seconds[s] = timer_seconds() - begin;
        if (code == EXIT_DONE)
            log_info("run: %-9s %.1f s", stage->name, p->seconds[s]);
    }
    if (shared)
        home_unlock(job);
    arena_reset(job->run);
    arena_reset(job->scratch);
    return code;
}

/* A measure of metrics.json; NAN when it is not there. */
static double measure(const struct json *metrics, const char *model, const char *split, const char *name)
{
    return json_as_number(json_member(json_member(json_member(metrics, model), split), name), NAN);
}

static void print_measure(const char *label, double value)
{
    if (isfinite(value))
        log_info("  %-28s %.4f", label, value);
}

static void summarise_metrics(struct job *job)
{
    const char *why;
    const struct json *metrics = json_read(job->run, job_path(job, "metrics.json"), &why);
    if (!metrics)
        return;
    /* Accuracy says little for several labels per image: there AUROC stands in its place. */
    const char *name = isfinite(measure(metrics, "cbm", "test", "accuracy")) ? "accuracy" : "auroc";
    static const char *const models[][2] = { { "backbone", "backbone" },
                                             { "probe", "linear probe" },
                                             { "cbm", "concept bottleneck" },
                                             { "random_concepts", "control: random concepts" },
                                             { "majority", "control: majority class" } };
    log_info("  %s on the test split", name);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        print_measure(models[m][1], measure(metrics, models[m][0], "test", name));
    const char *of = json_as_text(json_member(json_member(metrics, "retention"), "of"), "backbone");
    print_measure(strcmp(of, "probe") == 0 ? "retention, of linear probe" : "retention",
                  measure(metrics, "cbm", "test", name) / measure(metrics, of, "test", name));
}

static void summarise_neurons(struct job *job)
{
    if (!home_has(job, job_path(job, "sae.h5")))
        return;
    struct store *store = store_open(job->world, job->run, job_path(job, "sae.h5"));
    int64_t neurons = store_rows(store, "/fire_rate"), alive = 0;
    float *rate = arena_array(job->run, float, neurons);
    if (neurons > 0)
        store_read_all(store, "/fire_rate", rate);
    for (int64_t k = 0; k < neurons; k++)
        alive += rate[k] > 0;
    store_close(store);
    log_info("  %-28s %lld of %lld", "neurons alive", (long long)alive, (long long)neurons);
}

static void summarise(struct job *job, const struct pipeline *p, double seconds)
{
    int made = 0;
    for (int s = 0; s < p->count; s++)
        made += p->is_made[s];
    log_info("run: %d stages run, %d done before, %s", made, p->count - p->kept - made,
             text_seconds(job->run, seconds));
    if (job->world->rank == 0)
        summarise_metrics(job);
    summarise_neurons(job);
    log_info("  %-28s %s", "results", job->dir);
    log_info("  %-28s %s", "page", job_path(job, "report/index.html"));
}

int stage_run(struct job *job)
{
    struct pipeline p = all_stages();
    double begin = timer_seconds();
    job->resume = false;
    job->replace = true;
    const struct command *self = command_find("run");
    look_for_import(job, &p);
    for (int s = 0; s < p.count; s++) {
        int code = run_stage(job, &p, s);
        if (code != EXIT_DONE)
            return code;
        if (s + 1 < p.count && !job->dry_run && deadline_reached(job->world, 0, 0)) {
            log_info("run: stopped (%s) after %s; the same command goes on", deadline_reason(), p.stage[s]->name);
            return EXIT_STOPPED;
        }
    }
    home_set(job, self);
    if (!job->dry_run)
        summarise(job, &p, timer_seconds() - begin);
    return EXIT_DONE;
}
