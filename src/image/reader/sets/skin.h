/* The classes of HAM10000, which ISIC 2018 Task 3 has too. */
#ifndef IMAGE_READER_SETS_SKIN_H
#define IMAGE_READER_SETS_SKIN_H

enum { SKIN_CLASSES = 7 };
extern const char *const skin_names[SKIN_CLASSES]; /* as the published split files name them, sorted */
extern const char *const skin_codes[SKIN_CLASSES]; /* "akiec", in the same order */

/* Place of a code or a name, in any case; -1 when it is neither. */
int skin_class(const char *text);

#endif
