/* The table of keys. One row per value: path, type, field, default, range,
 * unit, doc, flags. Defaults are the published recipe (docs/methods) where it
 * says something. */
#include "config/key.h"

#define ROW(section, field, kind, text)                                                                                \
    .path = #section "." #field, .type = kind, .offset = offsetof(struct config, section.field), .fallback = text
/* Top-level keys live in struct run_config and have no section in the file. */
#define TOP(field, kind, text)                                                                                         \
    .path = #field, .type = kind, .offset = offsetof(struct config, run.field), .fallback = text
#define FROM(a)           .low = (a), .bounds = KEY_AT_LEAST
#define ABOVE(a)          .low = (a), .bounds = KEY_ABOVE
#define BETWEEN(a, b)     .low = (a), .high = (b), .bounds = KEY_AT_LEAST | KEY_AT_MOST
#define ABOVE_UP_TO(a, b) .low = (a), .high = (b), .bounds = KEY_ABOVE | KEY_AT_MOST
#define FROM_BELOW(a, b)  .low = (a), .high = (b), .bounds = KEY_AT_LEAST | KEY_BELOW
#define SHARDS            .low = 1, .high = 1024, .bounds = KEY_AT_LEAST | KEY_AT_MOST | KEY_POWER_OF_TWO
#define CHOICES(...)      .choices = { __VA_ARGS__ }

static const struct section sections[] = {
    { "", "What is run, on which data, and where results go." },
    { "pack", "Reading an image folder into corpus.h5." },
    { "image", "Images as they are stored and as the network sees them." },
    { "train", "Training the backbone." },
    { "embed", "Representations of all images." },
    { "sae", "The sparse autoencoder whose neurons become concepts." },
    { "name", "Top images, contact sheets and names of neurons." },
    { "cav", "Concept activation vectors: one linear separator per neuron." },
    { "select", "Submodular choice of concepts." },
    { "decompose", "Representations as sparse sums of concepts (orthogonal matching pursuit)." },
    { "classify", "The concept-bottleneck head and its metrics." },
    { "explain", "Explanations and the report page." },
};

/* clang-format off */
static const struct key keys[] = {
    { TOP(data, KEY_NAME, "ham"), .flag = "--data",
      .doc = "Data set: ham, fundus, mimic, or any name of your own." },
    { TOP(backbone, KEY_NAME, "resnet18"), .flag = "--backbone",
      .doc = "Network; `cfn model NAME` describes it. densenet, resnet, convnext, vit: as in the published scripts." },
    { TOP(trial, KEY_INT, "1"), FROM(0), .flag = "--trial",
      .doc = "Number of the repetition; part of the run directory." },
    { TOP(root, KEY_TEXT, "data"), .flag = "--root",
      .doc = "Folder with the images and their split or label files." },
    { TOP(result_dir, KEY_TEXT, "runs"), .flag = "--result_dir", .flags = "--save_dir --ckpt_dir", .neutral = true,
      .doc = "Results go to <result_dir>/<data>/<backbone>/<trial>, the corpus to <result_dir>/<data>." },
    { TOP(seed, KEY_LONG, "0"), BETWEEN(0, 1e12),
      .doc = "Every random draw follows from it and the trial: each trial is a repetition of its own." },
    { TOP(threads, KEY_INT, "0"), BETWEEN(0, 1024), .neutral = true,
      .doc = "Threads per rank; 0 shares the allowed cores among the ranks of a node." },
    { TOP(max_hours, KEY_REAL, "0"), FROM(0), .unit = "hours", .flag = "--max-hours", .neutral = true,
      .doc = "Stop in time with a checkpoint and exit code 75; 0 = no limit." },
    { TOP(stop_file, KEY_TEXT, ""), .neutral = true,
      .doc = "Stop with a checkpoint when this file exists; empty = none." },
    { TOP(log_level, KEY_CHOICE, "normal"), CHOICES("quiet", "normal", "verbose"), .neutral = true,
      .doc = "verbose is the only level that may name files, studies or patients." },

    { ROW(pack, reader, KEY_CHOICE, "auto"), CHOICES("auto", "class_folders", "labels_csv", "class2images"),
      .doc = "Layout of the data folder; auto looks which of them is there." },
    { ROW(pack, labels, KEY_TEXT, "labels.csv"),
      .doc = "Table of labels below root, for labels_csv: columns path, label, and optionally split." },
    { ROW(pack, on_bad, KEY_CHOICE, "fail"), CHOICES("fail", "skip"),
      .doc = "An image that cannot be read ends the job, or is listed in rejects.csv and left out." },
    { ROW(pack, max_bad_fraction, KEY_REAL, "0.01"), BETWEEN(0, 1),
      .doc = "With skip: the job ends when more than this share of the images is bad." },
    { ROW(pack, max_megapixels, KEY_INT, "100"), BETWEEN(1, 4000), .unit = "megapixels",
      .doc = "Larger images count as bad, before they are decoded." },
    { ROW(pack, val_fraction, KEY_REAL, "0.1"), FROM_BELOW(0, 1),
      .doc = "Share of images for validation when the data has no splits of its own." },
    { ROW(pack, test_fraction, KEY_REAL, "0.2"), FROM_BELOW(0, 1),
      .doc = "Share of images for the test when the data has no splits of its own." },
    { ROW(pack, group, KEY_TEXT, ""),
      .doc = "Column of the table that names patient, lesion or slide; empty = none." },

    { ROW(image, size, KEY_INT, "224"), BETWEEN(32, 1024), .unit = "pixels",
      .doc = "Height and width the network sees." },
    { ROW(image, store, KEY_CHOICE, "auto"), CHOICES("auto", "pixels", "encoded"),
      .doc = "corpus.h5 holds pixels, or the files as they are; auto takes pixels when all images have one size." },
    { ROW(image, short_side, KEY_INT, "0"), BETWEEN(0, 8192), .unit = "pixels",
      .doc = "Resize at packing so that the short side has this many pixels; 0 = as it is." },

    { ROW(train, epochs, KEY_INT, "200"), BETWEEN(1, 100000), .unit = "epochs", .flag = "--epoch",
      .doc = "Passes over the training split." },
    { ROW(train, batch, KEY_INT, "16"), BETWEEN(1, 65536), .unit = "images",
      .doc = "Images of a step over all ranks together; a multiple of train.shards." },
    { ROW(train, lr, KEY_REAL, "1e-4"), ABOVE(0),
      .doc = "Learning rate of AdamW." },
    { ROW(train, schedule, KEY_CHOICE, "constant"), CHOICES("constant", "cosine"),
      .doc = "Learning rate over the steps: constant as published, or falling to 0 along a cosine." },
    { ROW(train, weight_decay, KEY_REAL, "1e-2"), FROM(0),
      .doc = "Decoupled weight decay of AdamW." },
    { ROW(train, precision, KEY_CHOICE, "fp32"), CHOICES("fp32", "bf16"),
      .doc = "Activations and operands of the network; weights, statistics and loss stay in single precision." },
    { ROW(train, reduction, KEY_CHOICE, "exact"), CHOICES("exact", "fast"),
      .doc = "exact: the same bits at any rank count; fast: sums over ranks in any order." },
    { ROW(train, batchnorm, KEY_CHOICE, "global"), CHOICES("global", "shard"),
      .doc = "Batch-norm statistics over the global batch, or over each shard." },
    { ROW(train, shards, KEY_INT, "4"), SHARDS,
      .doc = "Virtual shards of a batch: at least as many as ranks; results depend on it, not on the ranks." },
    { ROW(train, augment, KEY_CHOICE, "published"), CHOICES("published", "none"),
      .doc = "published: rotation by up to 30 degrees, horizontal flip, Gaussian blur." },
    { ROW(train, weights, KEY_TEXT, ""),
      .doc = "Weights training starts from: backbone.h5, .pth or .safetensors; empty = from scratch." },
    { ROW(train, uncertain, KEY_CHOICE, "negative"), CHOICES("negative", "positive", "ignore"),
      .doc = "Several labels per image: how labels marked uncertain count." },
    { ROW(train, blank, KEY_CHOICE, "negative"), CHOICES("negative", "ignore"),
      .doc = "Several labels per image: how labels left blank count." },
    { ROW(train, checkpoint_minutes, KEY_INT, "30"), BETWEEN(1, 10080), .unit = "minutes", .neutral = true,
      .doc = "Time between checkpoints." },
    { ROW(train, check_every, KEY_INT, "100"), BETWEEN(0, 1000000), .unit = "steps", .neutral = true,
      .doc = "Steps between comparisons of the weights over ranks; 0 = never." },

    { ROW(embed, batch, KEY_INT, "16"), BETWEEN(1, 4096), .unit = "images",
      .doc = "Images of one call of the network on a rank." },
    { ROW(embed, precision, KEY_CHOICE, "fp32"), CHOICES("fp32", "bf16"),
      .doc = "Activations and operands of the network for representations and validation." },

    { ROW(sae, variant, KEY_CHOICE, "relu"), CHOICES("relu", "topk", "batchtopk", "jumprelu", "matryoshka"),
      .doc = "Which neurons are active: relu as published, or as docs/methods/sae.md says." },
    { ROW(sae, expansion, KEY_INT, "8"), BETWEEN(1, 1024),
      .doc = "Neurons per dimension of the representation." },
    { ROW(sae, k, KEY_INT, "64"), BETWEEN(1, 1000000), .unit = "neurons",
      .doc = "topk: active neurons of an image; batchtopk, matryoshka: their mean over a batch." },
    { ROW(sae, l1, KEY_REAL, "3e-5"), FROM(0),
      .doc = "relu: weight of the sparsity penalty." },
    { ROW(sae, l0, KEY_REAL, "1e-3"), FROM(0),
      .doc = "jumprelu: weight of the number of active neurons." },
    { ROW(sae, init, KEY_CHOICE, "auto"), CHOICES("auto", "published", "tied", "data"),
      .doc = "First weights: auto: published for relu, else tied (encoder = decoder); data: from images." },
    { ROW(sae, bias, KEY_CHOICE, "auto"), CHOICES("auto", "zero", "median"),
      .doc = "First bias: auto is zero for relu as published, the geometric median of the images for the others." },
    { ROW(sae, warmup, KEY_REAL, "0"), BETWEEN(0, 1),
      .doc = "Share of the steps in which the learning rate rises from 0." },
    { ROW(sae, decay, KEY_REAL, "0"), BETWEEN(0, 1),
      .doc = "Share of the steps, at the end, in which the learning rate falls to 0." },
    { ROW(sae, l1_warmup, KEY_REAL, "0"), BETWEEN(0, 1),
      .doc = "Share of the steps in which the sparsity penalty rises from 0." },
    { ROW(sae, clip, KEY_REAL, "0"), FROM(0),
      .doc = "Largest norm of a gradient; longer ones are scaled back; 0 = any." },
    { ROW(sae, aux_weight, KEY_REAL, "0.03125"), FROM(0),
      .doc = "topk, batchtopk, matryoshka: weight of the auxiliary loss of dead neurons; 0 = none." },
    { ROW(sae, aux_k, KEY_INT, "256"), BETWEEN(1, 1000000), .unit = "neurons",
      .doc = "Dead neurons per image that the auxiliary loss makes explain what is left of it." },
    { ROW(sae, dead_after, KEY_INT, "2"), BETWEEN(1, 1000000), .unit = "epochs",
      .doc = "Epochs without firing after which a neuron is dead for the auxiliary loss." },
    { ROW(sae, prefixes, KEY_INT, "5"), BETWEEN(1, 12),
      .doc = "matryoshka: the first K, K/2, K/4, ... neurons explain an image each; how many of these prefixes." },
    { ROW(sae, threshold_decay, KEY_REAL, "0.99"), FROM_BELOW(0, 1),
      .doc = "batchtopk, matryoshka: decay of the moving average that becomes the threshold after training." },
    { ROW(sae, threshold, KEY_REAL, "1e-3"), ABOVE(0),
      .doc = "jumprelu: thresholds at the start." },
    { ROW(sae, bandwidth, KEY_REAL, "1e-3"), ABOVE(0),
      .doc = "jumprelu: width of the window of the straight-through estimator." },
    { ROW(sae, lr, KEY_REAL, "5e-4"), ABOVE(0),
      .doc = "Learning rate of Adam." },
    { ROW(sae, batch, KEY_INT, "4096"), BETWEEN(1, 1048576), .unit = "images",
      .doc = "Representations of a step over all ranks together." },
    { ROW(sae, epochs, KEY_INT, "200"), BETWEEN(1, 1000000), .unit = "epochs",
      .doc = "Passes over the training split." },
    { ROW(sae, resample_every, KEY_INT, "10"), BETWEEN(0, 1000000), .unit = "epochs",
      .doc = "Neurons that never fired since the last time are restarted; 0 = never." },
    { ROW(sae, resample_scale, KEY_REAL, "0.2"), ABOVE(0),
      .doc = "Encoder norm of a restarted neuron, relative to the mean of the alive ones; many share it." },
    { ROW(sae, shards, KEY_INT, "8"), SHARDS,
      .doc = "Virtual shards of a batch: at least as many as ranks." },
    { ROW(sae, top, KEY_INT, "16"), BETWEEN(1, 1024), .unit = "images",
      .doc = "Most activating images kept for each neuron." },

    { ROW(name, top, KEY_INT, "16"), BETWEEN(1, 1024), .unit = "images",
      .doc = "Images of a neuron that its name is made from and its contact sheet shows." },
    { ROW(name, endpoint, KEY_TEXT, ""),
      .doc = "Address of a naming service; empty = names from labels and attributes, offline." },
    { ROW(name, sheets, KEY_INT, "0"), BETWEEN(0, 1000000), .unit = "sheets",
      .doc = "Contact sheets written, most used neurons first; 0 = all alive neurons." },

    { ROW(cav, source, KEY_CHOICE, "sae"), CHOICES("sae"),
      .doc = "Where concepts come from." },
    { ROW(cav, method, KEY_CHOICE, "svm"), CHOICES("svm"),
      .doc = "Linear separator whose normal is the vector." },
    { ROW(cav, positives, KEY_INT, "100"), BETWEEN(2, 100000), .unit = "images",
      .doc = "Most activating training images of a neuron taken as examples." },
    { ROW(cav, negatives, KEY_INT, "100"), BETWEEN(2, 100000), .unit = "images",
      .doc = "Training images that do not activate it taken as counter-examples." },
    { ROW(cav, c, KEY_REAL, "1"), ABOVE(0),
      .doc = "Cost of the support vector machine." },
    { ROW(cav, holdout, KEY_REAL, "0.2"), ABOVE_UP_TO(0, 0.9),
      .doc = "Share of the examples held out to measure a vector's accuracy." },
    { ROW(cav, random, KEY_INT, "50"), BETWEEN(0, 100000), .unit = "directions",
      .doc = "Random directions that p-values compare with; 0 = no p-values." },

    { ROW(select, count, KEY_INT, "800"), BETWEEN(1, 1000000), .unit = "concepts", .flag = "--num_concept",
      .doc = "Concepts chosen." },
    { ROW(select, objective, KEY_CHOICE, "facility_location"), CHOICES("facility_location"),
      .doc = "What the choice maximises." },
    { ROW(select, similarity, KEY_CHOICE, "cosine"), CHOICES("cosine", "features"),
      .doc = "cosine: squared cosine, as the published text means; features: what its script really runs." },
    { ROW(select, optimizer, KEY_CHOICE, "lazy"), CHOICES("lazy", "naive"),
      .doc = "Greedy algorithm; both make the same choice." },
    { ROW(select, min_accuracy, KEY_REAL, "0"), BETWEEN(0, 1),
      .doc = "Vectors with a smaller held-out accuracy are no candidates." },

    { ROW(decompose, nonzeros, KEY_INT, "160"), BETWEEN(1, 100000), .unit = "concepts",
      .doc = "Concepts per image." },
    { ROW(decompose, intercept, KEY_BOOL, "true"),
      .doc = "Centre concepts and representation over the dimensions, as the published script does." },

    { ROW(classify, input, KEY_CHOICE, "reconstruction"), CHOICES("reconstruction", "codes"),
      .doc = "The head sees the representation rebuilt from concepts, or the codes." },
    { ROW(classify, search, KEY_CHOICE, "published"), CHOICES("published", "fixed"),
      .doc = "C by the published search on the validation split, or classify.c." },
    { ROW(classify, c, KEY_REAL, "1"), ABOVE(0),
      .doc = "Inverse strength of the L2 penalty, for search: fixed." },
    { ROW(classify, max_iter, KEY_INT, "1000"), BETWEEN(1, 1000000), .unit = "iterations",
      .doc = "Most iterations of L-BFGS." },
    { ROW(classify, bootstrap, KEY_INT, "1000"), BETWEEN(0, 100000), .unit = "replicates",
      .doc = "Bootstrap replicates behind the intervals; 0 = no intervals." },
    { ROW(classify, controls, KEY_INT, "3"), BETWEEN(0, 1000), .unit = "trials",
      .doc = "Repetitions of the control with random concepts; 0 = none." },

    { ROW(explain, split, KEY_CHOICE, "test"), CHOICES("test", "val", "train"),
      .doc = "Images shown on the report page." },
    { ROW(explain, top, KEY_INT, "5"), BETWEEN(1, 1000), .unit = "concepts",
      .doc = "Concepts shown per image." },
    { ROW(explain, images, KEY_INT, "24"), BETWEEN(1, 10000), .unit = "images",
      .doc = "Images on the report page." },
};
/* clang-format on */

const struct key *config_keys(size_t *count)
{
    *count = sizeof keys / sizeof *keys;
    return keys;
}

const struct section *config_sections(size_t *count)
{
    *count = sizeof sections / sizeof *sections;
    return sections;
}
