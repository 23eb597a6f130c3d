/* The small change of HDF5: error texts, types, handles. Walking, creating and transferring are in other files. */
#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dist/world.h"
#include "store/internal.h"

_Static_assert(sizeof(hid_t) == sizeof(int64_t), "handles are kept as int64_t");

const char *store_library(void)
{
    static char text[64];
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "HDF5 %u.%u.%u", major, minor, release);
    return text;
}

void h5_start(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static herr_t innermost(unsigned n, const H5E_error2_t *error, void *data)
{
    char *text = data;
    if (n == 0 && error->desc)
        snprintf(text, 512, "%s", error->desc);
    return 0;
}

static char why[512] = "no reason given";

bool h5_ok(int64_t result)
{
    if (result >= 0)
        return true;
    snprintf(why, sizeof why, "no reason given");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, why);
    for (char *p = why; *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    return false;
}

const char *h5_why(void)
{
    return why;
}

int64_t h5_native(enum store_type type)
{
    switch (type) {
    case STORE_U8:
        return H5T_NATIVE_UINT8;
    case STORE_I8:
        return H5T_NATIVE_INT8;
    case STORE_I32:
        return H5T_NATIVE_INT32;
    case STORE_I64:
        return H5T_NATIVE_INT64;
    case STORE_F32:
        return H5T_NATIVE_FLOAT;
    case STORE_F64:
        return H5T_NATIVE_DOUBLE;
    case STORE_TEXT:
        break;
    }
    return -1;
}

int64_t h5_text_type(size_t width)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, width);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

bool h5_type_of(int64_t type, enum store_type *out, size_t *width)
{
    const H5T_class_t class = H5Tget_class(type);
    const size_t size = H5Tget_size(type);
    *width = size;
    if (class == H5T_FLOAT && (size == 4 || size == 8)) {
        *out = size == 4 ? STORE_F32 : STORE_F64;
        return true;
    }
    if (class == H5T_STRING && H5Tis_variable_str(type) == 0 && size > 0) {
        *out = STORE_TEXT;
        return true;
    }
    if (class != H5T_INTEGER)
        return false;
    if (H5Tget_sign(type) == H5T_SGN_NONE) {
        *out = STORE_U8;
        return size == 1;
    }
    *out = size == 1 ? STORE_I8 : size == 4 ? STORE_I32 : STORE_I64;
    return size == 1 || size == 4 || size == 8;
}

size_t h5_width(enum store_type type, size_t text_width)
{
    static const size_t WIDTH[] = { 1, 1, 4, 8, 4, 8 };
    return type == STORE_TEXT ? text_width : WIDTH[type];
}

const char *store_type_name(enum store_type type)
{
    static const char *const NAME[] = { "u8", "i8", "i32", "i64", "f32", "f64", "text" };
    return NAME[type];
}

int64_t h5_open(const char *path, bool write)
{
    h5_start();
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true); /* names are published by rename: nobody reads what is being written */
    const hid_t file = H5Fopen(path, write ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access);
    h5_ok(file);
    H5Pclose(access);
    return file;
}

/* HDF5 1.10 keeps a file it could not close and crashes on it when MPI ends. */
void h5_close(int64_t file, const char *path, struct failure *failure)
{
    if (h5_ok(H5Fclose(file)))
        return;
    failure->broken = true;
    failure_set(failure, EXIT_IO, "%s: cannot write: %s\nthe file system has %lld bytes free", path, h5_why(),
                (long long)disk_free(path));
}

int64_t h5_dataset(struct store *store, struct dataset *set)
{
    if (set->id < 0)
        set->id = H5Dopen2(store->file, set->name, H5P_DEFAULT);
    require(h5_ok(set->id), EXIT_IO, "%s: cannot open dataset %s: %s", store->path, set->name, h5_why());
    return set->id;
}

void failure_set(struct failure *failure, enum exit_code code, const char *fmt, ...)
{
    if (failure->failed)
        return; /* the first cause counts */
    failure->failed = true;
    failure->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(failure->text, sizeof failure->text, fmt, args);
    va_end(args);
}

void failure_agree(struct world *world, const struct failure *failure)
{
    if (failure->broken)
        fatal(failure->code, "%s", failure->text);
    agree(world, !failure->failed, failure->code, "%s", failure->text);
}
