/* A matrix of real numbers in an HDF5 file of another program. Other datasets of the file may be of any kind: only the
 * chosen one is opened. Links that leave the file are not followed, and values must lie in it. */
#include <hdf5.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/internal.h"
#include "store/matrix_parts.h"

/* Chunks of a rank that stay unpacked: blocks of rows cross them several times. */
static const size_t CACHE_BYTES = (size_t)64 << 20;
enum { CACHE_SLOTS = 100003, DEFLATE_MOST = 1100 }; /* deflate cannot shrink by more */

struct search {
    struct arena *arena;
    const char *found; /* "/group/name" of the last matrix seen */
    int matrices;
    bool has_features;
};

/* "f32" when the dataset is a matrix of real numbers, else NULL; its shape. */
static const char *matrix_type(hid_t set, hsize_t dims[2])
{
    static const char *const names[] = { [2] = "f16", [4] = "f32", [8] = "f64" };
    const hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    const size_t size = H5Tget_size(type);
    const bool is_real = H5Tget_class(type) == H5T_FLOAT && (size == 2 || size == 4 || size == 8);
    const bool fits = is_real && H5Sget_simple_extent_ndims(space) == 2;
    if (fits)
        H5Sget_simple_extent_dims(space, dims, NULL);
    const bool is_bf16 = fits && size == 2 && H5Tget_ebias(type) == 127;
    H5Sclose(space);
    H5Tclose(type);
    return !fits ? NULL : is_bf16 ? "bf16" : names[size];
}

static herr_t visit(hid_t root, const char *name, const H5L_info_t *info, void *data)
{
    struct search *s = data;
    hsize_t dims[2];
    if (info->type != H5L_TYPE_HARD)
        return 0;
    const hid_t id = H5Oopen(root, name, H5P_DEFAULT);
    if (H5Iget_type(id) == H5I_DATASET && matrix_type(id, dims)) {
        s->found = arena_printf(s->arena, "/%s", name);
        s->has_features = s->has_features || strcmp(s->found, "/features") == 0;
        s->matrices++;
    }
    H5Oclose(id);
    return 0;
}

/* Does every part of the path stay in the file? */
static bool is_inside(hid_t file, struct arena *arena, const char *name)
{
    char *path = arena_strdup(arena, name);
    for (char *at = path + strspn(path, "/"); *at;) {
        char *end = at + strcspn(at, "/"), kept = *end;
        H5L_info_t info;
        *end = '\0';
        if (H5Lexists(file, path, H5P_DEFAULT) <= 0 || H5Lget_info(file, path, &info, H5P_DEFAULT) < 0 ||
            info.type != H5L_TYPE_HARD)
            return false;
        *end = kept;
        at = end + strspn(end, "/");
    }
    return true;
}

static bool is_stored_here(hid_t set, const hsize_t dims[2], int64_t file_bytes)
{
    const hid_t properties = H5Dget_create_plist(set);
    const bool foreign = H5Pget_external_count(properties) != 0 || H5Pget_layout(properties) == H5D_VIRTUAL;
    const int64_t most = H5Pget_nfilters(properties) > 0 ? DEFLATE_MOST : 1;
    int64_t bytes,
        sizes[2] = { dims[0] > INT64_MAX ? -1 : (int64_t)dims[0], dims[1] > INT64_MAX ? -1 : (int64_t)dims[1] };
    H5Pclose(properties);
    return !foreign && dims_bytes(sizes, 2, 2, &bytes) && bytes / most <= file_bytes;
}

static const char *check(struct matrix *m, struct arena *arena, hid_t file, int64_t file_bytes)
{
    if (!is_inside(file, arena, m->name))
        return arena_printf(arena, "%s: no dataset \"%s\", or one behind a link, which is not followed", m->path,
                            m->name);
    hsize_t dims[2] = { 0 };
    const hid_t set = H5Oopen(file, m->name, H5P_DEFAULT);
    const char *problem = NULL;
    m->type = H5Iget_type(set) == H5I_DATASET ? matrix_type(set, dims) : NULL;
    if (!m->type)
        problem =
            arena_printf(arena, "%s: %s: expected real numbers (f16, bf16, f32, f64) in two extents, a row an image",
                         m->path, m->name);
    else if (dims[0] == 0 || dims[1] == 0)
        problem = arena_printf(arena, "%s: %s: no values", m->path, m->name);
    else if (!is_stored_here(set, dims, file_bytes))
        problem = arena_printf(arena, "%s: %s: its values lie in another file, or are more than this one can hold",
                               m->path, m->name);
    m->rows = (int64_t)dims[0];
    m->dim = (int64_t)dims[1];
    if (set >= 0)
        H5Oclose(set);
    return problem;
}

static const char *choose(struct matrix *m, struct arena *arena, const char *name, hid_t file)
{
    struct search s = { .arena = arena };
    if (!name && H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, visit, &s) < 0)
        return arena_printf(arena, "%s: damaged HDF5 file", m->path);
    if (!name && s.matrices == 0)
        return arena_printf(arena, "%s: no dataset of real numbers in two extents, a row an image", m->path);
    if (!name && s.matrices > 1 && !s.has_features)
        return arena_printf(arena, "%s: %d matrices of real numbers\n--dataset NAME says which one is meant", m->path,
                            s.matrices);
    m->name = name             ? arena_printf(arena, "%s%s", *name == '/' ? "" : "/", name)
              : s.has_features ? "/features"
                               : s.found;
    return NULL;
}

const char *matrix_h5_find(struct matrix *m, struct arena *arena, const char *name, enum exit_code *code)
{
    struct stat status = { 0 };
    const hid_t file = h5_open(m->path, false);
    *code = EXIT_BAD_DATA;
    if (file < 0)
        return arena_printf(arena, "%s: damaged HDF5 file: %s", m->path, h5_why());
    stat(m->path, &status);
    m->format = "HDF5";
    const char *problem = choose(m, arena, name, file);
    if (!problem)
        problem = check(m, arena, file, (int64_t)status.st_size);
    H5Fclose(file);
    return problem;
}

bool matrix_h5_open(struct matrix *m)
{
    const hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(access, CACHE_SLOTS, CACHE_BYTES, 1);
    m->source->root = h5_open(m->path, false);
    m->source->set = m->source->root < 0 ? -1 : H5Dopen2(m->source->root, m->name, access);
    H5Pclose(access);
    return m->source->set >= 0;
}

bool matrix_h5_read(const struct matrix *m, int64_t first, int64_t count, float *out)
{
    const hsize_t start[2] = { (hsize_t)first, 0 }, block[2] = { (hsize_t)count, (hsize_t)m->dim };
    const hid_t memory = H5Screate_simple(2, block, NULL), file = H5Dget_space(m->source->set);
    H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, block, NULL);
    const bool done = h5_ok(H5Dread(m->source->set, H5T_NATIVE_FLOAT, memory, file, H5P_DEFAULT, out));
    H5Sclose(memory);
    H5Sclose(file);
    return done;
}

void matrix_h5_close(struct matrix *m)
{
    H5Dclose(m->source->set);
    H5Fclose(m->source->root);
}
