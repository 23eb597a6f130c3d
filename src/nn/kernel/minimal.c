/* Minimal filtering (nn/minimal.h): how tiles are dealt to threads. A piece of tiles is small enough for its
 * transformed inputs and outputs to stay in a core's second-level cache, and large enough for the transformed weights
 * that stream by to be used often. */
#include "nn/minimal.h"

#include <omp.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    ROWS = 6,                   /* of a product in registers: pieces hold whole sixes where they can */
    PIECE_BYTES = 512 << 10,    /* transformed inputs and outputs of a piece */
    PIECE_LEAST = 4 * ROWS,     /* tiles */
    GRADIENT_BYTES = 1 << 20,   /* the same, of all threads together, for a weight gradient */
    GRADIENT_LEAST = 16 * ROWS, /* tiles */
};

struct tile {
    int64_t image;
    int y, x; /* of its first output */
};

INLINE int64_t tiles_of(const struct minimal_shape *s)
{
    return (int64_t)s->images * ((s->h + 3) / 4) * ((s->w + 3) / 4);
}

INLINE struct tile tile_of(const struct minimal_shape *s, int64_t i)
{
    const int across = (s->w + 3) / 4, down = (s->h + 3) / 4;
    return (struct tile){ i / (across * down), (int)(i / across % down) * 4, (int)(i % across) * 4 };
}

/* Floats from one of the 36 places to the next: never a multiple of a page, whose lines share few places of a cache. */
INLINE int64_t apart(int64_t floats)
{
    return (floats + 15) / 16 * 16 + 16;
}

/* Weight [k][c][p], p of 3 x 3. */
INLINE int64_t weight_place(const struct minimal_shape *s, int k, int c, int p)
{
    const int L = s->lanes;
    return ((((int64_t)(k / L) * (s->in / L) + c / L) * 9 + p) * L + c % L) * L + k % L;
}

/* Transformed weights lie in blocks of `block` columns, the last one perhaps half as wide. */
INLINE int64_t packed_place(int depth, int k, int block)
{
    return (int64_t)(k / block * block) * depth;
}

INLINE int packed_width(int wide, int k, int block)
{
    const int left = wide - k / block * block;
    return left < block ? left : block;
}

INLINE void wait_for_others(int of)
{
    if (of > 1) {
#pragma omp barrier
    }
}

#ifdef __AVX512F__
#define LANES   16
#define NAME(x) x##_16
#include "nn/kernel/minimal_tiles.h"
#undef LANES
#undef NAME
#endif
#define LANES   8
#define NAME(x) x##_8
#include "nn/kernel/minimal_tiles.h"
#undef LANES
#undef NAME

#ifdef __AVX512F__
#define CALL(function, s, ...) ((s)->lanes % 16 == 0 ? function##_16(__VA_ARGS__) : function##_8(__VA_ARGS__))
#else
#define CALL(function, s, ...) function##_8(__VA_ARGS__)
#endif

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Tiles of a piece whose transforms of `channels` fill `bytes`; whole sixes. */
static int64_t piece_of(int64_t channels, int64_t bytes, int64_t least)
{
    return larger(bytes / (36 * 4 * channels) / ROWS * ROWS, least);
}

/* The same in a forward pass: each thread's own, as many as keep all busy to the end, or few tiles of all threads. */
struct pieces {
    int64_t tiles;
    bool shared;
};

static struct pieces forward_pieces(const struct minimal_shape *s, int threads)
{
    const int64_t tiles = tiles_of(s), balance = (int64_t)s->in * s->out / (2 * (s->in + s->out)) / ROWS * ROWS;
    const int64_t most = piece_of(s->in + s->out, PIECE_BYTES, larger(balance, PIECE_LEAST));
    const int64_t rounds = (tiles + most * threads - 1) / (most * threads);
    const int64_t even = (tiles + rounds * threads - 1) / (rounds * threads);
    if (threads > 1 && even < PIECE_LEAST)
        return (struct pieces){ tiles, true };
    return (struct pieces){ smaller((even + ROWS - 1) / ROWS * ROWS, most), false };
}

static int64_t gradient_piece(const struct minimal_shape *s)
{
    return smaller(piece_of(s->in + s->out, GRADIENT_BYTES, GRADIENT_LEAST), tiles_of(s));
}

/* Transformed inputs and outputs of `tiles` tiles. */
static int64_t transforms(const struct minimal_shape *s, int64_t tiles)
{
    return 36 * (apart(tiles * s->in) + apart(tiles * s->out));
}

int64_t minimal_weights_size(const struct minimal_shape *s)
{
    return 36 * apart((int64_t)s->in * s->out);
}

int64_t minimal_work(const struct minimal_shape *s, bool train)
{
    const int threads = omp_get_max_threads();
    const struct pieces pieces = forward_pieces(s, threads);
    const int64_t forward = transforms(s, pieces.tiles) * (pieces.shared ? 1 : threads);
    return train ? larger(forward, transforms(s, gradient_piece(s)) + minimal_weights_size(s)) : forward;
}

bool minimal_fits(const struct minimal_shape *s)
{
    return s->lanes % 8 == 0 && s->in % s->lanes == 0 && s->out % s->lanes == 0;
}

bool minimal_pays(const struct minimal_shape *s, bool gradient)
{
    const int64_t tiles = tiles_of(s), wide = larger(s->in, s->out);
    return 16 * tiles <= 2 * (int64_t)s->images * s->h * s->w && (gradient ? 8 : 32) * tiles >= wide;
}

void minimal_prepare(float *u, const float *weights, const struct minimal_shape *s, bool turned)
{
    CALL(prepare, s, u, weights, s, turned);
}

void minimal_forward(float *dst, const float *src, const float *u, float *work, const struct minimal_shape *s,
                     const struct minimal_after *after)
{
    const int threads = omp_get_max_threads();
    const int64_t tiles = tiles_of(s);
    const struct pieces pieces = forward_pieces(s, threads);
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t mine = pieces.shared ? 0 : me, step = pieces.shared ? 1 : team;
        float *v = work + mine * transforms(s, pieces.tiles), *m = v + 36 * apart(pieces.tiles * s->in);
        for (int64_t from = mine * pieces.tiles; from < tiles; from += step * pieces.tiles)
            CALL(forward_tiles, s, dst, src, u, v, m, from, smaller(from + pieces.tiles, tiles), s, after,
                 pieces.shared ? me : 0, pieces.shared ? team : 1);
    }
}

void minimal_backward_data(float *diff_src, const float *diff_dst, const float *turned, float *work,
                           const struct minimal_shape *s)
{
    struct minimal_shape back = *s;
    back.in = s->out;
    back.out = s->in;
    minimal_forward(diff_src, diff_dst, turned, work, &back, &(struct minimal_after){ 0 });
}

void minimal_backward_weights(float *diff_weights, const float *src, const float *diff_dst, float *work,
                              const struct minimal_shape *s)
{
    const int64_t tiles = tiles_of(s), piece = gradient_piece(s);
    float *m = work, *v = m + minimal_weights_size(s), *z = v + 36 * apart(piece * s->in);
#pragma omp parallel
    {
        for (int64_t from = 0; from < tiles; from += piece)
            CALL(gradient_tiles, s, m, src, diff_dst, v, z, from, smaller(from + piece, tiles), s);
        CALL(gradient_weights, s, diff_weights, m, s);
    }
}
