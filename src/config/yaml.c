/* One YAML file to values, event by event (libyaml), with line and column in
 * every message. Only what a configuration needs: top-level keys, sections of
 * keys, plain values. Anchors, aliases, tags, lists, a second document and very
 * long lines are refused. */
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/text.h"
#include "config/draft.h"

enum { LINE_LIMIT = 8192 };

struct reader {
    struct draft *draft;
    const char *name;
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    int *seen;         /* [keys] line of the key, 0 = not yet */
    int *seen_section; /* [sections] */
};

static char *place(struct reader *r, yaml_mark_t mark)
{
    return arena_printf(r->draft->arena, "%s:%zu:%zu", r->name, mark.line + 1, mark.column + 1);
}

static bool fail_here(struct reader *r, const char *what)
{
    draft_fail(r->draft, EXIT_BAD_CONFIG, "%s: %s", place(r, r->event.start_mark), what);
    return false;
}

/* libyaml's own complaint. A bad byte has an offset instead of a mark. */
static bool fail_syntax(struct reader *r, const char *text)
{
    yaml_parser_t *p = &r->parser;
    yaml_mark_t mark = p->problem_mark;
    if (p->error == YAML_READER_ERROR)
        for (size_t i = 0; i < p->problem_offset && text[i]; i++) {
            mark.column = text[i] == '\n' ? 0 : mark.column + 1;
            mark.line += text[i] == '\n';
        }
    draft_fail(r->draft, EXIT_BAD_CONFIG, "%s: not valid YAML: %s%s%s", place(r, mark),
               p->problem ? p->problem : "unreadable", p->context ? " " : "", p->context ? p->context : "");
    return false;
}

/* Next event into r->event; refuses what no configuration needs. */
static bool next(struct reader *r, const char *text)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = yaml_parser_parse(&r->parser, &r->event) == 1;
    if (!r->has_event)
        return fail_syntax(r, text);
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT)
        anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    else if (e->type == YAML_MAPPING_START_EVENT)
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    else if (e->type == YAML_SEQUENCE_START_EVENT)
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    if (e->type == YAML_ALIAS_EVENT || anchor)
        return fail_here(r, "anchors and aliases (& and *) are not used here; write the value out");
    if (tag)
        return fail_here(r, "tags (!) are not used here; write the plain value");
    return true;
}

/* The scalar of the current event, "" for a null. NULL when it holds a zero byte. */
static const char *scalar(struct reader *r)
{
    const char *value = (const char *)r->event.data.scalar.value;
    size_t length = r->event.data.scalar.length;
    if (strlen(value) != length)
        return NULL;
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain && (strcmp(value, "~") == 0 || strcasecmp(value, "null") == 0) ? "" : value;
}

static const char *kind(const yaml_event_t *event)
{
    return event->type == YAML_SEQUENCE_START_EVENT ? "a list" : "keys below it";
}

static bool read_value(struct reader *r, const char *text, const struct key *key, yaml_mark_t at)
{
    struct draft *draft = r->draft;
    size_t count;
    int *seen = &r->seen[key - config_keys(&count)];
    if (*seen) {
        draft_fail(draft, EXIT_BAD_CONFIG, "%s: %s: given twice, first at line %d", place(r, at), key->path, *seen);
        return false;
    }
    *seen = (int)at.line + 1;
    if (!next(r, text))
        return false;
    char *here = place(r, r->event.start_mark);
    const char *value = r->event.type == YAML_SCALAR_EVENT ? scalar(r) : NULL;
    if (!value) {
        draft_fail(draft, EXIT_BAD_CONFIG, "%s: %s: expected %s, found %s", here, key->path,
                   key_expected(draft->arena, key),
                   r->event.type == YAML_SCALAR_EVENT ? "a zero byte" : kind(&r->event));
        return false;
    }
    return draft_set(draft, key, value, here, arena_printf(draft->arena, "%s:%zu", r->name, at.line + 1));
}

static int section_find(const char *name)
{
    size_t count;
    const struct section *sections = config_sections(&count);
    for (size_t s = 1; s < count; s++)
        if (strcmp(sections[s].name, name) == 0)
            return (int)s;
    return -1;
}

/* One `key: value` of a section; the key is the current event. */
static bool read_key(struct reader *r, const char *text, const char *section)
{
    struct draft *draft = r->draft;
    yaml_mark_t at = r->event.start_mark;
    const char *name = r->event.type == YAML_SCALAR_EVENT ? scalar(r) : NULL;
    if (!name)
        return fail_here(r, "expected `key: value`");
    const char *path = *section ? arena_printf(draft->arena, "%s.%s", section, name) : arena_strdup(draft->arena, name);
    int k = key_find(path);
    size_t count;
    if (k >= 0 && !key_in(&config_keys(&count)[k], section)) {
        const char *dot = strrchr(path, '.');
        draft_fail(draft, EXIT_BAD_CONFIG, "%s: %s: unknown key here: write `%s:` below `%.*s:`", place(r, at), path,
                   dot + 1, (int)(dot - path), path);
        return false;
    }
    if (k < 0) {
        draft_unknown(draft, place(r, at), path);
        return false;
    }
    return read_value(r, text, &config_keys(&count)[k], at);
}

/* The keys of one section; the section's name was the current event. */
static bool read_section(struct reader *r, const char *text, int s)
{
    size_t count;
    const char *section = config_sections(&count)[s].name;
    yaml_mark_t at = r->event.start_mark;
    if (r->seen_section[s]) {
        draft_fail(r->draft, EXIT_BAD_CONFIG, "%s: section %s: given twice, first at line %d", place(r, at), section,
                   r->seen_section[s]);
        return false;
    }
    r->seen_section[s] = (int)at.line + 1;
    if (!next(r, text))
        return false;
    if (r->event.type == YAML_SCALAR_EVENT && scalar(r) && *scalar(r) == '\0')
        return true; /* all its keys are commented out */
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        draft_fail(r->draft, EXIT_BAD_CONFIG, "%s: %s: expected the keys of this section below it, found %s",
                   place(r, r->event.start_mark), section,
                   r->event.type == YAML_SCALAR_EVENT ? "a value" : kind(&r->event));
        return false;
    }
    while (next(r, text)) {
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (!read_key(r, text, section))
            return false;
    }
    return false;
}

static bool read_top(struct reader *r, const char *text)
{
    while (next(r, text)) {
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return true;
        const char *name = r->event.type == YAML_SCALAR_EVENT ? scalar(r) : NULL;
        int s = name ? section_find(name) : -1;
        if (!(s > 0 ? read_section(r, text, s) : read_key(r, text, "")))
            return false;
    }
    return false;
}

static bool read_document(struct reader *r, const char *text)
{
    if (!next(r, text) || !next(r, text)) /* start of stream, then of document */
        return false;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return true; /* only comments */
    if (!next(r, text))
        return false;
    bool empty = r->event.type == YAML_SCALAR_EVENT && scalar(r) && *scalar(r) == '\0';
    if (!empty && r->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(r, "expected lines of `key: value`");
    if (!empty && !read_top(r, text))
        return false;
    if (!next(r, text) || !next(r, text)) /* end of document, then of stream */
        return false;
    return r->event.type == YAML_STREAM_END_EVENT || fail_here(r, "a second document; a configuration is one");
}

static bool lines_are_short(struct draft *draft, const char *name, const char *text, size_t length)
{
    size_t line = 1;
    for (size_t at = 0; at < length; line++) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t width = end ? (size_t)(end - text) - at : length - at;
        if (width > LINE_LIMIT) {
            draft_fail(draft, EXIT_BAD_CONFIG, "%s:%zu:1: a line of %zu characters, %d at most", name, line, width,
                       LINE_LIMIT);
            return false;
        }
        at += width + 1;
    }
    return true;
}

void draft_read_yaml(struct draft *draft, const char *name, const char *text, size_t length)
{
    if (!lines_are_short(draft, name, text, length))
        return;
    size_t keys, sections;
    config_keys(&keys);
    config_sections(&sections);
    struct reader r = { .draft = draft, .name = name };
    r.seen = arena_array(draft->arena, int, keys);
    r.seen_section = arena_array(draft->arena, int, sections);
    require(yaml_parser_initialize(&r.parser), EXIT_INTERNAL, "%s: libyaml did not start", name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    read_document(&r, text);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
}
