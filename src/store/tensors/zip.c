/* Members of a zip archive by libzip: stored, as PyTorch and NumPy write them, or deflated, as other programs pack them
 * again. Everything that is not plain is refused before a byte is read.
 *
 * Of a weight file all members at once: weights hardly shrink, so one that would grow beyond a few times its size is
 * refused. Of a file of arrays one member, read forward: pictures may shrink to almost nothing, and a caller that takes
 * the bytes piece by piece bounds the memory itself. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "store/tensors/tensors_parts.h"

enum {
    MEMBERS_LIMIT = 1 << 20,
    GROWTH = 16,
    GROWTH_FREE = 64 << 10,
    DEFLATE_GROWTH = 1040, /* no stream of deflate grows more */
    SKIP_BYTES = 64 << 10
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct zip_member *)a)->name, ((const struct zip_member *)b)->name);
}

/* What the directory says of member `i`, which must be plain and fit into the archive. */
static bool look(struct tensor_reader *r, zip_t *zip, zip_uint64_t i, struct zip_member *out, bool *is_stored)
{
    const zip_uint64_t known = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    zip_stat_t st;
    zip_stat_init(&st);
    if (zip_stat_index(zip, i, ZIP_FL_ENC_RAW, &st) != 0 || (st.valid & known) != known)
        return tensor_fail(r, "the zip archive's directory is damaged");
    const char *name = tensor_shown(r->arena, st.name);
    if (!path_is_safe(st.name))
        return tensor_fail(r, "zip member \"%s\": its name leaves the archive", name);
    bool stored = st.comp_method == ZIP_CM_STORE;
    if (!stored && st.comp_method != ZIP_CM_DEFLATE)
        return tensor_fail(r, "zip member \"%s\" is compressed by another method than deflate", name);
    if (st.valid & ZIP_STAT_ENCRYPTION_METHOD && st.encryption_method != ZIP_EM_NONE)
        return tensor_fail(r, "zip member \"%s\" is encrypted", name);
    if ((stored && st.size != st.comp_size) || st.comp_size > r->size ||
        st.size / DEFLATE_GROWTH > (zip_uint64_t)st.comp_size + 1)
        return tensor_fail(r, "zip member \"%s\": sizes that do not fit into the archive", name);
    *is_stored = stored;
    out->name = arena_strdup(r->arena, st.name);
    out->size = (size_t)st.size;
    return true;
}

/* The bytes of member `i`; its checksum is verified at the end. */
static bool take(struct tensor_reader *r, zip_t *zip, zip_uint64_t i, struct zip_member *out)
{
    uint8_t *bytes = arena_take_raw(r->arena, out->size + 1, 1), more;
    zip_file_t *file = zip_fopen_index(zip, i, 0);
    bool fine = file != NULL;
    for (size_t at = 0; fine && at < out->size;) {
        zip_int64_t got = zip_fread(file, bytes + at, out->size - at);
        fine = got > 0;
        at += fine ? (size_t)got : 0;
    }
    fine = fine && zip_fread(file, &more, 1) == 0;
    if (file)
        fine = zip_fclose(file) == 0 && fine;
    out->bytes = bytes;
    return fine || tensor_fail(r, "zip member \"%s\" is damaged", tensor_shown(r->arena, out->name));
}

static bool take_all(struct tensor_reader *r, zip_t *zip, struct zip_member **members, int *count)
{
    zip_int64_t entries = zip_get_num_entries(zip, 0);
    if (entries < 0 || entries > MEMBERS_LIMIT)
        return tensor_fail(r, "a zip archive of %lld members", (long long)entries);
    struct zip_member *list = arena_array(r->arena, struct zip_member, entries + 1);
    size_t total = 0;
    bool is_stored;
    for (zip_int64_t i = 0; i < entries; i++) {
        if (!look(r, zip, (zip_uint64_t)i, &list[i], &is_stored))
            return false;
        if (__builtin_add_overflow(total, list[i].size, &total) || total > GROWTH * r->size + GROWTH_FREE)
            return tensor_fail(r, "it would grow from %zu to %zu bytes and more: weights do not shrink so much",
                               r->size, total);
    }
    for (zip_int64_t i = 0; i < entries; i++)
        if (!take(r, zip, (zip_uint64_t)i, &list[i]))
            return false;
    qsort(list, (size_t)entries, sizeof *list, by_name);
    for (zip_int64_t i = 1; i < entries; i++)
        if (strcmp(list[i].name, list[i - 1].name) == 0)
            return tensor_fail(r, "two zip members of the name \"%s\"", tensor_shown(r->arena, list[i].name));
    *members = list;
    *count = (int)entries;
    return true;
}

static bool fail_open(struct tensor_reader *r, zip_error_t *error)
{
    if (zip_error_code_zip(error) == ZIP_ER_EXISTS)
        return tensor_fail(r, "two zip members of one name");
    return tensor_fail(r, "not a whole zip archive (cut off?): %s", zip_error_strerror(error));
}

bool zip_members(struct tensor_reader *r, struct zip_member **members, int *count)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(r->bytes, r->size, 0, &error);
    zip_t *zip = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    bool fine = zip ? take_all(r, zip, members, count) : fail_open(r, &error);
    if (zip)
        zip_discard(zip);
    else if (source)
        zip_source_free(source);
    zip_error_fini(&error);
    return fine;
}

/* ---- one member, forward ---- */

struct zip_stream {
    zip_t *zip;
    zip_file_t *file;
    zip_uint64_t index;
    size_t size, at;
    bool is_stored;
};

struct zip_stream *zip_stream_open(struct tensor_reader *r, int file)
{
    int code = 0;
    zip_t *zip = zip_fdopen(file, ZIP_CHECKCONS, &code);
    if (!zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        fail_open(r, &error);
        zip_error_fini(&error);
        close(file);
        return NULL;
    }
    struct zip_stream *stream = arena_array(r->arena, struct zip_stream, 1);
    stream->zip = zip;
    return stream;
}

bool zip_stream_has(const struct zip_stream *stream, const char *member)
{
    return zip_name_locate(stream->zip, member, 0) >= 0;
}

/* From its first byte again. */
static bool rewind_member(struct tensor_reader *r, struct zip_stream *stream)
{
    if (stream->file)
        zip_fclose(stream->file);
    stream->file = zip_fopen_index(stream->zip, stream->index, 0);
    stream->at = 0;
    return stream->file || tensor_fail(r, "a zip member is damaged");
}

bool zip_stream_start(struct tensor_reader *r, struct zip_stream *stream, const char *member, size_t *size)
{
    struct zip_member found;
    zip_int64_t index = zip_name_locate(stream->zip, member, 0);
    if (index < 0)
        return tensor_fail(r, "it holds no \"%s\"", tensor_shown(r->arena, member));
    stream->index = (zip_uint64_t)index;
    if (!look(r, stream->zip, stream->index, &found, &stream->is_stored))
        return false;
    *size = stream->size = found.size;
    return rewind_member(r, stream);
}

/* The next bytes of the member; past its last one its checksum is verified. */
static bool forward(struct tensor_reader *r, struct zip_stream *stream, uint8_t *out, size_t bytes)
{
    uint8_t more;
    for (size_t done = 0; done < bytes;) {
        zip_int64_t got = zip_fread(stream->file, out + done, bytes - done);
        if (got <= 0)
            return tensor_fail(r, "a zip member is damaged");
        done += (size_t)got;
    }
    stream->at += bytes;
    return stream->at < stream->size || zip_fread(stream->file, &more, 1) == 0 ||
           tensor_fail(r, "a zip member is damaged");
}

bool zip_stream_read(struct tensor_reader *r, struct zip_stream *stream, uint8_t *out, size_t at, size_t bytes)
{
    uint8_t skipped[SKIP_BYTES];
    if (at > stream->size || bytes > stream->size - at)
        return tensor_fail(r, "a zip member ends before its data");
    if (stream->is_stored && at != stream->at && at < stream->size &&
        zip_fseek(stream->file, (zip_int64_t)at, SEEK_SET) == 0)
        stream->at = at;
    if (at < stream->at && !rewind_member(r, stream))
        return false;
    while (stream->at < at)
        if (!forward(r, stream, skipped, at - stream->at < SKIP_BYTES ? at - stream->at : SKIP_BYTES))
            return false;
    return forward(r, stream, out, bytes);
}

void zip_stream_close(struct zip_stream *stream)
{
    if (!stream)
        return;
    if (stream->file)
        zip_fclose(stream->file);
    zip_discard(stream->zip);
}
