/* What cfn select will need, for --dry-run: vectors, similarities and lists, by
 * the same rules as the choice itself. */
#include "stage/concepts/select_memory.h"

#include <math.h>

enum { ITEM_BYTES = 80 }; /* of a candidate: gains, queue, order, what is open */

/* Vectors as they are and as the similarity wants them, and similarities to `rows` rows: `own` of the vectors and
 * `part` of the rows are on this rank. */
static double matrix_bytes(const struct select_plan *plan, double n, double own, double dim, double part, bool store)
{
    double bytes = 4 * own * dim;
    for (int t = 0; t < plan->terms; t++) {
        const struct term_spec *term = &plan->term[t];
        if (term->objective->needs_moment)
            bytes += 8 * n * dim; /* residuals */
        bool seen = !term->similarity;
        for (int before = 0; before < t; before++)
            seen = seen || plan->term[before].similarity == term->similarity;
        if (seen)
            continue;
        const bool square = term->similarity->is_square;
        if (store)
            bytes += 4 * own * dim * square + 4 * n * ceil((square ? n : dim) * part);
        else
            bytes += 4 * own * dim + 4.0 * SIMILARITY_TILE * (dim + n * part);
    }
    return bytes;
}

/* This rank's images, and their sums by class and products. */
static double image_bytes(struct job *job, bool moment)
{
    enum { SUMS = 8 }; /* levels of the folding stack, and the total */
    int64_t shape[4] = { 0 };
    const char *const *names;
    int count = 0;
    struct store *store = job_open(job, "embeddings.h5", "embed");
    store_dims(store, "/features", shape);
    store_get_texts(store, "/", "class_names", &names, &count);
    const double of_each = store_has(store, "/logits") ? (double)count : 0;
    store_close(store);
    const double rows = (double)shape[0] / job->world->size, dim = (double)shape[1], classes = count;
    return 4 * rows * (dim + of_each) + 8 * SUMS * (classes * (dim + 1) + (moment ? dim * dim : 0));
}

double select_memory(struct job *job, const struct candidates *c, const struct select_plan *plan, bool store,
                     bool share)
{
    const struct select_config *k = &job->config->select;
    const double n = (double)c->count, ranks = job->world->size;
    const double dim = plan->matrix ? n : c->dim;
    const double own = share ? ceil(n / ranks) : n;
    const bool tree = plan->optimiser->tree;
    double bytes = ITEM_BYTES * n, node = 0;
    if (plan->optimiser->parts) { /* a node holds its members' vectors and all similarities between them */
        const double wanted = k->parts > 0 ? k->parts : tree ? fmax(8, ceil(n / (k->arity * (double)k->count))) : 8;
        const double members = fmax(ceil(n / wanted), tree ? k->arity * (double)k->count : 0);
        const double most = fmin(members, n);
        node = matrix_bytes(plan, most, most, dim, 1, true);
    }
    bytes += tree ? 4 * own * dim + node : fmax(node, matrix_bytes(plan, n, own, dim, 1 / ranks, store));
    if (plan->matrix)
        bytes += 4 * (double)c->total * (double)c->total;
    if (plan->matrix && (plan->scores || k->pools == POOLS_CLASS))
        bytes += 4 * n * c->dim; /* vectors, for the scores */
    if (plan->scores || plan->moment || k->pools == POOLS_CLASS)
        bytes += image_bytes(job, plan->moment);
    return bytes;
}
