/* Keys that few readers use: where another reads, a value that was set would mean nothing. */
#include <string.h>

#include "image/reader/reader.h"

bool reading_keys_fit(struct reading *reading, const char *reader)
{
    const struct pack_config *pack = reading->request->pack;
    bool mimic = strcmp(reader, "mimic") == 0, chexpert = strcmp(reader, "chexpert") == 0;
    bool table = strcmp(reader, "labels_csv") == 0;
    const struct {
        const char *key;
        bool is_set, is_used;
    } keys[] = {
        { "pack.labeler", pack->labeler != LABELER_CHEXPERT, mimic },
        { "pack.no_finding", pack->no_finding, mimic || chexpert },
        { "pack.views", pack->views != VIEWS_ALL, mimic || chexpert },
        { "pack.blank_views", pack->blank_views != BLANK_VIEWS_AUTO, mimic || chexpert },
        { "pack.label_kind", pack->label_kind != LABELS_AUTO, table },
        { "pack.chexpert_valid", pack->chexpert_valid != CHEXPERT_VALID_VAL, chexpert },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].is_set && !keys[i].is_used)
            return reading_fail(reading, EXIT_BAD_CONFIG,
                                "%s: reader %s has no use for it\nleave the key at its default", keys[i].key, reader);
    return true;
}
