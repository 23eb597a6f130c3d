/* What must hold of every manifest, whoever read it. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/arena.h"
#include "base/file.h"
#include "image/reader/reader.h"

/* One text for each image: its path, with array and number when it lies in one. */
static const char **places(struct arena *arena, const struct manifest *m)
{
    if (!m->member)
        return m->path;
    const char **place = arena_array(arena, const char *, m->rows + 1);
    for (int64_t i = 0; i < m->rows; i++)
        place[i] = m->member[i] ? arena_printf(arena, "%s\n%s\n%lld", m->path[i], m->member[i], (long long)m->index[i])
                                : m->path[i];
    return place;
}

/* ---- names and texts ---- */

bool manifest_is_text(const char *text)
{
    utf8proc_int32_t point;
    for (utf8proc_ssize_t length; *text; text += length)
        if ((length = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &point)) <= 0)
            return false;
    return true;
}

const char *manifest_escaped(struct arena *arena, const char *name)
{
    struct text out = text_new(arena);
    utf8proc_int32_t point;
    for (utf8proc_ssize_t length; *name; name += length) {
        length = utf8proc_iterate((const utf8proc_uint8_t *)name, -1, &point);
        bool bad = length <= 0;
        length = bad ? 1 : length;
        static const char special[] = "\t\n\r\\", letter[] = "tnr\\";
        const char *at = bad ? NULL : strchr(special, *name);
        if (at)
            text_add(&out, "\\%c", letter[at - special]);
        else if (bad || point < 0x20 || point == 0x7f)
            text_add(&out, "\\x%02x", (unsigned char)*name);
        else
            text_add_bytes(&out, name, (size_t)length);
    }
    return out.data;
}

/* Letters of one case and one form. */
static const char *folded(struct arena *arena, const char *text)
{
    utf8proc_ssize_t bytes = (utf8proc_ssize_t)strlen(text), most = 8 * bytes + 8;
    const utf8proc_option_t options = UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_STABLE | UTF8PROC_CASEFOLD;
    utf8proc_int32_t *points = arena_array(arena, utf8proc_int32_t, most);
    utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)text, bytes, points, most - 1, options);
    return count < 0 || count >= most || utf8proc_reencode(points, count, options) < 0 ? text : (const char *)points;
}

/* Two classes whose names differ only in case are one class, written in two ways. */
static bool check_classes(struct reading *reading, const struct manifest *out)
{
    struct arena *arena = reading->arena;
    const char **plain = arena_array(arena, const char *, out->classes + 1);
    for (int k = 0; k < out->classes; k++) {
        if (!manifest_is_text(out->class_names[k]))
            return reading_fail(reading, EXIT_BAD_DATA, "%s: the name of class '%s' is not UTF-8", out->source,
                                manifest_escaped(arena, out->class_names[k]));
        plain[k] = folded(arena, out->class_names[k]);
    }
    const struct text_index classes = text_index(arena, plain, out->classes);
    const int64_t again = text_repeated(&classes);
    if (again >= 0)
        return reading_fail(reading, EXIT_BAD_DATA,
                            "%s: classes '%.80s' and '%.80s' differ only in case or in the form of letters\n"
                            "write the name in one way",
                            out->source, out->class_names[text_find(&classes, plain[again])], out->class_names[again]);
    if (out->classes == 1 && !out->multi_label)
        reading_note(reading, "%s: one class only, '%s': there is nothing to tell apart", out->source,
                     out->class_names[0]);
    return true;
}

/* A path that is no text is a bad file, not a bad manifest: manifest_open says so. */
static bool check_texts(struct reading *reading, const struct manifest *out)
{
    for (int64_t i = 0; i < out->rows; i++) {
        bool id = out->id == out->path || manifest_is_text(out->id[i]);
        if (!id || (out->report && !manifest_is_text(out->report[i])))
            return reading_fail(reading, EXIT_BAD_DATA, "%s: %s is not UTF-8\nsave it as UTF-8",
                                manifest_place(reading->arena, out, i), id ? "the report" : "the id");
    }
    return true;
}

/* What must hold whatever the source: rows, paths below the root, images and ids once. */
bool manifest_check(struct reading *reading, struct manifest *out)
{
    struct arena *arena = reading->arena;
    if (out->rows == 0)
        return reading_fail(reading, EXIT_NO_INPUT, "%s: no images\ndocs/data.md says which folders are read",
                            out->source);
    for (int64_t i = 0; i < out->rows; i++)
        if (!path_is_below(out->path[i]) || strlen(out->path[i]) >= PATH_MAX / 2)
            return reading_fail(reading, EXIT_BAD_DATA,
                                "%s: the path leaves the data folder, is empty or too long: '%.200s'; expected a path "
                                "below root without '..'",
                                manifest_place(arena, out, i), manifest_escaped(arena, out->path[i]));
    const char **lists[2] = { places(arena, out), out->id };
    for (int k = 0; k < (out->id == out->path ? 1 : 2); k++) {
        struct arena_mark mark = arena_mark(arena);
        const struct text_index names = text_index(arena, lists[k], out->rows);
        int64_t row = text_repeated(&names), repeats = text_repeats(&names);
        int64_t earlier = row < 0 ? -1 : text_find(&names, lists[k][row]);
        arena_release(arena, mark);
        if (row >= 0 && out->line)
            return reading_fail(
                reading, EXIT_BAD_DATA, "%s: %s of an earlier row (line %lld); expected each image once",
                manifest_place(arena, out, row), k == 0 && !reading->request->by_id ? "the path" : "the id",
                (long long)out->line[earlier]);
        if (row >= 0 && k == 0)
            reading_note(reading, "%s: %lld images are listed more than once", out->source, (long long)repeats);
    }
    return check_classes(reading, out) && check_texts(reading, out);
}
