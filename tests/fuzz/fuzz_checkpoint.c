/* Heads and fields of checkpoints whose checksum is right. HDF5 itself is not under test (a file whose checksum is
 * wrong is never opened): the bytes say which identity and which fields a whole file holds, of any type and shape.
 *
 *   kind of identity, its length, its text, then for each of the three fields: what it is, its rank, its extents */
#include <hdf5.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "store/checkpoint_file.h"
#include "target.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 64;

enum { FIELDS = 3, COUNT = 4, EXTENT_LIMIT = 6 };
static const char *const names[FIELDS] = { "/weights", "/position/epoch", "/flags" };
static const enum store_type types[FIELDS] = { STORE_F32, STORE_I64, STORE_U8 };
static const char identity[] = "data=ham\nmodel=resnet18\nbatch=16\n";

struct input {
    const uint8_t *bytes;
    size_t left;
};

static unsigned next(struct input *in, unsigned below)
{
    unsigned value = in->left ? *in->bytes : 0;
    in->bytes += in->left > 0;
    in->left -= in->left > 0;
    return value % below;
}

static hid_t text_type(size_t width)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, width ? width : H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static void write_identity(hid_t file, struct input *in, struct arena *arena)
{
    enum { NOTHING, TEXT, TEXTS, FIXED, NUMBER, EMPTY, KINDS };
    unsigned kind = next(in, KINDS), length = next(in, 256);
    size_t size = length < in->left ? length : in->left;
    char *text = arena_take(arena, size + 1, 1);
    char *many[EXTENT_LIMIT] = { text, text, text, text, text, text };
    memcpy(text, in->bytes, size);
    in->bytes += size;
    in->left -= size;
    if (kind == NOTHING)
        return;
    hsize_t several = EXTENT_LIMIT;
    hid_t space =
        kind == TEXTS ? H5Screate_simple(1, &several, NULL) : H5Screate(kind == EMPTY ? H5S_NULL : H5S_SCALAR);
    hid_t type = kind == NUMBER ? H5Tcopy(H5T_NATIVE_INT64) : text_type(kind == FIXED ? size + 1 : 0);
    hid_t id = H5Acreate2(file, "identity", type, space, H5P_DEFAULT, H5P_DEFAULT);
    int64_t number = 7;
    if (kind == TEXT || kind == TEXTS)
        H5Awrite(id, type, many);
    else if (kind == FIXED)
        H5Awrite(id, type, text);
    else if (kind == NUMBER)
        H5Awrite(id, type, &number);
    H5Aclose(id);
    H5Tclose(type);
    H5Sclose(space);
}

static hid_t type_of(unsigned kind)
{
    const hid_t known[] = { H5T_NATIVE_FLOAT, H5T_NATIVE_INT64, H5T_NATIVE_UINT8, H5T_NATIVE_DOUBLE,
                            H5T_IEEE_F32BE,   H5T_NATIVE_INT8,  H5T_NATIVE_INT,   H5T_NATIVE_UINT64 };
    const unsigned count = sizeof known / sizeof known[0];
    if (kind < count)
        return H5Tcopy(known[kind]);
    if (kind == count) {
        hid_t pair = H5Tcreate(H5T_COMPOUND, 16);
        H5Tinsert(pair, "a", 0, H5T_NATIVE_DOUBLE);
        return pair;
    }
    return text_type(kind == count + 1 ? 5 : 0);
}

static void write_field(hid_t file, const char *name, struct input *in)
{
    enum { TYPES = 11, NOTHING = TYPES, GROUP, LINK, KINDS };
    unsigned kind = next(in, KINDS), rank = next(in, 4);
    hsize_t extents[3];
    for (unsigned d = 0; d < rank && d < 3; d++)
        extents[d] = next(in, EXTENT_LIMIT);
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (kind == GROUP) {
        H5Gclose(H5Gcreate2(file, name, links, H5P_DEFAULT, H5P_DEFAULT));
    } else if (kind == LINK) {
        H5Lcreate_external("/nowhere.h5", "/x", file, name, links, H5P_DEFAULT);
    } else if (kind < TYPES) {
        hid_t type = type_of(kind), space = rank ? H5Screate_simple((int)rank, extents, NULL) : H5Screate(H5S_SCALAR);
        H5Dclose(H5Dcreate2(file, name, type, space, links, H5P_DEFAULT, H5P_DEFAULT));
        H5Sclose(space);
        H5Tclose(type);
    }
    H5Pclose(links);
}

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    struct input in = { bytes, size };
    const char *path = path_join(arena, fuzz_folder(), "train.h5");
    h5_start();
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    write_identity(file, &in, arena);
    for (int f = 0; f < FIELDS; f++)
        write_field(file, names[f], &in);
    H5Fclose(file);

    struct checkpoint_field fields[FIELDS];
    struct failure failure = { 0 };
    for (int f = 0; f < FIELDS; f++)
        fields[f] =
            (struct checkpoint_field){ names[f], types[f], arena_take(arena, COUNT, h5_width(types[f], 1)), COUNT };
    checkpoint_file_read(arena, path, identity, fields, FIELDS, &failure);
    if (failure.failed)
        fuzz_message(failure.text, 1);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    (void)arena;
    uint8_t whole[2 + sizeof identity - 1 + 9] = { 1, sizeof identity - 1 };
    static const uint8_t fields[9] = { 0, 1, COUNT, 1, 1, COUNT, 2, 1, COUNT };
    memcpy(whole + 2, identity, sizeof identity - 1);
    memcpy(whole + 2 + sizeof identity - 1, fields, sizeof fields);
    add("whole", whole, sizeof whole);
    whole[0] = 2;
    add("several_identities", whole, sizeof whole);
    whole[0] = 3;
    memcpy(whole + 2, "data=fundus\nnew=1", 17);
    add("another_run", whole, sizeof whole);
    static const uint8_t kinds[] = { 1, 0, 12, 13, 0, 3, 1, 4 };
    add("kinds", kinds, sizeof kinds);
}
