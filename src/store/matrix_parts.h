/* Inside store/matrix.h: the two ways values lie in a file. */
#ifndef STORE_MATRIX_PARTS_H
#define STORE_MATRIX_PARTS_H

#include "base/error.h"
#include "store/matrix.h"
#include "store/tensors.h"

struct matrix_source {
    bool is_hdf5;
    struct tensor tensor; /* type and strides of a tensor file */
    int64_t offset;       /* byte of its first value */
    int file;             /* descriptor of a tensor file */
    int64_t set, root;    /* hid_t of dataset and file */
};

/* On rank 0: format, name, type, rows, dim. NULL, or what is wrong (arena) with *code. Local. */
const char *matrix_h5_find(struct matrix *matrix, struct arena *arena, const char *name, enum exit_code *code);
/* What matrix_h5_find found, on every rank. Local; returns whether it could be opened. */
bool matrix_h5_open(struct matrix *matrix);
bool matrix_h5_read(const struct matrix *matrix, int64_t first, int64_t count, float *out);
void matrix_h5_close(struct matrix *matrix);

#endif
