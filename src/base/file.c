/* Small files and paths: read whole, write whole or not at all, make folders. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/output.h"

char *path_join(struct arena *arena, const char *dir, const char *name)
{
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    while (name[0] == '/')
        name++;
    if (length == 0)
        return arena_strdup(arena, name);
    bool root = length == 1 && dir[0] == '/';
    return arena_printf(arena, "%.*s%s%s", (int)length, dir, root ? "" : "/", name);
}

bool path_is_below(const char *path)
{
    if (path[0] == '\0' || path[0] == '/')
        return false;
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");
        bool up = length == 2 && part[0] == '.' && part[1] == '.';
        if (length == 0 || up)
            return false;
        part += length;
        if (*part == '\0')
            return true;
    }
}

bool path_is_safe(const char *path)
{
    for (const char *at = path; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    return path_is_below(path);
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* *why <- "path: what: reason"; the value is false, for `return`. */
static bool because(struct arena *arena, const char **why, const char *path, const char *what, int error)
{
    *why = arena_printf(arena, "%s: %s: %s", path, what, strerror(error));
    return false;
}

static bool read_all(int fd, char *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, data + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO; /* shorter than it was a moment ago */
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

char *file_read(struct arena *arena, const char *path, size_t limit_bytes, size_t *length, const char **why)
{
    log_verbose("opens %s", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (fd < 0) {
        because(arena, why, path, "cannot open", errno);
        return NULL;
    }
    char *data = NULL;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        because(arena, why, path, "cannot look at", errno);
    } else if (!S_ISREG(st.st_mode)) {
        *why = arena_printf(arena, "%s: expected a regular file", path);
    } else if (limit_bytes > 0 && (uintmax_t)st.st_size > limit_bytes) {
        *why = arena_printf(arena, "%s: %jd bytes, expected at most %zu", path, (intmax_t)st.st_size, limit_bytes);
    } else {
        size_t size = (size_t)st.st_size;
        data = arena_take_raw(arena, size + 1, 1);
        data[size] = '\0';
        if (!read_all(fd, data, size)) {
            because(arena, why, path, "cannot read", errno);
            data = NULL;
        } else if (length) {
            *length = size;
        }
    }
    close(fd);
    return data;
}

static bool write_all(int fd, const char *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t put = write(fd, data + at, size - at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        at += (size_t)put;
    }
    return true;
}

/* The rename itself must survive a crash too. */
static void sync_folder(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dir = !slash ? "." : slash == path ? "/" : arena_printf(arena, "%.*s", (int)(slash - path), path);
    int fd = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

void output_open(struct output *output)
{
    output->part = arena_printf(output->arena, "%s.part", output->path);
    output->why = NULL;
    output->bytes = 0;
    output->fd = open(output->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (output->fd < 0)
        because(output->arena, &output->why, output->part, "cannot create", errno);
}

void output_add(struct output *output, const void *data, size_t bytes)
{
    if (!output->why && !write_all(output->fd, data, bytes))
        because(output->arena, &output->why, output->part, "cannot write", errno);
    output->bytes += bytes;
}

bool output_close(struct output *output)
{
    if (output->fd < 0)
        return false;
    int error = fsync(output->fd) != 0 ? errno : 0;
    if (close(output->fd) != 0 && error == 0)
        error = errno;
    if (error != 0 && !output->why)
        because(output->arena, &output->why, output->part, "cannot write", error);
    if (!output->why && rename(output->part, output->path) != 0)
        because(output->arena, &output->why, output->path, "cannot rename to it", errno);
    if (output->why) {
        unlink(output->part);
        return false;
    }
    sync_folder(output->arena, output->path);
    return true;
}

bool file_write(struct arena *arena, const char *path, const char *data, size_t length, const char **why)
{
    struct output output = { .arena = arena, .path = path };
    output_open(&output);
    output_add(&output, data, length);
    bool fine = output_close(&output);
    if (!fine)
        *why = output.why;
    return fine;
}

bool path_make_dirs(struct arena *arena, const char *path, const char **why)
{
    char *part = arena_strdup(arena, path);
    for (char *at = part + (part[0] == '/');; at++) {
        at += strcspn(at, "/");
        char kept = *at;
        *at = '\0';
        struct stat st;
        if (part[0] != '\0' && mkdir(part, 0777) != 0) {
            int error = errno;
            if (stat(part, &st) != 0)
                return because(arena, why, part, "cannot make the folder", error);
            if (!S_ISDIR(st.st_mode))
                return because(arena, why, part, "cannot make the folder", ENOTDIR);
        }
        *at = kept;
        if (kept == '\0')
            return true;
    }
}
