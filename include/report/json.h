/* JSON out and in. Writing appends to a text; numbers that are not finite become null. */
#ifndef REPORT_JSON_H
#define REPORT_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* libjansson exports functions of the same names and calls them itself: ours must not stand in their place. */
#define json_object  json_writer_object
#define json_array   json_writer_array
#define json_integer json_writer_integer

struct json_writer {
    struct text *out;
    int depth;
    bool first;
};
/* Indented by two spaces; `key` is NULL inside arrays and at the top. */
struct json_writer json_start(struct text *out);
void json_object(struct json_writer *w, const char *key);
void json_array(struct json_writer *w, const char *key);
void json_end_object(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_text(struct json_writer *w, const char *key, const char *value);
void json_number(struct json_writer *w, const char *key, double value); /* shortest form that reads back the same */
void json_integer(struct json_writer *w, const char *key, int64_t value);
void json_bool(struct json_writer *w, const char *key, bool value);

/* Reading (jansson): an opaque tree owned by the arena. Missing members give NULL / the fallback. */
struct json;
const struct json *json_read(struct arena *arena, const char *path, const char **why); /* NULL and why when it cannot */
const struct json *json_member(const struct json *object, const char *key);
const struct json *json_item(const struct json *array, int64_t index);
const struct json *json_element(const struct json *object, int64_t index, const char **key); /* in file order */
int64_t json_count(const struct json *array_or_object);
const char *json_as_text(const struct json *value, const char *fallback);
double json_as_number(const struct json *value, double fallback);

#endif
