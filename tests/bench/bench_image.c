/* Reading radiographs and the training transform, on one core.
 *
 *   bench_image [threads [seconds]]                    a grey JPEG of 2544 x 3056 to a short side of 256, exact and
 * scaled bench_image pack exact|scaled SIDE SECONDS FILE    for scripts/peers/bench_image.py: milliseconds of one file
 *   bench_image train SIZE SECONDS FILE                the training transform of one file, decoding included */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jpeglib.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/timer.h"
#include "image/augment.h"
#include "image/decode.h"
#include "image/resize.h"

enum { HEIGHT = 3056, WIDTH = 2544, SIDE = 256, LARGEST_FILE = 1 << 28 };

struct file {
    uint8_t *bytes;
    size_t size;
};

/* Smooth shapes and noise, about 0.8 MB at quality 90. */
static struct file radiograph(struct arena *arena)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    uint32_t noise = 1;
    uint8_t *row = arena_take(arena, WIDTH, 1);
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &bytes, &size);
    info.image_width = WIDTH;
    info.image_height = HEIGHT;
    info.input_components = 1;
    info.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 90, TRUE);
    jpeg_start_compress(&info, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++) {
            noise = noise * 1664525u + 1013904223u;
            double value = 128 + 60 * sin(x / 180.0) + 40 * cos(y / 230.0) + (noise >> 24) / 64.0;
            row[x] = (uint8_t)fmin(fmax(value, 0), 255);
        }
        JSAMPROW rows = row;
        jpeg_write_scanlines(&info, &rows, 1);
    }
    jpeg_finish_compress(&info);
    struct file file = { arena_take_raw(arena, size, 1), size };
    memcpy(file.bytes, bytes, size);
    jpeg_destroy_compress(&info);
    free(bytes);
    return file;
}

static struct image decoded(struct arena *arena, const struct file *file, int scale_side)
{
    struct image_reading reading = { .max_megapixels = 100, .scale_side = scale_side };
    struct image picture;
    const char *why = "";
    if (!image_decode(arena, &picture, NULL, file->bytes, file->size, &reading, &why)) {
        fprintf(stderr, "bench_image: %s\n", why);
        exit(1);
    }
    return picture;
}

static void pack(struct arena *arena, const struct file *file, int side, bool scaled)
{
    struct image picture = decoded(arena, file, scaled ? side : 0);
    int height, width;
    resize_short_side(&height, &width, picture.height, picture.width, side);
    uint8_t *out = arena_take_raw(arena, (size_t)height * (size_t)width, (size_t)picture.channels);
    resize_bicubic(arena, out, height, width, picture.pixels, picture.height, picture.width, picture.channels);
}

static void train(struct arena *arena, const struct file *file, int size, int64_t draw)
{
    struct image picture = decoded(arena, file, 0);
    struct preprocess view = { .size = size, .mean = { 0 }, .deviation = { 1, 1, 1 } };
    struct augment draws = augment_draw(1, 0, draw);
    uint8_t *pixels = arena_take_raw(arena, (size_t)size * (size_t)size, 3);
    float *out = arena_take_raw(arena, 3 * (size_t)size * (size_t)size, sizeof *out);
    augment_apply(arena, pixels, &view, picture.pixels, picture.height, picture.width, picture.channels, &draws);
    augment_normalise(out, pixels, &view, picture.channels);
}

enum work { DECODE, PACK, PACK_SCALED, TRAIN };

/* Of this process, not of the clock: other work on the core is not in it. */
static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The fastest of repetitions over `seconds`, in milliseconds: what other work on the machine does least to. */
static double measure(struct arena *arena, const struct file *file, enum work work, int side, double seconds)
{
    double best = 1e9, start = timer_seconds();
    for (int64_t n = 0; n < 3 || timer_seconds() - start < seconds; n++) {
        struct arena_mark mark = arena_mark(arena);
        double begin = processor_seconds();
        if (work == TRAIN)
            train(arena, file, side, n);
        else if (work == DECODE)
            decoded(arena, file, 0);
        else
            pack(arena, file, side, work == PACK_SCALED);
        best = fmin(best, processor_seconds() - begin);
        arena_release(arena, mark);
    }
    return 1000 * best;
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_create("bench", 1 << 20);
    const char *why = "";
    struct file file;
    if (argc > 4) {
        bool training = strcmp(argv[1], "train") == 0;
        enum work work = training ? TRAIN : strcmp(argv[2], "scaled") == 0 ? PACK_SCALED : PACK;
        int side = (int)strtol(argv[training ? 2 : 3], NULL, 10);
        file.bytes = (uint8_t *)file_read(arena, argv[argc - 1], LARGEST_FILE, &file.size, &why);
        if (!file.bytes) {
            fprintf(stderr, "bench_image: %s: %s\n", argv[argc - 1], why);
            return 1;
        }
        printf("%.3f\n", measure(arena, &file, work, side, strtod(argv[argc - 2], NULL)));
    } else {
        double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
        file = radiograph(arena);
        double ms[3];
        for (int work = DECODE; work <= PACK_SCALED; work++)
            ms[work] = measure(arena, &file, (enum work)work, SIDE, seconds);
        printf("  grey JPEG %d x %d, one core    decode %6.1f ms\n", WIDTH, HEIGHT, ms[DECODE]);
        printf("    to a short side of %d           %6.1f ms, scaled %.1f ms\n", SIDE, ms[PACK], ms[PACK_SCALED]);
    }
    arena_destroy(arena);
    return 0;
}
