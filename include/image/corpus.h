/* What a packed corpus says about its rows; everything is the same on every rank. */
#ifndef IMAGE_CORPUS_H
#define IMAGE_CORPUS_H

#include <stdbool.h>
#include <stdint.h>

#include "image/decode.h"

struct arena;
struct store;

enum split { SPLIT_TRAIN = 0, SPLIT_VAL = 1, SPLIT_TEST = 2, SPLITS = 3 };
enum label_state { LABEL_POSITIVE = 1, LABEL_NEGATIVE = 0, LABEL_UNCERTAIN = -1, LABEL_BLANK = -2 };

struct corpus {
    int64_t rows; /* N */
    int classes;  /* C: classes, or labels of a multi-label corpus */
    bool multi_label;
    const char *const *class_names; /* [C] */
    const int32_t *label;           /* [N], NULL when multi_label */
    const int8_t *labels;           /* [N x C] enum label_state, NULL otherwise */
    const uint8_t *split;           /* [N] enum split */
    const int64_t *group;           /* [N] patient or lesion, NULL when unknown */
    int attributes;                 /* ground truth beside the labels, e.g. frac_limbic, "sex = female" (1, 0) */
    const char *const *attribute_names;
    const float *const *attribute; /* [attributes][N] */
};

/* Reads everything but pixels. Owned by the arena. Collective. Works on corpus.h5. */
struct corpus *corpus_load(struct store *store, struct arena *arena);
/* The same of imported representations (embeddings.h5), whose rows may be without labels: classes is 0 then. */
struct corpus *corpus_load_any(struct store *store, struct arena *arena);
/* An attribute of the corpus: numbers as they are, or of a column of text (`values` > 0, codes with NaN where not
 * known) one of 1 and 0 for each text. value [rows] is copied. Local. */
void corpus_add_attribute(struct corpus *corpus, struct arena *arena, const char *name, const double *value, int values,
                          const char *const *value_names);
/* Rows of one split in row order: out [up to rows], returns how many. Local. */
int64_t corpus_rows_of(const struct corpus *corpus, enum split split, int64_t *out);
/* How the corpus' files are read (attributes exif, white, white_sbit_N of corpus.h5), and keeping it there. Local. */
struct image_reading corpus_reading(struct store *store, struct arena *arena, int max_megapixels);
void corpus_keep_reading(struct store *store, struct arena *arena, const struct image_reading *reading);
const char *split_name(enum split split); /* "train", "val", "test" */
int split_find(const char *name);         /* -1 when it is none of them */

#endif
