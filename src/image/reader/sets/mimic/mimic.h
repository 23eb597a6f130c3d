/* MIMIC-CXR-JPG inside its reader: the images that are listed, their labels, their reports. */
#ifndef IMAGE_READER_SETS_MIMIC_H
#define IMAGE_READER_SETS_MIMIC_H

#include "image/reader/reader.h"
#include "image/reader/sets/mimic/annotation.h"

struct mimic_image {
    const char *dicom;  /* id of the image, its file's stem */
    const char *path;   /* below root */
    const char *view;   /* ViewPosition, "" when it is not recorded, NULL when nobody says */
    const char *report; /* NULL when there is none */
    int64_t study, subject, line;
    uint8_t split;
};

/* A table "mimic-cxr-2.0.0-WHAT.csv.gz" of the download, path below root; NULL. */
const char *mimic_table(const struct reading *reading, const char *what);

/* States of *out's rows, whose studies and splits are those of `images`, from the tables that pack.labeler names (or
 * the one of pack.labels). Says which, and how many studies are not in it or have no label; false after reading_fail.
 * Images that get no labels at all - those of pack.labeler: radiologist whose study no radiologist read - are given up
 * before: mimic_labelled keeps the first *count of `images` that have some. */
struct mimic_labels;
struct mimic_labels *mimic_labels_open(struct reading *reading);
int64_t mimic_labelled(struct reading *reading, const struct mimic_labels *labels, struct mimic_image *images,
                       int64_t count);
bool mimic_labels_take(struct reading *reading, const struct mimic_labels *labels, struct manifest *out,
                       const struct mimic_image *images);

/* Fills in `report` of images without one from mimic-cxr-reports.zip or sNNNNNNNN.txt files below root, if there are
 * any; one text for all images of a study. False after reading_fail. */
bool mimic_reports(struct reading *reading, struct mimic_image *images, int64_t count);
/* annotation.json below root; *out is empty when there is none. */
bool mimic_annotation(struct reading *reading, struct annotation *out);
/* Groups, study, view, reports and their sections of *out, whose rows are `images` [rows]. */
bool mimic_finish(struct reading *reading, struct manifest *out, const struct mimic_image *images);

/* class2images_{train,val,test}.p with keys of 13 digits beside it: labels and splits as published. Are there any? */
bool mimic_has_published(const struct reading *reading);
bool mimic_read_published(struct reading *reading, struct manifest *out);

#endif
