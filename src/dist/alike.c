/* Whether all ranks run the same code, and which hosts do not. Rank 0 hears of
 * all and decides. */
#include "dist/alike.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/internal.h"

enum { HOSTS_NAMED = 4 };

/* Whether ranks before `r` have named this host with this code. */
static bool is_named(const struct alike *ranks, int r)
{
    for (int before = 0; before < r; before++)
        if (strcmp(ranks[before].host, ranks[r].host) == 0 && strcmp(ranks[before].code, ranks[r].code) == 0)
            return true;
    return false;
}

/* The first rank with the code of rank r. */
static int first_like(const struct alike *ranks, int r)
{
    int first = 0;
    while (strcmp(ranks[first].code, ranks[r].code) != 0)
        first++;
    return first;
}

/* "node1, node2 and 3 more hosts run x86-64-v3, BLIS haswell" */
static void add_group(struct text *out, const struct alike *ranks, int count, int first)
{
    int hosts = 0;
    for (int r = first; r < count; r++) {
        if (strcmp(ranks[r].code, ranks[first].code) != 0 || is_named(ranks, r))
            continue;
        if (++hosts <= HOSTS_NAMED)
            text_add(out, "%s%s", hosts > 1 ? ", " : "", ranks[r].host);
    }
    if (hosts > HOSTS_NAMED)
        text_add(out, " and %d more hosts", hosts - HOSTS_NAMED);
    text_add(out, " %s %s", hosts > 1 ? "run" : "runs", ranks[first].code);
}

const char *alike_problem(struct arena *arena, const struct alike *ranks, int count)
{
    bool same = true;
    int least = ranks[0].level;
    for (int r = 1; r < count; r++) {
        same = same && strcmp(ranks[r].code, ranks[0].code) == 0;
        least = ranks[r].level < least ? ranks[r].level : least;
    }
    if (same)
        return NULL;
    struct text out = text_new(arena);
    text_add(&out, "ranks of one job run different code, which does not give the same bits: ");
    for (int r = 0; r < count; r++)
        if (first_like(ranks, r) == r) {
            text_add(&out, "%s", r > 0 ? "; " : "");
            add_group(&out, ranks, count, r);
        }
    if (least >= 2)
        text_add(&out, "; set CFN_ISA=%s for all of them, or use nodes of one kind", cpu_level_name(least));
    else
        text_add(&out, "; use nodes of one kind");
    return out.data;
}

/* Ranks of a gathered text, one line each: host, processor, level, code. */
static const struct alike *read_lines(struct arena *arena, char *lines, int count)
{
    struct alike *ranks = arena_array(arena, struct alike, count);
    char *line_rest, *rest, *line = strtok_r(lines, "\n", &line_rest);
    for (int r = 0; r < count && line; r++, line = strtok_r(NULL, "\n", &line_rest)) {
        ranks[r].host = strtok_r(line, "\t", &rest);
        ranks[r].processor = strtok_r(NULL, "\t", &rest);
        ranks[r].level = (int)strtol(strtok_r(NULL, "\t", &rest), NULL, 10);
        ranks[r].code = rest;
    }
    return ranks;
}

static void note_processors(const struct alike *ranks, int count)
{
    for (int r = 1; r < count; r++)
        if (strcmp(ranks[r].processor, ranks[0].processor) != 0) {
            log_info("note: %s is a %s, %s a %s: they run the same kernels, but libraries may cut work by the size of "
                     "caches, so that last digits may differ from a job on one kind of node",
                     ranks[0].host, ranks[0].processor, ranks[r].host, ranks[r].processor);
            return;
        }
}

void world_alike(struct world *world, const struct alike *mine)
{
    struct arena *scratch = dist_scratch();
    struct arena_mark mark = arena_mark(scratch);
    const char *line = arena_printf(scratch, "%s\t%s\t%d\t%s\n", mine->host, mine->processor, mine->level, mine->code);
    char *lines = world_gather_text(world, scratch, line);
    const struct alike *ranks = lines ? read_lines(scratch, lines, world->size) : NULL;
    const char *problem = ranks ? alike_problem(scratch, ranks, world->size) : NULL;
    agree(world, !problem, EXIT_USAGE, "%s", problem ? problem : "");
    if (ranks)
        note_processors(ranks, world->size);
    arena_release(scratch, mark);
}
