/* Checksum of a file, its 64 MiB blocks read by all ranks (xxHash's XXH3, 128 bits). Against accident, not attack. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/arena.h"
#include "base/phase.h"
#include "dist/shard.h"
#include "dist/world.h"
#include "store/internal.h"

enum { BLOCK = 64 << 20, PIECE = 1 << 20 };

/* Digest of bytes first..first+count-1; false when they cannot be read. */
static bool digest_range(XXH128_canonical_t *digest, int fd, int64_t first, int64_t count, char *buffer)
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_128bits_reset(state);
    bool fine = true;
    for (int64_t done = 0; fine && done < count;) {
        const int64_t want = count - done < PIECE ? count - done : PIECE;
        const ssize_t got = pread(fd, buffer, (size_t)want, first + done);
        fine = got > 0 || (got < 0 && errno == EINTR);
        if (got > 0) {
            XXH3_128bits_update(state, buffer, (size_t)got);
            done += got;
        }
    }
    XXH128_canonicalFromHash(digest, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    return fine;
}

static void digest_blocks(XXH128_canonical_t *digests, int fd, int64_t size, struct span mine, struct arena *arena,
                          const char *path, struct failure *failure)
{
    char *buffer = arena_take_raw(arena, PIECE, 1);
    for (int64_t i = 0; i < mine.count && !failure->failed; i++) {
        const int64_t first = (mine.first + i) * BLOCK, count = size - first < BLOCK ? size - first : BLOCK;
        if (!digest_range(&digests[i], fd, first, count, buffer))
            failure_set(failure, EXIT_IO, "%s: cannot read byte %lld: %s", path, (long long)first, strerror(errno));
    }
}

char *store_checksum(struct world *world, struct arena *arena, const char *path)
{
    const enum phase before = phase_enter(PHASE_READ);
    struct failure failure = { 0 };
    struct stat status = { 0 };
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        failure_set(&failure, EXIT_NO_INPUT, "%s: %s", path, fd < 0 ? strerror(errno) : "not a regular file");
    failure_agree(world, &failure);

    char *hex = arena_array(arena, char, 33);
    const struct arena_mark mark = arena_mark(arena);
    int64_t size = status.st_size;
    world_broadcast(world, &size, sizeof size, 0);
    const int64_t blocks = (size + BLOCK - 1) / BLOCK;
    const struct span mine = shard_rows(blocks, world->size, world->rank);
    XXH128_canonical_t *own = arena_array(arena, XXH128_canonical_t, mine.count + 1);
    XXH128_canonical_t *all = arena_array(arena, XXH128_canonical_t, blocks + 1);
    digest_blocks(own, fd, size, mine, arena, path, &failure);
    close(fd);
    failure_agree(world, &failure);

    world_allgather_rows(world, all, own, mine.count, sizeof *own);
    if (blocks != 1)
        XXH128_canonicalFromHash(all, XXH3_128bits(all, (size_t)blocks * sizeof *all));
    for (int i = 0; i < 16; i++) {
        hex[2 * i] = "0123456789abcdef"[all->digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[all->digest[i] & 15];
    }
    arena_release(arena, mark);
    phase_enter(before);
    return hex;
}
