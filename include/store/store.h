/* Parallel HDF5: files described by a table of datasets, filled by all ranks in
 * whole blocks of rows, and visible under their name only when they are whole.
 *
 * Every call is collective on the world given at open, unless it says "local".
 * Ranks without rows take part with count 0. All from one thread per rank.
 * Failures end the job with EXIT_IO / EXIT_NO_INPUT / EXIT_BAD_DATA /
 * EXIT_CANNOT_CREATE, naming file and dataset. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct world;
struct store;

enum store_type { STORE_U8, STORE_I8, STORE_I32, STORE_I64, STORE_F32, STORE_F64, STORE_TEXT };

/* One dataset of a file. `dims` are the names of its extents, the first one the rows: "N,H,W,c". Each name is looked
 * up in the sizes given to store_create; an entry "kernel_x=3" gives its own extent (the dims attribute has the bare
 * names), and so does a number. A dataset with `optional` is left out when one of its names has no size there.
 * STORE_TEXT is fixed-width UTF-8, padded by NUL; its width in bytes is the size named `width` (at least 1). */
struct layout {
    const char *name; /* "/codes/value": groups are made */
    enum store_type type;
    const char *dims;
    const char *unit;
    const char *description;
    const char *width;
    bool optional;
};
struct extent {
    const char *name;
    int64_t size;
};

/* Makes path.part from the table: rank 0 writes the skeleton (with the
 * attributes description, unit, dims on every dataset), then all ranks open it.
 * `path` must not exist unless `replace`; a second writer of the same path ends
 * with EXIT_CANNOT_CREATE. */
struct store *store_create(struct world *world, struct arena *arena, const char *path, const struct layout *layout,
                           size_t datasets, const struct extent *sizes, size_t extents, bool replace);
/* Opens for reading. Rank 0 reads names, types and shapes and broadcasts them. External links are refused. */
struct store *store_open(struct world *world, struct arena *arena, const char *path);
/* Closes a file opened for reading. */
void store_close(struct store *store);
/* Closes a created file, syncs it and gives it its final name. */
void store_publish(struct store *store);
/* Closes a created file and removes it: what was to be written is no good. */
void store_discard(struct store *store);
const char *store_path(const struct store *store);

/* Rows first..first+count-1 of this rank; blocks of different ranks must not overlap. data: row-major, borrowed. */
void store_write_rows(struct store *store, const char *name, int64_t first, int64_t count, const void *data);
/* The whole dataset from values that are the same on every rank. */
void store_write_all(struct store *store, const char *name, const void *data);
void store_read_rows(struct store *store, const char *name, int64_t first, int64_t count, void *out);
/* The whole dataset on every rank: rank 0 reads, then broadcast. */
void store_read_all(struct store *store, const char *name, void *out);
/* Any rows in any order; local (independent I/O). Neighbouring rows are read together. */
void store_read_list(struct store *store, const char *name, const int64_t *rows, int64_t count, void *out);
/* Elements first..first+count-1 of a one-dimensional dataset; local. */
void store_read_range(struct store *store, const char *name, int64_t first, int64_t count, void *out);

/* Shape; local. store_dims returns the number of extents and fills dims[4]; 0 when the dataset is absent. */
bool store_has(const struct store *store, const char *name);
int store_dims(const struct store *store, const char *name, int64_t dims[4]);
int64_t store_rows(const struct store *store, const char *name);
enum store_type store_typeof(const struct store *store, const char *name);
size_t store_width(const struct store *store, const char *name); /* bytes of one element; of one text for STORE_TEXT */
/* Ends the job with EXIT_BAD_DATA unless the dataset exists with this type and these extents (-1 = any). */
void store_expect(struct store *store, const char *name, enum store_type type, int rank, const int64_t *dims);
/* Names of all datasets, sorted; local, owned by the store. */
int store_names(const struct store *store, const char *const **names);

/* Attributes of the root (object "/") or of a dataset; the same values on every rank when writing. They are kept until
 * store_publish writes them, and can be read back before. Reading is local. */
void store_set_text(struct store *store, const char *object, const char *name, const char *value);
void store_set_texts(struct store *store, const char *object, const char *name, const char *const *values, int count);
void store_set_f64(struct store *store, const char *object, const char *name, double value);
void store_set_i64(struct store *store, const char *object, const char *name, int64_t value);
/* Reading: false when absent. Texts are owned by the store's arena. */
bool store_get_text(struct store *store, const char *object, const char *name, const char **value);
bool store_get_texts(struct store *store, const char *object, const char *name, const char *const **values, int *count);
bool store_get_f64(struct store *store, const char *object, const char *name, double *value);
bool store_get_i64(struct store *store, const char *object, const char *name, int64_t *value);

/* All attributes, in the order of their objects; local, owned by the store. Numbers of other kinds are left out. */
enum store_attribute_kind { STORE_ATTR_TEXT, STORE_ATTR_TEXTS, STORE_ATTR_F64, STORE_ATTR_I64 };
struct store_attribute {
    const char *object, *name;
    enum store_attribute_kind kind;
    const char *const *texts; /* [count] */
    int count;
    double number;
    int64_t integer;
    struct store_attribute *next;
};
const struct store_attribute *store_attributes(const struct store *store);

/* Texts as one stream: dataset `name` (u8, all bytes) and NAME_offset (i64, one more than texts; where each begins, and
 * the end). Writes the `count` texts of this rank, which follow those of lower ranks; scratch is given back. */
void store_write_texts(struct store *store, struct arena *scratch, const char *name, const char *const *texts,
                       int64_t count);
/* Texts of fixed width or of such a stream, as an array of NUL-terminated strings (arena) on every rank. */
const char **store_read_texts(struct store *store, struct arena *arena, const char *name);

/* Provenance: the /run group. A note is a text attribute of /run; call before store_publish. Read: object "/run". */
void store_note(struct store *store, const char *name, const char *value);

/* Checksum of a whole file as 32 hex digits (arena), read in parts by all ranks: XXH3-128 of the file up to 64 MiB, of
 * the list of the XXH3-128 of its 64 MiB blocks beyond. */
char *store_checksum(struct world *world, struct arena *arena, const char *path);

/* "f32", "text", ...; local. */
const char *store_type_name(enum store_type type);

/* HDF5 version, for --version; local. */
const char *store_library(void);

#endif
