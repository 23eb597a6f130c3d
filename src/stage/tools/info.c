/* `cfn info FILE [--json]`: what a file holds: datasets with shape, type, unit and description, attributes, and how it
 * was made (/run). Reads the structure only; `cfn verify` reads the values. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "report/json.h"
#include "stage/stage.h"

/* Files come from elsewhere: control characters do not reach a terminal. Lines after the first are indented. */
static void add_plain(struct text *out, const char *value, int indent)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p == '\n' && p[1])
            text_add(out, "\n%*s", indent, "");
        else if (*p >= 0x20 && *p != 0x7f)
            text_add_bytes(out, (const char *)p, 1);
}

static void add_value(struct text *out, const struct store_attribute *a, int indent)
{
    if (a->kind == STORE_ATTR_F64)
        text_add(out, "%.10g", a->number);
    else if (a->kind == STORE_ATTR_I64)
        text_add(out, "%lld", (long long)a->integer);
    else
        for (int i = 0; i < a->count; i++) {
            text_add(out, "%s", i ? ", " : "");
            add_plain(out, a->texts[i], indent);
        }
}

static bool is_layout(const char *name)
{
    return strcmp(name, "description") == 0 || strcmp(name, "unit") == 0 || strcmp(name, "dims") == 0;
}

/* Attributes of `object`, one a line. */
static void add_attributes(struct text *out, const struct store *store, const char *object, int indent)
{
    for (const struct store_attribute *a = store_attributes(store); a; a = a->next)
        if (strcmp(a->object, object) == 0 && (strcmp(object, "/run") == 0 || !is_layout(a->name))) {
            text_add(out, "%*s", indent, "");
            add_plain(out, a->name, indent);
            text_add(out, ": ");
            add_value(out, a, indent + 4);
            text_add(out, "\n");
        }
}

/* "[8192 x 512]" */
static const char *shape_text(struct arena *arena, const struct store *store, const char *name)
{
    int64_t dims[4];
    const int rank = store_dims(store, name, dims);
    struct text text = text_new(arena);
    for (int d = 0; d < rank; d++)
        text_add(&text, "%s%lld", d ? " x " : "[", (long long)dims[d]);
    text_add(&text, "]");
    return text.data;
}

static const char *layout_text(struct store *store, const char *name, const char *attribute)
{
    const char *value = "";
    return store_get_text(store, name, attribute, &value) ? value : "";
}

static void add_dataset(struct text *out, struct arena *arena, struct store *store, const char *name)
{
    const char *unit = layout_text(store, name, "unit");
    text_add(out, "%-24s %-4s %-20s ", name, store_type_name(store_typeof(store, name)),
             shape_text(arena, store, name));
    add_plain(out, layout_text(store, name, "dims"), 4);
    text_add(out, "  ");
    add_plain(out, layout_text(store, name, "description"), 4);
    if (*unit && strcmp(unit, "1") != 0) {
        text_add(out, " [");
        add_plain(out, unit, 4);
        text_add(out, "]");
    }
    text_add(out, "\n");
    add_attributes(out, store, name, 4);
}

static void as_text(struct text *out, struct arena *arena, struct store *store, double bytes)
{
    const char *const *names;
    const int count = store_names(store, &names);
    text_add(out, "%s: %d datasets, %s\n", store_path(store), count, text_bytes(arena, bytes));
    add_attributes(out, store, "/", 2);
    for (int i = 0; i < count; i++)
        add_dataset(out, arena, store, names[i]);
    text_add(out, "/run\n");
    add_attributes(out, store, "/run", 2);
}

static void json_attributes(struct json_writer *w, const struct store *store, const char *key, const char *object)
{
    json_object(w, key);
    for (const struct store_attribute *a = store_attributes(store); a; a = a->next) {
        if (strcmp(a->object, object) != 0)
            continue;
        if (a->kind == STORE_ATTR_F64)
            json_number(w, a->name, a->number);
        else if (a->kind == STORE_ATTR_I64)
            json_integer(w, a->name, a->integer);
        else if (a->kind == STORE_ATTR_TEXT)
            json_text(w, a->name, a->texts[0]);
        else {
            json_array(w, a->name);
            for (int i = 0; i < a->count; i++)
                json_text(w, NULL, a->texts[i]);
            json_end_array(w);
        }
    }
    json_end_object(w);
}

static void json_dataset(struct json_writer *w, const struct store *store, const char *name)
{
    int64_t dims[4];
    const int rank = store_dims(store, name, dims);
    json_object(w, NULL);
    json_text(w, "name", name);
    json_text(w, "type", store_type_name(store_typeof(store, name)));
    json_integer(w, "element_bytes", (int64_t)store_width(store, name));
    json_array(w, "shape");
    for (int d = 0; d < rank; d++)
        json_integer(w, NULL, dims[d]);
    json_end_array(w);
    json_attributes(w, store, "attributes", name);
    json_end_object(w);
}

static void as_json(struct text *out, struct store *store, double bytes)
{
    const char *const *names;
    const int count = store_names(store, &names);
    struct json_writer w = json_start(out);
    json_object(&w, NULL);
    json_text(&w, "file", store_path(store));
    json_integer(&w, "bytes", (int64_t)bytes);
    json_attributes(&w, store, "attributes", "/");
    json_array(&w, "datasets");
    for (int i = 0; i < count; i++)
        json_dataset(&w, store, names[i]);
    json_end_array(&w);
    json_attributes(&w, store, "run", "/run");
    json_end_object(&w);
    text_add(out, "\n");
}

int stage_info(struct job *job)
{
    agree(job->world, job->argc == 1, EXIT_USAGE, "info: expected one file, found %d\nusage: cfn info FILE [--json]",
          job->argc);
    struct store *store = store_open(job->world, job->run, job->argv[0]);
    struct text out = text_new(job->run);
    struct stat status = { 0 };
    stat(job->argv[0], &status);
    if (job->json)
        as_json(&out, store, (double)status.st_size);
    else
        as_text(&out, job->run, store, (double)status.st_size);
    const bool printed = job->world->rank != 0 || (fputs(out.data, stdout) >= 0 && fflush(stdout) == 0);
    agree(job->world, printed, EXIT_IO, "info: cannot write to the standard output");
    store_close(store);
    return EXIT_DONE;
}
