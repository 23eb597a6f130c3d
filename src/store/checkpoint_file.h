/* Inside the store: one checkpoint file. Local; failures are noted for `agree`. */
#ifndef STORE_CHECKPOINT_FILE_H
#define STORE_CHECKPOINT_FILE_H

#include "store/checkpoint.h"
#include "store/internal.h"

/* Writes and syncs `path`; false on failure. */
bool checkpoint_file_write(const char *path, int64_t step, const char *identity, const struct checkpoint_field *fields,
                           int count, struct failure *failure);
/* XXH3 (64 bits) of the bytes of a file; false when it cannot be read. */
bool checkpoint_file_hash(const char *path, uint64_t *hash);
/* Fills the fields from a file whose checksum was right. Another identity, or other fields: EXIT_BAD_CONFIG. */
void checkpoint_file_read(struct arena *arena, const char *path, const char *identity,
                          const struct checkpoint_field *fields, int count, struct failure *failure);

#endif
