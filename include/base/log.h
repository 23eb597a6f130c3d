/* Messages. Only rank 0 writes to stdout; warnings of other ranks are kept and
 * counted, and gathered by dist/world.h at the end of a stage. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE };

void log_setup(int rank, enum log_level level);
enum log_level log_level(void);
bool log_speaks(void); /* is this rank 0? */

/* A line on stdout of rank 0, and in the log file when one is open. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, only at LOG_VERBOSE: the one level that may name patients, studies or files. */
void log_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "warning: ..." on stderr of rank 0; kept on other ranks until gathered. */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Appends everything said from now on to `path` (rank 0 only); NULL closes it. */
void log_file(const char *path);

/* A line on stderr and in the log file, whole, after what is pending on stdout; for base/error.c. */
void log_stderr(const char *text);

/* A line that stays at the bottom of a terminal, redrawn below whatever is said; NULL removes it. Rank 0. */
void log_bar(const char *text);

/* Kept warnings of this rank, joined by newlines (owned by the log); count of them; and forgetting them. */
const char *log_kept(void);
int log_kept_count(void);
void log_forget(void);

#endif
