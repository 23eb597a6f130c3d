/* One number for an array's bits, and its comparison with earlier launches of the same test at other rank
 * counts: the first launch writes $CFN_TEST_TMP/<name>.digest, later ones must find the same number. */
#ifndef TESTS_DIGEST_H
#define TESTS_DIGEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint64_t digest(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ byte[i]) * 1099511628211u;
    return hash;
}

/* Call on one rank only. True when there was nothing to compare with. */
static inline bool digest_same(const char *name, uint64_t hash)
{
    char path[4096];
    const char *dir = getenv("CFN_TEST_TMP");
    uint64_t before = hash;
    if (!dir)
        return true;
    snprintf(path, sizeof path, "%s/%s.digest", dir, name);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%" SCNx64, &before) != 1)
            before = ~hash;
    } else {
        file = fopen(path, "w");
        if (file)
            fprintf(file, "%016" PRIx64 "\n", hash);
    }
    if (file)
        fclose(file);
    return before == hash;
}

#endif
