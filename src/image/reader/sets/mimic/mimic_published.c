/* The published split of MIMIC-CXR: class2images files whose keys are 13 digits, one per label. The paths of the images
 * say patient and study; reports come from what lies beside them. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/mimic/mimic.h"

enum { HEAD_BYTES = 512 };

/* The first key of a pickle stands among its first bytes. */
bool mimic_has_published(const struct reading *reading)
{
    char head[HEAD_BYTES];
    size_t got = collection_head(reading, "class2images_train.p", head, sizeof head);
    for (size_t i = 0, run = 0; i < got; i++) {
        bool digit = head[i] == '0' || head[i] == '1';
        if (!digit && run == OBSERVATIONS)
            return true;
        run = digit ? run + 1 : 0;
    }
    return false;
}

/* "p10000032/" -> 10000032 at the letter; the place behind it, NULL when it is none. */
static const char *take_number(const char *at, char letter, int64_t *number)
{
    size_t digits = *at == letter ? strspn(at + 1, "0123456789") : 0;
    if (digits < 1 || digits > 18 || at[1 + digits] != '/')
        return NULL;
    *number = strtoll(at + 1, NULL, 10);
    return at + digits + 2;
}

/* ".../p10/p10000032/s50414267/DICOM.jpg" */
static bool parse_path(struct arena *arena, const char *path, struct mimic_image *image)
{
    for (const char *at = path; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
        const char *behind = take_number(at, 'p', &image->subject);
        if (behind && (behind = take_number(behind, 's', &image->study)) != NULL) {
            image->dicom = arena_printf(arena, "%.*s", (int)tree_stem_length(behind), behind);
            return true;
        }
    }
    return false;
}

static bool take_annotation(struct reading *reading, struct mimic_image *images, int64_t count)
{
    struct annotation found;
    int64_t without = 0;
    if (!mimic_annotation(reading, &found))
        return false;
    if (found.count == 0)
        return true;
    const char **ids = arena_array(reading->arena, const char *, found.count);
    for (int64_t i = 0; i < found.count; i++)
        ids[i] = found.list[i].id;
    struct text_index by_id = text_index(reading->arena, ids, found.count);
    for (int64_t i = 0; i < count; i++) {
        int64_t row = text_find(&by_id, images[i].dicom);
        images[i].report = row < 0 ? NULL : found.list[row].report;
        without += row < 0;
    }
    reading_note(reading, "annotation.json: reports of %lld images; labels and splits are those of class2images_*.p",
                 (long long)(count - without));
    return true;
}

/* Their labels and their choice of images cannot be had otherwise. */
static bool keys_fit(struct reading *reading)
{
    const struct pack_config *pack = reading->request->pack;
    const char *key = pack->labeler != LABELER_CHEXPERT       ? "pack.labeler"
                      : pack->no_finding                      ? "pack.no_finding"
                      : pack->views != VIEWS_ALL              ? "pack.views"
                      : pack->blank_views != BLANK_VIEWS_AUTO ? "pack.blank_views"
                      : collection_stated(reading)            ? "pack.labels"
                                                              : NULL;
    return !key ||
           reading_fail(reading, EXIT_BAD_CONFIG,
                        "%s: class2images_*.p fix the images and their labels\ntake them out of the folder to read the "
                        "tables of MIMIC-CXR-JPG, or leave the key at its default",
                        key);
}

bool mimic_read_published(struct reading *reading, struct manifest *out)
{
    if (!keys_fit(reading) || !reader_class2images.read(reading, out))
        return false;
    struct mimic_image *images = arena_array(reading->arena, struct mimic_image, out->rows + 1);
    for (int64_t i = 0; i < out->rows; i++)
        if (!parse_path(reading->arena, out->path[i], &images[i])) {
            reading_note(reading, "class2images_*.p: not every path names patient and study: no groups, no reports");
            return true;
        }
    return take_annotation(reading, images, out->rows) && mimic_reports(reading, images, out->rows) &&
           mimic_finish(reading, out, images);
}
