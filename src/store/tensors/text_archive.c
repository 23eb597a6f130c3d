/* Texts of a zip archive by the stream of its members (zip.c). */
#include "store/text_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/tensors/tensors_parts.h"

struct text_archive {
    struct tensor_reader reader;
    struct zip_stream *stream;
};

struct text_archive *text_archive_open(struct arena *arena, const char *name, const char *path, const char **why)
{
    struct text_archive *archive = arena_array(arena, struct text_archive, 1);
    struct tensor_reader *r = &archive->reader;
    struct stat status;
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    *r = (struct tensor_reader){ .arena = arena, .name = name };
    if (file < 0) {
        tensor_fail(r, "cannot be opened: %s", strerror(errno));
    } else if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(file);
        tensor_fail(r, "not a regular file");
    } else {
        r->size = (size_t)status.st_size;
        archive->stream = zip_stream_open(r, file);
    }
    *why = r->why;
    return archive->stream ? archive : NULL;
}

bool text_archive_has(const struct text_archive *archive, const char *member)
{
    return zip_stream_has(archive->stream, member);
}

static char *read_text(struct tensor_reader *r, struct zip_stream *stream, const char *member, size_t limit_bytes)
{
    size_t size;
    if (!zip_stream_start(r, stream, member, &size))
        return NULL;
    if (size > limit_bytes) {
        tensor_fail(r, "\"%s\" has %zu bytes; %zu at most", tensor_shown(r->arena, member), size, limit_bytes);
        return NULL;
    }
    char *text = arena_take_raw(r->arena, size + 1, 1);
    text[size] = '\0';
    if (!zip_stream_read(r, stream, (uint8_t *)text, 0, size))
        return NULL;
    if (strlen(text) == size)
        return text;
    tensor_fail(r, "\"%s\" holds a NUL byte; expected text", tensor_shown(r->arena, member));
    return NULL;
}

const char *text_archive_read(struct arena *arena, struct text_archive *archive, const char *member, size_t limit_bytes,
                              const char **why)
{
    struct tensor_reader r = archive->reader; /* a reader of its own: what fails for one text does not for the next */
    r.arena = arena;
    r.why = NULL;
    const char *text = read_text(&r, archive->stream, member, limit_bytes);
    *why = r.why;
    return text;
}

void text_archive_close(struct text_archive *archive)
{
    zip_stream_close(archive->stream);
}
