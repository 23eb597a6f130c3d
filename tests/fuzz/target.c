/* What all fuzz targets share: an arena an input, the hook that makes an ended job a finding, and a folder for readers
 * that want files. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

enum { BLOCK_BYTES = 1 << 16, PATH_BYTES = 256 };

_Noreturn void fuzz_finding(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("finding: ", stderr);
    vfprintf(stderr, fmt, args);
    fputs("\n", stderr);
    va_end(args);
    abort();
}

static void on_end(int code)
{
    fuzz_finding("the reader ended the job with exit code %d", code);
}

static void start(void)
{
    static int started;
    if (started++)
        return;
    log_setup(0, LOG_QUIET);
    error_set_abort(on_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    start();
    struct arena *arena = arena_create("fuzz", BLOCK_BYTES);
    fuzz_bytes(arena, bytes, size);
    if (arena_peak_bytes(arena) > fuzz_memory + fuzz_memory_per_byte * size)
        fuzz_finding("%zu bytes of memory for an input of %zu", arena_peak_bytes(arena), size);
    arena_destroy(arena);
    return 0;
}

void fuzz_message(const char *message, int lines)
{
    for (const unsigned char *at = (const unsigned char *)message; *at; at++)
        if ((*at < ' ' && !(*at == '\n' && lines)) || *at == 0x7f)
            fuzz_finding("a message with the control character 0x%02x: %s", *at, message);
}

/* ---- files ---- */

static char folder[PATH_BYTES];

static void remove_folder(void)
{
    char command[PATH_BYTES + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        fprintf(stderr, "%s stays behind\n", folder);
}

const char *fuzz_folder(void)
{
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/cfn-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(folder))
            fuzz_finding("%s: %s", folder, strerror(errno));
        atexit(remove_folder);
    }
    return folder;
}

void fuzz_file(const char *name, const void *bytes, size_t size)
{
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, bytes, size) != (ssize_t)size)
        fuzz_finding("%s: %s", path, strerror(errno));
    close(file);
}

void fuzz_fixtures(struct arena *arena, const char *prefix, void (*add)(const char *, const void *, size_t))
{
    size_t length;
    const char *why = "";
    char *at = file_read(arena, "tests/parity/fixtures/image_files.txt", 1 << 24, &length, &why);
    if (!at)
        fuzz_finding("tests/parity/fixtures/image_files.txt: %s (run from the top of the tree)", why);
    for (char *line, *rest = NULL; (line = strtok_r(at, "\n", &rest)) != NULL; at = NULL) {
        if (!text_starts(line, prefix))
            continue;
        char *hex = strrchr(line, ' ') + 1;
        size_t size = strlen(hex) / 2;
        uint8_t *bytes = arena_take(arena, size, 1);
        for (size_t i = 0; i < size; i++) {
            char two[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
            bytes[i] = (uint8_t)strtoul(two, NULL, 16);
        }
        add(arena_printf(arena, "%.*s", (int)strcspn(line, " "), line), bytes, size);
    }
}
