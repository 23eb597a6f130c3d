/* A matrix of real numbers in a file of another program, read by rows: .npy, .safetensors, HDF5. The file may be larger
 * than memory: only its header is read at once, and a rank reads the rows it asks for. */
#ifndef STORE_MATRIX_H
#define STORE_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct world;

struct matrix {
    const char *path;
    const char *format; /* "NumPy array", "safetensors", "HDF5" */
    const char *name;   /* of the tensor or dataset; empty in .npy */
    const char *type;   /* "f32"; other kinds become f32 when they are read */
    int64_t rows, dim;
    struct matrix_source *source; /* where the values lie (src/store/matrix.c) */
};

/* Finds the matrix `name`; NULL: "/features" of HDF5, else the only matrix of real numbers in the file. Ends all ranks
 * with EXIT_NO_INPUT or EXIT_BAD_DATA when there is none, when there are several, and when the file is cut off, has
 * another kind of numbers or keeps them elsewhere. Owned by the arena until matrix_close. Collective. */
struct matrix *matrix_open(struct world *world, struct arena *arena, const char *path, const char *name);
/* out [count x dim] = rows[0..count-1] as f32, in any order; neighbours are read together. Memory: another copy of the
 * longest run of neighbours, from the arena, given back. A row that cannot be read ends the job. Local. */
void matrix_read(struct matrix *matrix, struct arena *scratch, const int64_t *rows, int64_t count, float *out);
void matrix_close(struct matrix *matrix);

#endif
