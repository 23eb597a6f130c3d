/* What cfn pack says of a corpus: how it was read, and its classes. */
#include <string.h>

#include "image/corpus.h"
#include "stage/corpus/pack.h"

enum { CLASS_LINES = 40, NAME_BYTES = 40 };

/* Which reader, why, and what it guessed: a line each. */
void pack_say_manifest(const struct manifest *m)
{
    int64_t counts[SPLITS] = { 0 };
    for (int64_t i = 0; i < m->rows; i++)
        counts[m->split[i]]++;
    log_info("pack: reader %s: %s", m->reader, m->seen);
    for (const char *line = m->notes; *line;) {
        size_t length = strcspn(line, "\n");
        log_info("pack: %.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
    log_info("pack: %lld images in %s: %lld train, %lld val, %lld test; %d %s", (long long)m->rows, m->source,
             (long long)counts[0], (long long)counts[1], (long long)counts[2], m->classes,
             m->multi_label ? "labels" : "classes");
}

/* Images of class k that were packed, by split; of a multi-label corpus those where it is present. */
static void count_class(const struct pack *pack, int k, int64_t counts[SPLITS])
{
    const struct manifest *m = &pack->manifest;
    memset(counts, 0, SPLITS * sizeof *counts);
    for (int64_t i = 0; i < pack->good; i++) {
        int64_t row = pack->row[i];
        counts[m->split[row]] +=
            m->multi_label ? m->labels[row * m->classes + k] == LABEL_POSITIVE : m->label[row] == k;
    }
}

void pack_say_classes(const struct pack *pack)
{
    const struct manifest *m = &pack->manifest;
    int lines = m->classes < CLASS_LINES ? m->classes : CLASS_LINES, width = 10;
    for (int k = 0; k < lines; k++) {
        int length = (int)strlen(m->class_names[k]);
        width = length > width ? length : width;
    }
    width = width < NAME_BYTES ? width : NAME_BYTES;
    log_info("pack: read by %s: %s", m->reader, m->seen);
    log_info("  %-*s %9s %9s %9s", width, m->multi_label ? "label" : "class", "train", "val", "test");
    for (int k = 0; k < lines; k++) {
        int64_t counts[SPLITS];
        char *name = text_printable(arena_strdup(pack->job->run, m->class_names[k]), "");
        count_class(pack, k, counts);
        size_t end = strlen(name) < (size_t)width ? strlen(name) : (size_t)width;
        while (end > 0 && ((unsigned char)name[end] & 0xC0) == 0x80) /* not inside a letter */
            end--;
        name[end] = '\0';
        log_info("  %-*s %9lld %9lld %9lld", width, name, (long long)counts[SPLIT_TRAIN], (long long)counts[SPLIT_VAL],
                 (long long)counts[SPLIT_TEST]);
    }
    if (lines < m->classes)
        log_info("  and %d more", m->classes - lines);
}
