/* Five products of one piece of rows, always of the full shape: rows that a
 * piece lacks are zeros, so bits do not depend on how many it has. A rounded
 * operand is kept for the product that needs it next. */
#include "concept/sae/sae_half.h"

#include <string.h>

#include "base/arena.h"
#include "concept/sae.h"
#include "math/half_product.h"

struct sae_half {
    struct half_products *all;
    int dim, neurons;
    int64_t rows;
    struct half_product *encode, *decode, *df;
    struct half_product *decoder_gradient[2], *encoder_gradient[2]; /* stored, added */
    void *encoder, *decoder, *decoder_transposed;                   /* weights, packed */
    void *operand;                                                  /* error or centred, packed */
    uint16_t *centred, *error;                                      /* [rows x D] */
    uint16_t *activations;                                          /* [rows x K] f, then df */
};

static void *packed(struct arena *arena, const struct half_product *product)
{
    return arena_take_raw(arena, (size_t)half_packed_bytes(product), 1);
}

static void dense_products(struct sae_half *h, struct arena *arena)
{
    const int64_t R = h->rows, D = h->dim, K = h->neurons;
    h->decode = half_product(h->all, 'N', 'N', R, D, K, HALF_OF_FLOATS, false, "the decoder");
    h->df = half_product(h->all, 'N', 'T', R, K, D, HALF_OF_FLOATS, false, "the gradient of activations");
    for (int add = 0; add < 2; add++) {
        h->decoder_gradient[add] =
            half_product(h->all, 'T', 'N', K, D, R, HALF_OF_HALVES, add, "the decoder's gradient");
        h->encoder_gradient[add] =
            half_product(h->all, 'T', 'N', K, D, R, HALF_OF_HALVES, add, "the encoder's gradient");
    }
    h->decoder = packed(arena, h->decode);
    h->decoder_transposed = packed(arena, h->df);
    int64_t operand = 0;
    for (int add = 0; add < 2; add++) {
        const int64_t d = half_packed_bytes(h->decoder_gradient[add]), e = half_packed_bytes(h->encoder_gradient[add]);
        operand = d > operand ? d : operand;
        operand = e > operand ? e : operand;
    }
    h->operand = arena_take_raw(arena, (size_t)operand, 1);
    h->error = arena_array(arena, uint16_t, R * D);
    h->activations = arena_take_raw(arena, (size_t)(R * K), sizeof(uint16_t));
}

struct sae_half *sae_half(struct arena *arena, int dim, int neurons, int64_t rows, bool dense)
{
    struct sae_half *h = arena_array(arena, struct sae_half, 1);
    *h = (struct sae_half){ .all = half_products_create(arena), .dim = dim, .neurons = neurons, .rows = rows };
    h->encode = half_product(h->all, 'N', 'T', rows, neurons, dim, HALF_OF_FLOATS, false, "the encoder");
    h->encoder = packed(arena, h->encode);
    h->centred = arena_array(arena, uint16_t, rows * dim);
    if (dense)
        dense_products(h, arena);
    half_products_ready(h->all);
    return h;
}

void sae_half_end(struct sae_half *h)
{
    if (h)
        half_products_destroy(h->all);
}

void sae_half_weights(struct sae_half *h, const struct sae *sae, bool dense)
{
    half_pack(h->encoder, h->encode, sae->encoder);
    if (!dense)
        return;
    half_pack(h->decoder, h->decode, sae->decoder);
    half_pack(h->decoder_transposed, h->df, sae->decoder);
}

/* The n rows of a piece, and zeros for those it lacks. */
static void round_rows(uint16_t *out, const struct sae_half *h, const float *x, int64_t n, int64_t columns)
{
    half_round(out, x, n * columns);
    memset(out + n * columns, 0, (size_t)((h->rows - n) * columns) * sizeof *out);
}

void sae_half_encode(float *p, struct sae_half *h, const float *centred, int64_t n)
{
    round_rows(h->centred, h, centred, n, h->dim);
    half_multiply(p, h->encode, h->centred, h->encoder);
}

void sae_half_decode(float *out, struct sae_half *h, const float *f, int64_t n)
{
    round_rows(h->activations, h, f, n, h->neurons);
    half_multiply(out, h->decode, h->activations, h->decoder);
}

void sae_half_backward(float *decoder, float *df, struct sae_half *h, const float *error, int64_t n, bool add)
{
    round_rows(h->error, h, error, n, h->dim);
    half_pack(h->operand, h->decoder_gradient[add], h->error);
    half_multiply(decoder, h->decoder_gradient[add], h->activations, h->operand);
    half_multiply(df, h->df, h->error, h->decoder_transposed);
}

void sae_half_encoder_gradient(float *encoder, struct sae_half *h, const float *df, int64_t n, bool add)
{
    round_rows(h->activations, h, df, n, h->neurons);
    half_pack(h->operand, h->encoder_gradient[add], h->centred);
    half_multiply(encoder, h->encoder_gradient[add], h->activations, h->operand);
}
