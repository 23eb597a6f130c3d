/* Arenas: blocks from mmap, handed out front to back, given back by a mark.
 * Blocks stay with their arena until it is destroyed: fresh pages cost more
 * than arithmetic. Under AddressSanitizer what was not taken is poisoned. */
#include "base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
void __asan_poison_memory_region(void const volatile *addr, size_t size);
void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
#define POISON(addr, size)   __asan_poison_memory_region(addr, size)
#define UNPOISON(addr, size) __asan_unpoison_memory_region(addr, size)
enum { RED_ZONE = 64 };
#else
#define POISON(addr, size)   ((void)(addr), (void)(size))
#define UNPOISON(addr, size) ((void)(addr), (void)(size))
enum { RED_ZONE = 0 };
#endif

enum { ALIGNMENT = 64, PAGE = 4096 };
static const size_t HUGE_PAGE = (size_t)2 << 20, HUGE_FROM = (size_t)4 << 20;

struct block {
    char *data;
    size_t size;
    size_t used;
    size_t touched; /* bytes beyond are still the zeros of the system */
};

struct arena {
    const char *name;
    size_t block_bytes;
    struct block *blocks; /* those after `current` are free */
    size_t count, room, current;
    size_t before; /* in use in the blocks before `current` */
    size_t reserved, peak;
    bool plan;
};

/* Not those of a plan: the sanitizer's own record of them would take an eighth of their size. */
static void poison(const struct arena *arena, char *data, size_t size)
{
    if (!arena->plan)
        POISON(data, size);
}

static size_t round_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

static _Noreturn void out_of_memory(const struct arena *arena, size_t bytes)
{
    fatal(EXIT_INTERNAL,
          "arena %s: cannot get %.3f GB more (it holds %.3f GB): %s\n"
          "use more nodes, fewer ranks per node, or a smaller batch; `--dry-run` prints the memory per rank",
          arena->name, (double)bytes / 1e9, (double)arena->reserved / 1e9, strerror(errno ? errno : ENOMEM));
}

struct arena *arena_create(const char *name, size_t block_bytes)
{
    struct arena *arena = calloc(1, sizeof *arena);
    require(arena, EXIT_INTERNAL, "arena %s: out of memory", name);
    arena->name = name;
    arena->block_bytes = round_up(block_bytes ? block_bytes : PAGE, PAGE);
    return arena;
}

struct arena *arena_plan(const char *name)
{
    struct arena *arena = arena_create(name, HUGE_PAGE);
    arena->plan = true;
    return arena;
}

bool arena_is_plan(const struct arena *arena)
{
    return arena->plan;
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    for (size_t i = 0; i < arena->count; i++) {
        if (!arena->plan)
            UNPOISON(arena->blocks[i].data, arena->blocks[i].size);
        munmap(arena->blocks[i].data, arena->blocks[i].size);
    }
    free(arena->blocks);
    free(arena);
}

/* Zeroed pages; large maps begin at a huge page and ask for such pages. A plan asks for addresses alone. */
static char *map(const struct arena *arena, size_t size)
{
    bool huge = size >= HUGE_FROM && !arena->plan;
    size_t slack = huge ? HUGE_PAGE : 0;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (arena->plan ? MAP_NORESERVE : 0);
    char *data = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (data == MAP_FAILED)
        out_of_memory(arena, size);
    if (huge) {
        size_t lead = (HUGE_PAGE - (uintptr_t)data % HUGE_PAGE) % HUGE_PAGE;
        if (lead > 0)
            munmap(data, lead);
        if (slack > lead)
            munmap(data + lead + size, slack - lead);
        data += lead;
        madvise(data, size, MADV_HUGEPAGE);
    }
    return data;
}

/* Puts a free block of at least `bytes` right after the current one. */
static void add_block(struct arena *arena, size_t bytes)
{
    size_t next = arena->count ? arena->current + 1 : 0;
    size_t found = next;
    while (found < arena->count && arena->blocks[found].size < bytes)
        found++;
    if (found == arena->count) {
        if (arena->count == arena->room) {
            size_t room = arena->room ? 2 * arena->room : 8;
            struct block *blocks = realloc(arena->blocks, room * sizeof *blocks);
            if (!blocks)
                out_of_memory(arena, room * sizeof *blocks);
            arena->blocks = blocks;
            arena->room = room;
        }
        size_t size = bytes > arena->block_bytes ? bytes : arena->block_bytes;
        size = round_up(size, size >= HUGE_FROM ? HUGE_PAGE : PAGE);
        arena->blocks[arena->count++] = (struct block){ .data = map(arena, size), .size = size };
        arena->reserved += size;
        poison(arena, arena->blocks[found].data, size);
    }
    struct block kept = arena->blocks[next];
    arena->blocks[next] = arena->blocks[found];
    arena->blocks[found] = kept;
    if (next > 0)
        arena->before += arena->blocks[arena->current].used;
    arena->current = next;
}

/* *clean: how many of the bytes at the end are known to be zero. */
static void *take(struct arena *arena, size_t count, size_t size, size_t *clean)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        fatal(EXIT_INTERNAL, "arena %s: %zu elements of %zu bytes: more than this machine can address", arena->name,
              count, size);
    size_t need = round_up(bytes ? bytes + RED_ZONE : ALIGNMENT, ALIGNMENT);
    if (arena->count == 0 || need > arena->blocks[arena->current].size - arena->blocks[arena->current].used)
        add_block(arena, need);
    struct block *block = &arena->blocks[arena->current];
    char *data = block->data + block->used;
    size_t end = block->used + bytes;
    *clean = end > block->touched ? end - (block->touched > block->used ? block->touched : block->used) : 0;
    if (end > block->touched)
        block->touched = end;
    block->used += need;
    if (arena->before + block->used > arena->peak)
        arena->peak = arena->before + block->used;
    if (!arena->plan)
        UNPOISON(data, bytes);
    return data;
}

void *arena_take_raw(struct arena *arena, size_t count, size_t size)
{
    size_t clean;
    return take(arena, count, size, &clean);
}

void *arena_take(struct arena *arena, size_t count, size_t size)
{
    size_t clean;
    void *data = take(arena, count, size, &clean);
    memset(data, 0, count * size - clean);
    return data;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    size_t used = arena->count ? arena->blocks[arena->current].used : 0;
    return (struct arena_mark){ .block = arena->current, .used = used };
}

/* What a plan has written beyond `used` is zero again, at no cost: the pages go back. */
static void forget(struct block *block)
{
    size_t page = round_up(block->used, PAGE), end = round_up(block->touched, PAGE);
    if (block->touched <= block->used)
        return;
    memset(block->data + block->used, 0, (page < block->touched ? page : block->touched) - block->used);
    if (end > page)
        madvise(block->data + page, end - page, MADV_DONTNEED);
    block->touched = block->used;
}

void arena_release(struct arena *arena, struct arena_mark mark)
{
    if (arena->count == 0)
        return;
    for (size_t i = mark.block; i <= arena->current; i++) {
        struct block *block = &arena->blocks[i];
        block->used = i == mark.block ? mark.used : 0;
        if (arena->plan)
            forget(block);
        poison(arena, block->data + block->used, block->size - block->used);
    }
    arena->current = mark.block;
    arena->before = 0;
    for (size_t i = 0; i < mark.block; i++)
        arena->before += arena->blocks[i].used;
}

void arena_reset(struct arena *arena)
{
    arena_release(arena, (struct arena_mark){ 0, 0 });
}

size_t arena_bytes(const struct arena *arena)
{
    return arena->reserved;
}

/* Pages of the first `bytes` of a block that the system has not given yet. */
static size_t absent_pages(const struct block *block, size_t bytes)
{
    unsigned char there[4096];
    size_t pages = (bytes + PAGE - 1) / PAGE, absent = 0;
    for (size_t page = 0; page < pages; page += sizeof there) {
        size_t count = pages - page < sizeof there ? pages - page : sizeof there;
        if (mincore(block->data + page * PAGE, count * PAGE, there) != 0)
            return absent;
        for (size_t i = 0; i < count; i++)
            absent += !(there[i] & 1);
    }
    return absent;
}

size_t arena_absent_bytes(const struct arena *arena)
{
    size_t bytes = 0;
    for (size_t i = 0; i < arena->count; i++)
        bytes += absent_pages(&arena->blocks[i], arena->blocks[i].touched) * PAGE;
    return bytes;
}

size_t arena_peak_bytes(const struct arena *arena)
{
    return arena->peak;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    size_t length = strlen(text) + 1;
    return memcpy(arena_take_raw(arena, length, 1), text, length);
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    require(length >= 0, EXIT_INTERNAL, "arena %s: bad format \"%s\"", arena->name, fmt);
    char *out = arena_take_raw(arena, (size_t)length + 1, 1);
    vsnprintf(out, (size_t)length + 1, fmt, again);
    va_end(again);
    return out;
}
