/* Where the time of a stage went: what the clocks of all ranks say as a table, notes a user can act on, and perf.json.
 */
#include "job/perf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/phase.h"
#include "base/text.h"
#include "base/timer.h"
#include "base/usage.h"
#include "dist/progress.h"
#include "dist/world.h"

static const struct {
    const char *name;
    bool compute; /* counts for imbalance */
} PHASE[PHASES] = {
    [PHASE_READ] = { "read", false },          [PHASE_DECODE] = { "decode", true },
    [PHASE_FORWARD] = { "forward", true },     [PHASE_BACKWARD] = { "backward", true },
    [PHASE_OPTIMISER] = { "optimiser", true }, [PHASE_COMM] = { "communication, exposed", false },
    [PHASE_WRITE] = { "write", false },        [PHASE_CHECKPOINT] = { "checkpoint", false },
    [PHASE_EVALUATE] = { "evaluation", true }, [PHASE_COMPUTE] = { "compute", true },
    [PHASE_OTHER] = { "other", false },
};

static struct {
    char stage[64];
    int64_t bytes, calls; /* of communication before the stage */
} state;

void perf_start(const char *stage)
{
    snprintf(state.stage, sizeof state.stage, "%s", stage);
    state.bytes = world_bytes_sent();
    state.calls = world_calls();
    phase_start();
}

/* One quantity over all ranks. */
struct spread {
    double least, mean, most;
};

/* Rows of the table after those of the phases. */
enum { ROW_WALL = PHASES, ROW_COMPUTE, ROW_PEAK, ROW_BYTES, ROW_CALLS, ROWS };

struct summary {
    struct spread row[ROWS];
    struct phase_counts counts;
    int ranks;
};

/* Min, mean and max over ranks of all rows. Collective. */
static void gather_rows(const struct world *world, struct summary *sum, const struct phase_times *times)
{
    double mine[ROWS], least[ROWS], most[ROWS];
    memcpy(mine, times->seconds, sizeof times->seconds);
    mine[ROW_WALL] = times->wall;
    mine[ROW_COMPUTE] = 0.0;
    for (int p = 0; p < PHASES; p++)
        mine[ROW_COMPUTE] += PHASE[p].compute ? times->seconds[p] : 0.0;
    mine[ROW_PEAK] = usage_peak_bytes();
    mine[ROW_BYTES] = (double)(world_bytes_sent() - state.bytes);
    mine[ROW_CALLS] = (double)(world_calls() - state.calls);
    memcpy(least, mine, sizeof mine);
    memcpy(most, mine, sizeof mine);
    world_min_f64(world, least, ROWS);
    world_max_f64(world, most, ROWS);
    world_sum_f64_any_order(world, mine, ROWS);
    for (int r = 0; r < ROWS; r++)
        sum->row[r] = (struct spread){ least[r], mine[r] / world->size, most[r] };
    sum->ranks = world->size;
}

/* Counts may have other names on other ranks (one without rows counts nothing): added up by name on rank 0. */
static void gather_counts(const struct world *world, struct arena *arena, struct summary *sum,
                          const struct phase_counts *counts)
{
    struct text mine = text_new(arena);
    for (int i = 0; i < counts->count; i++)
        text_add(&mine, "%s\t%.17g\n", counts->list[i].name, counts->list[i].amount);
    char *all = world_gather_text(world, arena, mine.data), *rest = NULL;
    for (char *line = all ? strtok_r(all, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        char *tab = strchr(line, '\t');
        if (!tab)
            continue;
        *tab = '\0';
        phase_counts_add(&sum->counts, line, strtod(tab + 1, NULL));
    }
}

static double share(const struct summary *sum, double seconds)
{
    return sum->row[ROW_WALL].mean > 0.0 ? seconds / sum->row[ROW_WALL].mean : 0.0;
}

/* Bytes all ranks sent per second of communication. */
static double comm_rate(const struct summary *sum)
{
    double seconds = sum->row[PHASE_COMM].mean;
    return seconds > 0.0 ? sum->row[ROW_BYTES].mean * sum->ranks / seconds : 0.0;
}

/* Most over mean of the time in compute phases, minus one; 0 where compute hardly matters. */
static double imbalance(const struct summary *sum)
{
    struct spread compute = sum->row[ROW_COMPUTE];
    return share(sum, compute.mean) > 0.05 ? compute.most / compute.mean - 1.0 : 0.0;
}

/* Time in which a network waits for its images; 0 in stages without one, where reading is the work. */
static double input_seconds(const struct summary *sum)
{
    return sum->row[PHASE_FORWARD].mean > 0.0 ? sum->row[PHASE_READ].mean + sum->row[PHASE_DECODE].mean : 0.0;
}

/* What a user can act on; the thresholds are promises of the manual. notes [4]; returns how many. */
static int make_notes(const struct summary *sum, struct arena *arena, const char **notes)
{
    const double SHORT_SECONDS = 1.0; /* below, shares say nothing */
    int count = 0;
    if (sum->row[ROW_WALL].mean < SHORT_SECONDS)
        return 0;
    double comm = share(sum, sum->row[PHASE_COMM].mean), wait = share(sum, input_seconds(sum));
    double saving = share(sum, sum->row[PHASE_CHECKPOINT].mean), uneven = imbalance(sum);
    if (comm > 0.15)
        notes[count++] = arena_printf(arena,
                                      "exposed communication takes %.0f %% of the time: use fewer ranks with more "
                                      "threads each, or a larger batch",
                                      100.0 * comm);
    if (uneven > 0.10)
        notes[count++] = arena_printf(arena,
                                      "imbalance: the slowest rank computes %.0f %% longer than the mean: are nodes "
                                      "or cores shared with other jobs, or rows fewer than ranks?",
                                      100.0 * uneven);
    if (wait > 0.10)
        notes[count++] = arena_printf(arena,
                                      "waiting for input takes %.0f %% of the time: pack with image.short_side so "
                                      "that stored images are smaller, or give each rank more cores",
                                      100.0 * wait);
    if (saving > 0.02)
        notes[count++] = arena_printf(arena,
                                      "checkpoints take %.1f %% of the time: write them less often "
                                      "(checkpoint_minutes), or to a faster file system",
                                      100.0 * saving);
    return count;
}

static void print_rows(const struct summary *sum)
{
    log_info("%-24s %10s %10s %10s %8s", state.stage, "min s", "avg s", "max s", "share");
    for (int p = 0; p < PHASES; p++) {
        struct spread row = sum->row[p];
        if (row.most > 0.0)
            log_info("  %-22s %10.3f %10.3f %10.3f %7.1f%%", PHASE[p].name, row.least, row.mean, row.most,
                     100.0 * share(sum, row.mean));
    }
    struct spread wall = sum->row[ROW_WALL];
    log_info("  %-22s %10.3f %10.3f %10.3f %7.1f%%", "wall", wall.least, wall.mean, wall.most, 100.0);
}

/* "images 1600 (123 /s)", with units for what is named so. */
static void print_counts(const struct summary *sum, struct arena *arena)
{
    double wall = sum->row[ROW_WALL].most > 0.0 ? sum->row[ROW_WALL].most : 1.0;
    for (int i = 0; i < sum->counts.count; i++) {
        const char *name = sum->counts.list[i].name;
        double amount = sum->counts.list[i].amount;
        if (text_ends(name, "_bytes"))
            log_info("  %-22s %s (%s/s)", name, text_bytes(arena, amount), text_bytes(arena, amount / wall));
        else if (text_ends(name, "_flops"))
            log_info("  %-22s %.4g (%.4g GFLOP/s)", name, amount, amount / wall * 1e-9);
        else
            log_info("  %-22s %.10g (%.4g /s)", name, amount, amount / wall);
    }
}

static void print_table(const struct summary *sum, const char *const *notes, int note_count, struct arena *arena)
{
    print_rows(sum);
    if (sum->row[ROW_BYTES].most > 0.0)
        log_info("  %-22s %s sent by %d ranks in %.0f calls, %.3g GB/s", "communication",
                 text_bytes(arena, sum->row[ROW_BYTES].mean * sum->ranks), sum->ranks, sum->row[ROW_CALLS].most,
                 1e-9 * comm_rate(sum));
    log_info("  %-22s %s on the largest rank", "peak memory", text_bytes(arena, sum->row[ROW_PEAK].most));
    print_counts(sum, arena);
    for (int i = 0; i < note_count; i++)
        log_info("  note: %s", notes[i]);
}

static json_t *spread_json(struct spread spread)
{
    return json_pack("{s:f,s:f,s:f}", "min", spread.least, "avg", spread.mean, "max", spread.most);
}

static json_t *summary_json(const struct summary *sum, const char *const *notes, int note_count)
{
    char utc[32];
    timer_utc(utc, sizeof utc);
    json_t *phases = json_object(), *counts = json_object(), *texts = json_array();
    for (int p = 0; p < PHASES; p++)
        if (sum->row[p].most > 0.0)
            json_object_set_new(phases, PHASE[p].name, spread_json(sum->row[p]));
    for (int i = 0; i < sum->counts.count; i++)
        json_object_set_new(counts, sum->counts.list[i].name, json_real(sum->counts.list[i].amount));
    for (int i = 0; i < note_count; i++)
        json_array_append_new(texts, json_string(notes[i]));
    return json_pack("{s:s,s:i,s:o,s:o,s:f,s:f,s:f,s:f,s:o,s:o}", "end_utc", utc, "ranks", sum->ranks, "wall_seconds",
                     spread_json(sum->row[ROW_WALL]), "phase_seconds", phases, "communication_bytes",
                     sum->row[ROW_BYTES].mean * sum->ranks, "communication_calls", sum->row[ROW_CALLS].most,
                     "communication_gb_per_second", 1e-9 * comm_rate(sum), "peak_memory_bytes", sum->row[ROW_PEAK].most,
                     "counts", counts, "notes", texts);
}

/* The other stages of the file stay as they are. */
static void merge_json(json_t *stage, struct arena *arena, const char *path)
{
    json_error_t error;
    const char *why = NULL;
    json_t *all = file_exists(path) ? json_load_file(path, 0, &error) : json_object();
    if (!json_is_object(all)) {
        log_warn("%s: not a JSON object; it is written anew", path);
        json_decref(all);
        all = json_object();
    }
    json_object_set_new(all, state.stage, stage);
    char *text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (!text || !file_write(arena, path, text, strlen(text), &why))
        log_warn("%s", why ? why : "perf.json: out of memory");
    free(text);
    json_decref(all);
}

void perf_report(struct world *world, struct arena *scratch, const char *path)
{
    enum { NOTES = 4 };
    const char *notes[NOTES];
    progress_end();
    const struct phase_times *times = phase_stop(); /* the report itself is not part of the stage */
    struct arena_mark mark = arena_mark(scratch);
    struct summary *sum = arena_array(scratch, struct summary, 1);
    gather_rows(world, sum, times);
    gather_counts(world, scratch, sum, &times->counts);
    if (world->rank == 0) {
        int count = make_notes(sum, scratch, notes);
        print_table(sum, notes, count, scratch);
        if (path)
            merge_json(summary_json(sum, notes, count), scratch, path);
    }
    arena_release(scratch, mark);
}
