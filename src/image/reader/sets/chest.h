/* The 14 observations of the CheXpert labeler, which CheXpert and MIMIC-CXR share. */
#ifndef IMAGE_READER_SETS_CHEST_H
#define IMAGE_READER_SETS_CHEST_H

#include "image/reader/reader.h"

enum { CHEST_LABELS = 14 };

/* Where a table has them, and which become labels of the corpus: those of the published code, in its order
 * (alphabetical, without "No Finding"), or with pack.no_finding all 14. */
struct chest {
    const struct table *table;
    int count;                       /* labels of the corpus: 13 or 14 */
    const char *names[CHEST_LABELS]; /* [count] */
    int column[CHEST_LABELS];        /* [count] */
    int no_finding;                  /* its column, also when it is no label; -1 when the table has none */
};

/* Finds the columns of `table`, which is borrowed; "Airspace Opacity", a radiologist's word, is "Lung Opacity". False
 * after reading_fail when one is missing. */
bool chest_columns(struct reading *reading, struct chest *out, const struct table *table);
/* states [count] of a row; *blank: is it without any of the 14? False after reading_fail ("file:line: ..."). */
bool chest_states(struct reading *reading, const struct chest *chest, int64_t row, int8_t *states, bool *blank);
/* Multi-label classes of *out and room for rows x count states, all blank. */
void chest_start(struct reading *reading, struct manifest *out);

/* Is an image of this view wanted by pack.views and pack.blank_views? `view` is "PA", "LATERAL", "Frontal", ... or "".
 */
bool chest_view_wanted(const struct reading *reading, const char *view);

#endif
