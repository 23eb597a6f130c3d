/* Reports of MIMIC-CXR: files/p10/p10000032/s50414267.txt, in mimic-cxr-reports.zip or unpacked. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/sets/collection.h"
#include "image/reader/sets/mimic/mimic.h"
#include "store/text_archive.h"

enum { REPORT_LIMIT = 1 << 20 };

/* Where the reports of the studies are: an archive, or files below root by study. */
struct shelf {
    const char *name;
    struct text_archive *archive;
    const char *prefix; /* of the archive's members */
    struct number_index files;
    const char **file; /* [files.count] paths below root */
};

/* "s50414267.txt" -> 50414267 */
static bool study_of(const char *path, int64_t *study)
{
    const char *name = collection_name(path);
    size_t digits = strspn(name + (*name == 's'), "0123456789");
    if (*name != 's' || digits < 1 || digits > 18 || strcmp(name + 1 + digits, ".txt") != 0)
        return false;
    *study = strtoll(name + 1, NULL, 10);
    return true;
}

static void find_files(struct reading *reading, struct shelf *shelf)
{
    const struct tree *tree = reading->tree;
    int64_t *studies = arena_array(reading->arena, int64_t, tree->others + 1), count = 0;
    shelf->file = arena_array(reading->arena, const char *, tree->others + 1);
    for (int64_t i = 0; i < tree->others; i++)
        if (study_of(tree->other[i], &studies[count]))
            shelf->file[count++] = tree->other[i];
    shelf->files = number_index(reading->arena, studies, count);
}

static bool open_shelf(struct reading *reading, struct shelf *shelf)
{
    const char *path = collection_file(reading, "mimic-cxr-reports.zip"), *why = NULL;
    *shelf = (struct shelf){ .name = path, .prefix = "files/" };
    find_files(reading, shelf);
    if (!path || shelf->files.count)
        return true;
    shelf->archive = text_archive_open(reading->arena, path, reading_input(reading, path), &why);
    return shelf->archive || reading_fail(reading, EXIT_BAD_DATA, "%s", why);
}

/* "files/p10/p10000032/s50414267.txt"; NULL when the archive has no such member under the folders it may have. */
static const char *member_of(struct arena *arena, const struct shelf *shelf, const struct mimic_image *image)
{
    static const char *const folders[] = { "files/", "", "mimic-cxr-reports/files/", "mimic-cxr-reports/" };
    const char *subject = arena_printf(arena, "%lld", (long long)image->subject);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *member =
            arena_printf(arena, "%sp%.2s/p%s/s%lld.txt", folders[i], subject, subject, (long long)image->study);
        if (text_archive_has(shelf->archive, member))
            return member;
    }
    return NULL;
}

/* *text is NULL when the study has none; false after reading_fail. */
static bool read_one(struct reading *reading, const struct shelf *shelf, const struct mimic_image *image,
                     const char **text)
{
    const char *why = NULL;
    size_t size;
    *text = NULL;
    if (shelf->archive) {
        const char *member = member_of(reading->arena, shelf, image);
        if (member)
            *text = text_archive_read(reading->arena, shelf->archive, member, REPORT_LIMIT, &why);
    } else {
        int64_t file = number_find(&shelf->files, image->study);
        if (file >= 0)
            *text = (const char *)manifest_open(reading->arena, reading->tree->root, shelf->file[file], REPORT_LIMIT,
                                                &size, &why);
        if (*text)
            *text = arena_printf(reading->arena, "%.*s", (int)size, *text);
        else if (why)
            why = arena_printf(reading->arena, "%s: %s", shelf->file[file], why);
    }
    return !why || reading_fail(reading, EXIT_BAD_DATA, "%s", why);
}

static bool read_all(struct reading *reading, const struct shelf *shelf, struct mimic_image *images, int64_t count)
{
    int64_t *studies = arena_array(reading->arena, int64_t, count + 1), missing = 0, texts = 0;
    for (int64_t i = 0; i < count; i++)
        studies[i] = images[i].study;
    struct number_index by_study = number_index(reading->arena, studies, count);
    const char *text = NULL;
    for (int64_t k = 0; k < count; k++) {
        struct mimic_image *image = &images[by_study.list[k].row];
        bool first = k == 0 || by_study.list[k - 1].number != image->study;
        if (first && !read_one(reading, shelf, image, &text))
            return false;
        texts += first && text;
        missing += first && !text;
        image->report = image->report ? image->report : text;
    }
    reading_note(reading, "reports of %lld studies from %s", (long long)texts,
                 shelf->archive ? shelf->name : "the .txt files of the studies");
    if (missing)
        reading_note(reading, "%lld studies have no report there", (long long)missing);
    return true;
}

bool mimic_reports(struct reading *reading, struct mimic_image *images, int64_t count)
{
    struct shelf shelf;
    bool wanted = false;
    for (int64_t i = 0; i < count; i++)
        wanted |= images[i].report == NULL;
    if (!wanted)
        return true;
    if (!open_shelf(reading, &shelf))
        return false;
    bool fine = (!shelf.archive && shelf.files.count == 0) || read_all(reading, &shelf, images, count);
    if (shelf.archive)
        text_archive_close(shelf.archive);
    return fine;
}
