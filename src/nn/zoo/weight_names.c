/* Names of parameters in weight files: torchvision's own (its earlier ones too), timm's and Hugging Face's, as far as
 * they differ by name alone. A rule replaces a piece of torchvision's name wherever it stands, with ^ at its start
 * only; rules run in the order of the table. */
#include "nn/weight_names.h"

#include <string.h>

#include "base/arena.h"
#include "base/text.h"

static const char *const nothing[] = { NULL };

/* clang-format off */
static const char *const densenet_early[] = { /* as in the published densenet121-a639ec97.pth */
    ".norm1.", ".norm.1.", ".conv1.", ".conv.1.", ".norm2.", ".norm.2.", ".conv2.", ".conv.2.", NULL };
static const char *const vit_early[] = { /* MLPs of earlier versions */
    ".mlp.0.", ".mlp.linear_1.", ".mlp.3.", ".mlp.linear_2.", NULL };
static const char *const convnext_timm[] = {
    "^features.0.0.", "stem.0.", "^features.0.1.", "stem.1.",
    "^features.1.", "stages.0.blocks.", "^features.2.", "stages.1.downsample.",
    "^features.3.", "stages.1.blocks.", "^features.4.", "stages.2.downsample.",
    "^features.5.", "stages.2.blocks.", "^features.6.", "stages.3.downsample.",
    "^features.7.", "stages.3.blocks.",
    ".block.0.", ".conv_dw.", ".block.2.", ".norm.", ".block.3.", ".mlp.fc1.", ".block.5.", ".mlp.fc2.",
    ".layer_scale", ".gamma", "^classifier.0.", "head.norm.", "^classifier.2.", "head.fc.", NULL };
static const char *const convnext_face[] = {
    "^classifier.0.", "convnext.layernorm.", "^classifier.2.", "classifier.",
    "^features.0.0.", "convnext.embeddings.patch_embeddings.", "^features.0.1.", "convnext.embeddings.layernorm.",
    "^features.1.", "convnext.encoder.stages.0.layers.",
    "^features.2.", "convnext.encoder.stages.1.downsampling_layer.",
    "^features.3.", "convnext.encoder.stages.1.layers.",
    "^features.4.", "convnext.encoder.stages.2.downsampling_layer.",
    "^features.5.", "convnext.encoder.stages.2.layers.",
    "^features.6.", "convnext.encoder.stages.3.downsampling_layer.",
    "^features.7.", "convnext.encoder.stages.3.layers.",
    ".block.0.", ".dwconv.", ".block.2.", ".layernorm.", ".block.3.", ".pwconv1.", ".block.5.", ".pwconv2.",
    ".layer_scale", ".layer_scale_parameter", NULL };
static const char *const vit_timm[] = {
    "^class_token", "cls_token", "^encoder.pos_embedding", "pos_embed", "^conv_proj.", "patch_embed.proj.",
    "^encoder.layers.encoder_layer_", "blocks.", "^encoder.ln.", "norm.", "^heads.head.", "head.",
    ".ln_1.", ".norm1.", ".ln_2.", ".norm2.", ".self_attention.in_proj_", ".attn.qkv.",
    ".self_attention.out_proj.", ".attn.proj.", ".mlp.0.", ".mlp.fc1.", ".mlp.3.", ".mlp.fc2.", NULL };
static const char *const vit_face[] = {
    "^class_token", "vit.embeddings.cls_token", "^encoder.pos_embedding", "vit.embeddings.position_embeddings",
    "^conv_proj.", "vit.embeddings.patch_embeddings.projection.", "^encoder.ln.", "vit.layernorm.",
    "^heads.head.", "classifier.", "^encoder.layers.encoder_layer_", "vit.encoder.layer.",
    ".ln_1.", ".layernorm_before.", ".ln_2.", ".layernorm_after.",
    ".self_attention.in_proj_", ".attention.attention.{query,key,value}.",
    ".self_attention.out_proj.", ".attention.output.dense.",
    ".mlp.0.", ".intermediate.dense.", ".mlp.3.", ".output.dense.", NULL };
static const char *const resnet_face[] = {
    "^conv1.", "resnet.embedder.embedder.convolution.", "^bn1.", "resnet.embedder.embedder.normalization.",
    "^fc.", "classifier.1.",
    "^layer1.", "resnet.encoder.stages.0.layers.", "^layer2.", "resnet.encoder.stages.1.layers.",
    "^layer3.", "resnet.encoder.stages.2.layers.", "^layer4.", "resnet.encoder.stages.3.layers.",
    ".downsample.0.", ".shortcut.convolution.", ".downsample.1.", ".shortcut.normalization.",
    ".conv1.", ".layer.0.convolution.", ".bn1.", ".layer.0.normalization.",
    ".conv2.", ".layer.1.convolution.", ".bn2.", ".layer.1.normalization.",
    ".conv3.", ".layer.2.convolution.", ".bn3.", ".layer.2.normalization.", NULL };
static const char *const pooler[] = { "vit.pooler.", NULL };

static const struct naming namings[] = {
    { "torchvision", "", nothing, nothing }, /* timm names resnet and densenet the same */
    { "torchvision (early)", "densenet", densenet_early, nothing },
    { "torchvision (early)", "vit", vit_early, nothing },
    { "timm", "convnext", convnext_timm, nothing },
    { "timm", "vit", vit_timm, nothing },
    { "Hugging Face", "convnext", convnext_face, nothing },
    { "Hugging Face", "vit", vit_face, pooler },
    { "Hugging Face", "resnet", resnet_face, nothing },
};

static const struct known_weights known[] = { /* docs/weights.md says where they are */
    { "resnet18", "resnet18-f37072fd.pth", "IMAGENET1K_V1" },
    { "resnet18", "resnet18-5c106cde.pth", "IMAGENET1K_V1, until torchvision 0.9" },
    { "resnet50", "resnet50-0676ba61.pth", "IMAGENET1K_V1" },
    { "resnet50", "resnet50-19c8e357.pth", "IMAGENET1K_V1, until torchvision 0.9" },
    { "resnet50", "resnet50-11ad3fa6.pth", "IMAGENET1K_V2" },
    { "densenet121", "densenet121-a639ec97.pth", "IMAGENET1K_V1" },
    { "convnext_tiny", "convnext_tiny-983f1562.pth", "IMAGENET1K_V1" },
    { "convnext_base", "convnext_base-6075fbad.pth", "IMAGENET1K_V1" },
    { "vit_b_16", "vit_b_16-c867db91.pth", "IMAGENET1K_V1" },
    { "vit_b_16", "vit_b_16_swag-9ac1b537.pth", "IMAGENET1K_SWAG_E2E_V1, 384 pixels" },
    { "vit_b_16", "vit_b_16_lc_swag-4e70ced5.pth", "IMAGENET1K_SWAG_LINEAR_V1" },
};
/* clang-format on */

enum { NAMINGS = sizeof namings / sizeof namings[0], KNOWN = sizeof known / sizeof known[0], DIGITS = 8 };

const struct naming *naming_of(const char *backbone, int index)
{
    for (int i = 0; i < NAMINGS; i++)
        if (text_starts(backbone, namings[i].family) && index-- == 0)
            return &namings[i];
    return NULL;
}

/* `name` with one rule applied. */
static const char *replace(struct arena *arena, const char *name, const char *pattern, const char *by)
{
    bool at_start = *pattern == '^';
    pattern += at_start;
    const char *at = at_start ? (text_starts(name, pattern) ? name : NULL) : strstr(name, pattern);
    return at ? arena_printf(arena, "%.*s%s%s", (int)(at - name), name, by, at + strlen(pattern)) : name;
}

const char *naming_apply(struct arena *arena, const struct naming *naming, const char *name)
{
    for (const char *const *rule = naming->rules; *rule; rule += 2)
        name = replace(arena, name, rule[0], rule[1]);
    return name;
}

bool naming_ignores(const struct naming *naming, const char *name)
{
    for (const char *const *start = naming->ignored; *start; start++)
        if (text_starts(name, *start))
            return true;
    return text_ends(name, "num_batches_tracked"); /* counts steps; nothing here uses it */
}

bool naming_is_head(const char *name, const char *last)
{
    return strncmp(name, last, (size_t)(strrchr(last, '.') - last) + 1) == 0;
}

const char *known_weights_prefix(const struct known_weights *weights)
{
    return strrchr(weights->file, '-') + 1;
}

const struct known_weights *known_weights_named(const char *file)
{
    for (int i = 0; i < KNOWN; i++)
        if (strcmp(known[i].file, file) == 0)
            return &known[i];
    return NULL;
}

const struct known_weights *known_weights_digest(const char *sha256)
{
    for (int i = 0; i < KNOWN; i++)
        if (strncmp(known_weights_prefix(&known[i]), sha256, DIGITS) == 0)
            return &known[i];
    return NULL;
}
