/* What published weight files call the parameters of a backbone, and which files are known (docs/weights.md). */
#ifndef NN_WEIGHT_NAMES_H
#define NN_WEIGHT_NAMES_H

#include <stdbool.h>

struct arena;

/* A way of naming: "torchvision", "timm", "Hugging Face", ... */
struct naming {
    const char *name;
    const char *family;         /* backbones whose name starts so */
    const char *const *rules;   /* pattern, replacement, ...: torchvision's name -> this one's; NULL at the end */
    const char *const *ignored; /* starts of names that have no counterpart and are not needed; NULL at the end */
};
/* Naming `index` of a backbone, the first is torchvision's; NULL behind the last. */
const struct naming *naming_of(const char *backbone, int index);
/* The name of torchvision's parameter `name`; "a.{q,k,v}.b" means three tensors joined along their first extent. */
const char *naming_apply(struct arena *arena, const struct naming *naming, const char *name);
bool naming_ignores(const struct naming *naming, const char *name);

/* Is `name` a parameter of the last layer, whose last parameter is `last` ("fc.bias")? */
bool naming_is_head(const char *name, const char *last);

/* torchvision's published files: the name carries the first 8 digits of the SHA-256. */
struct known_weights {
    const char *backbone;
    const char *file; /* "resnet18-f37072fd.pth" */
    const char *what; /* "IMAGENET1K_V1" */
};
/* By file name (without folder) or, when `sha256` is given, by its first digits; NULL when there is none. */
const struct known_weights *known_weights_named(const char *file);
const struct known_weights *known_weights_digest(const char *sha256);
/* The 8 digits in the file's name. */
const char *known_weights_prefix(const struct known_weights *known);

#endif
