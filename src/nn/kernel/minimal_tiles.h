/* The arithmetic of minimal filtering, once for each width of vectors: a template for src/nn/kernel/minimal.c, which
 * defines LANES and NAME(x). A vector holds LANES channels of one pixel; `group` strides lead from one to the next
 * vector of channels. Letters are those of nn/minimal.h. */

typedef float NAME(vec) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t NAME(mask) __attribute__((vector_size(LANES * 4)));

/* ---- transforms of one line ---- */

/* t [6] <- B' d [6], `step` vectors apart. */
INLINE void NAME(line_input)(NAME(vec) * t, const NAME(vec) * d, int step)
{
    const NAME(vec) d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const NAME(vec) even = d4 - 4 * d2, odd = d3 - 4 * d1, near = d4 - d2, far = 2 * (d3 - d1);
    t[0] = 4 * d0 + (d4 - 5 * d2);
    t[step] = even + odd;
    t[2 * step] = even - odd;
    t[3 * step] = near + far;
    t[4 * step] = near - far;
    t[5 * step] = 4 * d1 + (d5 - 5 * d3);
}

/* y [4] <- A' m [6] */
INLINE void NAME(line_output)(NAME(vec) * y, int y_step, const NAME(vec) * m, int step)
{
    const NAME(vec) m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
    const NAME(vec) a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4;
    y[0] = m[0] + a + c;
    y[y_step] = b + 2 * d;
    y[2 * y_step] = a + 4 * c;
    y[3 * y_step] = b + 8 * d + m[5 * step];
}

/* z [6] <- A y [4] */
INLINE void NAME(line_spread)(NAME(vec) * z, int step, const NAME(vec) * y, int y_step)
{
    const NAME(vec) y0 = y[0], y1 = y[y_step], y2 = y[2 * y_step], y3 = y[3 * y_step];
    const NAME(vec) a = y0 + y2, b = y1 + y3, c = y0 + 4 * y2, d = 2 * y1 + 8 * y3;
    z[0] = y0;
    z[step] = a + b;
    z[2 * step] = a - b;
    z[3 * step] = c + d;
    z[4 * step] = c - d;
    z[5 * step] = y3;
}

/* u [6] <- G g [3] */
INLINE void NAME(line_weights)(NAME(vec) * u, int step, const NAME(vec) * g, int g_step)
{
    const NAME(vec) g0 = g[0], g1 = g[g_step], g2 = g[2 * g_step];
    const NAME(vec) a = g0 + g2, b = g0 * (1.0f / 24) + g2 * (1.0f / 6), c = g1 * (1.0f / 12);
    u[0] = g0 * 0.25f;
    u[step] = (a + g1) * (-1.0f / 6);
    u[2 * step] = (a - g1) * (-1.0f / 6);
    u[3 * step] = b + c;
    u[4 * step] = b - c;
    u[5 * step] = g2;
}

/* g [3] <- G' m [6] */
INLINE void NAME(line_gradient)(NAME(vec) * g, int g_step, const NAME(vec) * m, int step)
{
    const NAME(vec) m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
    const NAME(vec) a = (m1 + m2) * (1.0f / 6), b = m3 + m4;
    g[0] = m[0] * 0.25f - a + b * (1.0f / 24);
    g[g_step] = (m2 - m1) * (1.0f / 6) + (m3 - m4) * (1.0f / 12);
    g[2 * g_step] = b * (1.0f / 6) - a + m[5 * step];
}

/* ---- transforms of one tile, a vector of channels ---- */

/* d [6 x 6] <- pixels of the tile whose outputs begin at (y, x), zeros outside the image. */
INLINE void NAME(tile_load)(NAME(vec) * d, const float *plane, int y, int x, const struct minimal_shape *s)
{
    const bool inside = y > 0 && x > 0 && y + 5 <= s->h && x + 5 <= s->w;
    for (int r = 0; r < 6; r++)
        for (int c = 0; c < 6; c++) {
            const int py = y + r - 1, px = x + c - 1;
            if (inside || (py >= 0 && py < s->h && px >= 0 && px < s->w))
                d[r * 6 + c] = *(const NAME(vec) *)(plane + ((int64_t)py * s->w + px) * s->lanes);
            else
                d[r * 6 + c] = (NAME(vec)){ 0 };
        }
}

/* v, 36 places `apart` floats apart, <- B' d B of a tile. */
INLINE void NAME(tile_input)(float *v, int64_t apart, const float *plane, int y, int x, const struct minimal_shape *s)
{
    NAME(vec) d[36], t[36];
    NAME(tile_load)(d, plane, y, x, s);
    for (int c = 0; c < 6; c++)
        NAME(line_input)(t + c, d + c, 6);
    for (int r = 0; r < 6; r++)
        NAME(line_input)(d + 6 * r, t + 6 * r, 1);
    for (int i = 0; i < 36; i++)
        *(NAME(vec) *)(v + i * apart) = d[i];
}

/* z, 36 places `apart` floats apart, <- A dy A' of a tile. */
INLINE void NAME(tile_spread)(float *z, int64_t apart, const float *plane, int y, int x, const struct minimal_shape *s)
{
    NAME(vec) d[16], t[24], out[36];
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++)
            d[r * 4 + c] = y + r < s->h && x + c < s->w
                               ? *(const NAME(vec) *)(plane + ((int64_t)(y + r) * s->w + x + c) * s->lanes)
                               : (NAME(vec)){ 0 };
    for (int c = 0; c < 4; c++)
        NAME(line_spread)(t + c, 4, d + c, 4);
    for (int r = 0; r < 6; r++)
        NAME(line_spread)(out + 6 * r, 1, t + 4 * r, 1);
    for (int i = 0; i < 36; i++)
        *(NAME(vec) *)(z + i * apart) = out[i];
}

/* Pixels of a tile <- A' m A, and what comes after; `bias` of these channels. */
INLINE void NAME(tile_output)(float *plane, const float *m, int64_t apart, int y, int x, const struct minimal_shape *s,
                              const struct minimal_after *after, NAME(vec) bias)
{
    NAME(vec) d[36], t[24], out[16];
    for (int i = 0; i < 36; i++)
        d[i] = *(const NAME(vec) *)(m + i * apart);
    for (int c = 0; c < 6; c++)
        NAME(line_output)(t + c, 6, d + c, 6);
    for (int r = 0; r < 4; r++)
        NAME(line_output)(out + 4 * r, 1, t + 6 * r, 1);
    for (int r = 0; r < 4 && y + r < s->h; r++)
        for (int c = 0; c < 4 && x + c < s->w; c++) {
            NAME(vec) *to = (NAME(vec) *)(plane + ((int64_t)(y + r) * s->w + x + c) * s->lanes);
            NAME(vec) v = out[r * 4 + c] + bias;
            if (after->sum)
                v += *to;
            *to = after->relu ? (NAME(vec))((NAME(mask))v & ~(NAME(mask))(v < 0)) : v;
        }
}

/* ---- matrix products ---- */

/* rows x (width vectors) of m <- sum over depth of v [row][depth] u [depth][width]; added to what m holds where `add`.
 * Strides in floats: of v from row to row and along the depth, of u along the depth, of m from row to row. */
INLINE void NAME(product)(float *m, int64_t m_row, const float *v, int64_t v_row, int64_t v_depth, const float *u,
                          int64_t u_depth, int64_t depth, bool add, const int rows, const int width)
{
    NAME(vec) sum[6][2];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < width; w++)
            sum[r][w] = add ? *(NAME(vec) *)(m + r * m_row + w * LANES) : (NAME(vec)){ 0 };
    for (int64_t c = 0; c < depth; c++, v += v_depth, u += u_depth) {
        const NAME(vec) *at = (const NAME(vec) *)u;
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int w = 0; w < width; w++)
                sum[r][w] += v[r * v_row] * at[w];
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < width; w++)
            *(NAME(vec) *)(m + r * m_row + w * LANES) = sum[r][w];
}

static void NAME(columns_two)(float *m, int64_t m_row, const float *v, int64_t v_row, int64_t v_depth, const float *u,
                              int64_t u_depth, int64_t depth, bool add, int64_t rows)
{
    for (; rows >= 6; rows -= 6, m += 6 * m_row, v += 6 * v_row)
        NAME(product)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, 6, 2);
    for (; rows >= 2; rows -= 2, m += 2 * m_row, v += 2 * v_row)
        NAME(product)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, 2, 2);
    if (rows)
        NAME(product)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, 1, 2);
}

static void NAME(columns_one)(float *m, int64_t m_row, const float *v, int64_t v_row, int64_t v_depth, const float *u,
                              int64_t u_depth, int64_t depth, bool add, int64_t rows)
{
    for (; rows >= 6; rows -= 6, m += 6 * m_row, v += 6 * v_row)
        NAME(product)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, 6, 1);
    for (; rows; rows--, m += m_row, v += v_row)
        NAME(product)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, 1, 1);
}

/* m [rows x columns] <- v u, for the columns from `first` on that fill two vectors, or one at the end. */
INLINE void NAME(columns)(float *m, int64_t m_row, const float *v, int64_t v_row, int64_t v_depth, const float *u,
                          int64_t u_depth, int64_t depth, bool add, int64_t rows, int64_t left)
{
    if (left >= 2 * LANES)
        NAME(columns_two)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, rows);
    else
        NAME(columns_one)(m, m_row, v, v_row, v_depth, u, u_depth, depth, add, rows);
}

/* ---- passes ---- */

/* One value of each row of a block of weights. */
INLINE NAME(vec) NAME(across)(const float *weights, int row)
{
    NAME(vec) v;
    for (int l = 0; l < LANES; l++)
        v[l] = weights[l * row];
    return v;
}

/* u [36][blocks of two vectors of outputs][inputs][block] <- weights. */
static void NAME(prepare)(float *u, const float *weights, const struct minimal_shape *s, bool turned)
{
    const int depth = turned ? s->out : s->in, wide = turned ? s->in : s->out;
    const int64_t u_apart = apart((int64_t)depth * wide);
#pragma omp parallel for
    for (int k = 0; k < wide; k += LANES)
        for (int c = 0; c < depth; c++) {
            NAME(vec) g[9], t[18], out[36];
            for (int p = 0; p < 9; p++)
                g[p] = turned ? NAME(across)(weights + weight_place(s, c, k, 8 - p), s->lanes)
                              : *(const NAME(vec) *)(weights + weight_place(s, k, c, p));
            for (int x = 0; x < 3; x++)
                NAME(line_weights)(t + x, 3, g + x, 3);
            for (int r = 0; r < 6; r++)
                NAME(line_weights)(out + 6 * r, 1, t + 3 * r, 1);
            float *to =
                u + packed_place(depth, k, 2 * LANES) + (int64_t)c * packed_width(wide, k, 2 * LANES) + k % (2 * LANES);
            for (int i = 0; i < 36; i++)
                *(NAME(vec) *)(to + i * u_apart) = out[i];
        }
}

/* The tiles of [from, to): transformed inputs, products, outputs, by thread `me` of `of` that share v and m. */
static void NAME(forward_tiles)(float *dst, const float *src, const float *u, float *v, float *m, int64_t from,
                                int64_t to, const struct minimal_shape *s, const struct minimal_after *after, int me,
                                int of)
{
    const int C = s->in, K = s->out, L = s->lanes, blocks = (K + 2 * LANES - 1) / (2 * LANES);
    const int64_t count = to - from, plane = (int64_t)s->h * s->w * L;
    const int64_t v_apart = apart(count * C), m_apart = apart(count * K), u_apart = apart((int64_t)C * K);
    for (int c = me * LANES; c < C; c += of * LANES)
        for (int64_t t = 0; t < count; t++) {
            const struct tile at = tile_of(s, from + t);
            const float *in = src + (at.image * (C / L) + c / L) * plane + c % L;
            NAME(tile_input)(v + t * C + c, v_apart, in, at.y, at.x, s);
        }
    wait_for_others(of);
    for (int j = me; j < 36 * blocks; j += of) {
        const int i = j / blocks, k = j % blocks * 2 * LANES;
        NAME(columns)
        (m + i * m_apart + k, K, v + i * v_apart, C, 1, u + i * u_apart + packed_place(C, k, 2 * LANES),
         packed_width(K, k, 2 * LANES), C, false, count, K - k);
    }
    wait_for_others(of);
    for (int k = me * LANES; k < K; k += of * LANES) {
        const NAME(vec) bias = after->bias ? *(const NAME(vec) *)(after->bias + k) : (NAME(vec)){ 0 };
        for (int64_t t = 0; t < count; t++) {
            const struct tile at = tile_of(s, from + t);
            float *out = dst + (at.image * (K / L) + k / L) * plane + k % L;
            NAME(tile_output)(out, m + t * K + k, m_apart, at.y, at.x, s, after, bias);
        }
    }
}

/* m [36][in][out] <- or += sums over the tiles of [from, to); all threads. */
static void NAME(gradient_tiles)(float *m, const float *src, const float *diff_dst, float *v, float *z, int64_t from,
                                 int64_t to, const struct minimal_shape *s)
{
    const int C = s->in, K = s->out, L = s->lanes;
    const int64_t count = to - from, v_apart = apart(count * C), z_apart = apart(count * K),
                  m_apart = apart((int64_t)C * K);
    const int64_t plane = (int64_t)s->h * s->w * L;
#pragma omp for
    for (int j = 0; j < (C + K) / LANES; j++)
        for (int64_t t = 0; t < count; t++) {
            const struct tile at = tile_of(s, from + t);
            const int c = j * LANES, k = c - C;
            const float *in = src + (at.image * (C / L) + c / L) * plane + c % L;
            const float *out = diff_dst + (at.image * (K / L) + k / L) * plane + k % L;
            if (c < C)
                NAME(tile_input)(v + t * C + c, v_apart, in, at.y, at.x, s);
            else
                NAME(tile_spread)(z + t * K + k, z_apart, out, at.y, at.x, s);
        }
#pragma omp for collapse(2)
    for (int i = 0; i < 36; i++)
        for (int k = 0; k < K; k += 2 * LANES)
            NAME(columns)
    (m + i * m_apart + k, K, v + i * v_apart, 1, C, z + i * z_apart + k, K, count, from > 0, C, K - k);
}

/* weights <- G' m G */
static void NAME(gradient_weights)(float *weights, const float *m, const struct minimal_shape *s)
{
    const int C = s->in, K = s->out;
    const int64_t m_apart = apart((int64_t)C * K);
#pragma omp for
    for (int k = 0; k < K; k += LANES)
        for (int c = 0; c < C; c++) {
            NAME(vec) d[36], t[18], g[9];
            for (int i = 0; i < 36; i++)
                d[i] = *(const NAME(vec) *)(m + i * m_apart + (int64_t)c * K + k);
            for (int x = 0; x < 6; x++)
                NAME(line_gradient)(t + x, 6, d + x, 6);
            for (int r = 0; r < 3; r++)
                NAME(line_gradient)(g + 3 * r, 1, t + 6 * r, 1);
            for (int p = 0; p < 9; p++)
                *(NAME(vec) *)(weights + weight_place(s, k, c, p)) = g[p];
        }
}
