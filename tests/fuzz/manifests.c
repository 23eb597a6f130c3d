/* Reading a manifest, and what must hold of one that was accepted. */
#include "manifests.h"

#include <stdbool.h>

#include "base/file.h"
#include "base/text.h"
#include "config/config.h"
#include "image/corpus.h"
#include "image/manifest.h"

static void check(const struct manifest *m)
{
    if (m->rows < 1 || m->classes < 1)
        fuzz_finding("a manifest of %lld rows and %d classes", (long long)m->rows, m->classes);
    for (int64_t i = 0; i < m->rows; i++) {
        bool fine = path_is_below(m->path[i]) && m->id[i] && m->split[i] < SPLITS;
        if (!m->multi_label)
            fine = fine && m->label[i] >= 0 && m->label[i] < m->classes;
        for (int c = 0; m->multi_label && c < m->classes; c++)
            fine = fine && m->labels[i * m->classes + c] >= -2 && m->labels[i * m->classes + c] <= 1;
        if (m->group)
            fine = fine && m->group[i] >= 0 && m->group[i] < m->rows;
        if (!fine)
            fuzz_finding("row %lld of a manifest that was accepted", (long long)i);
    }
}

void fuzz_manifest(struct arena *arena, const char *reader, const char *data, const char *group)
{
    const struct pack_config pack = { .reader = reader,
                                      .labels = "labels.csv",
                                      .columns = "",
                                      .missing = "NA, nan, unknown",
                                      .group = group,
                                      .val_fraction = 0.1,
                                      .test_fraction = 0.1 };
    const struct manifest_request request = { .root = fuzz_folder(), .data = data, .pack = &pack };
    struct manifest manifest;
    enum exit_code code = EXIT_DONE;
    const char *why = NULL;
    if (manifest_read(arena, &manifest, &request, &code, &why))
        check(&manifest);
    else if (!why || code == EXIT_DONE || code == EXIT_INTERNAL)
        fuzz_finding("refused with exit code %d: %s", (int)code, why ? why : "no reason");
    else
        fuzz_message(why, 1);
}
