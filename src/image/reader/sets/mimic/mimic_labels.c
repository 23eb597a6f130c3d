/* Labels of MIMIC-CXR by study: those of a labeler for all, or for the test split those of radiologists. */
#include <string.h>

#include "base/arena.h"
#include "image/reader/sets/chest.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/mimic/mimic.h"

struct source {
    struct table table;
    struct chest chest;
    struct number_index by_study;
};
struct mimic_labels {
    const struct source *main, *test; /* of all images but those of `test`; of the test split. Either may be NULL */
};

static const struct source *open_source(struct reading *reading, const char *path)
{
    struct source *s = arena_array(reading->arena, struct source, 1);
    const struct table *t = &s->table;
    if (!reading_table(reading, &s->table, path))
        return NULL;
    int column = collection_column(reading, t, "study_id");
    if (column < 0 || !chest_columns(reading, &s->chest, t))
        return NULL;
    int64_t *studies = arena_array(reading->arena, int64_t, t->rows + 1);
    for (int64_t i = 0; i < t->rows; i++)
        if (!collection_whole(table_cell(t, i, column), &studies[i])) {
            reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: study_id is '%.80s'; expected a number", t->path,
                         (long long)t->line[i], table_cell(t, i, column));
            return NULL;
        }
    s->by_study = number_index(reading->arena, studies, t->rows);
    int64_t twice = number_repeated(&s->by_study);
    if (twice >= 0)
        reading_fail(reading, EXIT_BAD_DATA, "%s:%lld: the study of an earlier row; expected each study once", t->path,
                     (long long)t->line[twice]);
    return twice < 0 ? s : NULL;
}

static const char *word_of(const struct reading *reading)
{
    static const char *const words[] = {
        [LABELER_CHEXPERT] = "chexpert", [LABELER_NEGBIO] = "negbio", [LABELER_RADIOLOGIST] = "test-set-labeled"
    };
    return words[reading->request->pack->labeler];
}

/* What is missing, and what is there in its place. */
static void missing(struct reading *reading)
{
    bool radiologist = reading->request->pack->labeler == LABELER_RADIOLOGIST;
    const char *annotation = collection_file(reading, "annotation.json");
    const char *other = radiologist ? NULL : mimic_table(reading, "negbio");
    reading_fail(reading, EXIT_NO_INPUT, "%s: no labels: mimic-cxr-%s-%s.csv%s is missing%s%s\n%s",
                 reading->request->root, radiologist ? "2.1.0" : "2.0.0", word_of(reading), radiologist ? "" : ".gz",
                 annotation ? ", and annotation.json holds none" : "",
                 other ? arena_printf(reading->arena, "; %s is there", other) : "",
                 other ? "put the table into the folder, or set pack.labeler: negbio"
                       : "put the table of MIMIC-CXR-JPG into the folder, or name another by pack.labels");
}

struct mimic_labels *mimic_labels_open(struct reading *reading)
{
    struct mimic_labels *labels = arena_array(reading->arena, struct mimic_labels, 1);
    bool radiologist = reading->request->pack->labeler == LABELER_RADIOLOGIST;
    const char *stated = collection_stated(reading), *path = stated ? stated : mimic_table(reading, word_of(reading));
    if (!path) {
        missing(reading);
        return NULL;
    }
    if (radiologist && !stated) {
        labels->test = open_source(reading, path);
        path = mimic_table(reading, "chexpert");
        path = path ? path : mimic_table(reading, "negbio");
    }
    if (path && !reading->why)
        labels->main = open_source(reading, path);
    if (reading->why)
        return NULL;
    if (labels->test)
        reading_note(reading, "labels: of the test split %s, of train and val %s", labels->test->table.path,
                     labels->main ? labels->main->table.path : "none: their images are left out");
    else
        reading_note(reading, "labels: %s", labels->main->table.path);
    return labels;
}

static const struct source *source_of(const struct mimic_labels *labels, const struct mimic_image *image)
{
    return labels->test && image->split == SPLIT_TEST ? labels->test : labels->main;
}

int64_t mimic_labelled(struct reading *reading, const struct mimic_labels *labels, struct mimic_image *images,
                       int64_t count)
{
    int64_t kept = 0, unread = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct mimic_image image = images[i];
        const struct source *s = source_of(labels, &image);
        bool read = s && (s != labels->test || number_find(&s->by_study, image.study) >= 0);
        unread += s && !read;
        if (read)
            images[kept++] = image;
    }
    if (unread)
        reading_note(reading, "%lld test images are left out: no radiologist labelled their study", (long long)unread);
    return kept;
}

bool mimic_labels_take(struct reading *reading, const struct mimic_labels *labels, struct manifest *out,
                       const struct mimic_image *images)
{
    int64_t *studies = arena_array(reading->arena, int64_t, out->rows + 1), without = 0, blanks = 0;
    for (int64_t i = 0; i < out->rows; i++)
        studies[i] = images[i].study;
    struct number_index by_study = number_index(reading->arena, studies, out->rows);
    for (int64_t k = 0; k < by_study.count; k++) {
        const int64_t i = by_study.list[k].row;
        const struct source *s = source_of(labels, &images[i]);
        bool first = k == 0 || by_study.list[k - 1].number != studies[i], blank = false;
        int64_t row = number_find(&s->by_study, studies[i]);
        if (row >= 0 && !chest_states(reading, &s->chest, row, out->labels + i * out->classes, &blank))
            return false;
        without += first && row < 0;
        blanks += first && blank;
    }
    if (without)
        reading_note(reading, "%lld studies have no row in the table of labels; all their labels are blank",
                     (long long)without);
    if (blanks)
        reading_note(reading, "%lld studies are blank in all observations of their row", (long long)blanks);
    return true;
}
