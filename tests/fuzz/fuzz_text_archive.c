/* Texts of a zip archive. */
#include "base/arena.h"
#include "base/file.h"
#include "store/text_archive.h"
#include "target.h"
#include "zip_texts.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 1100;

enum { LIMIT = 1 << 20 };
static const char *const members[] = { "files/p10/p1/s1.txt", "files/p10/p1/s2.txt" };

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    const char *why = NULL;
    fuzz_file("a.zip", bytes, size);
    struct text_archive *archive =
        text_archive_open(arena, "a.zip", arena_printf(arena, "%s/a.zip", fuzz_folder()), &why);
    if (!archive) {
        fuzz_message(why, 0);
        return;
    }
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *text = text_archive_read(arena, archive, members[i], LIMIT, &why);
        if (!text)
            fuzz_message(why, 0);
        else if (strlen(text) > LIMIT || !text_archive_has(archive, members[i]))
            fuzz_finding("a text that is not there or too long");
    }
    text_archive_close(archive);
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    const char *path = arena_printf(arena, "%s/seed.zip", fuzz_folder()), *why;
    const struct zip_text texts[] = { { members[0], "FINDINGS: none. none. none. none.", 33 }, { members[1], "x", 1 } };
    for (int deflate = 0; deflate < 2; deflate++) {
        size_t size;
        const char *bytes = zip_texts_write(path, texts, 2, deflate) ? file_read(arena, path, 0, &size, &why) : NULL;
        if (!bytes)
            fuzz_finding("%s cannot be written", path);
        add(deflate ? "deflated" : "stored", bytes, size);
    }
}
