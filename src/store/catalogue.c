/* The catalogue of an opened file: names, types, shapes and attributes. Rank 0 walks the file once and broadcasts what
 * it found as one block of bytes; afterwards nobody asks the file about its structure. Links that lead out of the
 * file, and sizes the file cannot hold, are refused here. */
#include <hdf5.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/text.h"
#include "dist/world.h"
#include "store/internal.h"

enum { ATTRIBUTE_BYTES = 16 << 20, DEFLATE_MOST = 1100 }; /* deflate cannot shrink by more */

struct walk {
    struct arena *arena;
    const char *path;
    int64_t file_bytes;
    struct text out;
    const char *object; /* whose attributes are read */
    struct failure *failure;
};

/* Writing the block: 'D' and 'A' records of NUL-terminated names and raw numbers. */

static void put_name(struct text *out, const char *name)
{
    text_add_bytes(out, name, strlen(name) + 1);
}

static void put_i64(struct text *out, int64_t value)
{
    text_add_bytes(out, (const char *)&value, sizeof value);
}

static bool bad(struct walk *walk, const char *name, const char *what)
{
    failure_set(walk->failure, EXIT_BAD_DATA, "%s: \"%s\" %s", walk->path, name, what);
    return false;
}

/* Attributes. */

/* Variable-length texts [count] of the attribute, or those of a fixed width. */
static bool put_texts(struct walk *walk, hid_t attribute, hid_t type, hid_t space, int64_t count)
{
    char **texts = arena_array(walk->arena, char *, count + 1);
    const bool variable = H5Tis_variable_str(type) > 0;
    const size_t size = H5Tget_size(type);
    char *fixed = NULL;
    if (count > 0 && variable && !h5_ok(H5Aread(attribute, type, texts)))
        return false;
    if (!variable) {
        if (size > ATTRIBUTE_BYTES || (int64_t)size * count > ATTRIBUTE_BYTES)
            return false;
        fixed = arena_array(walk->arena, char, (int64_t)size *count + 1);
        if (count > 0 && !h5_ok(H5Aread(attribute, type, fixed)))
            return false;
    }
    for (int64_t i = 0; i < count; i++) {
        const char *text = variable ? (texts[i] ? texts[i] : "") : fixed + (size_t)i * size;
        const size_t length = variable ? strlen(text) : strnlen(text, size);
        text_add_bytes(&walk->out, text, length);
        text_add_bytes(&walk->out, "", 1);
    }
    if (variable && count > 0)
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
    return true;
}

static void put_attribute_head(struct walk *walk, const char *name, enum store_attribute_kind kind, int64_t count)
{
    text_add_bytes(&walk->out, "A", 1);
    put_name(&walk->out, walk->object);
    put_name(&walk->out, name);
    put_i64(&walk->out, kind);
    put_i64(&walk->out, count);
}

static bool put_attribute(struct walk *walk, hid_t id, const char *name)
{
    const hid_t type = H5Aget_type(id), space = H5Aget_space(id);
    const H5T_class_t class = H5Tget_class(type);
    const H5S_class_t shape = H5Sget_simple_extent_type(space);
    const int64_t count = H5Sget_simple_extent_npoints(space);
    bool fine = true;
    if (class == H5T_STRING && shape != H5S_NULL && count <= ATTRIBUTE_BYTES) {
        put_attribute_head(walk, name, shape == H5S_SCALAR ? STORE_ATTR_TEXT : STORE_ATTR_TEXTS, count);
        fine = put_texts(walk, id, type, space, count);
    } else if (class == H5T_FLOAT && count == 1) {
        double number = 0;
        fine = H5Aread(id, H5T_NATIVE_DOUBLE, &number) >= 0;
        put_attribute_head(walk, name, STORE_ATTR_F64, 0);
        text_add_bytes(&walk->out, (const char *)&number, sizeof number);
    } else if (class == H5T_INTEGER && count == 1) {
        int64_t integer = 0;
        fine = H5Aread(id, H5T_NATIVE_INT64, &integer) >= 0;
        put_attribute_head(walk, name, STORE_ATTR_I64, 0);
        put_i64(&walk->out, integer);
    }
    H5Sclose(space);
    H5Tclose(type);
    return fine;
}

static herr_t visit_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data)
{
    (void)info;
    struct walk *walk = data;
    const hid_t id = H5Aopen(object, name, H5P_DEFAULT);
    const bool fine = id >= 0 && put_attribute(walk, id, name);
    H5Aclose(id);
    if (!fine)
        bad(walk, name, "is an attribute that cannot be read");
    return fine ? 0 : -1;
}

static bool put_attributes(struct walk *walk, hid_t object, const char *name)
{
    walk->object = name;
    return H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_attribute, walk) >= 0;
}

/* Datasets. */

/* Values must lie in this file, and be no more than it can hold. */
static bool storage_is_safe(struct walk *walk, hid_t id, const char *name, int64_t bytes)
{
    const hid_t properties = H5Dget_create_plist(id);
    const bool foreign = H5Pget_external_count(properties) != 0 || H5Pget_layout(properties) == H5D_VIRTUAL;
    const int64_t most = H5Pget_nfilters(properties) > 0 ? DEFLATE_MOST : 1;
    H5Pclose(properties);
    if (foreign)
        return bad(walk, name, "keeps its values in another file; this is refused");
    if (bytes / most > walk->file_bytes)
        return bad(walk, name, "says it has more values than the file can hold");
    return true;
}

static bool put_shape(struct walk *walk, hid_t id, const char *name, enum store_type type, size_t width)
{
    hsize_t dims[STORE_RANKS] = { 1 };
    int64_t sizes[STORE_RANKS] = { 1 }, bytes = 0;
    const hid_t space = H5Dget_space(id);
    int rank = H5Sget_simple_extent_ndims(space);
    const bool usable = H5Sget_simple_extent_type(space) != H5S_NULL && rank >= 0 && rank <= STORE_RANKS;
    if (usable)
        H5Sget_simple_extent_dims(space, dims, NULL);
    H5Sclose(space);
    if (!usable)
        return bad(walk, name, "has an unsupported shape; 1 to 4 extents are expected");
    rank = rank == 0 ? 1 : rank;
    for (int d = 0; d < rank; d++)
        sizes[d] = dims[d] > INT64_MAX ? -1 : (int64_t)dims[d];
    if (!dims_bytes(sizes, rank, width, &bytes))
        return bad(walk, name, "has extents whose product overflows");
    if (!storage_is_safe(walk, id, name, bytes))
        return false;
    text_add_bytes(&walk->out, "D", 1);
    put_name(&walk->out, name);
    put_i64(&walk->out, type);
    put_i64(&walk->out, (int64_t)width);
    put_i64(&walk->out, rank);
    text_add_bytes(&walk->out, (const char *)sizes, sizeof sizes);
    return true;
}

static bool put_dataset(struct walk *walk, hid_t id, const char *name)
{
    enum store_type type;
    size_t width;
    const hid_t of = H5Dget_type(id);
    const bool known = h5_type_of(of, &type, &width);
    H5Tclose(of);
    if (!known)
        return bad(walk, name, "has an unsupported type; u8, i8, i32, i64, f32, f64 or fixed-width text is expected");
    return put_shape(walk, id, name, type, width) && put_attributes(walk, id, name);
}

static bool name_is_safe(const char *name)
{
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

static herr_t visit_link(hid_t root, const char *relative, const H5L_info_t *info, void *data)
{
    struct walk *walk = data;
    if (!name_is_safe(relative))
        return bad(walk, "(a link)", "has control characters in its name") - 1;
    const char *name = arena_printf(walk->arena, "/%s", relative);
    if (info->type != H5L_TYPE_HARD)
        return bad(walk, name, "is an external or soft link; links are refused") - 1;
    const hid_t id = H5Oopen(root, relative, H5P_DEFAULT);
    const H5I_type_t kind = H5Iget_type(id);
    bool fine = h5_ok(id);
    if (kind == H5I_DATASET)
        fine = put_dataset(walk, id, name);
    else if (kind == H5I_GROUP)
        fine = put_attributes(walk, id, name);
    H5Oclose(id);
    return fine ? 0 : -1;
}

static void walk_file(struct walk *walk, hid_t file)
{
    const hid_t root = H5Gopen2(file, "/", H5P_DEFAULT);
    const bool fine = h5_ok(root) && put_attributes(walk, root, "/") &&
                      h5_ok(H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, visit_link, walk));
    if (!fine)
        failure_set(walk->failure, EXIT_BAD_DATA, "%s: cannot be read: %s", walk->path, h5_why());
    H5Gclose(root);
}

/* Reading the block. */

struct cursor {
    const char *at;
};

static const char *get_name(struct cursor *in)
{
    const char *name = in->at;
    in->at += strlen(name) + 1;
    return name;
}

static int64_t get_i64(struct cursor *in)
{
    int64_t value;
    memcpy(&value, in->at, sizeof value);
    in->at += sizeof value;
    return value;
}

static void get_dataset(struct store *store, struct cursor *in, struct dataset *set)
{
    set->name = arena_strdup(store->arena, get_name(in));
    set->type = (enum store_type)get_i64(in);
    set->width = (size_t)get_i64(in);
    set->rank = (int)get_i64(in);
    for (int d = 0; d < STORE_RANKS; d++)
        set->dims[d] = get_i64(in);
    set->id = -1;
}

static void get_attribute(struct store *store, struct cursor *in)
{
    struct store_attribute a = { .object = get_name(in) };
    a.name = get_name(in);
    a.kind = (enum store_attribute_kind)get_i64(in);
    a.count = (int)get_i64(in);
    const char **texts = arena_array(store->arena, const char *, a.count + 1);
    for (int i = 0; i < a.count; i++)
        texts[i] = get_name(in);
    a.texts = texts;
    if (a.kind == STORE_ATTR_I64)
        a.integer = get_i64(in);
    if (a.kind == STORE_ATTR_F64) {
        memcpy(&a.number, in->at, sizeof a.number);
        in->at += sizeof a.number;
    }
    attribute_add(store, &a);
}

static void take_block(struct store *store, const char *block, int64_t bytes, int64_t datasets)
{
    store->sets = arena_array(store->arena, struct dataset, datasets + 1);
    struct cursor in = { block };
    while (in.at < block + bytes)
        if (*in.at++ == 'D')
            get_dataset(store, &in, &store->sets[store->count++]);
        else
            get_attribute(store, &in);
}

static int64_t count_datasets(const char *block, int64_t bytes)
{
    int64_t datasets = 0;
    struct cursor in = { block };
    while (in.at < block + bytes)
        if (*in.at++ == 'D') {
            get_name(&in);
            in.at += (3 + STORE_RANKS) * sizeof(int64_t);
            datasets++;
        } else {
            get_name(&in);
            get_name(&in);
            const int64_t kind = get_i64(&in), count = get_i64(&in);
            for (int64_t i = 0; i < count; i++)
                get_name(&in);
            in.at += kind == STORE_ATTR_I64 || kind == STORE_ATTR_F64 ? sizeof(int64_t) : 0;
        }
    return datasets;
}

void catalogue_share(struct store *store, struct failure *failure)
{
    struct walk walk = { .arena = store->arena, .path = store->path, .failure = failure };
    struct stat status;
    walk.out = text_new(store->arena);
    if (store->world->rank == 0 && !failure->failed) {
        walk.file_bytes = stat(store->path, &status) == 0 ? (int64_t)status.st_size : 0;
        walk_file(&walk, store->file);
    }
    failure_agree(store->world, failure);

    int64_t bytes = (int64_t)walk.out.length;
    world_broadcast(store->world, &bytes, sizeof bytes, 0);
    char *block = store->world->rank == 0 ? walk.out.data : arena_array(store->arena, char, bytes + 1);
    world_broadcast(store->world, block, (size_t)bytes, 0);
    take_block(store, block, bytes, count_datasets(block, bytes));
}
