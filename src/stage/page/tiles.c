/* Small pictures of corpus rows: the same image stands on many contact sheets,
 * so decoded views are kept in a table with one slot per row modulo its size. */
#include "stage/tiles.h"

#include <string.h>

#include "base/arena.h"
#include "image/loader.h"

struct tiles {
    struct loader *loader;
    const int64_t *picture; /* row of the loader for each row; NULL: the same */
    int size;
    int64_t room;
    int64_t *row;    /* [room] row in the slot, -1 = empty */
    uint8_t *pixels; /* [room x size x size x 3] */
};

static int64_t tile_bytes(const struct tiles *tiles)
{
    return (int64_t)tiles->size * tiles->size * 3;
}

struct tiles *tiles_create(struct arena *arena, struct loader *loader, const int64_t *picture, int size, int64_t room)
{
    struct tiles *tiles = arena_array(arena, struct tiles, 1);
    tiles->loader = loader;
    tiles->picture = picture;
    tiles->size = size;
    tiles->room = room < 1 ? 1 : room;
    tiles->row = arena_array(arena, int64_t, tiles->room);
    for (int64_t i = 0; i < tiles->room; i++)
        tiles->row[i] = -1;
    tiles->pixels = arena_take_raw(arena, (size_t)tiles->room, (size_t)tile_bytes(tiles));
    return tiles;
}

const uint8_t *tiles_view(struct tiles *tiles, int64_t row)
{
    int64_t slot = row % tiles->room;
    uint8_t *pixels = tiles->pixels + slot * tile_bytes(tiles);
    if (tiles->row[slot] != row) {
        loader_view(tiles->loader, pixels, tiles->picture ? tiles->picture[row] : row, tiles->size);
        tiles->row[slot] = row;
    }
    return pixels;
}

struct picture tiles_sheet(struct tiles *tiles, struct arena *arena, const int64_t *rows, int count,
                           struct sheet_style style)
{
    uint8_t *rgb = arena_take_raw(arena, (size_t)count + 1, (size_t)tile_bytes(tiles));
    for (int i = 0; i < count; i++)
        memcpy(rgb + i * tile_bytes(tiles), tiles_view(tiles, rows[i]), (size_t)tile_bytes(tiles));
    return sheet_grid(arena, rgb, count, tiles->size, style, NULL);
}

int tiles_top_rows(int64_t *out, int wanted, const int64_t *index, const float *value, int T)
{
    int count = 0;
    for (int t = 0; t < T && count < wanted; t++) {
        int seen = index[t] < 0 || !(value[t] > 0);
        for (int i = 0; i < count && !seen; i++)
            seen = out[i] == index[t];
        if (!seen)
            out[count++] = index[t];
    }
    return count;
}
