/* Patients, lesions and slides: those of the corpus, or else those that its paths name. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "image/manifest.h"
#include "stage/corpus/audit.h"

/* A word of a path that names a patient: prefix, perhaps a separator, digits. */
struct pattern {
    const char *name, *prefix;
    int least, most; /* digits */
    const char
        *after; /* what must follow: "" = anything but a letter or digit, "_3" = an underscore and three digits */
};
static const struct pattern patterns[] = {
    { "pNNNNNNNN", "p", 8, 8, "" }, /* MIMIC-CXR */
    { "patientN", "patient", 1, 12, "" },
    { "subjectN", "subject", 1, 12, "" },
    { "sub-N", "sub-", 1, 12, "" },    /* BIDS */
    { "NNNNNNNN_NNN", "", 8, 8, "_3" } /* NIH chest X-rays */
};
enum { PATTERNS = sizeof patterns / sizeof patterns[0] };

static int digits(const char *at)
{
    int n = 0;
    while (isdigit((unsigned char)at[n]))
        n++;
    return n;
}

static bool ends_well(const char *at, const char *after)
{
    if (*after)
        return at[0] == '_' && digits(at + 1) == 3 && !isalpha((unsigned char)at[4]);
    return !isalnum((unsigned char)at[0]);
}

/* The digits of the first such word, or NULL. */
static const char *find_word(const char *id, const struct pattern *p, int *length)
{
    size_t prefix = strlen(p->prefix);
    for (const char *at = id; *at; at++) {
        if ((at > id && isalnum((unsigned char)at[-1])) || strncasecmp(at, p->prefix, prefix) != 0)
            continue;
        const char *number = at + prefix;
        if (prefix > 1 && (*number == '_' || *number == '-'))
            number++;
        *length = digits(number);
        if (*length >= p->least && *length <= p->most && ends_well(number + *length, p->after))
            return number;
    }
    return NULL;
}

/* Groups by the pattern that most paths follow, at least half of them; rows without are groups of their own. */
static const int64_t *groups_of_paths(struct audit *audit, const char **name)
{
    int64_t rows = audit->corpus->rows, most = 0;
    int best = -1, length;
    for (int p = 0; p < PATTERNS && audit->id; p++) {
        int64_t found = 0;
        for (int64_t i = 0; i < rows; i++)
            found += find_word(audit->id[i], &patterns[p], &length) != NULL;
        if (found > most) {
            most = found;
            best = p;
        }
    }
    if (best < 0 || 2 * most < rows)
        return NULL;
    *name = patterns[best].name;
    struct arena_mark mark = arena_mark(audit->job->scratch);
    const char **text = arena_array(audit->job->scratch, const char *, rows + 1);
    for (int64_t i = 0; i < rows; i++) {
        const char *word = find_word(audit->id[i], &patterns[best], &length);
        text[i] = word ? arena_printf(audit->job->scratch, "%.*s", length, word) : "";
    }
    const int64_t *group = manifest_number_groups(audit->job->run, text, rows);
    arena_release(audit->job->scratch, mark);
    return group;
}

void audit_groups(struct audit *audit)
{
    const char *pattern = NULL;
    if (!audit->group)
        audit->group = groups_of_paths(audit, &pattern);
    json_object(&audit->json, "groups");
    json_bool(&audit->json, "known", audit->group != NULL);
    if (audit->group) {
        struct overlap o = overlap_of(audit->job->scratch, audit->corpus, (const uint64_t *)audit->group);
        int64_t groups = 0;
        for (int64_t i = 0; i < audit->corpus->rows; i++)
            groups = audit->group[i] >= groups ? audit->group[i] + 1 : groups;
        json_text(&audit->json, "from", pattern ? "paths" : "corpus");
        if (pattern)
            json_text(&audit->json, "pattern", pattern);
        json_integer(&audit->json, "groups", groups);
        overlap_write(audit, &o, "with_several_images");
        text_add(&audit->out, "  groups: %lld%s%s%s, in several splits: %lld\n", (long long)groups,
                 pattern ? " from paths (" : "", pattern ? pattern : "", pattern ? ")" : "", (long long)o.shared_keys);
        if (o.shared_keys)
            NOTE(audit,
                 "%lld groups are in several splits: %lld val and %lld test images have a relative in train; without a "
                 "split column, pack.group keeps groups together",
                 (long long)o.shared_keys, (long long)o.shared_rows[SPLIT_VAL], (long long)o.shared_rows[SPLIT_TEST]);
    }
    json_end_object(&audit->json);
}
