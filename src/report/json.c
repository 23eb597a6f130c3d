/* JSON: a writer of our own that streams into a text with correct escapes and
 * the shortest numbers that read back the same; a reader over jansson that
 * copies its tree into an arena, so that memory has one owner. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "report/json.h"

enum { LIMIT_BYTES = 1 << 28 }; /* larger files are not ours */

/* ---- writing ---- */

struct json_writer json_start(struct text *out)
{
    return (struct json_writer){ .out = out, .depth = 0, .first = true };
}

static void escape(struct text *out, const char *value)
{
    text_add_bytes(out, "\"", 1);
    const char *plain = value;
    for (const char *p = value; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        text_add_bytes(out, plain, (size_t)(p - plain));
        plain = p + 1;
        static const char letter[] = "btn\0fr"; /* 0x08 .. 0x0d */
        if (c == '"' || c == '\\')
            text_add(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && letter[c - 8])
            text_add(out, "\\%c", letter[c - 8]);
        else
            text_add(out, "\\u%04x", c);
    }
    text_add_bytes(out, plain, strlen(plain));
    text_add_bytes(out, "\"", 1);
}

/* Comma, new line, indentation and key in front of a value. */
static void lead(struct json_writer *w, const char *key)
{
    if (w->depth > 0)
        text_add(w->out, "%s\n%*s", w->first ? "" : ",", 2 * w->depth, "");
    w->first = false;
    if (key) {
        escape(w->out, key);
        text_add_bytes(w->out, ": ", 2);
    }
}

static void open_level(struct json_writer *w, const char *key, char bracket)
{
    lead(w, key);
    text_add_bytes(w->out, &bracket, 1);
    w->depth++;
    w->first = true;
}

static void close_level(struct json_writer *w, char bracket)
{
    w->depth--;
    if (!w->first)
        text_add(w->out, "\n%*s", 2 * w->depth, "");
    text_add(w->out, "%c%s", bracket, w->depth == 0 ? "\n" : "");
    w->first = false;
}

void json_object(struct json_writer *w, const char *key)
{
    open_level(w, key, '{');
}
void json_array(struct json_writer *w, const char *key)
{
    open_level(w, key, '[');
}
void json_end_object(struct json_writer *w)
{
    close_level(w, '}');
}
void json_end_array(struct json_writer *w)
{
    close_level(w, ']');
}

void json_text(struct json_writer *w, const char *key, const char *value)
{
    lead(w, key);
    if (value)
        escape(w->out, value);
    else
        text_add_bytes(w->out, "null", 4);
}

void json_number(struct json_writer *w, const char *key, double value)
{
    char buffer[40] = "null"; /* JSON has no NaN and no infinity */
    if (isfinite(value))
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(buffer, sizeof buffer, "%.*g", digits, value);
            if (strtod(buffer, NULL) == value)
                break;
        }
    lead(w, key);
    text_add_bytes(w->out, buffer, strlen(buffer));
}

void json_integer(struct json_writer *w, const char *key, int64_t value)
{
    lead(w, key);
    text_add(w->out, "%lld", (long long)value);
}

void json_bool(struct json_writer *w, const char *key, bool value)
{
    lead(w, key);
    text_add(w->out, "%s", value ? "true" : "false");
}

/* ---- reading ---- */

enum kind { KIND_NULL, KIND_BOOL, KIND_NUMBER, KIND_TEXT, KIND_ARRAY, KIND_OBJECT };
struct json {
    enum kind kind;
    double number;
    const char *text;
    int64_t count;
    const struct json *items; /* of arrays and objects, in file order */
    const char *const *keys;  /* of objects */
};

static void copy_tree(struct arena *arena, struct json *out, const json_t *in);

static void copy_array(struct arena *arena, struct json *out, const json_t *in)
{
    size_t count = json_array_size(in);
    struct json *items = arena_array(arena, struct json, count + 1);
    for (size_t i = 0; i < count; i++)
        copy_tree(arena, &items[i], json_array_get(in, i));
    *out = (struct json){ .kind = KIND_ARRAY, .count = (int64_t)count, .items = items };
}

static void copy_object(struct arena *arena, struct json *out, json_t *in)
{
    size_t count = json_object_size(in), i = 0;
    struct json *items = arena_array(arena, struct json, count + 1);
    const char **keys = arena_array(arena, const char *, count + 1);
    for (void *at = json_object_iter(in); at; at = json_object_iter_next(in, at), i++) {
        keys[i] = arena_strdup(arena, json_object_iter_key(at));
        copy_tree(arena, &items[i], json_object_iter_value(at));
    }
    *out = (struct json){ .kind = KIND_OBJECT, .count = (int64_t)count, .items = items, .keys = keys };
}

static void copy_tree(struct arena *arena, struct json *out, const json_t *in)
{
    switch (json_typeof(in)) {
    case JSON_OBJECT:
        copy_object(arena, out, (json_t *)(uintptr_t)in);
        break;
    case JSON_ARRAY:
        copy_array(arena, out, in);
        break;
    case JSON_STRING:
        *out = (struct json){ .kind = KIND_TEXT, .text = arena_strdup(arena, json_string_value(in)) };
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        *out = (struct json){ .kind = KIND_NUMBER, .number = json_number_value(in) };
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = (struct json){ .kind = KIND_BOOL, .number = json_is_true(in) ? 1 : 0 };
        break;
    case JSON_NULL:
        *out = (struct json){ .kind = KIND_NULL };
        break;
    }
}

const struct json *json_read(struct arena *arena, const char *path, const char **why)
{
    size_t length = 0;
    char *data = file_read(arena, path, LIMIT_BYTES, &length, why);
    if (!data)
        return NULL;
    json_error_t error;
    json_t *tree = json_loadb(data, length, JSON_REJECT_DUPLICATES, &error);
    if (!tree) {
        *why = arena_printf(arena, "line %d, column %d: %s", error.line, error.column, error.text);
        return NULL;
    }
    struct json *out = arena_array(arena, struct json, 1);
    copy_tree(arena, out, tree);
    json_decref(tree);
    return out;
}

const struct json *json_member(const struct json *object, const char *key)
{
    if (!object || object->kind != KIND_OBJECT)
        return NULL;
    for (int64_t i = 0; i < object->count; i++)
        if (strcmp(object->keys[i], key) == 0)
            return &object->items[i];
    return NULL;
}

const struct json *json_item(const struct json *array, int64_t index)
{
    if (!array || array->kind != KIND_ARRAY || index < 0 || index >= array->count)
        return NULL;
    return &array->items[index];
}

const struct json *json_element(const struct json *object, int64_t index, const char **key)
{
    if (!object || object->kind != KIND_OBJECT || index < 0 || index >= object->count)
        return NULL;
    *key = object->keys[index];
    return &object->items[index];
}

int64_t json_count(const struct json *array_or_object)
{
    return array_or_object ? array_or_object->count : 0;
}

const char *json_as_text(const struct json *value, const char *fallback)
{
    return value && value->kind == KIND_TEXT ? value->text : fallback;
}

double json_as_number(const struct json *value, double fallback)
{
    return value && (value->kind == KIND_NUMBER || value->kind == KIND_BOOL) ? value->number : fallback;
}
