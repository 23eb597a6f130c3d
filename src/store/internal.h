/* Inside the store: what its files share. Handles of HDF5 (hid_t) are kept as int64_t, so that the foreign header
 * stays in src/store. Other modules include store/store.h. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/store.h"

enum { STORE_RANKS = 4 }; /* extents a dataset may have */

struct dataset {
    const char *name;
    enum store_type type;
    size_t width; /* bytes of an element */
    int rank;
    int64_t dims[STORE_RANKS];
    int64_t id; /* hid_t, opened at first use; -1 before */
};

struct store {
    struct world *world;
    struct arena *arena;
    const char *path, *part; /* part: NULL for a file opened for reading */
    int64_t file;            /* hid_t; -1 when closed */
    int lock;                /* rank 0 of a writer: file descriptor that holds the lock */
    struct dataset *sets;    /* [count] sorted by name */
    const char **names;      /* [count] */
    int count;
    struct store_attribute *attributes, **attributes_end; /* in order; written by store_publish */
};

/* What went wrong on this rank, for `agree`. */
struct failure {
    bool failed;
    bool broken; /* HDF5 itself can no longer be ended in order: the job is aborted */
    enum exit_code code;
    char text[4096];
};
void failure_set(struct failure *failure, enum exit_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends all ranks if any failed. Collective. */
void failure_agree(struct world *world, const struct failure *failure);

/* h5.c: local. */
void h5_start(void);                     /* silences HDF5's own error printing */
bool h5_ok(int64_t result);              /* result >= 0; keeps the reason HDF5 gives when it is not */
const char *h5_why(void);                /* the reason kept last: HDF5 forgets its own at the next call */
int64_t h5_native(enum store_type type); /* memory type; not for texts */
int64_t h5_text_type(size_t width);      /* fixed width, padded by NUL, UTF-8; H5Tclose */
bool h5_type_of(int64_t type, enum store_type *out, size_t *width);
size_t h5_width(enum store_type type, size_t text_width);               /* bytes of an element */
int64_t h5_open(const char *path, bool write);                          /* serial; hid_t or -1 */
void h5_close(int64_t file, const char *path, struct failure *failure); /* a failure that is broken when it fails */
int64_t h5_dataset(struct store *store, struct dataset *set);

/* Bytes of `rows` rows; ends the job when they do not fit an int64_t. */
int64_t store_bytes(const struct dataset *set, int64_t rows);
bool dims_bytes(const int64_t *dims, int rank, size_t width, int64_t *bytes); /* false on overflow */
struct dataset *store_find(const struct store *store, const char *name);      /* NULL when absent */

/* skeleton.c: the file of a writer, datasets without values. Local, rank 0. */
void skeleton_write(const struct store *store, struct failure *failure);

/* catalogue.c: fills names, types, shapes and attributes of an opened file from rank 0. Collective. */
void catalogue_share(struct store *store, struct failure *failure);

/* attributes.c: local. */
void attribute_add(struct store *store, const struct store_attribute *attribute); /* copied; replaces a former value */
void attributes_write(const struct store *store, int64_t file, struct failure *failure);

/* lock.c: local. Takes the lock of `path`; returns its descriptor, -1 on failure (held by another: *busy). */
int lock_take(struct arena *arena, const char *path, bool *busy);
void lock_drop(struct arena *arena, const char *path, int lock);
/* Free bytes of the file system of `path`; -1 when unknown. */
int64_t disk_free(const char *path);
bool sync_path(const char *path); /* fsync of a file or directory */
bool sync_parent(struct arena *arena, const char *path);

#endif
