/* Blocks of neurons: how a model is cut, and sums over neurons along the fixed
 * tree of its blocks that need no product. */
#include <math.h>
#include <stddef.h>

#include "concept/sae.h"
#include "dist/tree.h"
#include "math/vec.h"

enum { LEAST_NEURONS = 32 }; /* of a block: fewer would starve the products */

int sae_block_count(int neurons, int most)
{
    int blocks = 1;
    while (2 * blocks <= most && neurons / (2 * blocks) >= LEAST_NEURONS)
        blocks *= 2;
    return blocks;
}

int sae_blocks(const struct sae *sae)
{
    return sae->blocks ? (int)tree_leaves(sae->blocks).count : 1;
}

struct span sae_block(const struct sae *sae, int block)
{
    if (!sae->blocks)
        return (struct span){ 0, sae->neurons };
    struct span k = shard_rows(sae->whole, tree_leaf_count(sae->blocks), (int)tree_leaves(sae->blocks).first + block);
    k.first -= sae->first;
    return k;
}

struct sae sae_part(const struct sae *whole, const struct tree *blocks)
{
    struct sae part = *whole;
    struct span own = { 0, 0 };
    part.blocks = blocks;
    for (int b = 0; b < sae_blocks(&part); b++) {
        const struct span k = sae_block(&part, b);
        own.first = b == 0 ? k.first : own.first;
        own.count += k.count;
    }
    part.flat = NULL;
    part.count = sae_count(whole->dim, (int)own.count);
    part.neurons = (int)own.count;
    part.first = (int)own.first;
    part.encoder += own.first * whole->dim;
    part.encoder_bias += own.first;
    part.decoder += own.first * whole->dim;
    part.log_threshold += own.first;
    return part;
}

double sae_gradient_norm(const struct sae *grad, double *part, const struct sae *sae)
{
    const int D = sae->dim;
    for (int b = 0; b < sae_blocks(sae); b++) {
        const struct span k = sae_block(sae, b);
        const float *encoder = grad->encoder + k.first * D, *decoder = grad->decoder + k.first * D;
        const float *bias = grad->encoder_bias + k.first, *threshold = grad->log_threshold + k.first;
        part[b] = vec_dot(encoder, encoder, k.count * D) + vec_dot(decoder, decoder, k.count * D) +
                  vec_dot(bias, bias, k.count) + vec_dot(threshold, threshold, k.count);
    }
    if (sae->blocks)
        tree_sum_f64(sae->blocks, part, part, 1);
    return sqrt(part[0] + vec_dot(grad->bias, grad->bias, D));
}
