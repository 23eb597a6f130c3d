/* Members of a zip archive by libzip, as far as weight files need them: stored, as PyTorch writes them, or deflated, as
 * other programs pack them again. Weights hardly shrink: an archive that would grow beyond a few times its size is
 * refused, like everything that is not plain, before a byte is read. */
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "store/tensors/tensors_parts.h"

enum { MEMBERS_LIMIT = 1 << 20, GROWTH = 16, GROWTH_FREE = 64 << 10 };

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct zip_member *)a)->name, ((const struct zip_member *)b)->name);
}

/* What the directory says of member `i`; *total adds up the sizes. */
static bool look(struct tensor_reader *r, zip_t *zip, zip_uint64_t i, struct zip_member *out, size_t *total)
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
        __builtin_add_overflow(*total, (size_t)st.size, total) || (stored && st.size > r->size))
        return tensor_fail(r, "zip member \"%s\": sizes that do not fit into the archive", name);
    if (*total > GROWTH * r->size + GROWTH_FREE)
        return tensor_fail(r, "it would grow from %zu to %zu bytes and more: weights do not shrink so much", r->size,
                           *total);
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
    for (zip_int64_t i = 0; i < entries; i++)
        if (!look(r, zip, (zip_uint64_t)i, &list[i], &total))
            return false;
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

bool zip_members(struct tensor_reader *r, struct zip_member **members, int *count)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(r->bytes, r->size, 0, &error);
    zip_t *zip = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    bool fine = false;
    if (zip)
        fine = take_all(r, zip, members, count);
    else if (zip_error_code_zip(&error) == ZIP_ER_EXISTS)
        tensor_fail(r, "two zip members of one name");
    else
        tensor_fail(r, "not a whole zip archive (cut off?): %s", zip_error_strerror(&error));
    if (zip)
        zip_discard(zip);
    else if (source)
        zip_source_free(source);
    zip_error_fini(&error);
    return fine;
}
