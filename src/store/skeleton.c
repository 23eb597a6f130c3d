/* The skeleton of a file: every dataset with its shape, type and description, space reserved, no values. Written
 * serially by rank 0, so that the parallel part that follows changes no metadata. */
#include <errno.h>
#include <hdf5.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/internal.h"

/* Groups are made on the way; contiguous and allocated at once: writers fill whole blocks, nothing is filled twice. */
static hid_t creation_properties(hid_t *links)
{
    *links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(*links, 1);
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(properties, H5D_CONTIGUOUS);
    H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(properties, 0); /* the same run gives the same bytes */
    return properties;
}

static bool add_dataset(hid_t file, const struct dataset *set, hid_t links, hid_t properties)
{
    hsize_t dims[STORE_RANKS];
    for (int d = 0; d < set->rank; d++)
        dims[d] = (hsize_t)set->dims[d];
    const bool text = set->type == STORE_TEXT;
    const hid_t type = text ? h5_text_type(set->width) : h5_native(set->type);
    const hid_t space = H5Screate_simple(set->rank, dims, NULL);
    const hid_t id = H5Dcreate2(file, set->name, type, space, links, properties, H5P_DEFAULT);
    const bool created = h5_ok(id);
    if (text)
        H5Tclose(type);
    H5Sclose(space);
    return created && h5_ok(H5Dclose(id));
}

/* Bytes of all values; -1 when they do not fit. */
static int64_t total_bytes(const struct store *store)
{
    int64_t total = 0, bytes;
    for (int i = 0; i < store->count; i++) {
        const struct dataset *set = &store->sets[i];
        if (!dims_bytes(set->dims, set->rank, set->width, &bytes) || __builtin_add_overflow(total, bytes, &total))
            return -1;
    }
    return total;
}

static void check_space(const struct store *store, struct failure *failure)
{
    const int64_t needed = total_bytes(store), free_bytes = disk_free(store->part);
    if (needed < 0)
        failure_set(failure, EXIT_CANNOT_CREATE, "%s: the sizes of its datasets overflow", store->path);
    else if (free_bytes >= 0 && needed > free_bytes)
        failure_set(failure, EXIT_IO, "%s: needs %lld bytes, the file system has %lld free\nmake room and start again",
                    store->path, (long long)needed, (long long)free_bytes);
}

void skeleton_write(const struct store *store, struct failure *failure)
{
    h5_start();
    unlink(store->part); /* left over from a writer that died: its lock was free */
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true);
    const hid_t file = H5Fcreate(store->part, H5F_ACC_EXCL, H5P_DEFAULT, access);
    const bool created = h5_ok(file);
    H5Pclose(access);
    if (!created) {
        failure_set(failure, EXIT_CANNOT_CREATE, "%s: cannot create: %s", store->part, h5_why());
        return;
    }
    check_space(store, failure);
    hid_t links;
    const hid_t properties = creation_properties(&links);
    for (int i = 0; i < store->count && !failure->failed; i++)
        if (!add_dataset(file, &store->sets[i], links, properties))
            failure_set(failure, EXIT_CANNOT_CREATE, "%s: cannot create dataset %s: %s", store->part,
                        store->sets[i].name, h5_why());
    H5Pclose(links);
    H5Pclose(properties);
    h5_close(file, store->part, failure);
    if (failure->failed)
        unlink(store->part);
}
