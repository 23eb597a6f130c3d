/* What cfn classify will need, for --dry-run: the inputs, rows and products of
 * our heads and of one control at a time, by the same rules as the fits. */
#include <math.h>
#include <string.h>

#include "concept/head_loss.h"
#include "concept/head_newton.h"
#include "dist/tree.h"
#include "stage/bottleneck/classify.h"

/* Rows a head of `width` columns is fitted on, and their products. */
static double rows_bytes(double train, double width)
{
    return 4 * train * width + 16 * width * width;
}

double classify_memory(const struct classify *t)
{
    const struct features *f = t->features;
    const struct classify_config *config = &t->job->config->classify;
    const double ranks = t->job->world->size, mine = (double)f->mine.count, train = ceil((double)t->train_rows / ranks);
    const double D = f->dim, M = t->M, C = f->classes, all = (double)f->rows * C;
    const bool reduced = t->rebuild && 2 * (M + 1) <= D, sparse = config->head == HEAD_SPARSE;
    const double width = !t->rebuild ? M : reduced ? M + 1 : D;
    struct head_rows *rows =
        head_rows_create(t->job->scratch, t->job->world, t->train_rows, f->classes, (int)width, f->multi_label);
    const double levels = tree_depth(rows->tree);
    /* One set of vectors: basis, inputs, rows; while fitting the folding stack of the products, and their factors. */
    const double basis = t->rebuild ? 8 * M * width + (reduced ? 8 * (M + 1) * D : 0) : 0;
    const double dense = 4 * mine * width + (sparse ? 0 : rows_bytes(train, width));
    const bool other = t->rebuild && config->path; /* sparse heads see the codes: inputs and rows of their own */
    const double path = other || sparse ? rows_bytes(train, M) : 0;
    const double fit = fmax((levels + 1) * 8 * width * width, 3 * 8 * width * width) + 24 * 8 * C * (width + 1) +
                       8 * train + head_newton_bytes(C * (width + 1), levels);
    const double codes = other ? 4 * mine * M : 0;
    const double pursuit = M * M * 12 + M * D * 16 + mine * t->S * 12 + 4 * M * D; /* random vectors and their codes */
    const double residual = config->residual ? 4 * mine * D + rows_bytes(train, D) + 4 * train * C + 8 * all : 0;
    /* Before all this, and given back: the probe. */
    const double probe =
        rows_bytes(train, D) + 4 * mine * C + (levels + 1) * 8 * D * D + 24 * 8 * C * (D + 1) + 8 * train;
    const double libraries = 12e6; /* BLIS, HDF5 and MPI; as in cfn train */
    const int sets = config->controls > 0 ? 2 : 1;
    return fmax(probe, sets * (basis + dense + path) + fmax(fit, codes) + codes + (sets - 1) * pursuit + residual) +
           4 * all * (5 + config->controls) + libraries;
}
