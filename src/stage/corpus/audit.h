/* The parts of cfn audit. Each adds to the table, the notes and audit.json what it finds; all ranks find the same, rank
 * 0 writes. */
#ifndef STAGE_CORPUS_AUDIT_H
#define STAGE_CORPUS_AUDIT_H

#include "image/appearance.h"
#include "image/corpus.h"
#include "image/near_copies.h"
#include "report/json.h"
#include "stage/stage.h"

struct loader;

struct audit_bar { /* of the shortcut probe: one family of features, or all */
    const char *name;
    double auroc, low, high;
};

struct audit {
    struct job *job;
    struct corpus *corpus;
    struct loader *loader;
    const uint64_t *hash; /* [N], or NULL */
    const int32_t *size;  /* [N x 2] height, width of the file, or NULL */
    const char **id;      /* [N], or NULL */
    int64_t rejected;     /* rows that pack left out, -1 = not known */

    /* Of every picture, this rank's rows. */
    struct span mine;
    struct likeness *likeness;     /* [mine.count] */
    struct appearance *appearance; /* [mine.count] */
    uint8_t *thumbnail;            /* [mine.count x 64 x 64] */

    int64_t rows[SPLITS];
    int64_t *count;             /* [SPLITS x C] images of a class; positives of a label */
    int64_t *uncertain, *blank; /* [SPLITS x C] of a multi-label corpus */
    int64_t all_negative[SPLITS], all_unknown[SPLITS];
    const int64_t *group; /* [N] of the corpus or of its paths; NULL = not known */

    struct near_found near; /* pairs, those that are identical among them */
    const int64_t *shown;   /* [shown_count] of near.pair, the most telling first */
    int64_t shown_count;
    struct audit_bar bars[APPEARANCE_FAMILIES + 1]; /* the first of all features */
    int bar_count;
    double permuted;         /* highest AUROC of permuted labels */
    const char *measured_on; /* split of the bars */

    struct text notes, out;
    int note_count;
    struct json_writer json;
};

#define NOTE(audit, ...)                                                                                               \
    do {                                                                                                               \
        text_add(&(audit)->notes, "  note: ");                                                                         \
        text_add(&(audit)->notes, __VA_ARGS__);                                                                        \
        text_add(&(audit)->notes, "\n");                                                                               \
        (audit)->note_count++;                                                                                         \
    } while (0)

/* audit_counts.c: images and labels by split; audit_levels takes part in an exchange and is collective, as are
 * audit_copies and audit_shortcut. */
void audit_counts(struct audit *audit);
void audit_floors(struct audit *audit);
void audit_balance(struct audit *audit);
void audit_dropped(struct audit *audit);
void audit_sizes(struct audit *audit);
void audit_levels(struct audit *audit);

/* audit_copies.c: identical and near-identical pictures. */
void audit_copies(struct audit *audit);
/* near_duplicates.csv: all pairs, by name. Rank 0; false with *why. */
bool audit_write_copies(struct audit *audit, const char **why);

/* audit_groups.c: patients, lesions, slides. Before audit_shortcut, which resamples by them. */
void audit_groups(struct audit *audit);

/* audit_shortcut.c: how well a linear model does that sees no content. */
void audit_shortcut(struct audit *audit);

/* audit_page.c: audit.html, for those who would rather look than read. Rank 0. */
void audit_page(struct audit *audit, struct text *out);

/* Rows that share a key, and the splits they are in. */
struct overlap {
    int64_t keys;                /* with more than one row */
    int64_t rows;                /* of those keys */
    int64_t same_split;          /* keys with all rows in one split */
    int64_t shared_keys;         /* keys in several splits */
    int64_t shared_rows[SPLITS]; /* rows of val and test whose key is in train; [train]: rows of keys in several */
    int64_t conflicts;           /* keys whose rows have different labels */
};
struct overlap overlap_of(struct arena *scratch, const struct corpus *corpus, const uint64_t *key);
void overlap_write(struct audit *audit, const struct overlap *o, const char *keys);
bool audit_labels_equal(const struct corpus *corpus, int64_t a, int64_t b);

#endif
