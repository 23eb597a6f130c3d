/* Attributes: kept in the store as a list, read by everyone from there, written by rank 0 when the file is published
 * (so that no metadata changes while the file is open in parallel). Texts are variable-length UTF-8: they have no
 * limit of 64 KiB and h5py shows them as str. */
#include <hdf5.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "store/internal.h"

static struct store_attribute *find(const struct store *store, const char *object, const char *name)
{
    for (struct store_attribute *a = store->attributes; a; a = a->next)
        if (strcmp(a->name, name) == 0 && strcmp(a->object, object) == 0)
            return a;
    return NULL;
}

void attribute_add(struct store *store, const struct store_attribute *attribute)
{
    struct store_attribute *a = find(store, attribute->object, attribute->name);
    if (!a) {
        a = arena_array(store->arena, struct store_attribute, 1);
        a->object = arena_strdup(store->arena, attribute->object);
        a->name = arena_strdup(store->arena, attribute->name);
        *store->attributes_end = a;
        store->attributes_end = &a->next;
    }
    const char **texts = arena_array(store->arena, const char *, attribute->count + 1);
    for (int i = 0; i < attribute->count; i++)
        texts[i] = arena_strdup(store->arena, attribute->texts[i]);
    a->kind = attribute->kind;
    a->texts = texts;
    a->count = attribute->count;
    a->number = attribute->number;
    a->integer = attribute->integer;
}

/* The object must be there when the file is published. */
static void set(struct store *store, const struct store_attribute *attribute)
{
    require(store->part, EXIT_INTERNAL, "%s: attribute %s set on a file opened for reading", store->path,
            attribute->name);
    const char *object = attribute->object;
    require(strcmp(object, "/") == 0 || strcmp(object, "/run") == 0 || store_find(store, object), EXIT_INTERNAL,
            "%s: attribute %s of %s, which is not in the file", store->path, attribute->name, object);
    attribute_add(store, attribute);
}

void store_set_text(struct store *store, const char *object, const char *name, const char *value)
{
    set(store, &(struct store_attribute){
                   .object = object, .name = name, .kind = STORE_ATTR_TEXT, .texts = &value, .count = 1 });
}

void store_set_texts(struct store *store, const char *object, const char *name, const char *const *values, int count)
{
    set(store, &(struct store_attribute){
                   .object = object, .name = name, .kind = STORE_ATTR_TEXTS, .texts = values, .count = count });
}

void store_set_f64(struct store *store, const char *object, const char *name, double value)
{
    set(store, &(struct store_attribute){ .object = object, .name = name, .kind = STORE_ATTR_F64, .number = value });
}

void store_set_i64(struct store *store, const char *object, const char *name, int64_t value)
{
    set(store, &(struct store_attribute){ .object = object, .name = name, .kind = STORE_ATTR_I64, .integer = value });
}

void store_note(struct store *store, const char *name, const char *value)
{
    store_set_text(store, "/run", name, value);
}

bool store_get_text(struct store *store, const char *object, const char *name, const char **value)
{
    const struct store_attribute *a = find(store, object, name);
    if (!a || a->kind != STORE_ATTR_TEXT)
        return false;
    *value = a->texts[0];
    return true;
}

bool store_get_texts(struct store *store, const char *object, const char *name, const char *const **values, int *count)
{
    const struct store_attribute *a = find(store, object, name);
    if (!a || (a->kind != STORE_ATTR_TEXTS && a->kind != STORE_ATTR_TEXT))
        return false;
    *values = a->texts;
    *count = a->count;
    return true;
}

bool store_get_f64(struct store *store, const char *object, const char *name, double *value)
{
    const struct store_attribute *a = find(store, object, name);
    if (!a || (a->kind != STORE_ATTR_F64 && a->kind != STORE_ATTR_I64))
        return false;
    *value = a->kind == STORE_ATTR_F64 ? a->number : (double)a->integer;
    return true;
}

bool store_get_i64(struct store *store, const char *object, const char *name, int64_t *value)
{
    const struct store_attribute *a = find(store, object, name);
    if (!a || a->kind != STORE_ATTR_I64)
        return false;
    *value = a->integer;
    return true;
}

const struct store_attribute *store_attributes(const struct store *store)
{
    return store->attributes;
}

static bool write_value(hid_t attribute, hid_t type, const struct store_attribute *a)
{
    switch (a->kind) {
    case STORE_ATTR_TEXT:
    case STORE_ATTR_TEXTS:
        return a->count == 0 || h5_ok(H5Awrite(attribute, type, a->texts));
    case STORE_ATTR_F64:
        return h5_ok(H5Awrite(attribute, H5T_NATIVE_DOUBLE, &a->number));
    case STORE_ATTR_I64:
        return h5_ok(H5Awrite(attribute, H5T_NATIVE_INT64, &a->integer));
    }
    return false;
}

static hid_t value_type(const struct store_attribute *a)
{
    if (a->kind == STORE_ATTR_F64)
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    if (a->kind == STORE_ATTR_I64)
        return H5Tcopy(H5T_NATIVE_INT64);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static bool write_one(hid_t file, const struct store_attribute *a)
{
    const hsize_t length = (hsize_t)a->count;
    const hid_t object = H5Oopen(file, a->object, H5P_DEFAULT);
    const hid_t type = value_type(a);
    const hid_t space = a->kind == STORE_ATTR_TEXTS ? H5Screate_simple(1, &length, NULL) : H5Screate(H5S_SCALAR);
    const hid_t id = H5Acreate2(object, a->name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool written = h5_ok(id) && write_value(id, type, a) && h5_ok(H5Aclose(id));
    H5Sclose(space);
    H5Tclose(type);
    return written && h5_ok(H5Oclose(object));
}

void attributes_write(const struct store *store, int64_t file, struct failure *failure)
{
    const hid_t run = H5Gcreate2(file, "/run", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (!h5_ok(run) || !h5_ok(H5Gclose(run)))
        failure_set(failure, EXIT_IO, "%s: cannot write group /run: %s", store->part, h5_why());
    for (const struct store_attribute *a = store->attributes; a && !failure->failed; a = a->next)
        if (!write_one(file, a))
            failure_set(failure, EXIT_IO, "%s: cannot write attribute %s of %s: %s", store->part, a->name, a->object,
                        h5_why());
}
