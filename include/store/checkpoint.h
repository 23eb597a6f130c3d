/* Checkpoints: state that is the same on every rank, in one HDF5 file whose
 * name carries the checksum of its bytes, so that a file that was cut off or
 * altered is recognised before it is opened.
 *
 *   <dir>/<stage>-<step>-<xxh3 of the file>.h5
 *
 * The newest two are kept. */
#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/* Lines of an identity that say what computed the state begin so; where they differ the message names the key
 * mix_libraries, which sets them to CHECKPOINT_ANY: that fits any value, or none, in a checkpoint. */
#define CHECKPOINT_BY  "computed by "
#define CHECKPOINT_ANY "(mixed)"

struct checkpoint_field {
    const char *name;
    enum store_type type;
    void *data; /* [count] borrowed; any type but STORE_TEXT */
    int64_t count;
};

/* Writes field by field from rank 0, syncs, renames, removes all but the newest two. Collective.
 * `identity` is text of "name=value" lines saying what the state belongs to (data checksum, model, batch, ...).
 * A full disk ends the job with EXIT_IO naming path, bytes needed and free; the previous checkpoint is intact. */
void checkpoint_save(struct world *world, const char *dir, const char *stage, int64_t step, const char *identity,
                     const struct checkpoint_field *fields, int count);

/* Fills the fields from the newest valid checkpoint of `stage` and returns its step, or -1 if there are none.
 * Invalid files are passed over with a warning; if there are files and none is valid: EXIT_BAD_DATA. An identity
 * that differs: EXIT_BAD_CONFIG with a field-by-field difference. Collective; all ranks get the values. */
int64_t checkpoint_load(struct world *world, const char *dir, const char *stage, const char *identity,
                        const struct checkpoint_field *fields, int count);

/* Removes all checkpoints of `stage` (it is done). Collective. */
void checkpoint_clear(struct world *world, const char *dir, const char *stage);

#endif
