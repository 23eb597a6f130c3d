/* Sections of the reports, which a reader told apart: streams of text like the reports themselves. */
#include <string.h>

#include "stage/corpus/pack.h"

static const struct {
    const char *name, *places, *extent, *description;
} sections[SECTIONS] = {
    [SECTION_FINDINGS] = { "/findings", "/findings_offset", "findings_bytes", "findings of the reports, UTF-8" },
    [SECTION_IMPRESSION] = { "/impression", "/impression_offset", "impression_bytes",
                             "impressions of the reports, UTF-8" },
};

static int64_t section_bytes(const struct pack *pack, int k)
{
    const char *const *texts = pack->manifest.section[k];
    int64_t total = 0;
    for (int64_t i = 0; texts && i < pack->good; i++)
        total += (int64_t)strlen(texts[pack->row[i]]);
    return total;
}

void pack_sections_layout(const struct pack *pack, struct layout *layout, size_t *count, struct extent *sizes)
{
    for (int k = 0; k < SECTIONS; k++) {
        sizes[k] = (struct extent){ sections[k].extent, section_bytes(pack, k) };
        if (sizes[k].size == 0)
            continue;
        layout[(*count)++] = (struct layout){ .name = sections[k].name,
                                              .type = STORE_U8,
                                              .dims = sections[k].extent,
                                              .unit = "byte",
                                              .description = sections[k].description };
        layout[(*count)++] = (struct layout){ .name = sections[k].places,
                                              .type = STORE_I64,
                                              .dims = "N+1",
                                              .unit = "byte",
                                              .description = "where each begins; last: end" };
    }
}

void pack_sections_write(struct pack *pack, struct store *store)
{
    struct arena_mark mark = arena_mark(pack->job->scratch);
    const char **own = arena_array(pack->job->scratch, const char *, pack->own.count + 1);
    for (int k = 0; k < SECTIONS; k++) {
        if (section_bytes(pack, k) == 0)
            continue;
        for (int64_t i = 0; i < pack->own.count; i++)
            own[i] = pack->manifest.section[k][pack->row[pack->own.first + i]];
        store_write_texts(store, pack->job->scratch, sections[k].name, own, pack->own.count);
    }
    arena_release(pack->job->scratch, mark);
}
