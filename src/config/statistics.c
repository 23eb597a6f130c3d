/* image.mean and image.std: the statistics that published models were trained with, by name, or numbers. */
#include "config/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    float mean[3], deviation[3];
} known[] = {
    /* CLIP's, which the published scripts use for every backbone. */
    { "clip", { 0.48145466f, 0.4578275f, 0.40821073f }, { 0.26862954f, 0.26130258f, 0.27577711f } },
    /* torchvision's, of all its models. */
    { "imagenet", { 0.485f, 0.456f, 0.406f }, { 0.229f, 0.224f, 0.225f } },
    { "grey", { 0.5f, 0.5f, 0.5f }, { 0.5f, 0.5f, 0.5f } },
};

static bool read_numbers(float out[3], const char *text)
{
    int count = 0;
    for (const char *at = text + strspn(text, " ,"); *at; at += strspn(at, " ,")) {
        char *end;
        float value = strtof(at, &end);
        if (end == at || count == 3 || !isfinite(value) || !strchr(" ,", *end))
            return false;
        out[count++] = value;
        at = end;
    }
    if (count == 1)
        out[1] = out[2] = out[0];
    return count == 1 || count == 3;
}

bool statistics_read(float out[3], const char *text, bool is_deviation)
{
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
        if (strcmp(known[k].name, text) == 0) {
            memcpy(out, is_deviation ? known[k].deviation : known[k].mean, 3 * sizeof *out);
            return true;
        }
    if (!read_numbers(out, text))
        return false;
    for (int c = 0; c < 3; c++)
        if (is_deviation ? out[c] <= 0 : out[c] < 0 || out[c] > 1)
            return false;
    return true;
}
