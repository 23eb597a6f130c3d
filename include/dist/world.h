/* The ranks of a job: start and end, agreement, and small collectives.
 * src/dist is the only caller of MPI. */
#ifndef DIST_WORLD_H
#define DIST_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;

struct world {
    int rank, size;           /* of the job */
    int node_rank, node_size; /* of this node */
    int nodes;
    int threads; /* per rank, once world_threads has been called */
    char host[256];
};

/* Starts MPI with the guards for Open MPI's file layer (docs/ARCHITECTURE.md,
 * "Guards") set before MPI_Init. Lone copies of a job that was meant to have
 * several ranks end with EXIT_USAGE. Call once, first. */
struct world *world_start(int *argc, char ***argv);
/* Ends MPI; collective. Returns `code` for main to return. */
int world_end(struct world *world, int code);

/* Sets the threads of this rank: `threads`, or for 0 its allowed cores shared
 * with the ranks of the node. Returns the number chosen. Collective. */
int world_threads(struct world *world, int threads);
/* One line per node: host, ranks, cores, threads, memory; warns when threads
 * exceed the allowed cores or ranks share a core. Returns whether each rank has
 * the cores its threads need. Collective. */
bool world_banner(const struct world *world);

/* All ranks decide together. If `ok` is false anywhere, every rank learns the
 * lowest failing rank and its message, rank 0 prints it once, and all ranks end
 * with that rank's `code`. Collective; the message is read only where !ok. */
void agree(struct world *world, bool ok, enum exit_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Gathers kept warnings, prints each kind once with its count. Collective. */
void world_warnings(struct world *world);

/* Small collectives: blocking, on all ranks. */
void world_barrier(const struct world *world);
void world_broadcast(const struct world *world, void *data, size_t bytes, int root);
/* A NUL-terminated text of `root`, owned by the arena on every rank. */
char *world_broadcast_text(const struct world *world, struct arena *arena, const char *text, int root);
void world_sum_i64(const struct world *world, int64_t *values, int n); /* in place, exact */
void world_max_f64(const struct world *world, double *values, int n);  /* in place, exact */
void world_min_f64(const struct world *world, double *values, int n);
/* Rounding varies with rank count and message size: timings, and train.reduction = fast. */
void world_sum_f64_any_order(const struct world *world, double *values, int n);
void world_sum_f32_any_order(const struct world *world, float *values, int n);
/* Rows of all ranks, in rank order, on every rank: out [sum of rows x row_bytes]. `local` may be its place in `out`. */
void world_allgather_rows(const struct world *world, void *out, const void *local, int64_t rows, size_t row_bytes);
/* Texts of all ranks joined in rank order on rank 0 (NULL elsewhere); owned by the arena. */
char *world_gather_text(const struct world *world, struct arena *arena, const char *text);
/* Does this rank hold the same bytes as rank 0? A hash is compared; each rank has its own answer. Collective. */
bool world_same_bits(const struct world *world, const void *data, size_t bytes);
/* The smallest value and, among equals, the lowest index; likewise the largest. In place. */
void world_argmax_f64(const struct world *world, double *value, int64_t *index);

/* Bytes this rank sent in collectives since the start, and how many calls. */
int64_t world_bytes_sent(void);
int64_t world_calls(void);

/* Rows by global number from the rank that holds them.
 *   out    [count x row_bytes]  out, caller's
 *   rows   [count]              global row numbers wanted by this rank; any order, repeats allowed
 *   local  [my rows x row_bytes] borrowed: rows first..first+mine-1 of this rank, blocks in rank order
 * Collective: every rank calls, also with count 0. */
void world_fetch_rows(const struct world *world, void *out, const int64_t *rows, int64_t count, const void *local,
                      int64_t first, int64_t mine, size_t row_bytes);

/* MPI library and its version, for --version; local, also before world_start. */
const char *world_library(void);

#endif
