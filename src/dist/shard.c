/* Ownership of rows: contiguous blocks in rank order, balanced within one. */
#include "dist/shard.h"

struct span shard_rows(int64_t n, int ranks, int rank)
{
    int64_t share = n / ranks, extra = n % ranks; /* the first `extra` ranks have one more */
    return (struct span){ .first = rank * share + (rank < extra ? rank : extra), .count = share + (rank < extra) };
}

struct span shard_chunks(int64_t n, int64_t chunk, int ranks, int rank)
{
    struct span chunks = shard_rows((n + chunk - 1) / chunk, ranks, rank);
    int64_t first = chunks.first * chunk, end = (chunks.first + chunks.count) * chunk;
    first = first < n ? first : n;
    end = end < n ? end : n;
    return (struct span){ .first = first, .count = end - first };
}

int shard_owner(int64_t n, int ranks, int64_t row)
{
    int64_t share = n / ranks, extra = n % ranks;
    int64_t large = extra * (share + 1); /* rows of the ranks that have one more */
    return (int)(row < large ? row / (share + 1) : extra + (row - large) / share);
}
