/* Messages: stdout and the log file belong to rank 0; other ranks keep their
 * warnings until dist gathers them. A bar at the bottom of a terminal is
 * redrawn below whatever is said. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"

enum { LINE_BYTES = 8192, KEPT_LIMIT_BYTES = 1 << 16 };

static struct {
    int rank;
    enum log_level level;
    FILE *file;
    char bar[256];
    struct arena *arena; /* of the kept warnings */
    struct text kept;
    int kept_count;
} state = { .level = LOG_NORMAL };

void log_setup(int rank, enum log_level level)
{
    state.rank = rank;
    state.level = level;
}

enum log_level log_level(void)
{
    return state.level;
}

bool log_speaks(void)
{
    return state.rank == 0;
}

static void bar_hide(void)
{
    if (state.bar[0])
        fputs("\r\033[K", stdout);
}

static void bar_show(void)
{
    if (state.bar[0])
        fputs(state.bar, stdout);
    fflush(stdout);
}

void log_bar(const char *text)
{
    if (state.rank != 0)
        return;
    bar_hide();
    snprintf(state.bar, sizeof state.bar, "%s", text ? text : "");
    bar_show();
}

static void file_line(const char *text)
{
    if (!state.file)
        return;
    fputs(text, state.file);
    fflush(state.file);
}

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list args)
{
    char line[LINE_BYTES];
    int length = vsnprintf(line, sizeof line - 1, fmt, args);
    if (length < 0)
        return;
    size_t end = strlen(text_printable(line, "\n"));
    line[end] = '\n';
    line[end + 1] = '\0';
    bar_hide();
    fputs(line, stdout);
    bar_show();
    file_line(line);
}

void log_info(const char *fmt, ...)
{
    if (state.rank != 0 || state.level < LOG_NORMAL)
        return;
    va_list args;
    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
}

void log_verbose(const char *fmt, ...)
{
    if (state.rank != 0 || state.level < LOG_VERBOSE)
        return;
    va_list args;
    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
}

void log_stderr(const char *text)
{
    if (state.rank == 0)
        bar_hide();
    fflush(stdout);
    fputs(text, stderr); /* unbuffered: one write per call */
    file_line(text);
    if (state.rank == 0)
        bar_show();
}

static void keep(const char *line)
{
    state.kept_count++;
    if (!state.arena) {
        state.arena = arena_create("log", 1 << 16);
        state.kept = text_new(state.arena);
    }
    if (state.kept.length < KEPT_LIMIT_BYTES)
        text_add(&state.kept, "%s%s", state.kept.length ? "\n" : "", line);
}

void log_warn(const char *fmt, ...)
{
    char line[LINE_BYTES], whole[LINE_BYTES + 16];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    text_printable(line, "\n");
    if (state.rank != 0) {
        keep(line);
        return;
    }
    snprintf(whole, sizeof whole, "warning: %s\n", line);
    log_stderr(whole);
}

void log_file(const char *path)
{
    if (state.file)
        fclose(state.file);
    state.file = NULL;
    if (!path || state.rank != 0)
        return;
    state.file = fopen(path, "ae");
    if (!state.file)
        log_warn("%s: cannot append to the log: %s", path, strerror(errno));
}

const char *log_kept(void)
{
    return state.kept_count ? state.kept.data : "";
}

int log_kept_count(void)
{
    return state.kept_count;
}

void log_forget(void)
{
    if (state.arena) {
        arena_destroy(state.arena);
        state.arena = NULL;
        state.kept = (struct text){ 0 };
    }
    state.kept_count = 0;
}
