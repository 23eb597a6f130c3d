/* The configuration of a job: one typed struct per stage, filled from a table
 * of keys (config/key.h). Precedence: flag > CFN_* environment > file > default. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "config/choices.h"

struct arena;
struct value;
struct world;

struct run_config {       /* top level keys */
    const char *data;     /* ham, fundus, mimic, or any name */
    const char *backbone; /* resnet18, ...; "resnet" etc. as in the published scripts */
    int trial;
    const char *root; /* data folder */
    const char *result_dir;
    int64_t seed;
    int threads;           /* per rank; 0 = allowed cores / ranks on the node */
    double max_hours;      /* 0 = none */
    const char *stop_file; /* stop when it exists; empty = none */
    enum log_level log_level;
    double checkpoint_minutes;
    bool mix_libraries; /* go on from a checkpoint that other libraries or instructions computed */
};
struct pack_config {
    const char *reader;  /* auto, or the name of one (image/manifest.h) */
    const char *labels;  /* file name of the table below root, default labels.csv */
    const char *columns; /* "path=Path,label=dx": columns of the table by their meaning */
    const char *missing; /* words of cells that mean a missing value, with commas between them */
    enum label_kind label_kind;
    enum corpus_split split;
    enum labeler labeler; /* whose labels of MIMIC-CXR */
    bool no_finding;      /* "No Finding" is one of the labels of chest X-rays */
    enum views views;     /* of chest X-rays */
    enum blank_views blank_views;
    enum chexpert_valid chexpert_valid;
    enum on_bad on_bad;
    double max_bad_fraction;
    int max_megapixels;
    double val_fraction, test_fraction; /* class_folders without splits: by hash of the name */
    const char *group;                  /* column of the table that names patient, lesion or slide; empty = none */
};
struct image_config {
    int size; /* network input, pixels */
    enum image_store store;
    int short_side;          /* resize at packing so that the short side has this many pixels; 0 = as it is */
    enum decode_size decode; /* JPEG at its size, or with short_side at a part of it */
    bool exif;               /* the orientation of EXIF is applied */
    int resize;              /* short side before the centre crop to `size`; 0 = size */
    enum interpolation interpolation;
    const char *mean, *std; /* of the input (config/statistics.h) */
};
struct train_config {
    int epochs, batch;
    double lr, weight_decay;
    enum schedule schedule;
    enum precision precision;
    enum reduction reduction;
    enum batchnorm batchnorm;
    int shards; /* V: power of two >= ranks */
    enum augmentation augment;
    const char *weights;                /* backbone.h5, .pth, .safetensors; empty = from scratch */
    enum label_policy uncertain, blank; /* several labels per image */
    bool checkpoint_activations;        /* recompute instead of keeping */
    int check_every;                    /* steps between comparisons of the weights over ranks */
    enum validation validation;         /* no fit validation split: the last epoch is kept, or training refused */
};
struct embed_config {
    int batch;
    enum precision precision;
};
struct sae_config {
    enum dictionary_variant variant;
    int expansion;          /* K = expansion * D */
    int neurons;            /* K itself, 0 = by a rule (docs/methods/sae.md) */
    int k;                  /* topk family: active neurons per image */
    double l1, l0, lr;      /* penalties of relu and of jumprelu */
    double warmup, decay;   /* shares of the steps: learning rate up, and down to 0 */
    double l1_warmup, clip; /* share of the steps in which the penalty rises; norm of a gradient, 0 = any */
    enum dictionary_init init;
    enum dictionary_bias bias;
    int aux_k, dead_after; /* neurons of the auxiliary loss; epochs without firing */
    double aux_weight;
    int prefixes;                      /* matryoshka */
    double threshold_decay;            /* batchtopk, matryoshka: moving average */
    double threshold, bandwidth;       /* jumprelu: first thresholds; window of the estimator */
    int batch, epochs, resample_every; /* epochs; 0 = never */
    double resample_scale;
    enum dictionary_parallel parallel;
    int shards;
    int stability;              /* trainings with other seeds */
    int top;                    /* T of /top */
    enum precision precision;   /* of dense products of the training */
    const char *sweep;          /* trainings on the same batches (config/sweep.h); empty = one */
    enum sweep_rule sweep_rule; /* which of them is kept */
    double sweep_max_dead, sweep_max_l0, sweep_max_fvu;
};
struct name_config {
    int top;              /* images per neuron on its sheet */
    const char *endpoint; /* empty = offline names */
    int sheets;           /* contact sheets written, 0 = all alive neurons */
};
struct cav_config {
    enum vector_source source;
    enum separator method;
    int positives, negatives; /* examples per neuron */
    double c;                 /* SVM cost */
    double holdout;           /* share of examples held out */
    int random;               /* random directions for the p-value */
};
struct select_config {
    int count;
    const char *objective, *similarity, *optimizer; /* rows of tables in concept/ */
    enum concave concave;
    const char *mixture;          /* "facility_location=1 mutual_information=0.5" */
    double parameter;             /* of the objective; 0 = its default */
    double labo_alpha, labo_beta; /* weights of mutual information and facility location */
    enum signs signs;
    double epsilon, fraction, beta;                /* stochastic, sample, approximate */
    int parts, arity;                              /* greedi, greedyml */
    int64_t similarity_memory;                     /* MiB over all ranks */
    const char *similarity_file, *costs, *initial; /* paths, empty = none */
    double budget;
    enum pools pools;
    double min_accuracy, max_pvalue, min_fire_rate, max_fire_rate, min_monosemanticity, min_rating; /* of candidates */
};
struct decompose_config {
    int nonzeros;
    bool intercept, positive;
    enum decompose_method method;
    enum decompose_precision precision;
    double tolerance, lambda;
    enum decompose_search search;
    double slack; /* of the search, in FVU */
};
struct classify_config {
    enum classify_input input;
    enum classify_search search;
    double c; /* for search: fixed */
    enum class_weight class_weight;
    bool standardise; /* codes, by their standard deviation */
    enum classify_head head;
    bool path;       /* sparse heads at NEC 5 to 30, ours and random */
    int nec;         /* concepts a class of head: sparse */
    double l1_ratio; /* share of the L1 part */
    bool residual;   /* a second head on what the concepts leave, beside the first, which stays */
    int max_iter;
    int bootstrap; /* replicates for intervals */
    int controls;  /* random-concept trials */
};
struct explain_config {
    enum explain_split split;
    int top, images;  /* concepts shown per image; images on the page */
    const char *note; /* about the collection, for readers of the page */
};

struct config {
    struct run_config run;
    struct pack_config pack;
    struct image_config image;
    struct train_config train;
    struct embed_config embed;
    struct sae_config sae;
    struct name_config name;
    struct cav_config cav;
    struct select_config select;
    struct decompose_config decompose;
    struct classify_config classify;
    struct explain_config explain;
    const struct value *values; /* text and origin of every key (config/key.h) */
};

/* One setting from the command line: key "train.lr" and its value as text. */
struct setting {
    const char *key, *value, *origin;
};

/* Reads `path` (NULL = defaults only), environment and settings; checks every
 * key and value on rank 0 and ends all ranks with EXIT_BAD_CONFIG and one
 * message "file.yml:12:5: train.lr: expected a number > 0, found ..." if wrong.
 * Everything is owned by the arena. Collective. */
const struct config *config_load(struct world *world, struct arena *arena, const char *path,
                                 const struct setting *settings, int count);

/* used.yml: every effective value with its origin as a comment; the text (arena). */
char *config_used(struct arena *arena, const struct config *config);
/* Commented template, and Markdown reference, of one section ("" = top level, NULL = all); from the key table. */
char *config_template(struct arena *arena, const char *section);
char *config_reference(struct arena *arena, const char *section);
/* Flag of the published scripts ("--num_concept") -> key ("select.count"), or NULL. */
const char *config_flag_key(const char *flag);
/* The value of one key as text ("train.lr" -> "0.0001"), NULL if unknown; for identities and provenance. */
char *config_value(struct arena *arena, const struct config *config, const char *key);
/* The word of a choice ("sae.variant", VARIANT_TOPK -> "topk"); borrowed. */
const char *config_choice(const char *key, int value);
/* Has the key its default value? Local. */
bool config_is_default(struct arena *arena, const struct config *config, const char *key);
/* Effective values of a section ("" = top level) as "key=value" lines, without those that change how a job runs but
 * not what it computes (threads, checkpoint_minutes, ...). */
char *config_section_text(struct arena *arena, const struct config *config, const char *section);

#endif
