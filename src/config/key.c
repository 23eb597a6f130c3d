/* One key: its names, what it expects, and text to value and back. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/text.h"
#include "config/key.h"

int key_find(const char *path)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    for (size_t k = 0; k < count; k++)
        if (strcmp(keys[k].path, path) == 0)
            return (int)k;
    return -1;
}

bool key_in(const struct key *key, const char *section)
{
    const char *dot = strchr(key->path, '.');
    size_t length = dot ? (size_t)(dot - key->path) : 0;
    return strlen(section) == length && strncmp(key->path, section, length) == 0;
}

const char *key_name(const struct key *key)
{
    const char *dot = strchr(key->path, '.');
    return dot ? dot + 1 : key->path;
}

bool key_has_flag(const struct key *key, const char *flag)
{
    if (key->flag && strcmp(key->flag, flag) == 0)
        return true;
    size_t length = strlen(flag);
    for (const char *at = key->flags; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, flag, length) == 0 && (at[length] == ' ' || at[length] == '\0'))
            return true;
    }
    return false;
}

char *key_variable(struct arena *arena, const struct key *key)
{
    char *name = arena_printf(arena, "CFN_%s", key->path);
    for (char *c = name; *c; c++)
        *c = (char)(*c == '.' ? '_' : toupper((unsigned char)*c));
    return name;
}

const char *key_suggest(struct arena *arena, const char *path)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    const char *dot = strrchr(path, '.'), *name = dot ? dot + 1 : path;
    /* Right name, wrong section; or a flag of the published scripts. */
    char *flag = arena_printf(arena, "--%s", name);
    for (size_t k = 0; k < count; k++)
        if (strcmp(key_name(&keys[k]), name) == 0 || key_has_flag(&keys[k], flag))
            return keys[k].path;
    /* Nearest spelling, first in the section the reader was in; at top level sections are words too. */
    size_t sections_count;
    const struct section *sections = config_sections(&sections_count);
    const char **words = arena_array(arena, const char *, count + sections_count);
    char *section = arena_strdup(arena, path);
    section[dot ? dot - path : 0] = '\0';
    size_t words_count = 0;
    for (size_t k = 0; k < count; k++)
        if (key_in(&keys[k], section))
            words[words_count++] = keys[k].path;
    for (size_t s = 1; s < sections_count && !dot; s++)
        words[words_count++] = sections[s].name;
    const char *near = text_suggest(path, words, words_count);
    if (near)
        return near;
    for (size_t k = 0; k < count; k++)
        words[k] = keys[k].path;
    return text_suggest(path, words, count);
}

static void add_bounds(struct text *out, const struct key *key)
{
    unsigned b = key->bounds;
    bool low = b & (KEY_AT_LEAST | KEY_ABOVE), high = b & (KEY_AT_MOST | KEY_BELOW);
    if ((b & KEY_AT_LEAST) && (b & KEY_AT_MOST)) {
        text_add(out, " from %.15g to %.15g", key->low, key->high);
        return;
    }
    if (low)
        text_add(out, " %s %.15g", b & KEY_ABOVE ? ">" : ">=", key->low);
    if (low && high)
        text_add(out, " and");
    if (high)
        text_add(out, " %s %.15g", b & KEY_BELOW ? "<" : "<=", key->high);
}

static void add_choices(struct text *out, const struct key *key)
{
    for (int c = 0; c < KEY_CHOICES; c++)
        if (key->choices[c])
            text_add(out, "%s%s", c ? ", " : "", key->choices[c]);
}

char *key_expected(struct arena *arena, const struct key *key)
{
    struct text out = text_new(arena);
    switch (key->type) {
    case KEY_INT:
    case KEY_LONG:
        text_add(&out, "%s", key->bounds & KEY_POWER_OF_TWO ? "a power of two" : "an integer");
        add_bounds(&out, key);
        break;
    case KEY_REAL:
        text_add(&out, "a number");
        add_bounds(&out, key);
        break;
    case KEY_BOOL:
        text_add(&out, "true or false");
        break;
    case KEY_TEXT:
        text_add(&out, "text");
        break;
    case KEY_NAME:
        text_add(&out, "a name of letters, digits, '-', '_' and '.'");
        break;
    case KEY_WORD:
    case KEY_CHOICE:
        text_add(&out, "%s", key->choices[1] || key->choices[2] ? "one of " : "");
        add_choices(&out, key);
        break;
    }
    return out.data;
}

static bool in_bounds(const struct key *key, double x)
{
    unsigned b = key->bounds;
    return !((b & KEY_AT_LEAST) && x < key->low) && !((b & KEY_ABOVE) && x <= key->low) &&
           !((b & KEY_AT_MOST) && x > key->high) && !((b & KEY_BELOW) && x >= key->high);
}

static bool read_integer(const struct key *key, const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *value = v;
    bool power = v > 0 && (v & (v - 1)) == 0;
    return end != text && *end == '\0' && errno == 0 && !isspace((unsigned char)*text) &&
           (key->type == KEY_LONG || (v >= INT_MIN && v <= INT_MAX)) && in_bounds(key, (double)v) &&
           (power || !(key->bounds & KEY_POWER_OF_TWO));
}

static bool read_real(const struct key *key, const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value) && !strpbrk(text, "xX") && !isspace((unsigned char)*text) &&
           in_bounds(key, *value);
}

static bool read_bool(const char *text, bool *value)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
    for (size_t w = 0; w < sizeof words / sizeof *words; w++)
        if (strcasecmp(text, words[w]) == 0) {
            *value = w % 2;
            return true;
        }
    return false;
}

/* The place of a word among the choices, or -1. */
static int choice_of(const struct key *key, const char *text)
{
    for (int c = 0; c < KEY_CHOICES; c++)
        if (key->choices[c] && strcmp(text, key->choices[c]) == 0)
            return c;
    return -1;
}

static bool text_is_valid(const struct key *key, const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127)
            return false;
    if (key->type == KEY_TEXT)
        return true;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(text);
    if (key->type == KEY_NAME)
        return length > 0 && length < 100 && text[0] != '.' && strspn(text, allowed) == length;
    return choice_of(key, text) >= 0;
}

/* The shortest decimal that reads back as the same double. */
static char *print_real(struct arena *arena, double x)
{
    char digits[32];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, x);
        if (strtod(digits, NULL) == x)
            break;
    }
    return arena_strdup(arena, digits);
}

const char *key_parse(struct arena *arena, const struct key *key, const char *text, struct config *config)
{
    void *field = config ? (char *)config + key->offset : NULL;
    int64_t integer;
    double real;
    bool truth;
    switch (key->type) {
    case KEY_INT:
    case KEY_LONG:
        if (!read_integer(key, text, &integer))
            return NULL;
        if (field && key->type == KEY_INT)
            *(int *)field = (int)integer;
        else if (field)
            *(int64_t *)field = integer;
        return arena_printf(arena, "%lld", (long long)integer);
    case KEY_REAL:
        if (!read_real(key, text, &real))
            return NULL;
        if (field)
            *(double *)field = real;
        return print_real(arena, real);
    case KEY_BOOL:
        if (!read_bool(text, &truth))
            return NULL;
        if (field)
            *(bool *)field = truth;
        return truth ? "true" : "false";
    case KEY_CHOICE:
        if (choice_of(key, text) < 0)
            return NULL;
        if (field)
            *(int *)field = choice_of(key, text);
        return key->choices[choice_of(key, text)];
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_WORD:
        break;
    }
    if (!text_is_valid(key, text))
        return NULL;
    char *copy = arena_strdup(arena, text);
    if (field)
        *(const char **)field = copy;
    return copy;
}

const char *key_suggest_choice(const struct key *key, const char *text)
{
    const char *words[KEY_CHOICES];
    size_t count = 0;
    for (int c = 0; c < KEY_CHOICES; c++)
        if (key->choices[c])
            words[count++] = key->choices[c];
    return count ? text_suggest(text, words, count) : NULL;
}

char *key_quote(struct arena *arena, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+";
    size_t length = strlen(text);
    bool bare = length > 0 && strspn(text, plain) == length && text[0] != '-' && strcasecmp(text, "null") != 0;
    if (bare)
        return arena_strdup(arena, text);
    struct text out = text_new(arena);
    text_add(&out, "\"");
    for (const char *c = text; *c; c++)
        text_add(&out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    text_add(&out, "\"");
    return out.data;
}

const char *config_choice(const char *key, int value)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    return keys[key_find(key)].choices[value];
}
