/* Locks against a second writer, free space, and syncing. A lock is flock on a file of its own: on network file
 * systems flock and the record locks of the MPI file layer are one and would wait for each other on the data file.
 * The kernel drops it when its process ends, so a left-over lock file blocks nobody. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "dist/world.h"
#include "store/internal.h"

static char *lock_name(struct arena *arena, const char *path)
{
    return arena_printf(arena, "%s.lock", path);
}

/* Does `fd` still stand under `name`? The holder before us may have removed it between our open and our lock. */
static bool same_file(int fd, const char *name)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(name, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int lock_take(struct arena *arena, const char *path, bool *busy)
{
    const char *name = lock_name(arena, path);
    *busy = false;
    for (;;) {
        const int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            *busy = errno == EWOULDBLOCK;
            if (!*busy) /* a file system without locks: go on without one */
                return fd;
            close(fd);
            return -1;
        }
        if (same_file(fd, name))
            return fd;
        close(fd);
    }
}

void lock_drop(struct arena *arena, const char *path, int lock)
{
    if (lock < 0)
        return;
    unlink(lock_name(arena, path));
    close(lock);
}

static char *parent_of(struct arena *arena, const char *path)
{
    char *dir = arena_strdup(arena, path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        return arena_strdup(arena, ".");
    slash[slash == dir ? 1 : 0] = '\0';
    return dir;
}

int64_t disk_free(const char *path)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return -1;
    return (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

bool sync_path(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool synced = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot sync a directory */
    close(fd);
    return synced;
}

bool sync_parent(struct arena *arena, const char *path)
{
    return sync_path(parent_of(arena, path));
}
