/* R2Gen's annotation.json. */
#include "image/reader/sets/mimic/annotation.h"

#include <string.h>

#include "base/arena.h"
#include "image/corpus.h"
#include "image/reader/sets/mimic/sections.h"
#include "target.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 256;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    struct annotation found;
    const char *why = NULL;
    if (!annotation_read(arena, &found, "annotation.json", (const char *)bytes, size, &why)) {
        fuzz_message(why, 0);
        return;
    }
    for (int64_t i = 0; i < found.count; i++) {
        const struct annotated *row = &found.list[i];
        struct report_sections sections = report_sections(arena, row->report);
        if (row->split >= SPLITS || strlen(sections.findings) + strlen(sections.impression) > strlen(row->report))
            fuzz_finding("row %lld", (long long)i);
    }
}

#define SEED(name, text) add(name, text, sizeof text - 1)

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    (void)arena;
    SEED(
        "two",
        "{\"train\": [{\"id\": \"d1\", \"study_id\": 50, \"subject_id\": 10, \"report\": \" FINDINGS: a\\n "
        "IMPRESSION: b\\u00e9\", \"image_path\": [\"p10/d1.jpg\"], \"split\": \"train\"}, {\"id\":\"d2\",\"study_id\":"
        "\"s51\",\"subject_id\":\"12\",\"report\":\"FINDINGS AND IMPRESSION: x\",\"image_path\":[\"a\",\"b\"]}],\"val\""
        ":[],\"test\":[]}");
    SEED("none", "{}");
}
