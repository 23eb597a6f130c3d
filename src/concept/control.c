/* Controls: random directions, and the answer that ignores the image. */
#include "concept/control.h"

#include <math.h>

#include "base/rng.h"
#include "math/vec.h"

void control_random_vectors(float *vectors, int count, int dim, uint64_t seed, int trial)
{
    struct rng rng = { .seed = seed, .purpose = RNG_CONTROL, .epoch = (uint32_t)trial };
    for (int v = 0; v < count; v++) {
        float *row = vectors + (int64_t)v * dim;
        for (int d = 0; d < dim; d++)
            row[d] = (float)rng_normal(&rng, (uint64_t)v, (uint64_t)d);
        vec_normalise(row, dim);
    }
}

void control_majority(float *logits, const int32_t *label, const int8_t *labels, int64_t rows, int classes,
                      bool multi_label)
{
    for (int c = 0; c < classes; c++) {
        double with = 0, without = 0;
        for (int64_t i = 0; i < rows; i++) {
            int state = multi_label ? labels[i * classes + c] : label[i] == c;
            with += state == 1;
            without += state == 0;
        }
        double base = multi_label ? without + 0.5 : (double)rows + 0.5 * classes;
        logits[c] = (float)log((with + 0.5) / base);
    }
}
