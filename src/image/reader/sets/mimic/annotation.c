/* The file is a few hundred megabytes: its outer shape is walked here, jansson parses one entry after the other. */
#include "image/reader/sets/mimic/annotation.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/text.h"
#include "image/corpus.h"
#include "image/manifest.h"

struct parser {
    struct arena *arena;
    struct annotation *out;
    const char *name, *bytes;
    size_t at, size;
    const char *why;
    int split;
    int64_t entry; /* of this split, from 0 */
};

static bool fail(struct parser *p, const char *what)
{
    if (!p->why)
        p->why = text_printable(arena_printf(p->arena, "%s: byte %zu: %s", p->name, p->at, what), "");
    return false;
}

static char peek(struct parser *p)
{
    while (p->at < p->size && strchr(" \t\r\n", p->bytes[p->at]) && p->bytes[p->at])
        p->at++;
    return p->at < p->size ? p->bytes[p->at] : '\0';
}

static bool eat(struct parser *p, char c)
{
    if (peek(p) != c)
        return false;
    p->at++;
    return true;
}

/* One JSON value from here on; NULL with p->why. The caller ends it. */
static json_t *next_value(struct parser *p)
{
    json_error_t error;
    peek(p);
    json_t *value = json_loadb(p->bytes + p->at, p->size - p->at,
                               JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (value)
        p->at += (size_t)error.position;
    else
        fail(p, error.text);
    return value;
}

static const char *text_of(struct parser *p, const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));
    return text ? arena_strdup(p->arena, text) : NULL;
}

/* 50414267, "50414267" or "s50414267". */
static bool number_of(const json_t *entry, const char *key, int64_t *number)
{
    const json_t *value = json_object_get(entry, key);
    const char *text = json_string_value(value);
    char *end;
    *number = json_integer_value(value);
    if (!text)
        return json_is_integer(value) && *number >= 0;
    text += *text == 's' || *text == 'p';
    if (!isdigit((unsigned char)*text) || strlen(text) > 18)
        return false;
    *number = strtoll(text, &end, 10);
    return *end == '\0';
}

static void add(struct parser *p, const struct annotated *row)
{
    struct annotation *out = p->out;
    if (out->count == out->room) {
        int64_t room = out->room ? 2 * out->room : 1024;
        struct annotated *list = arena_array(p->arena, struct annotated, room);
        if (out->count)
            memcpy(list, out->list, (size_t)out->count * sizeof *list);
        out->list = list;
        out->room = room;
    }
    out->list[out->count++] = *row;
}

static bool bad_entry(struct parser *p, const char *what)
{
    return fail(p, arena_printf(p->arena, "entry %lld of \"%s\": %s", (long long)p->entry,
                                split_name((enum split)p->split), what));
}

static bool take_entry(struct parser *p, const json_t *entry)
{
    struct annotated row = { .id = text_of(p, entry, "id"),
                             .report = text_of(p, entry, "report"),
                             .split = (uint8_t)p->split };
    const json_t *paths = json_object_get(entry, "image_path");
    if (!row.id || !row.report || !number_of(entry, "study_id", &row.study) ||
        !number_of(entry, "subject_id", &row.subject))
        return bad_entry(p, "expected id, study_id, subject_id and report");
    if (!json_is_array(paths) || json_array_size(paths) == 0)
        return bad_entry(p, "expected a list image_path");
    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        if (!path)
            return bad_entry(p, "image_path: expected texts");
        row.path = arena_strdup(p->arena, path);
        add(p, &row);
    }
    return true;
}

/* [ entry, entry, ... ] */
static bool take_split(struct parser *p)
{
    if (!eat(p, '['))
        return fail(p, "expected a list of entries");
    p->entry = 0;
    if (eat(p, ']'))
        return true;
    do {
        json_t *entry = next_value(p);
        bool fine = entry && (json_is_object(entry) || bad_entry(p, "expected an object")) && take_entry(p, entry);
        json_decref(entry);
        if (!fine)
            return false;
        p->entry++;
    } while (eat(p, ','));
    return eat(p, ']') || fail(p, "expected ',' or ']'");
}

static bool take_key(struct parser *p, bool seen[SPLITS])
{
    json_t *key = next_value(p);
    p->split = json_is_string(key) ? manifest_split(json_string_value(key)) : -1;
    json_decref(key);
    if (p->why)
        return false;
    if (p->split < 0)
        return fail(p, "expected the keys train, val and test");
    if (seen[p->split])
        return fail(p, "a split comes twice");
    seen[p->split] = true;
    return (eat(p, ':') || fail(p, "expected ':'")) && take_split(p);
}

bool annotation_read(struct arena *arena, struct annotation *out, const char *name, const char *bytes, size_t size,
                     const char **why)
{
    struct parser p = { .arena = arena, .out = out, .name = name, .bytes = bytes, .size = size };
    bool seen[SPLITS] = { false }, fine = eat(&p, '{') || fail(&p, "expected an object of train, val and test");
    *out = (struct annotation){ 0 };
    while (fine) {
        fine = take_key(&p, seen);
        if (!fine || !eat(&p, ','))
            break;
    }
    fine = fine && (eat(&p, '}') || fail(&p, "expected ',' or '}'"));
    peek(&p);
    if (fine && p.at < p.size)
        fine = fail(&p, "text after the object");
    *why = p.why;
    return fine;
}
