/* An .npz of byte arrays, written by libzip. */
#ifndef SUPPORT_NPZ_H
#define SUPPORT_NPZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

struct npz_array {
    const char *member; /* "slo_fundus.npy" */
    const char *type;   /* "|u1" */
    const char *shape;  /* "(4, 3)" */
    const void *data;
    size_t bytes;
    bool is_fortran;
};

/* False when libzip cannot. */
static inline bool npz_write(const char *path, const struct npz_array *arrays, int count, bool deflate)
{
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    for (int i = 0; zip && i < count; i++) {
        const struct npz_array *a = &arrays[i];
        char *bytes = malloc(256 + a->bytes);
        int length = snprintf(bytes + 10, 240, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", a->type,
                              a->is_fortran ? "True" : "False", a->shape);
        memcpy(bytes, "\x93NUMPY\x01\x00", 8);
        bytes[8] = (char)length;
        bytes[9] = 0;
        memcpy(bytes + 10 + length, a->data, a->bytes);
        zip_source_t *source = zip_source_buffer(zip, bytes, 10 + (zip_uint64_t)length + a->bytes, 1);
        zip_int64_t at = zip_file_add(zip, a->member, source, 0);
        zip_set_file_compression(zip, (zip_uint64_t)at, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
        zip_file_set_mtime(zip, (zip_uint64_t)at, 1000000000, 0); /* the same bytes every time */
    }
    return zip && zip_close(zip) == 0;
}

#endif
