/* Between the two files of the reader of tables. */
#ifndef IMAGE_READER_LABELS_CSV_H
#define IMAGE_READER_LABELS_CSV_H

#include "image/reader/reader.h"

/* Columns by their meaning, -1 where there is none. */
struct columns {
    int path, id, label, split, group, report;
    bool path_is_file;        /* the column of paths names files, not ids */
    int *labels, label_count; /* of a table with a column per label */
    bool one_hot;             /* and they are one class each */
    bool lists;               /* cells of `label` are lists: "Edema|Mass" */
    bool *taken;              /* [columns] those that are no attributes */
};

/* Which columns are the labels, when no column `label` is there; of what kind the labels are. */
bool labels_find(struct reading *reading, struct columns *c, const struct table *t);
/* Labels of all rows; splits first, since classes are those of the training rows. */
bool labels_take(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);
bool labels_take_splits(struct reading *reading, struct manifest *out, const struct table *t, const struct columns *c);

#endif
