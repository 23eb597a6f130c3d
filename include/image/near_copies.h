/* Pairs of near-identical pictures among all rows of a corpus (image/likeness.h), over ranks. */
#ifndef IMAGE_NEAR_COPIES_H
#define IMAGE_NEAR_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/shard.h"
#include "image/likeness.h"

struct arena;
struct loader;
struct world;

/* This rank's block of rows, and which rows take part. All borrowed. */
struct near_rows {
    int64_t rows;              /* N, of all ranks */
    struct span mine;          /* blocks in rank order */
    const struct likeness *of; /* [mine.count] */
    const uint8_t *thumbnail;  /* [mine.count x 64 x 64] */
    const bool *left_out;      /* [N] the same on every rank: for instance repeats of an earlier row; NULL = none */
};

struct near_pair {
    int64_t first, second; /* rows, first < second */
    double correlation;    /* of the thumbnails' detail */
    int32_t bits;          /* of the 64 of the hashes, that differ */
    int32_t resolution;    /* pixels of the shorter side of the coarser file */
};
struct near_found {
    int64_t count;
    const struct near_pair *pair; /* [count] by first, then second row */
    int64_t flat;                 /* rows of one grey level: compared with nothing */
    int64_t crowded;              /* rows with so many look-alikes that only what stands out from them counts */
};

/* Rows are sorted by their hash turned by one band after the other, and each is compared with up to 4,096 that follow
 * it and agree in the band (up to 4,096 rows: with all others); bands are so wide that some 4,096 rows agree by chance:
 * 64 N / log2(N / 4096) x 2,048 comparisons of hashes, shared by ranks and threads. The 32 nearest are compared by
 * thumbnail. Every rank holds some 100 bytes a row. Found is the same on every rank and at any number of them; owned by
 * the arena. Collective. */
struct near_found near_copies(struct world *world, struct arena *arena, struct arena *scratch,
                              const struct near_rows *rows);

/* Of what was found, the pairs whose finest details agree too, where files are large enough to have some: reads both
 * pictures of each pair again. In place of `found`. Collective: ranks share the pairs. */
void near_confirm(struct near_found *found, struct world *world, struct arena *arena, struct arena *scratch,
                  struct loader *loader);

#endif
