/* Opening a file of the data folder without leaving it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

/* Reads an open regular file; false with errno 0 when it shrank meanwhile. */
static bool read_whole(int file, uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(file, bytes + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            return false;
        }
        at += (size_t)got;
    }
    return true;
}

static bool is_below(const char *real, const char *folder)
{
    size_t length = strlen(folder);
    return strcmp(folder, "/") == 0 || (strncmp(real, folder, length) == 0 && real[length] == '/');
}

/* Below the folder that root/images is a link to: shared, read-only data stay where they are. */
static bool is_below_images(struct arena *arena, const char *real, const char *root, const char *path)
{
    char images[PATH_MAX];
    return strncmp(path, "images/", 7) == 0 && realpath(path_join(arena, root, "images"), images) &&
           is_below(real, images);
}

int manifest_open_file(struct arena *arena, const char *root, const char *path, const char **why)
{
    char real[PATH_MAX];
    struct stat status;
    const char *full = path_join(arena, root, path);
    *why = NULL;
    if (!path_is_safe(path) || !manifest_is_text(path)) {
        *why = !path_is_below(path)  ? "the path leaves the data folder"
               : !path_is_safe(path) ? "a control character in the name of the file; expected a printable one"
                                     : "the name of the file is not UTF-8";
        return -1;
    }
    if (!realpath(full, real)) {
        *why = errno == ENOENT ? "the file is missing" : arena_printf(arena, "cannot be opened: %s", strerror(errno));
        return -1;
    }
    if (!is_below(real, root) && !is_below_images(arena, real, root, path)) {
        *why = "a link that leads out of the data folder";
        return -1;
    }
    if (stat(real, &status) == 0 && !S_ISREG(status.st_mode)) {
        *why = S_ISDIR(status.st_mode) ? "a folder, expected a file" : "not a regular file";
        return -1;
    }
    int file = open(real, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        *why = arena_printf(arena, "cannot be opened: %s", strerror(errno));
    } else if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        *why = "not a regular file";
        close(file);
        file = -1;
    }
    return file;
}

uint8_t *manifest_open(struct arena *arena, const char *root, const char *path, size_t limit_bytes, size_t *size,
                       const char **why)
{
    struct stat status;
    int file = manifest_open_file(arena, root, path, why);
    if (file < 0)
        return NULL;
    uint8_t *bytes = NULL;
    if (fstat(file, &status) != 0) {
        *why = arena_printf(arena, "cannot be read: %s", strerror(errno));
    } else if ((uint64_t)status.st_size > limit_bytes) {
        *why = arena_printf(arena, "%lld bytes, %zu at most", (long long)status.st_size, limit_bytes);
    } else {
        *size = (size_t)status.st_size;
        bytes = arena_take_raw(arena, *size + 1, 1);
        if (!read_whole(file, bytes, *size)) {
            *why = arena_printf(arena, "cannot be read: %s", errno ? strerror(errno) : "the file became shorter");
            bytes = NULL;
        }
    }
    close(file);
    return bytes;
}
