/* Small collectives, each cut into pieces where a count could pass MPI's int.
 * Every call is timed as communication and counted. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include <xxhash.h>

#include "base/arena.h"
#include "dist/internal.h"

/* Bytes of one call of MPI. */
static const size_t PIECE = (size_t)64 << 20;

static int64_t bytes_sent, calls;

enum phase comm_begin(void)
{
    return phase_enter(PHASE_COMM);
}

void comm_end(enum phase before, int64_t bytes)
{
    bytes_sent += bytes;
    calls++;
    phase_enter(before);
}

int64_t world_bytes_sent(void)
{
    return bytes_sent;
}

int64_t world_calls(void)
{
    return calls;
}

struct arena *dist_scratch(void)
{
    static struct arena *scratch; /* lives as long as the process */
    if (!scratch)
        scratch = arena_create("communication", (size_t)1 << 20);
    return scratch;
}

void world_barrier(const struct world *world)
{
    enum phase before = comm_begin();
    dist_check(MPI_Barrier(world_handle(world)), "MPI_Barrier");
    comm_end(before, 0);
}

void world_broadcast(const struct world *world, void *data, size_t bytes, int root)
{
    enum phase before = comm_begin();
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t count = bytes - at < PIECE ? bytes - at : PIECE;
        dist_check(MPI_Bcast((char *)data + at, (int)count, MPI_BYTE, root, world_handle(world)), "MPI_Bcast");
    }
    comm_end(before, world->rank == root && world->size > 1 ? (int64_t)bytes : 0);
}

char *world_broadcast_text(const struct world *world, struct arena *arena, const char *text, int root)
{
    uint64_t length = world->rank == root ? strlen(text) : 0;
    world_broadcast(world, &length, sizeof length, root);
    char *out = arena_take_raw(arena, (size_t)length + 1, 1);
    if (world->rank == root)
        memcpy(out, text, (size_t)length);
    out[length] = '\0';
    world_broadcast(world, out, (size_t)length, root);
    return out;
}

bool world_same_bits(const struct world *world, const void *data, size_t bytes)
{
    if (world->size == 1)
        return true;
    uint64_t hash = XXH3_64bits(data, bytes), first = hash;
    world_broadcast(world, &first, sizeof first, 0);
    return first == hash;
}

static void allreduce(const struct world *world, void *values, int n, MPI_Datatype type, MPI_Op op, int64_t width)
{
    enum phase before = comm_begin();
    if (n > 0)
        dist_check(MPI_Allreduce(MPI_IN_PLACE, values, n, type, op, world_handle(world)), "MPI_Allreduce");
    comm_end(before, world->size > 1 ? n * width : 0);
}

void world_sum_i64(const struct world *world, int64_t *values, int n)
{
    allreduce(world, values, n, MPI_INT64_T, MPI_SUM, 8);
}

void world_max_f64(const struct world *world, double *values, int n)
{
    allreduce(world, values, n, MPI_DOUBLE, MPI_MAX, 8);
}

void world_min_f64(const struct world *world, double *values, int n)
{
    allreduce(world, values, n, MPI_DOUBLE, MPI_MIN, 8);
}

void world_sum_f64_any_order(const struct world *world, double *values, int n)
{
    allreduce(world, values, n, MPI_DOUBLE, MPI_SUM, 8);
}

void world_sum_f32_any_order(const struct world *world, float *values, int n)
{
    allreduce(world, values, n, MPI_FLOAT, MPI_SUM, 4);
}

/* counts [ranks] in scratch: `mine` of every rank. */
static int64_t *gather_counts(const struct world *world, int64_t mine)
{
    int64_t *counts = arena_array(dist_scratch(), int64_t, world->size);
    dist_check(MPI_Allgather(&mine, 1, MPI_INT64_T, counts, 1, MPI_INT64_T, world_handle(world)), "MPI_Allgather");
    return counts;
}

/* All parts together are small: one call. */
static void gather_at_once(const struct world *world, char *out, const void *local, const int64_t *counts)
{
    int *sizes = arena_array(dist_scratch(), int, world->size);
    int *places = arena_array(dist_scratch(), int, world->size);
    for (int r = 0, at = 0; r < world->size; at += sizes[r++]) {
        sizes[r] = (int)counts[r];
        places[r] = at;
    }
    const bool in_place = sizes[world->rank] > 0 && local == out + places[world->rank];
    dist_check(MPI_Allgatherv(in_place ? MPI_IN_PLACE : local, sizes[world->rank], MPI_BYTE, out, sizes, places,
                              MPI_BYTE, world_handle(world)),
               "MPI_Allgatherv");
}

void world_allgather_rows(const struct world *world, void *out, const void *local, int64_t rows, size_t row_bytes)
{
    struct arena_mark mark = arena_mark(dist_scratch());
    enum phase before = comm_begin();
    int64_t mine = rows * (int64_t)row_bytes, total = 0;
    int64_t *counts = gather_counts(world, mine);
    for (int r = 0; r < world->size; r++)
        total += counts[r];
    if (total <= (int64_t)PIECE)
        gather_at_once(world, out, local, counts);
    comm_end(before, mine * (world->size - 1));
    char *part = out;
    for (int r = 0; total > (int64_t)PIECE && r < world->size; part += counts[r++]) {
        if (r == world->rank && part != local)
            memcpy(part, local, (size_t)mine);
        world_broadcast(world, part, (size_t)counts[r], r);
    }
    arena_release(dist_scratch(), mark);
}

char *world_gather_text(const struct world *world, struct arena *arena, const char *text)
{
    int64_t length = (int64_t)strlen(text), total = length;
    world_sum_i64(world, &total, 1);
    char *out =
        world->rank == 0 ? arena_take_raw(arena, (size_t)total + 1, 1) : NULL; /* before the mark: may be ours */
    struct arena_mark mark = arena_mark(dist_scratch());
    enum phase before = comm_begin();
    int64_t *lengths = gather_counts(world, length);
    char *part = out;
    for (int r = 0; r < world->size; r++) {
        for (int64_t at = 0; at < lengths[r]; at += (int64_t)PIECE) {
            int count = (int)(lengths[r] - at < (int64_t)PIECE ? lengths[r] - at : (int64_t)PIECE);
            if (world->rank == 0 && r == 0)
                memcpy(part + at, text + at, (size_t)count);
            else if (world->rank == 0)
                dist_check(MPI_Recv(part + at, count, MPI_CHAR, r, 0, world_handle(world), MPI_STATUS_IGNORE),
                           "MPI_Recv");
            else if (world->rank == r)
                dist_check(MPI_Send(text + at, count, MPI_CHAR, 0, 0, world_handle(world)), "MPI_Send");
        }
        if (world->rank == 0)
            part += lengths[r];
    }
    if (world->rank == 0)
        out[total] = '\0';
    comm_end(before, world->rank == 0 ? 0 : length);
    arena_release(dist_scratch(), mark);
    return out;
}

struct ranked {
    double value;
    int64_t index;
};

/* Is a before b? Larger values first, then the lower index; no index (< 0) and NaN come last. */
static bool leads(const struct ranked *a, const struct ranked *b)
{
    bool a_none = a->index < 0 || isnan(a->value), b_none = b->index < 0 || isnan(b->value);
    if (a_none || b_none)
        return !a_none && b_none;
    return a->value > b->value || (a->value == b->value && a->index < b->index);
}

static void keep_leader(void *in, void *inout, int *count, MPI_Datatype *type)
{
    (void)type;
    struct ranked *a = in, *b = inout;
    for (int i = 0; i < *count; i++)
        if (leads(&a[i], &b[i]))
            b[i] = a[i];
}

void world_argmax_f64(const struct world *world, double *value, int64_t *index)
{
    static MPI_Op op;
    static MPI_Datatype pair;
    static bool made;
    if (!made) {
        dist_check(MPI_Type_contiguous((int)sizeof(struct ranked), MPI_BYTE, &pair), "MPI_Type_contiguous");
        dist_check(MPI_Type_commit(&pair), "MPI_Type_commit");
        dist_check(MPI_Op_create(keep_leader, 1, &op), "MPI_Op_create");
        made = true;
    }
    struct ranked best = { *value, *index };
    allreduce(world, &best, 1, pair, op, (int64_t)sizeof best);
    *value = best.value;
    *index = best.index;
}
