/* The demo corpus as arrays: volumes by libnifti, sampling and windows. Files
 * and tables are written by the stage (src/stage/corpus/demo_corpus.c). */
#include "image/anatomy.h"

#include <stdlib.h>
#include <string.h>

#include <nifti1_io.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "image/corpus.h"

enum { HALF = ANATOMY_SIDE / 2, MIDLINE = 90, FIRST_CLASS_CODE = 2 };

/* In the order of the atlas' codes: class = code / 1000 - 2. */
const char *const anatomy_class_names[ANATOMY_CLASSES] = { "frontal",  "insula",    "limbic",   "occipital",
                                                           "parietal", "deep_grey", "temporal", "cerebellum" };
static const int per_class[SPLITS] = { 200, 40, 60 };

static const uint8_t *read_volume(struct arena *arena, const char *path, int dims[3], const char **why);
static bool read_regions(struct arena *arena, struct anatomy *out, const char *path, const char **why);

bool anatomy_read(struct arena *arena, struct anatomy *out, const char *folder, bool *missing, const char **why)
{
    static const char *const names[3] = { "ch2.nii.gz", "aal.nii.gz", "aal.nii.txt" };
    int head[3], atlas[3];
    *missing = false;
    for (int i = 0; i < 3; i++)
        if (!file_exists(path_join(arena, folder, names[i]))) {
            *missing = true;
            *why = arena_printf(arena, "%s/%s: missing", folder, names[i]);
            return false;
        }
    *out = (struct anatomy){ 0 };
    out->head = read_volume(arena, path_join(arena, folder, names[0]), head, why);
    out->region = out->head ? read_volume(arena, path_join(arena, folder, names[1]), atlas, why) : NULL;
    if (!out->region)
        return false;
    if (memcmp(head, atlas, sizeof head) != 0) {
        *why = arena_printf(arena, "%s: the atlas and the head differ in size", folder);
        return false;
    }
    out->nx = head[0];
    out->ny = head[1];
    out->nz = head[2];
    return read_regions(arena, out, path_join(arena, folder, names[2]), why);
}

static const uint8_t *read_volume(struct arena *arena, const char *path, int dims[3], const char **why)
{
    nifti_set_debug_level(0);
    nifti_image *image = nifti_image_read(path, 1);
    uint8_t *voxels = NULL;
    if (!image || !image->data) {
        *why = arena_printf(arena, "%s: not a readable NIfTI-1 volume", path);
    } else if (image->datatype != NIFTI_TYPE_UINT8 || image->ndim < 3 || image->nx < 1 || image->ny < 1 ||
               image->nz < 1 || image->nvox != (size_t)image->nx * (size_t)image->ny * (size_t)image->nz) {
        *why = arena_printf(arena, "%s: expected one volume of 8-bit voxels, found data type %d with %d dimensions",
                            path, image->datatype, image->ndim);
    } else {
        dims[0] = image->nx;
        dims[1] = image->ny;
        dims[2] = image->nz;
        voxels = arena_take_raw(arena, image->nvox, 1);
        memcpy(voxels, image->data, image->nvox);
    }
    nifti_image_free(image);
    return voxels;
}

/* Lines "index name code". */
static bool read_regions(struct arena *arena, struct anatomy *out, const char *path, const char **why)
{
    size_t size;
    char *at = file_read(arena, path, 1 << 20, &size, why);
    memset(out->region_class, -1, sizeof out->region_class);
    if (!at)
        return false;
    for (int number = 1; *at; number++) {
        char *line = at, *index, *name, *code, *rest;
        at += strcspn(at, "\n");
        if (*at)
            *at++ = '\0';
        index = strtok_r(line, " \t\r", &rest);
        name = strtok_r(NULL, " \t\r", &rest);
        code = strtok_r(NULL, " \t\r", &rest);
        if (!index)
            continue;
        long i = strtol(index, NULL, 10), c = code ? strtol(code, NULL, 10) / 1000 - FIRST_CLASS_CODE : -1;
        if (i < 1 || i >= ANATOMY_REGIONS || c < 0 || c >= ANATOMY_CLASSES) {
            *why = arena_printf(arena, "%s:%d: expected 'index name code' with a code of 2000 to 9999", path, number);
            return false;
        }
        out->region_name[i] = name;
        out->region_class[i] = (int8_t)c;
    }
    return true;
}

static int64_t voxel(const struct anatomy *a, int x, int y, int z)
{
    return x + (int64_t)a->nx * (y + (int64_t)a->ny * z);
}

/* The left half trains; the right half is cut into 8 mm slabs, every fourth of which validates. -1: the midline. */
static int split_of(int x)
{
    int world = x - MIDLINE;
    if (world >= -66 && world <= -4)
        return SPLIT_TRAIN;
    if (world >= 4 && world <= 66)
        return world / 8 % 4 == 0 ? SPLIT_VAL : SPLIT_TEST;
    return -1;
}

/* Candidates of one split and class in (x, y, z) order: voxels with even y and z. `out` NULL: only counts them. */
static int64_t candidates(struct anatomy_sample *out, const struct anatomy *a, int split, int class_index)
{
    int64_t count = 0;
    for (int x = 0; x < a->nx; x++) {
        if (split_of(x) != split)
            continue;
        for (int y = 0; y < a->ny; y += 2)
            for (int z = 0; z < a->nz; z += 2)
                if (a->region_class[a->region[voxel(a, x, y, z)]] == class_index) {
                    if (out)
                        out[count] = (struct anatomy_sample){ split, class_index, x, y, z };
                    count++;
                }
    }
    return count;
}

struct anatomy_sample *anatomy_samples(struct arena *arena, const struct anatomy *a, int64_t *count)
{
    int64_t most = ANATOMY_CLASSES * (per_class[0] + per_class[1] + per_class[2]);
    struct anatomy_sample *samples = arena_array(arena, struct anatomy_sample, most);
    *count = 0;
    for (int split = 0; split < SPLITS; split++)
        for (int k = 0; k < ANATOMY_CLASSES; k++) {
            int64_t n = candidates(NULL, a, split, k), want = per_class[split];
            struct arena_mark mark = arena_mark(arena);
            struct anatomy_sample *all = arena_array(arena, struct anatomy_sample, n + 1);
            candidates(all, a, split, k);
            for (int64_t t = 0; t < want && n >= want; t++)
                samples[(*count)++] = all[(2 * t + 1) * n / (2 * want)];
            arena_release(arena, mark);
        }
    return samples;
}

void anatomy_window(uint8_t *pixels, double *share, const struct anatomy *a, const struct anatomy_sample *sample)
{
    int hits[ANATOMY_CLASSES] = { 0 };
    for (int row = 0; row < ANATOMY_SIDE; row++)
        for (int column = 0; column < ANATOMY_SIDE; column++) {
            int y = sample->y - HALF + column, z = sample->z + HALF - 1 - row;
            uint8_t *pixel = &pixels[row * ANATOMY_SIDE + column];
            *pixel = 0;
            if (y < 0 || y >= a->ny || z < 0 || z >= a->nz)
                continue;
            int64_t at = voxel(a, sample->x, y, z);
            int value = a->head[at] * 3 / 2, k = a->region_class[a->region[at]];
            *pixel = (uint8_t)(value > 255 ? 255 : value);
            if (k >= 0)
                hits[k]++;
        }
    for (int k = 0; k < ANATOMY_CLASSES; k++)
        share[k] = hits[k] / (double)(ANATOMY_SIDE * ANATOMY_SIDE);
}
