/* Errors that end the job well: one line with the cause, then a hint.
 *
 * A batch job has nobody to recover for it. The place that knows the cause
 * names rank, host, file or key, value found and value expected.
 * `agree` (all ranks decide together) lives in dist/world.h. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_USAGE = 64,         /* wrong command line */
    EXIT_BAD_DATA = 65,      /* a file's content is wrong */
    EXIT_NO_INPUT = 66,      /* an input is missing or unreadable */
    EXIT_INTERNAL = 70,      /* our bug, or numbers that blew up */
    EXIT_CANNOT_CREATE = 73, /* an output exists or cannot be made */
    EXIT_IO = 74,            /* reading or writing failed */
    EXIT_STOPPED = 75,       /* stopped early with a valid checkpoint */
    EXIT_BAD_CONFIG = 78     /* configuration */
};

/* Ends the whole job from this rank. The message is printf-like; text after a
 * first newline is printed as the hint. Never returns. */
_Noreturn void fatal(enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Conditions of user, file and library: always on. */
#define require(cond, code, ...)                                                                                       \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            fatal((code), __VA_ARGS__);                                                                                \
    } while (0)

/* Who is speaking: printed in front of every message of a job with more than
 * one rank. `host` is copied. */
void error_set_rank(int rank, int size, const char *host);

/* How a job is ended; the default is _exit(code). Set by dist to stop every rank. */
void error_set_abort(void (*abort_job)(int code));

/* Prints an error in the common form without ending the job (rank 0 of an agreed
 * end); `rank` and `host` are those of the rank it happened on. */
void error_print(int rank, const char *host, const char *message);

#endif
