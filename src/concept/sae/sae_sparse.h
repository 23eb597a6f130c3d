/* The autoencoder's passes over active neurons only: exact, and cheap when few
 * are active. The rows of a rank are taken together, leaf by leaf of the fixed
 * tree, and gradients are formed neuron by neuron: each is written once. The
 * sums have the same order at any rank count. */
#ifndef CONCEPT_SAE_SAE_SPARSE_H
#define CONCEPT_SAE_SAE_SPARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "concept/sae.h"
#include "dist/shard.h"

struct arena;
struct tree;

/* Codes in compressed rows: entries start[r] .. start[r+1]-1 belong to row r, neurons rising. */
struct sae_codes {
    int64_t rows, room;
    int64_t *start; /* [most rows + 1] */
    int32_t *index; /* [room] neuron */
    float *value;   /* [room] activation; jumprelu: -0.0 marks p in the window below the threshold */
    float *slope;   /* [kept] gradient of the loss with respect to p */
    float *cut;     /* [kept] jumprelu: gradient with respect to the log of the threshold; else NULL */
};
/* `kept`: most entries once they are chosen; slopes are those of chosen ones. */
struct sae_codes sae_codes(struct arena *arena, int64_t rows, int64_t room, int64_t kept, bool cut);

/* Entries of the next rows: f [rows x K] whose bits are not 0 and, when bound > 0, whose value exceeds it. Entries
 * beyond the room are counted but not kept: returns false then. */
bool sae_codes_add(struct sae_codes *codes, const float *f, int64_t rows, int neurons, float bound);
/* Keeps values above `threshold` and the first `ties` that equal it. */
void sae_codes_cut(struct sae_codes *codes, float threshold, int64_t ties);
/* The next rows get their k largest positive values each, ties to the lowest neuron. */
void sae_codes_add_largest(struct sae_codes *codes, const float *f, int64_t rows, int neurons, int k);
/* The same among `some` neurons list [some], rising; `gathered` [rows x some] scratch. */
void sae_codes_add_largest_of(struct sae_codes *codes, float *gathered, const float *f, const int32_t *list,
                              int64_t some, int64_t rows, int neurons, int k);

struct sae_entry;
struct sae_sparse {
    int dim, neurons;
    int64_t room;   /* rows at most */
    bool half;      /* rows that products read are bf16 */
    int planes;     /* prefixes, and one more for the auxiliary loss */
    float *centred; /* [room x D] x - b */
    float *error;   /* [planes x room x D] gradients with respect to the reconstructions */
    uint16_t *half_decoder, *half_centred, *half_error; /* with half: the weights and the two above, rounded */
    int64_t
        node_stride; /* floats to the parts of the next complete subtree of blocks of neurons, while they are sums */
    double *squared, *aux; /* [room] mean over the prefixes of ||x^ - x||^2; ||error - its auxiliary explanation||^2 */
    struct sae_codes codes;
    struct sae_codes dead; /* auxiliary codes of dead neurons; start NULL: none */
    int64_t *first;        /* [K + 1] entries of each neuron */
    struct sae_entry *entry;
    float *stacks; /* folding stacks: of neurons' gradients over leaves, of rows' sums over blocks */
    int64_t stack_floats, row_floats;
    float *threshold; /* [K] jumprelu: thresholds of the last sae_sparse_start */
};
/* Folding stacks it needs: over leaves of rows and over blocks of neurons; complete subtrees of blocks on this rank. */
struct sae_depths {
    int leaves, blocks, nodes;
};
/* Sizes of a rank's part of a batch. */
struct sae_sizes {
    int dim, neurons;
    int64_t rows, entries, kept; /* entries at most, and at most once those over the batch are chosen */
    int aux_k;                   /* 0: without auxiliary loss */
    bool half;
};
struct sae_sparse sae_sparse(struct arena *arena, const struct sae_rule *rule, const struct sae_depths *depths,
                             const struct sae_sizes *sizes);
/* For fewer neurons, and auxiliary codes or none, with the same memory. */
void sae_sparse_fit(struct sae_sparse *s, int neurons, int aux_k);

/* Empties both codes; thresholds of jumprelu from the parameters; with half, the decoder is rounded. */
void sae_sparse_start(struct sae_sparse *s, const struct sae *sae);
/* With half: the rows of centred from `first` on are rounded. */
void sae_sparse_round(struct sae_sparse *s, int64_t first, int64_t rows);
/* Reconstruction, errors and slopes of all rows; the loss counts `scale` times a row, its auxiliary part
 * `aux_weight` times that (when `aux`). 4 D flops an entry; each row of the decoder is read once per entry. Collective
 * when the blocks of neurons are spread over ranks. */
void sae_sparse_forward(struct sae_sparse *s, const struct sae *sae, double penalty, double scale, double aux_weight,
                        bool aux);
/* Gradient of all rows into rows 0..nodes-1 of the folding stack [nodes x stride], as sae_backward leaves it leaf by
 * leaf; fired [K] += rows in which each neuron is active. leaf [own leaves]: rows of each leaf, from this rank's first
 * row. 4 D flops an entry. */
void sae_sparse_gradient(float *stack, int64_t stride, int64_t *fired, struct sae_sparse *s, const struct sae *sae,
                         const struct tree *tree, const struct span *leaf, bool aux);

#endif
