/* One checkpoint file: a dataset per field, the identity as an attribute. Serial HDF5. */
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/checkpoint_file.h"

enum { OVERHEAD_BYTES = 1 << 20, FIELD_OVERHEAD_BYTES = 4096 }; /* metadata of the file and of a dataset, generously */

static int64_t bytes_needed(const struct checkpoint_field *fields, int count, const char *identity)
{
    int64_t needed = OVERHEAD_BYTES + (int64_t)strlen(identity);
    for (int f = 0; f < count; f++)
        needed += fields[f].count * (int64_t)h5_width(fields[f].type, 1) + FIELD_OVERHEAD_BYTES;
    return needed;
}

static void no_room(const char *path, int64_t needed, const char *why, struct failure *failure)
{
    failure_set(failure, EXIT_IO,
                "%s: needs %lld bytes, the file system has %lld free (%s)\n"
                "the previous checkpoint is intact: make room and resume",
                path, (long long)needed, (long long)disk_free(path), why);
}

static bool write_field(hid_t file, const struct checkpoint_field *field)
{
    const hsize_t length = (hsize_t)field->count;
    const hid_t space = H5Screate_simple(1, &length, NULL);
    const hid_t type = h5_native(field->type);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    const hid_t id = H5Dcreate2(file, field->name, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    const bool written =
        h5_ok(id) && (length == 0 || h5_ok(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, field->data)));
    H5Sclose(space);
    H5Pclose(links);
    return written && h5_ok(H5Dclose(id));
}

static hid_t text_type(void)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

static bool write_head(hid_t file, int64_t step, const char *identity)
{
    const hid_t space = H5Screate(H5S_SCALAR), type = text_type();
    const hid_t text = H5Acreate2(file, "identity", type, space, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t number = H5Acreate2(file, "step", H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool written = h5_ok(text) && h5_ok(number) && h5_ok(H5Awrite(text, type, &identity)) &&
                         h5_ok(H5Awrite(number, H5T_NATIVE_INT64, &step));
    H5Aclose(text);
    H5Aclose(number);
    H5Tclose(type);
    H5Sclose(space);
    return written;
}

bool checkpoint_file_write(const char *path, int64_t step, const char *identity, const struct checkpoint_field *fields,
                           int count, struct failure *failure)
{
    const int64_t needed = bytes_needed(fields, count, identity);
    h5_start();
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true);
    const hid_t file = H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, access);
    const bool created = h5_ok(file);
    H5Pclose(access);
    if (!created) {
        failure_set(failure, EXIT_CANNOT_CREATE, "%s: cannot create: %s", path, h5_why());
        return false;
    }
    const int64_t free_bytes = disk_free(path);
    if (free_bytes >= 0 && free_bytes < needed)
        no_room(path, needed, "asked before writing", failure);
    bool fine = !failure->failed && write_head(file, step, identity);
    for (int f = 0; fine && f < count; f++)
        fine = write_field(file, &fields[f]);
    if (!fine)
        no_room(path, needed, h5_why(), failure);
    if (!h5_ok(H5Fclose(file))) {
        no_room(path, needed, h5_why(), failure);
        failure->broken = true;
    }
    if (!failure->failed && !sync_path(path))
        no_room(path, needed, strerror(errno), failure);
    return !failure->failed;
}

bool checkpoint_file_hash(const char *path, uint64_t *hash)
{
    static char buffer[1 << 20];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            XXH3_64bits_update(state, buffer, (size_t)got);
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    close(fd);
    return got == 0;
}

/* The identity, owned by the arena; NULL when it cannot be read. */
static const char *read_identity(struct arena *arena, hid_t file)
{
    char *text = NULL;
    const hid_t id = H5Aopen(file, "identity", H5P_DEFAULT), type = text_type();
    const hid_t space = id >= 0 ? H5Aget_space(id) : -1;
    const char *copy = NULL;
    /* One text: of more, HDF5 would write more than one pointer. */
    if (id >= 0 && H5Sget_simple_extent_npoints(space) == 1 && H5Aread(id, type, &text) >= 0 && text) {
        copy = arena_strdup(arena, text);
        H5free_memory(text);
    }
    H5Sclose(space);
    H5Aclose(id);
    H5Tclose(type);
    return copy;
}

/* The line of `text` that starts with `key` ("name=" of `length` bytes); NULL when there is none. */
static const char *line_of(const char *text, const char *key, size_t length)
{
    for (const char *line = text; *line;) {
        if (strncmp(line, key, length) == 0)
            return line;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return NULL;
}

/* Adds "name: in the checkpoint x, now y" for the lines of `a` that `b` has not or has with another value. */
static void add_differences(struct text *out, const char *a, const char *b, bool a_is_file)
{
    for (const char *line = a; *line;) {
        const size_t length = strcspn(line, "\n"), name = strcspn(line, "=\n");
        const char *other = line_of(b, line, name < length ? name + 1 : name);
        const size_t other_length = other ? strcspn(other, "\n") : 0;
        const char *value = name < length ? line + name + 1 : "", *other_value = other ? other + name + 1 : "none";
        const int size = name < length ? (int)(length - name - 1) : 0;
        const int other_size = other ? (int)(other_length - name - 1) : 4;
        const bool same = other && other_length == length && memcmp(line, other, length) == 0;
        if (!same && length > 0 && a_is_file)
            text_add(out, "\n  %.*s: checkpoint %.*s, this run %.*s", (int)name, line, size, value, other_size,
                     other_value);
        else if (!other && length > 0)
            text_add(out, "\n  %.*s: checkpoint none, this run %.*s", (int)name, line, size, value);
        line += length;
        line += *line == '\n';
    }
}

/* The lines of `text` but for those that may have any value in `expected`. */
static const char *without_any(struct arena *arena, const char *text, const char *expected)
{
    static const char any[] = "=" CHECKPOINT_ANY "\n";
    struct text kept = text_new(arena);
    for (const char *line = text; *line;) {
        const size_t length = strcspn(line, "\n"), name = strcspn(line, "=\n");
        const char *wanted = name < length ? line_of(expected, line, name + 1) : NULL;
        if (!wanted || strncmp(wanted + name, any, strlen(any)) != 0)
            text_add(&kept, "%.*s\n", (int)length, line);
        line += length;
        line += *line == '\n';
    }
    return kept.data;
}

static void check_identity(struct arena *arena, const char *path, const char *found, const char *expected,
                           struct failure *failure)
{
    if (found) {
        found = without_any(arena, found, expected);
        expected = without_any(arena, expected, expected);
        if (strcmp(found, expected) == 0)
            return;
    }
    struct text text = text_new(arena);
    text_add(&text, "%s: this checkpoint belongs to another run", path);
    if (found) {
        add_differences(&text, found, expected, true);
        add_differences(&text, expected, found, false);
    }
    text_add(&text, "\nset these back to resume, or give --force to start again");
    if (strstr(text.data, "\n  " CHECKPOINT_BY))
        text_add(&text,
                 "\n(--set mix_libraries=true goes on with other libraries: not with the bits of an unbroken run)");
    failure_set(failure, EXIT_BAD_CONFIG, "%s", text_printable(text.data, "\n"));
}

static void read_field(hid_t file, const char *path, const struct checkpoint_field *field, struct failure *failure)
{
    const hid_t id = H5Dopen2(file, field->name, H5P_DEFAULT);
    const hid_t type = id >= 0 ? H5Dget_type(id) : -1, space = id >= 0 ? H5Dget_space(id) : -1;
    enum store_type stored = STORE_U8;
    size_t width = 0;
    const int64_t length = id >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (id < 0 || !h5_type_of(type, &stored, &width) || stored != field->type || length != field->count)
        failure_set(failure, EXIT_BAD_CONFIG,
                    "%s: %s: expected %lld values of %s, found %lld of %s\nthe model differs from the checkpoint's",
                    path, field->name, (long long)field->count, store_type_name(field->type), (long long)length,
                    id >= 0 ? store_type_name(stored) : "none");
    else if (length > 0 && !h5_ok(H5Dread(id, h5_native(field->type), H5S_ALL, H5S_ALL, H5P_DEFAULT, field->data)))
        failure_set(failure, EXIT_IO, "%s: cannot read %s: %s", path, field->name, h5_why());
    if (id >= 0) {
        H5Tclose(type);
        H5Sclose(space);
        H5Dclose(id);
    }
}

void checkpoint_file_read(struct arena *arena, const char *path, const char *identity,
                          const struct checkpoint_field *fields, int count, struct failure *failure)
{
    const hid_t file = h5_open(path, false);
    if (file < 0) {
        failure_set(failure, EXIT_BAD_DATA, "%s: its checksum is right, but HDF5 cannot open it: %s", path, h5_why());
        return;
    }
    check_identity(arena, path, read_identity(arena, file), identity, failure);
    for (int f = 0; f < count && !failure->failed; f++)
        read_field(file, path, &fields[f], failure);
    H5Fclose(file);
}
