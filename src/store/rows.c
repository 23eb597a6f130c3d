/* Values between memory and file: whole blocks of rows. Writing is collective through MPI-IO, in rounds of at most
 * ROUND_BYTES a rank, because one transfer counts bytes in an int; reading is local. */
#include <hdf5.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/phase.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "store/internal.h"

enum { ROUND_BYTES = 1 << 30, SMALL_BYTES = 1 << 20 };

bool dims_bytes(const int64_t *dims, int rank, size_t width, int64_t *bytes)
{
    int64_t product = (int64_t)width;
    bool empty = false;
    for (int d = 0; d < rank; d++) {
        if (dims[d] < 0 || (dims[d] > 0 && __builtin_mul_overflow(product, dims[d], &product)))
            return false;
        empty = empty || dims[d] == 0;
    }
    *bytes = empty ? 0 : product;
    return true;
}

int64_t store_bytes(const struct dataset *set, int64_t rows)
{
    int64_t dims[STORE_RANKS], bytes = 0;
    memcpy(dims, set->dims, sizeof dims);
    dims[0] = rows;
    require(dims_bytes(dims, set->rank, set->width, &bytes), EXIT_BAD_DATA, "dataset %s: its size overflows",
            set->name);
    return bytes;
}

static hid_t memory_type(hid_t id, const struct dataset *set)
{
    if (set->type != STORE_TEXT)
        return H5Tcopy(h5_native(set->type));
    const hid_t type = H5Dget_type(id); /* of the same character set: HDF5 does not convert between them */
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    return type;
}

/* Selections for `count` rows from `first`, in memory and file. */
static void select_rows(const struct dataset *set, int64_t first, int64_t count, hid_t id, hid_t *memory, hid_t *file)
{
    hsize_t start[STORE_RANKS] = { 0 }, block[STORE_RANKS];
    for (int d = 0; d < set->rank; d++)
        block[d] = (hsize_t)set->dims[d];
    block[0] = count > 0 ? (hsize_t)count : 1;
    start[0] = (hsize_t)first;
    *file = H5Dget_space(id);
    const bool scalar = H5Sget_simple_extent_ndims(*file) == 0;
    *memory = scalar ? H5Screate(H5S_SCALAR) : H5Screate_simple(set->rank, block, NULL);
    if (count == 0) {
        H5Sselect_none(*memory);
        H5Sselect_none(*file);
    } else if (!scalar)
        H5Sselect_hyperslab(*file, H5S_SELECT_SET, start, NULL, block, NULL);
}

static bool write_block(struct store *store, struct dataset *set, int64_t first, int64_t count, const void *data,
                        bool collective)
{
    const hid_t id = h5_dataset(store, set), type = memory_type(id, set);
    const hid_t transfer = H5Pcreate(H5P_DATASET_XFER);
    hid_t memory, file;
    char none = 0;
    select_rows(set, first, count, id, &memory, &file);
    H5Pset_dxpl_mpio(transfer, collective ? H5FD_MPIO_COLLECTIVE : H5FD_MPIO_INDEPENDENT);
    const bool written = h5_ok(H5Dwrite(id, type, memory, file, transfer, count > 0 ? data : &none));
    H5Sclose(memory);
    H5Sclose(file);
    H5Tclose(type);
    H5Pclose(transfer);
    return written;
}

static bool read_block(struct store *store, struct dataset *set, int64_t first, int64_t count, void *out)
{
    const hid_t id = h5_dataset(store, set), type = memory_type(id, set);
    hid_t memory, file;
    select_rows(set, first, count, id, &memory, &file);
    const bool done = h5_ok(H5Dread(id, type, memory, file, H5P_DEFAULT, out));
    H5Sclose(memory);
    H5Sclose(file);
    H5Tclose(type);
    return done;
}

/* The dataset, or the end of the job with one message. The catalogue is the same on every rank. Collective. */
static struct dataset *find_alike(struct store *store, const char *name)
{
    struct dataset *set = store_find(store, name);
    if (!set)
        agree(store->world, false, store->part ? EXIT_INTERNAL : EXIT_BAD_DATA, "%s: dataset %s is missing",
              store->path, name);
    return set;
}

static struct dataset *find_here(struct store *store, const char *name)
{
    struct dataset *set = store_find(store, name);
    require(set, EXIT_BAD_DATA, "%s: dataset %s is missing", store->path, name);
    return set;
}

static void check_range(const struct store *store, const struct dataset *set, int64_t first, int64_t count)
{
    require(first >= 0 && count >= 0 && first <= set->dims[0] && count <= set->dims[0] - first, EXIT_INTERNAL,
            "%s: %s: rows %lld to %lld of %lld", store->path, set->name, (long long)first,
            (long long)(first + count - 1), (long long)set->dims[0]);
}

static void check_written(const struct store *store, const struct dataset *set, bool written, int64_t bytes)
{
    require(written, EXIT_IO, "%s: cannot write %lld bytes of %s: %s\nthe file system has %lld bytes free", store->part,
            (long long)bytes, set->name, h5_why(), (long long)disk_free(store->part));
}

void store_write_rows(struct store *store, const char *name, int64_t first, int64_t count, const void *data)
{
    const enum phase before = phase_enter(PHASE_WRITE);
    struct dataset *set = find_alike(store, name);
    check_range(store, set, first, count);
    const int64_t row_bytes = store_bytes(set, 1);
    if (set->dims[0] > 0 && row_bytes > 0) {
        const int64_t most = row_bytes < ROUND_BYTES ? ROUND_BYTES / row_bytes : 1; /* rows of a round */
        double rounds = (double)((count + most - 1) / most);
        world_max_f64(store->world, &rounds, 1);
        for (int64_t r = 0; r < (int64_t)rounds; r++) {
            const int64_t done = r * most < count ? r * most : count;
            const int64_t now = count - done < most ? count - done : most;
            check_written(store, set,
                          write_block(store, set, first + done, now, (const char *)data + done * row_bytes, true),
                          now * row_bytes);
        }
    }
    phase_enter(before);
}

void store_write_all(struct store *store, const char *name, const void *data)
{
    struct dataset *set = find_alike(store, name);
    const int64_t rows = set->dims[0], bytes = store_bytes(set, rows);
    if (bytes > SMALL_BYTES) { /* every rank has it: each writes a part */
        const struct span mine = shard_rows(rows, store->world->size, store->world->rank);
        store_write_rows(store, name, mine.first, mine.count, (const char *)data + mine.first * store_bytes(set, 1));
    } else if (bytes > 0 && store->world->rank == 0) {
        const enum phase before = phase_enter(PHASE_WRITE);
        check_written(store, set, write_block(store, set, 0, rows, data, false), bytes);
        phase_enter(before);
    }
}

/* Rows into memory, on this rank. */
static void read_rows(struct store *store, struct dataset *set, int64_t first, int64_t count, void *out)
{
    check_range(store, set, first, count);
    if (count == 0 || store_bytes(set, 1) == 0)
        return;
    require(read_block(store, set, first, count, out), EXIT_IO, "%s: cannot read %s, rows %lld to %lld: %s",
            store->path, set->name, (long long)first, (long long)(first + count - 1), h5_why());
}

void store_read_rows(struct store *store, const char *name, int64_t first, int64_t count, void *out)
{
    const enum phase before = phase_enter(PHASE_READ);
    read_rows(store, find_alike(store, name), first, count, out);
    phase_enter(before);
}

void store_read_all(struct store *store, const char *name, void *out)
{
    const enum phase before = phase_enter(PHASE_READ);
    struct dataset *set = find_alike(store, name);
    if (store->world->rank == 0)
        read_rows(store, set, 0, set->dims[0], out);
    world_broadcast(store->world, out, (size_t)store_bytes(set, set->dims[0]), 0);
    phase_enter(before);
}

void store_read_range(struct store *store, const char *name, int64_t first, int64_t count, void *out)
{
    const enum phase before = phase_enter(PHASE_READ);
    read_rows(store, find_here(store, name), first, count, out);
    phase_enter(before);
}

void store_read_list(struct store *store, const char *name, const int64_t *rows, int64_t count, void *out)
{
    const enum phase before = phase_enter(PHASE_READ);
    struct dataset *set = find_here(store, name);
    const int64_t row_bytes = store_bytes(set, 1);
    for (int64_t i = 0, run; i < count; i += run) {
        for (run = 1; i + run < count && rows[i + run] == rows[i] + run;)
            run++;
        read_rows(store, set, rows[i], run, (char *)out + i * row_bytes);
    }
    phase_enter(before);
}
