/* Errors that end the job: one line with who and why, hint lines below, then
 * the abort hook. Stopping the other ranks is left to dist, which sets the hook. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

enum { MESSAGE_BYTES = 8192 };

static struct {
    int rank, size;
    char host[256];
    void (*abort_job)(int code);
} speaker = { .rank = 0, .size = 1, .host = "", .abort_job = NULL };

void error_set_rank(int rank, int size, const char *host)
{
    speaker.rank = rank;
    speaker.size = size;
    snprintf(speaker.host, sizeof speaker.host, "%s", host ? host : "");
}

void error_set_abort(void (*abort_job)(int code))
{
    speaker.abort_job = abort_job;
}

/* "cfn: rank 2 (node7): message\n  hint: ...\n" in one write, so that ranks do not cut into each other's lines. */
void error_print(int rank, const char *host, const char *message)
{
    char line[MESSAGE_BYTES + 512];
    size_t cause = strcspn(message, "\n");
    int at;
    if (speaker.size > 1)
        at = snprintf(line, sizeof line, "cfn: rank %d (%s): %.*s\n", rank, host ? host : speaker.host, (int)cause,
                      message);
    else
        at = snprintf(line, sizeof line, "cfn: %.*s\n", (int)cause, message);
    for (const char *hint = message + cause; *hint == '\n' && at > 0 && (size_t)at < sizeof line;) {
        size_t length = strcspn(++hint, "\n");
        if (length > 0)
            at += snprintf(line + at, sizeof line - (size_t)at, "  %.*s\n", (int)length, hint);
        hint += length;
    }
    log_stderr(text_printable(line, "\n"));
}

_Noreturn void fatal(enum exit_code code, const char *fmt, ...)
{
    static char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    log_bar(NULL);
    error_print(speaker.rank, NULL, message);
    if (speaker.abort_job)
        speaker.abort_job((int)code);
    fflush(NULL);
    _exit((int)code); /* other threads may be at work: no exit handlers */
}
