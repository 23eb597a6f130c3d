/* Kept warnings of all ranks, each kind once. Two warnings are of one kind when
 * they differ in digits only. */
#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/internal.h"

struct kind {
    const char *line;
    int64_t count;
};

static bool same_kind(const char *a, const char *b)
{
    for (;; a++, b++) {
        bool digits = isdigit((unsigned char)*a) && isdigit((unsigned char)*b);
        while (digits && isdigit((unsigned char)a[1]))
            a++;
        while (digits && isdigit((unsigned char)b[1]))
            b++;
        if (!digits && *a != *b)
            return false;
        if (*a == '\0')
            return true;
    }
}

/* Counts the kinds of `lines`, which is cut up; returns how many. kinds [limit] */
static int sort_kinds(struct kind *kinds, int limit, char *lines)
{
    int count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        int k = 0;
        while (k < count && !same_kind(kinds[k].line, line))
            k++;
        if (k == limit)
            k = limit - 1;
        if (k == count)
            kinds[count++] = (struct kind){ line, 0 };
        kinds[k].count++;
    }
    return count;
}

void world_warnings(struct world *world)
{
    enum { KINDS = 200 };
    int64_t total = log_kept_count();
    world_sum_i64(world, &total, 1);
    if (total == 0)
        return;
    struct arena_mark mark = arena_mark(dist_scratch());
    const char *kept = log_kept();
    char *mine = arena_printf(dist_scratch(), "%s%s", kept, *kept ? "\n" : "");
    char *all = world_gather_text(world, dist_scratch(), mine);
    if (world->rank == 0) {
        struct kind *kinds = arena_array(dist_scratch(), struct kind, KINDS);
        int count = sort_kinds(kinds, KINDS, all);
        int64_t shown = 0;
        for (int k = 0; k < count; k++, shown += kinds[k - 1].count) {
            if (kinds[k].count > 1)
                log_warn("%s (and %lld more like it)", kinds[k].line, (long long)kinds[k].count - 1);
            else
                log_warn("%s", kinds[k].line);
        }
        if (shown < total)
            log_warn("%lld more warnings were not kept", (long long)(total - shown));
    }
    arena_release(dist_scratch(), mark);
    log_forget();
}
