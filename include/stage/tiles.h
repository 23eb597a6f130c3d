/* Small pictures of corpus rows, kept once decoded, for contact sheets and pages. Local. */
#ifndef STAGE_TILES_H
#define STAGE_TILES_H

#include <stdint.h>

#include "report/sheet.h"

struct arena;
struct loader;
struct tiles;

/* Views of size x size pixels; at most `room` of them are kept (one slot per row modulo room). picture: row of the
 * loader for each row asked for; NULL: the same; borrowed. Owned by the arena. */
struct tiles *tiles_create(struct arena *arena, struct loader *loader, const int64_t *picture, int size, int64_t room);
/* RGB [size x size x 3], borrowed until another row of the same slot is asked for. */
const uint8_t *tiles_view(struct tiles *tiles, int64_t row);
/* Contact sheet of `count` rows. */
struct picture tiles_sheet(struct tiles *tiles, struct arena *arena, const int64_t *rows, int count,
                           struct sheet_style style);

/* Of the first rows of a /top list [T] (-1 or value 0 = unused): up to `wanted` distinct ones; out [wanted]. */
int tiles_top_rows(int64_t *out, int wanted, const int64_t *index, const float *value, int T);

#endif
