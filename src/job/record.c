/* What is recorded about an output (its /run group, or <output>.run beside a
 * file of another kind), and whether an output still answers to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/timer.h"
#include "base/version.h"
#include "job/home.h"
#include "job/record.h"
#include "math/blas.h"
#include "nn/network.h"
#include "store/checkpoint.h"

enum { REMEMBERED = 32 };
/* Checksums of this process' life: several stages of a run read the same large files. */
static struct {
    char path[1024], sum[33];
    struct stat st;
} remembered[REMEMBERED];
static int remembered_count;

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* XXH3-128 of a file as it is now; "missing" when it is not there. Collective. */
static const char *checksum(struct job *job, const char *path)
{
    struct stat st = { 0 };
    int known = -1, there = 0;
    if (job->world->rank == 0 && stat(path, &st) == 0) {
        there = 1;
        for (int r = 0; r < remembered_count; r++)
            if (strcmp(remembered[r].path, path) == 0 && is_same(&remembered[r].st, &st))
                known = r;
    }
    world_broadcast(job->world, &there, sizeof there, 0);
    if (!there)
        return "missing";
    char *sum = world_broadcast_text(job->world, job->run, known >= 0 ? remembered[known].sum : "", 0);
    if (*sum)
        return sum;
    sum = store_checksum(job->world, job->run, path);
    if (job->world->rank == 0 && strlen(path) < sizeof remembered->path && strlen(sum) < sizeof remembered->sum) {
        int r = remembered_count < REMEMBERED ? remembered_count++ : 0;
        snprintf(remembered[r].path, sizeof remembered->path, "%s", path);
        snprintf(remembered[r].sum, sizeof remembered->sum, "%s", sum);
        remembered[r].st = st;
    }
    return sum;
}

/* Inputs are names of this run, or with a slash paths outside it. */
static const char *input_path(struct job *job, const char *name)
{
    return strchr(name, '/') ? name : job_path(job, name);
}

/* "checksum  name" lines. */
static char *input_lines(struct job *job, const struct job_files *inputs)
{
    struct text out = text_new(job->run);
    for (int i = 0; i < inputs->count; i++)
        text_add(&out, "%s  %s\n", checksum(job, input_path(job, inputs->name[i])), inputs->name[i]);
    return out.data;
}

static char *name_lines(struct arena *arena, const struct job_files *files)
{
    struct text out = text_new(arena);
    for (int i = 0; i < files->count; i++)
        text_add(&out, "%s\n", files->name[i]);
    return out.data;
}

/* "node1 x4, node2 x4": hosts in rank order with their ranks. */
static char *hosts(struct job *job)
{
    const struct world *world = job->world;
    char *all = world_gather_text(world, job->run, arena_printf(job->run, "%s\n", world->host));
    struct text out = text_new(job->run);
    int same = 0;
    for (char *at = all, *end; at && (end = strchr(at, '\n')) && out.length < 32768; at = end + 1) {
        *end = '\0';
        char *next = end + 1;
        same++;
        size_t length = strlen(at);
        if (strncmp(next, at, length) == 0 && next[length] == '\n')
            continue;
        text_add(&out, "%s%s x%d", out.length ? ", " : "", at, same);
        same = 0;
    }
    return world_broadcast_text(world, job->run, out.data, 0);
}

static void add(struct record *record, const char *name, const char *value)
{
    record->name[record->count] = name;
    record->value[record->count++] = value;
}

static const char *job_id(void)
{
    const char *id = getenv("SLURM_JOB_ID");
    return id ? id : "none";
}

struct record record_make(struct job *job)
{
    struct record r = { 0 };
    char now[32];
    timer_utc(now, sizeof now);
    const struct world *world = job->world;
    add(&r, "stage", job->command->name);
    add(&r, "command_line", job->command_line);
    add(&r, "configuration", config_used(job->run, job->config));
    add(&r, "settings", command_settings(job->run, job->command, job->config));
    add(&r, "inputs", input_lines(job, &job->inputs));
    if (job->absent.count > 0)
        add(&r, "absent", name_lines(job->run, &job->absent));
    add(&r, "version", version_number());
    add(&r, "revision", version_revision());
    add(&r, "compiler", version_compiler());
    add(&r, "mpi", world_library());
    add(&r, "hdf5", store_library());
    add(&r, "blis", arena_printf(job->run, "%s, kernel %s", blas_library(), blas_kernel()));
    add(&r, "onednn", arena_printf(job->run, "%s, %s", network_library(), network_isa()));
    add(&r, "ranks", arena_printf(job->run, "%d", world->size));
    add(&r, "threads_per_rank", arena_printf(job->run, "%d", world->threads));
    add(&r, "hosts", hosts(job));
    add(&r, "job_id", world_broadcast_text(world, job->run, job_id(), 0));
    add(&r, "seed", arena_printf(job->run, "%lld", (long long)job->config->run.seed));
    add(&r, "started", world_broadcast_text(world, job->run, job->started ? job->started : "", 0));
    add(&r, "ended", world_broadcast_text(world, job->run, now, 0));
    return r;
}

const char *job_identity(struct job *job)
{
    const bool mix = job->config->run.mix_libraries;
    const char *blis = arena_printf(job->run, "%s, kernel %s", blas_library(), blas_kernel());
    const char *onednn = arena_printf(job->run, "%s, %s", network_library(), network_isa());
    return arena_printf(
        job->run, "%s" CHECKPOINT_BY "compiler=%s\n" CHECKPOINT_BY "blis=%s\n" CHECKPOINT_BY "onednn=%s\n",
        command_settings(job->run, job->command, job->config), mix ? CHECKPOINT_ANY : version_compiler(),
        mix ? CHECKPOINT_ANY : blis, mix ? CHECKPOINT_ANY : onednn);
}

/* One "[name]" block per note: values may have several lines. */
void record_write(struct job *job, const char *output)
{
    struct record r = record_make(job);
    struct text out = text_new(job->run);
    for (int n = 0; n < r.count; n++)
        text_add(&out, "[%s]\n%s%s", r.name[n], r.value[n], text_ends(r.value[n], "\n") ? "" : "\n");
    const char *path = arena_printf(job->run, "%s.run", job_path(job, output)), *why = "";
    bool ok = job->world->rank != 0 || file_write(job->run, path, out.data, out.length, &why);
    agree(job->world, ok, EXIT_IO, "%s: %s", path, why);
}

/* The value of one note in the text of an <output>.run, or NULL. */
static const char *find_note(struct arena *arena, const char *text, const char *name)
{
    const char *head = arena_printf(arena, "[%s]\n", name), *at = strstr(text, head);
    while (at && at != text && at[-1] != '\n')
        at = strstr(at + 1, head);
    if (!at)
        return NULL;
    at += strlen(head);
    const char *end = strstr(at, "\n[");
    return arena_printf(arena, "%.*s", end ? (int)(end + 1 - at) : (int)strlen(at), at);
}

/* Notes of an output: out [count], NULL where absent. Collective. */
static void read_notes(struct job *job, const char *output, const char *const *names, const char **out, int count)
{
    const char *path = job_path(job, output);
    if (text_ends(output, ".h5")) {
        struct store *store = store_open(job->world, job->run, path);
        for (int n = 0; n < count; n++)
            if (!store_get_text(store, "/run", names[n], &out[n]))
                out[n] = NULL;
        store_close(store);
        return;
    }
    size_t length;
    const char *why, *text = NULL;
    if (job->world->rank == 0)
        text = file_read(job->run, arena_printf(job->run, "%s.run", path), 1 << 20, &length, &why);
    text = world_broadcast_text(job->world, job->run, text ? text : "", 0);
    for (int n = 0; n < count; n++)
        out[n] = find_note(job->run, text, names[n]);
}

/* The value of a key in "key=value" lines, or NULL. */
static const char *setting(struct arena *arena, const char *lines, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = lines; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strncmp(at, key, length) == 0 && at[length] == '=')
            return arena_printf(arena, "%.*s", (int)strcspn(at + length + 1, "\n"), at + length + 1);
    return NULL;
}

/* The first setting that differs, "made with sae.l1=3e-05, now sae.l1=0.001", or "". A key that is not known to one
 * side is no difference while it has its default: the file was made before there was a choice. */
static const char *difference(struct arena *arena, const struct config *config, const char *then, const char *now)
{
    for (int side = 0; side < 2; side++) {
        const char *lines = side ? then : now, *other = side ? now : then;
        for (const char *at = lines; *at; at += strcspn(at, "\n"), at += *at == '\n') {
            const char *key = arena_printf(arena, "%.*s", (int)strcspn(at, "=\n"), at);
            const char *here = setting(arena, lines, key), *there = setting(arena, other, key);
            if (!there && !side && config_is_default(arena, config, key))
                continue;
            if (here && there && strcmp(here, there) == 0)
                continue;
            const char *was = side ? here : there, *is = side ? there : here;
            return arena_printf(arena, "made with %s, now %s", was ? arena_printf(arena, "%s=%s", key, was) : "nothing",
                                is ? arena_printf(arena, "%s=%s", key, is) : "nothing");
        }
    }
    return "";
}

/* The next line of a note, without its end; NULL after the last. *at starts at the text, or NULL for none. */
static char *next_line(struct arena *arena, const char **at)
{
    if (!*at || !**at)
        return NULL;
    const char *line = *at;
    size_t length = strcspn(line, "\n");
    *at += length + (line[length] == '\n');
    return arena_printf(arena, "%.*s", (int)length, line);
}

/* Cuts a line of "inputs" behind its checksum and returns the name. */
static const char *cut_input(char *line)
{
    size_t sum = strcspn(line, " ");
    char *name = line + sum + strspn(line + sum, " ");
    line[sum] = '\0';
    return name;
}

/* The first recorded input whose file is another one today, or NULL. Images and tables that were packed may be gone:
 * that changes nothing about what was made of them. Collective. */
static const char *changed_input(struct job *job, const char *lines, const char *only)
{
    char *sum;
    while ((sum = next_line(job->run, &lines))) {
        const char *name = cut_input(sum);
        if (only && strcmp(name, only) != 0)
            continue;
        const char *now = checksum(job, input_path(job, name));
        bool is_gone = strchr(name, '/') && strcmp(now, "missing") == 0;
        if (!is_gone && strcmp(now, sum) != 0)
            return name;
    }
    return NULL;
}

const char *record_changed_input(struct job *job, const char *output, const char *only)
{
    static const char *const name = "inputs";
    const char *lines;
    read_notes(job, output, &name, &lines, 1);
    return changed_input(job, lines, only);
}

const char *record_files(struct job *job, const struct command *command)
{
    static const char *const names[] = { "inputs", "absent" };
    const char *notes[2], *output = command_word(job->run, command->outputs, 0);
    char *line;
    if (!output || !home_has(job, job_path(job, output)))
        return NULL;
    read_notes(job, output, names, notes, 2);
    if (!notes[0])
        return NULL;
    struct text files = text_new(job->run);
    while ((line = next_line(job->run, &notes[0])))
        text_add(&files, "%s\n", cut_input(line));
    text_add(&files, "%s", notes[1] ? notes[1] : "");
    return files.data;
}

/* The first input that was looked for in vain and is there now, or NULL. Collective. */
static const char *new_input(struct job *job, const char *absent)
{
    const char *name;
    while ((name = next_line(job->run, &absent)))
        if (home_has(job, job_path(job, name)))
            return name;
    return NULL;
}

bool record_is_valid(struct job *job, const struct command *command, const char **why)
{
    static const char *const names[] = { "settings", "inputs", "absent" };
    const char *notes[3], *output, *input;
    for (int o = 0; (output = command_word(job->run, command->outputs, o)); o++)
        if (!home_has(job, job_path(job, output))) {
            *why = arena_printf(job->run, "no %s yet", output);
            return false;
        }
    output = command_word(job->run, command->outputs, 0);
    read_notes(job, output, names, notes, 3);
    *why = "not known how it was made";
    if (!notes[0] || !notes[1])
        return false;
    const char *now = command_settings(job->run, command, job->config);
    *why = difference(job->run, job->config, notes[0], now);
    if (**why)
        return false;
    *why = "";
    if ((input = changed_input(job, notes[1], NULL)))
        *why = arena_printf(job->run, "%s has changed", input);
    else if ((input = new_input(job, notes[2])))
        *why = arena_printf(job->run, "%s is there now", input);
    return !input;
}

bool record_is_imported(struct job *job, const struct command *command)
{
    static const char *const names[] = { "stage" };
    const char *stage, *output = command_word(job->run, command->outputs, 0);
    if (!output || !text_ends(output, ".h5") || !home_has(job, job_path(job, output)))
        return false;
    read_notes(job, output, names, &stage, 1);
    return stage && strcmp(stage, "import") == 0;
}
