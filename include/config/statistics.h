/* Mean and deviation of a network's input, as image.mean and image.std give them. */
#ifndef CONFIG_STATISTICS_H
#define CONFIG_STATISTICS_H

#include <stdbool.h>

/* out [3] <- of red, green and blue: "clip", "imagenet", "grey", one number, or three separated by blanks or commas.
 * False when it is none of these, a mean is not in 0 to 1, or a deviation not above 0. Local. */
bool statistics_read(float out[3], const char *text, bool is_deviation);

#endif
