/* The seven classes of HAM10000. */
#include "image/reader/sets/skin.h"

#include <stddef.h>
#include <strings.h>

const char *const skin_names[SKIN_CLASSES] = {
    "actinic keratoses", "basal cell carcinoma", "benign keratosis-like lesions", "dermatofibroma", "melanocytic nevi",
    "melanoma",          "vascular lesions",
};
const char *const skin_codes[SKIN_CLASSES] = { "akiec", "bcc", "bkl", "df", "nv", "mel", "vasc" };

int skin_class(const char *text)
{
    for (int k = 0; k < SKIN_CLASSES; k++)
        if (strcasecmp(text, skin_codes[k]) == 0 || strcasecmp(text, skin_names[k]) == 0)
            return k;
    return -1;
}
