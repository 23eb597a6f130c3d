/* JPEG by libjpeg-turbo. Its errors come back as a reason through setjmp; data
 * that ends early or does not decode is an error, not a grey area. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "base/arena.h"
#include "image/codec.h"

enum {
    MAX_SCANS = 500, /* progressive files of many scans cost time out of proportion to their size */
    ROWS_AT_ONCE = 16,
};

struct jpeg_job {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX];
};

static void setup(struct jpeg_job *job);
static const char *read_all(struct arena *arena, struct jpeg_job *job, struct raster *out,
                            const struct codec_input *in);

bool jpeg_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    struct jpeg_job *job = arena_array(arena, struct jpeg_job, 1);
    setup(job);
    if (setjmp(job->escape) == 0)
        *why = read_all(arena, job, out, in);
    else
        *why = arena_printf(arena, "JPEG: %s", job->message);
    jpeg_destroy_decompress(&job->info);
    return *why == NULL;
}

static void fail(j_common_ptr info)
{
    struct jpeg_job *job = info->client_data;
    info->err->format_message(info, job->message);
    longjmp(job->escape, 1);
}

/* libjpeg goes on after these with invented pixels. */
static void warn(j_common_ptr info, int level)
{
    static const int damage[] = { JWRN_JPEG_EOF, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_MUST_RESYNC,
                                  JWRN_ARITH_BAD_CODE };
    if (level >= 0)
        return;
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++)
        if (info->err->msg_code == damage[i])
            fail(info);
}

static void silent(j_common_ptr info)
{
    (void)info;
}

static void count_scans(j_common_ptr info)
{
    struct jpeg_job *job = info->client_data;
    if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > MAX_SCANS) {
        snprintf(job->message, sizeof job->message, "more than %d scans", MAX_SCANS);
        longjmp(job->escape, 1);
    }
}

static void setup(struct jpeg_job *job)
{
    job->info.err = jpeg_std_error(&job->errors);
    job->errors.error_exit = fail;
    job->errors.emit_message = warn;
    job->errors.output_message = silent;
    job->info.client_data = job;
}

static int orientation_of(const struct jpeg_decompress_struct *info)
{
    for (jpeg_saved_marker_ptr marker = info->marker_list; marker; marker = marker->next)
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > 6 && memcmp(marker->data, "Exif\0", 5) == 0)
            return exif_orientation(marker->data, marker->data_length);
    return 1;
}

static uint8_t multiply_255(int a, int b)
{
    int product = a * b + 128;
    return (uint8_t)(((product >> 8) + product) >> 8);
}

/* Adobe stores CMYK inverted, and four-component files are taken as Adobe's: `in` holds 255 - ink. */
static void cmyk_to_rgb(uint8_t *out, const uint8_t *in, size_t width)
{
    for (size_t x = 0; x < width; x++, in += 4, out += 3)
        for (int k = 0; k < 3; k++)
            out[k] = (uint8_t)(in[3] - multiply_255(255 - in[k], in[3]));
}

/* The smallest of 1/8, 1/4, 1/2 of the size that leaves both sides at least `side` pixels. */
static void choose_scale(struct jpeg_decompress_struct *info, int side)
{
    unsigned least = info->image_width < info->image_height ? info->image_width : info->image_height;
    info->scale_num = 1;
    for (info->scale_denom = 8; info->scale_denom > 1; info->scale_denom /= 2)
        if (side > 0 && (least + info->scale_denom - 1) / info->scale_denom >= (unsigned)side)
            break;
}

static void read_rows(struct arena *arena, struct jpeg_decompress_struct *info, const struct raster *out)
{
    size_t row_bytes = (size_t)out->width * (size_t)out->channels;
    uint8_t *inks = info->num_components == 4 ? arena_take_raw(arena, (size_t)out->width, 4) : NULL;
    while (info->output_scanline < info->output_height) {
        JSAMPROW rows[ROWS_AT_ONCE];
        uint8_t *row = out->pixels + info->output_scanline * row_bytes;
        JDIMENSION left = info->output_height - info->output_scanline;
        for (JDIMENSION i = 0; i < ROWS_AT_ONCE; i++)
            rows[i] = inks ? inks : row + (i < left ? i : 0) * row_bytes;
        jpeg_read_scanlines(info, rows, inks ? 1 : left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE);
        if (inks)
            cmyk_to_rgb(row, inks, (size_t)out->width);
    }
}

/* Returns NULL or the reason. Anything allocated is the arena's or libjpeg's, so a jump out of here loses nothing. */
static const char *read_all(struct arena *arena, struct jpeg_job *job, struct raster *out, const struct codec_input *in)
{
    struct jpeg_decompress_struct *info = &job->info;
    jpeg_create_decompress(info);
    info->client_data = job;
    job->progress.progress_monitor = count_scans;
    info->progress = &job->progress;
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_mem_src(info, in->bytes, in->size);
    jpeg_read_header(info, TRUE);

    const char *problem = image_size_problem(arena, info->image_width, info->image_height, in->max_pixels);
    if (problem)
        return problem;
    int components = info->num_components;
    if (components != 1 && components != 3 && components != 4)
        return arena_printf(arena, "JPEG: %d colour components, expected 1, 3 or 4", components);
    info->out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    choose_scale(info, in->scale_side);

    jpeg_start_decompress(info);
    *out = (struct raster){ .height = (int)info->output_height,
                            .width = (int)info->output_width,
                            .channels = components == 1 ? 1 : 3,
                            .orientation = orientation_of(info),
                            .file_height = (int)info->image_height,
                            .file_width = (int)info->image_width };
    out->pixels = arena_take_raw(arena, (size_t)out->height * (size_t)out->width, (size_t)out->channels);
    read_rows(arena, info, out);
    jpeg_finish_decompress(info);
    return NULL;
}
