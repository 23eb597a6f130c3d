/* Multi-head self-attention between its two projections (Vaswani et al., Attention is all you need, 2017). */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "math/values.h"
#include "nn/onednn.h"

struct attention;

struct attention_spec {
    const char *name;          /* shows in messages */
    int images, tokens, heads; /* of one shard */
    int width;                 /* of a head */
    enum value_type type;
    bool train;
};

/* Owned by the arena of `dn`. Call before dn_finish; works in dn's staging memory, some images at a
 * time. */
struct attention *attention_create(struct dn *dn, const struct attention_spec *spec);
/* Of the product that scores, or their gradients, come from; there is no pass for weights. */
const char *attention_kernel(const struct attention *attention, enum dn_pass pass);

/* out [images][tokens][heads * width] = softmax(Q K^T / sqrt(width)) V, for each image and head.
 *   qkv [images][tokens][3 * heads * width]: queries, keys, values of all heads */
void attention_forward(struct attention *attention, void *out, const void *qkv);
/* Gradient dqkv of qkv from g, that of out. The probabilities are recomputed from Q and K: kept, they would be the
 * largest values of the network. */
void attention_backward(struct attention *attention, void *dqkv, const void *g, const void *qkv);

#endif
