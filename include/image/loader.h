/* Pixels of corpus rows as network input, with the published transforms:
 * training: rotation +-30 degrees (nearest, fill 0), flip, Gaussian blur 5 with
 * sigma 0.1-2, resize (bicubic, antialias, on 8-bit data as Pillow does),
 * centre crop, normalise; evaluation: resize, crop, normalise (docs/methods/images.md).
 * Draws are keyed by (seed, epoch, global row). */
#ifndef IMAGE_LOADER_H
#define IMAGE_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "image/augment.h"

struct arena;
struct image;
struct store;
struct loader;

/* Keeps the store (borrowed until the arena ends). Reads the offsets of an encoded corpus, and small corpora whole.
 * Ends the job with EXIT_BAD_DATA when the file is no corpus. Collective. */
struct loader *loader_open(struct store *corpus, struct arena *arena, const struct preprocess *view, uint64_t seed);

/* The same for --dry-run: memory is taken, but no image read. */
struct loader *loader_plan(struct store *corpus, struct arena *arena, const struct preprocess *view, uint64_t seed);
/* Bytes that loader_fill of `count` rows takes besides, about. Local. */
int64_t loader_bytes(const struct loader *loader, int64_t count);

/* out [count x 3 x S x S] float, normalised; rows [count] global rows, any order. With `augment` the training
 * transform of `epoch`, otherwise the evaluation transform. Local; reads files, decodes with this rank's threads. */
void loader_fill(struct loader *loader, float *out, const int64_t *rows, int64_t count, int epoch, bool augment);

/* The pictures of rows [count] as the corpus holds them: decoded, neither resized nor normalised. `see` is called once
 * for each i < count, on this rank's threads; picture and scratch end with it. Local. */
typedef void loader_see(void *data, struct arena *scratch, const struct image *picture, int64_t i);
void loader_each(struct loader *loader, const int64_t *rows, int64_t count, loader_see *see, void *data);

/* Corpora of at most this many bytes are kept in memory by every rank (1 GiB unless set); larger ones are read batch by
 * batch. Before loader_open. */
void loader_set_cache(int64_t bytes);
int64_t loader_cache_bytes(void);

/* The evaluation view in 8 bits for people: out [S x S x 3] RGB, resized and cropped, not normalised. Local. */
void loader_view(struct loader *loader, uint8_t *out, int64_t row, int size);

#endif
