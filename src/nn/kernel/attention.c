/* Self-attention of a shard: products over all images and heads at once where queries, keys and values lie, softmax
 * over the rows in between. */
#include "nn/attention.h"

#include <math.h>

#include "base/arena.h"
#include "nn/kernels_tokens.h"
#include "nn/onednn.h"

struct attention {
    struct dn *dn;
    struct attention_spec spec;
    int piece;                           /* images that go through at a time */
    struct dn_products *scores, *values; /* S = Q K^T, O = P V */
    struct dn_products *dp, *dv, *dq, *dk;
};

/* Scores of a piece stay in the caches from one product to the next. */
enum { PIECE_BYTES = 1 << 22 };

static int images_at_a_time(const struct attention_spec *spec)
{
    int64_t bytes = (int64_t)spec->heads * spec->tokens * spec->tokens * value_bytes(VALUE_F32);
    int piece = spec->images;
    while (piece > 1 && (piece * bytes > PIECE_BYTES || spec->images % piece != 0))
        piece--;
    return piece;
}

/* The operand lying the other way. */
static struct dn_operand turned(struct dn_operand o)
{
    return (struct dn_operand){ o.type, o.image, o.head, o.column, o.row };
}

/* C [m x n] = A [m x k] B [k x n] for each image and head. */
static struct dn_products *products(struct attention *a, int m, int k, int n, struct dn_operand c, struct dn_operand x,
                                    struct dn_operand y)
{
    return dn_products_create(a->dn,
                              &(struct dn_products_spec){ a->spec.name, a->piece, a->spec.heads, m, k, n, c, x, y });
}

struct attention *attention_create(struct dn *dn, const struct attention_spec *spec)
{
    struct attention *a = arena_array(dn_arena(dn), struct attention, 1);
    int t = spec->tokens, e = spec->width;
    int64_t all = (int64_t)spec->heads * e, area = (int64_t)t * t;
    /* A head's rows among all queries, keys or values (the same strides), in the output, and of probabilities. */
    struct dn_operand in = { spec->type, 3 * all * t, e, 3 * all, 1 }, out = { spec->type, all * t, e, all, 1 };
    struct dn_operand p = { spec->type, area * spec->heads, area, t, 1 }, s = p;
    s.type = VALUE_F32;
    a->dn = dn;
    a->spec = *spec;
    a->piece = images_at_a_time(spec);
    dn_ask_staging(dn, a->piece * spec->heads * area * (value_bytes(VALUE_F32) + value_bytes(spec->type)));
    a->scores = products(a, t, e, t, s, in, turned(in));
    a->values = products(a, t, t, e, out, p, in);
    if (!spec->train)
        return a;
    a->dp = products(a, t, e, t, s, out, turned(in));
    a->dv = products(a, t, t, e, in, turned(p), out);
    a->dq = products(a, t, t, e, in, p, in);
    a->dk = products(a, t, t, e, in, turned(p), in);
    return a;
}

const char *attention_kernel(const struct attention *a, enum dn_pass pass)
{
    if (pass == DN_WEIGHTS || (pass == DN_DATA && !a->spec.train))
        return NULL;
    return dn_products_kernel(pass == DN_FORWARD ? a->scores : a->dp);
}

/* Where the queries (0), keys (1) or values (2) begin. */
static int64_t part(const struct attention *a, int which)
{
    return (int64_t)which * a->spec.heads * a->spec.width * value_bytes(a->spec.type);
}

static int64_t rows(const struct attention *a)
{
    return (int64_t)a->piece * a->spec.heads * a->spec.tokens;
}

static float scale(const struct attention *a)
{
    return (float)(1.0 / sqrt((double)a->spec.width));
}

/* P = softmax(Q K^T scale), in the staging memory behind S; returned. */
static void *probabilities(struct attention *a, const char *qkv)
{
    float *s = dn_staging(a->dn);
    void *p = s + rows(a) * a->spec.tokens;
    dn_products(a->scores, s, qkv + part(a, 0), qkv + part(a, 1));
    softmax_rows(p, s, scale(a), rows(a), a->spec.tokens, a->spec.type);
    return p;
}

/* Bytes of one piece of the output; queries, keys and values have three times as many. */
static int64_t step(const struct attention *a)
{
    return rows(a) * a->spec.width * value_bytes(a->spec.type);
}

void attention_forward(struct attention *a, void *out, const void *qkv)
{
    for (int i = 0; i < a->spec.images / a->piece; i++) {
        const char *in = (const char *)qkv + 3 * i * step(a);
        const void *p = probabilities(a, in);
        dn_products(a->values, (char *)out + i * step(a), p, in + part(a, 2));
    }
}

void attention_backward(struct attention *a, void *dqkv, const void *g, const void *qkv)
{
    float *dp = dn_staging(a->dn); /* where S was */
    for (int i = 0; i < a->spec.images / a->piece; i++) {
        const char *in = (const char *)qkv + 3 * i * step(a), *dout = (const char *)g + i * step(a);
        char *diff = (char *)dqkv + 3 * i * step(a);
        void *p = probabilities(a, in);
        dn_products(a->dv, diff + part(a, 2), p, dout);                                /* dV = P^T dO */
        dn_products(a->dp, dp, dout, in + part(a, 2));                                 /* dP = dO V^T */
        softmax_rows_backward(p, dp, scale(a), rows(a), a->spec.tokens, a->spec.type); /* now dS */
        dn_products(a->dq, diff + part(a, 0), p, in + part(a, 1));                     /* dQ = dS K */
        dn_products(a->dk, diff + part(a, 1), p, in + part(a, 0));                     /* dK = dS^T Q */
    }
}
