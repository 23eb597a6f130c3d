/* The report page: everything it shows, gathered by `cfn explain` on rank 0, and its sections. */
#ifndef STAGE_PAGE_PAGE_H
#define STAGE_PAGE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "stage/stage.h"
#include "stage/tiles.h"

struct corpus;
struct gallery;
struct json;
struct sae_summary;

/* A selected concept, by its place in the selection. */
struct page_concept {
    int neuron;
    const char *name;
    double used; /* share of the images of the explained split whose code holds it */
};

/* An explained image. */
struct page_image {
    int64_t row;
    int truth;      /* class, or -1 for a multi-label corpus */
    int prediction; /* largest logit */
    bool right;
};

struct page {
    struct job *job;
    struct arena *arena;
    const struct gallery *gallery;
    const struct corpus *corpus;  /* of the gallery */
    int split;                    /* enum split that is explained */
    int classes, concepts, atoms; /* C, M, S */
    struct page_concept *concept; /* [M] */
    const float *weight;          /* [C x M] logit per unit of code */
    const double *effect;         /* [C x M] mean contribution over the images of that class in the split */
    const float *logits;          /* [N x C] of the bottleneck, a residual head's part included */
    const float *residual;        /* [N x C] that part, or NULL */
    int64_t split_rows;
    struct store *codes, *sae, *cbm;
    struct store *backbone;                     /* NULL when it is not there */
    const struct json *names, *metrics, *audit; /* metrics and audit may be NULL */
    const struct sae_summary *autoencoder;
    int64_t *top_index; /* [K x T] */
    float *top_value;
    int neurons, T;
    bool *defined;        /* [K] its strip is among the defs */
    struct tiles *thumbs; /* of strips; NULL: no images, their names stand for them */
    struct tiles *views;  /* of explained images; likewise */
    struct page_image *image;
    int images;
    struct text defs; /* <image> elements kept once */
};

/* The whole page, owned by page->arena. Rank 0 only; reads rows of page->codes locally. */
char *page_make(struct page *page, size_t *length);

/* Sections, in their order (page_*.c). */
void page_numbers(struct page *page, struct text *out);
void page_limits(struct page *page, struct text *out);
void page_concepts(struct page *page, struct text *out);
void page_regions(struct page *page, struct text *out);
void page_errors(struct page *page, struct text *out);
void page_images(struct page *page, struct text *out);
void page_sweep(struct page *page, struct text *out); /* a figure of page_errors */
void page_made(struct page *page, struct text *out);

/* Shared by the sections. */
const char *page_class(const struct page *page, int c);
/* The strip of top images of a neuron, kept on the page once; without images the names of the rows. */
void page_strip(struct page *page, struct text *out, int neuron, const char *name);
/* The name of a concept for readers: what it is in bold, the figures behind it small, then `extra` (escaped). */
void page_name(struct page *page, struct text *out, int concept, const char *extra);
/* A number with a real minus sign: value with `digits` after the point, "+" in front when `sign`. */
void page_number(struct text *out, double value, int digits, bool sign);
/* metrics.json: value of model/split/metric; NaN when it is not there. *low, *high: its interval or NaN. */
double page_metric(const struct page *page, const char *model, const char *metric, double *low, double *high);

#endif
