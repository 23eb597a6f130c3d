/* The configuration: YAML to values, and every value back again. */
#include <string.h>

#include "base/arena.h"
#include "config/draft.h"

#include "target.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 1024;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    char *text = arena_take(arena, size + 1, 1); /* files are read with a NUL behind them */
    struct config config = { 0 };
    size_t count;
    const struct key *keys = config_keys(&count);
    memcpy(text, bytes, size);
    struct draft draft = draft_start(arena);
    draft_read_yaml(&draft, "run.yml", text, size);
    if (draft.error)
        fuzz_message(draft.error, 1);
    for (size_t k = 0; k < count; k++) { /* values travel between ranks as lines of text */
        if (strpbrk(draft.values[k].text, "\t\n"))
            fuzz_finding("%s: a value of more than one line", keys[k].path);
        fuzz_message(draft.values[k].text, 0);
        if (!key_parse(arena, &keys[k], draft.values[k].text, &config))
            fuzz_finding("%s: \"%s\" was accepted and does not read back", keys[k].path, draft.values[k].text);
    }
}

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    static const char small[] = "# a run\ndata: ham\nbackbone: \"resnet50\"\nseed: 7\ntrain:\n  epochs: 3\n  lr: 1e-4\n"
                                "  checkpoint_activations: yes\nselect: {count: 20, objective: facility_location}\n";
    static const char wrong[] = "train:\n  lr: fast\n  sched: cosine\n";
    static const char anchors[] = "data: &a ham\nbackbone: *a\ntrain: !!map\n  ? lr\n  : |\n    1\n...\n---\n";
    const char *whole = config_template(arena, NULL);
    add("small", small, sizeof small - 1);
    add("wrong", wrong, sizeof wrong - 1);
    add("anchors", anchors, sizeof anchors - 1);
    add("template", whole, strlen(whole));
}
