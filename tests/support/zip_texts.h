/* A zip archive of texts, written by libzip. */
#ifndef SUPPORT_ZIP_TEXTS_H
#define SUPPORT_ZIP_TEXTS_H

#include <stdbool.h>
#include <string.h>
#include <zip.h>

struct zip_text {
    const char *member;
    const void *text;
    size_t bytes;
};

/* False when libzip cannot. */
static inline bool zip_texts_write(const char *path, const struct zip_text *texts, int count, bool deflate)
{
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    for (int i = 0; zip && i < count; i++) {
        zip_source_t *source = zip_source_buffer(zip, texts[i].text, texts[i].bytes, 0);
        zip_int64_t at = zip_file_add(zip, texts[i].member, source, 0);
        zip_set_file_compression(zip, (zip_uint64_t)at, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
        zip_file_set_mtime(zip, (zip_uint64_t)at, 1000000000, 0); /* the same bytes every time */
    }
    return zip && zip_close(zip) == 0;
}

#endif
