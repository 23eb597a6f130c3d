/* A real head with its anatomical atlas, cut into small labelled images: the
 * demo corpus. Volumes: ch2 and AAL of the Debian package mricron-data. */
#ifndef IMAGE_ANATOMY_H
#define IMAGE_ANATOMY_H

#include <stdbool.h>
#include <stdint.h>

struct arena;

enum { ANATOMY_CLASSES = 8, ANATOMY_SIDE = 64, ANATOMY_REGIONS = 256 };
extern const char *const anatomy_class_names[ANATOMY_CLASSES];

struct anatomy {
    int nx, ny, nz;        /* x to the right, y to the front, z up */
    const uint8_t *head;   /* [nz x ny x nx] T1 intensity */
    const uint8_t *region; /* [nz x ny x nx] index of the atlas, 0 outside */
    const char *region_name[ANATOMY_REGIONS];
    int8_t region_class[ANATOMY_REGIONS]; /* -1: none */
};

/* Reads ch2.nii.gz, aal.nii.gz and aal.nii.txt from `folder`; owned by the arena. False with *why; *missing tells a
 * file that is not there from one that is wrong. Local. */
bool anatomy_read(struct arena *arena, struct anatomy *out, const char *folder, bool *missing, const char **why);

/* One image of the corpus: the class and the voxel its window is centred on. */
struct anatomy_sample {
    int split, class_index, x, y, z;
};
/* All images, in corpus order: split, class, then voxels sorted by (x, y, z) and taken at even distances. Owned by the
 * arena; *count is set. Local. */
struct anatomy_sample *anatomy_samples(struct arena *arena, const struct anatomy *anatomy, int64_t *count);

/* pixels [64 x 64]: the sagittal window around the sample, columns to the front, top row highest.
 * share [8]: part of the window's pixels in each class. */
void anatomy_window(uint8_t *pixels, double *share, const struct anatomy *anatomy, const struct anatomy_sample *sample);

#endif
