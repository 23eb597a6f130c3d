/* Rows by global number from the rank that holds them: requests travel to the
 * owners, rows travel back, in rounds so that buffers stay bounded and no count
 * passes MPI's int. */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "dist/internal.h"

/* A round brings a rank at most this much, and an owner hands out at most this much. */
static const int64_t ROUND_BYTES = (int64_t)256 << 20;

struct fetch {
    const struct world *world;
    size_t row_bytes;
    MPI_Datatype row_type;
    const char *local;
    int64_t first;
    int64_t *wanted;    /* row numbers, sorted by owner */
    int64_t *place;     /* where each goes in out */
    int64_t *wanted_of; /* [ranks] how many of this rank's requests each owner holds */
    int64_t *wanted_at; /* [ranks] where those begin */
    int64_t cap;        /* rows asked of one owner in one round */
};

/* Blocks lie in rank order: the last one that begins at or before `row`. blocks [ranks][first, count] */
static int owner_of(const int64_t (*blocks)[2], int ranks, int64_t row)
{
    int low = 0, high = ranks;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (blocks[middle][0] <= row)
            low = middle;
        else
            high = middle;
    }
    while (low > 0 && blocks[low][1] == 0) /* an empty block at the same place */
        low--;
    require(row >= blocks[low][0] && row < blocks[low][0] + blocks[low][1], EXIT_INTERNAL,
            "fetch: row %lld belongs to no rank", (long long)row);
    return low;
}

/* Own rows are copied at once; the others are sorted by owner. */
static void sort_requests(struct fetch *fetch, char *out, const int64_t *rows, int64_t count, int64_t mine)
{
    int ranks = fetch->world->size, me = fetch->world->rank;
    int64_t block[2] = { fetch->first, mine };
    int64_t(*blocks)[2] = arena_take(dist_scratch(), (size_t)ranks, sizeof *blocks);
    dist_check(MPI_Allgather(block, 2, MPI_INT64_T, blocks, 2, MPI_INT64_T, world_handle(fetch->world)),
               "MPI_Allgather");
    int *owner = arena_array(dist_scratch(), int, count);
    for (int64_t i = 0; i < count; i++) {
        bool here = rows[i] >= fetch->first && rows[i] - fetch->first < mine;
        owner[i] = here ? me : owner_of((const int64_t(*)[2])blocks, ranks, rows[i]);
        if (here)
            memcpy(out + (size_t)i * fetch->row_bytes,
                   fetch->local + (size_t)(rows[i] - fetch->first) * fetch->row_bytes, fetch->row_bytes);
        else
            fetch->wanted_of[owner[i]]++;
    }
    for (int r = 1; r < ranks; r++)
        fetch->wanted_at[r] = fetch->wanted_at[r - 1] + fetch->wanted_of[r - 1];
    int64_t *next = arena_array(dist_scratch(), int64_t, ranks);
    memcpy(next, fetch->wanted_at, (size_t)ranks * sizeof *next);
    for (int64_t i = 0; i < count; i++) {
        if (owner[i] == me)
            continue;
        int64_t at = next[owner[i]]++;
        fetch->wanted[at] = rows[i];
        fetch->place[at] = i;
    }
}

/* Rounds every rank takes part in: what the largest list of requests of one owner needs. */
static int64_t rounds_needed(const struct fetch *fetch)
{
    int64_t most = 0;
    for (int r = 0; r < fetch->world->size; r++)
        most = fetch->wanted_of[r] > most ? fetch->wanted_of[r] : most;
    dist_check(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, world_handle(fetch->world)),
               "MPI_Allreduce");
    return (most + fetch->cap - 1) / fetch->cap;
}

static int places_of(int *places, const int *counts, int ranks)
{
    int total = 0;
    for (int r = 0; r < ranks; total += counts[r++])
        places[r] = total;
    return total;
}

static int64_t run_round(const struct fetch *fetch, char *out, int64_t round)
{
    struct arena *scratch = dist_scratch();
    int ranks = fetch->world->size;
    int *ask = arena_array(scratch, int, ranks), *ask_at = arena_array(scratch, int, ranks);
    int *give = arena_array(scratch, int, ranks), *give_at = arena_array(scratch, int, ranks);
    for (int r = 0; r < ranks; r++) {
        int64_t left = fetch->wanted_of[r] - round * fetch->cap;
        ask[r] = left <= 0 ? 0 : (int)(left < fetch->cap ? left : fetch->cap);
    }
    int asked = places_of(ask_at, ask, ranks);
    dist_check(MPI_Alltoall(ask, 1, MPI_INT, give, 1, MPI_INT, world_handle(fetch->world)), "MPI_Alltoall");
    int given = places_of(give_at, give, ranks);

    /* Row numbers to their owners. */
    int64_t *numbers = arena_take_raw(scratch, (size_t)asked, sizeof *numbers);
    int64_t *orders = arena_take_raw(scratch, (size_t)given, sizeof *orders);
    for (int r = 0; r < ranks; r++)
        if (ask[r] > 0)
            memcpy(numbers + ask_at[r], fetch->wanted + fetch->wanted_at[r] + round * fetch->cap,
                   (size_t)ask[r] * sizeof *numbers);
    dist_check(MPI_Alltoallv(numbers, ask, ask_at, MPI_INT64_T, orders, give, give_at, MPI_INT64_T,
                             world_handle(fetch->world)),
               "MPI_Alltoallv");

    /* Rows back. */
    size_t bytes = fetch->row_bytes;
    char *outgoing = arena_take_raw(scratch, (size_t)given, bytes);
    char *incoming = arena_take_raw(scratch, (size_t)asked, bytes);
    for (int i = 0; i < given; i++)
        memcpy(outgoing + (size_t)i * bytes, fetch->local + (size_t)(orders[i] - fetch->first) * bytes, bytes);
    dist_check(MPI_Alltoallv(outgoing, give, give_at, fetch->row_type, incoming, ask, ask_at, fetch->row_type,
                             world_handle(fetch->world)),
               "MPI_Alltoallv");
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < ask[r]; i++) {
            int64_t place = fetch->place[fetch->wanted_at[r] + round * fetch->cap + i];
            memcpy(out + (size_t)place * bytes, incoming + (size_t)(ask_at[r] + i) * bytes, bytes);
        }
    return (int64_t)given * (int64_t)bytes + (int64_t)asked * 8;
}

void world_fetch_rows(const struct world *world, void *out, const int64_t *rows, int64_t count, const void *local,
                      int64_t first, int64_t mine, size_t row_bytes)
{
    struct arena *scratch = dist_scratch();
    struct arena_mark mark = arena_mark(scratch);
    enum phase before = comm_begin();
    struct fetch fetch = { .world = world, .row_bytes = row_bytes, .local = local, .first = first };
    fetch.wanted = arena_take_raw(scratch, (size_t)count, sizeof *fetch.wanted);
    fetch.place = arena_take_raw(scratch, (size_t)count, sizeof *fetch.place);
    fetch.wanted_of = arena_array(scratch, int64_t, world->size);
    fetch.wanted_at = arena_array(scratch, int64_t, world->size);
    fetch.cap = ROUND_BYTES / ((int64_t)row_bytes * world->size);
    fetch.cap = fetch.cap > 0 ? fetch.cap : 1;
    dist_check(MPI_Type_contiguous((int)row_bytes, MPI_BYTE, &fetch.row_type), "MPI_Type_contiguous");
    dist_check(MPI_Type_commit(&fetch.row_type), "MPI_Type_commit");

    sort_requests(&fetch, out, rows, count, mine);
    int64_t rounds = rounds_needed(&fetch), bytes = 0;
    for (int64_t round = 0; round < rounds; round++) {
        struct arena_mark inner = arena_mark(scratch);
        bytes += run_round(&fetch, out, round);
        arena_release(scratch, inner);
    }
    MPI_Type_free(&fetch.row_type);
    comm_end(before, bytes);
    arena_release(scratch, mark);
}
