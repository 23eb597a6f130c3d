/* class2images_*.p: pickles of plain containers, and the manifest made of them. */
#include "base/arena.h"
#include "image/manifest.h"
#include "manifests.h"

const size_t fuzz_memory = 1 << 20, fuzz_memory_per_byte = 8192;

void fuzz_bytes(struct arena *arena, const uint8_t *bytes, size_t size)
{
    fuzz_file("class2images_train.p", bytes, size);
    fuzz_manifest(arena, "class2images", "ham", "");
    fuzz_manifest(arena, "class2images", "mimic", "");
}

#define SEED(name, text) add(name, text, sizeof text - 1)

void fuzz_seeds(struct arena *arena, void (*add)(const char *name, const void *bytes, size_t size))
{
    (void)arena;
    fuzz_file("class2images_val.p", "}.", 2);
    fuzz_file("class2images_test.p", "}.", 2);
    SEED("protocol_2", "\x80\x02}q\x00(X\x05\x00\x00\x00nevusq\x01]q\x02(X\x05\x00\x00\x00"
                       "a.pngq\x03X\x05\x00\x00\x00"
                       "b.pngq\x04"
                       "eX\x04\x00\x00\x00moleq\x05]q\x06h\x03"
                       "au.");
    SEED("protocol_4", "\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x05nevus\x94]\x94\x8c\x05"
                       "a.png\x94\x61s.");
    SEED("protocol_0", "(dp0\nVnevus\np1\n(lp2\nVa.png\np3\naVb.png\np4\nas.");
    SEED("mimic", "\x80\x02}X\x0d\x00\x00\x00"
                  "0100000000010X\x05\x00\x00\x00"
                  "a.png\x85s.");
    SEED("numbers", "\x80\x02}(K\x01M\x01\x02J\x01\x02\x03\x04\x8a\x02\x01\x02I12\nL34L\nNN\x88\x89K\x01(K\x02tu.");
}
