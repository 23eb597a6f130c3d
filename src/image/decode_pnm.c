/* PNM: bitmaps, grey and colour, as text (P1 to P3) or bytes (P4 to P6), up to 16 bits. One picture a file.
 * Format: Netpbm, pbm(5), pgm(5), ppm(5). The largest value says what is white, except 65535, which writers of 10 to
 * 14 bits put there too: then the samples are mapped as those of any 16-bit file. */
#include <math.h>

#include "base/arena.h"
#include "image/codec.h"

enum { WHITE_8 = 255, WHITE_16 = 65535 };

struct pnm {
    const struct codec_input *in;
    size_t at;
    bool text, bits;
    int channels;
    uint32_t width, height, white;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next number of header or text samples, after blanks and comments; false at the end and on anything else. */
static bool read_number(struct pnm *pnm, uint32_t most, uint32_t *value)
{
    const uint8_t *bytes = pnm->in->bytes;
    size_t size = pnm->in->size;
    while (pnm->at < size && (is_space(bytes[pnm->at]) || bytes[pnm->at] == '#'))
        if (bytes[pnm->at++] == '#')
            while (pnm->at < size && bytes[pnm->at] != '\n')
                pnm->at++;
    if (pnm->at >= size || bytes[pnm->at] < '0' || bytes[pnm->at] > '9')
        return false;
    for (*value = 0; pnm->at < size && bytes[pnm->at] >= '0' && bytes[pnm->at] <= '9' && *value <= most; pnm->at++)
        *value = *value * 10 + bytes[pnm->at] - '0';
    return *value <= most;
}

/* P1: a digit is a sample, with or without blanks between. 1 is black. */
static bool read_bit(struct pnm *pnm, uint32_t *value)
{
    while (pnm->at < pnm->in->size && is_space(pnm->in->bytes[pnm->at]))
        pnm->at++;
    if (pnm->at >= pnm->in->size || (pnm->in->bytes[pnm->at] != '0' && pnm->in->bytes[pnm->at] != '1'))
        return false;
    *value = pnm->in->bytes[pnm->at++] == '0';
    return true;
}

/* NULL or the reason. */
static const char *read_header(struct arena *arena, struct pnm *pnm)
{
    int kind = pnm->in->bytes[1] - '0';
    const uint32_t most = 0x7fffffff / 16;
    pnm->at = 2;
    pnm->text = kind <= 3;
    pnm->bits = kind == 1 || kind == 4;
    pnm->channels = kind == 3 || kind == 6 ? 3 : 1;
    pnm->white = 1;
    if (!read_number(pnm, most, &pnm->width) || !read_number(pnm, most, &pnm->height) ||
        (!pnm->bits && (!read_number(pnm, WHITE_16, &pnm->white) || pnm->white == 0)))
        return "PNM: a header that is damaged or cut off";
    if (!pnm->text && (pnm->at >= pnm->in->size || !is_space(pnm->in->bytes[pnm->at++])))
        return "PNM: a header that is damaged or cut off";
    return image_size_problem(arena, pnm->width, pnm->height, pnm->in->max_pixels);
}

/* Sample `i` of a row; `row` is where it begins among the bytes of binary kinds. */
static bool read_sample(struct pnm *pnm, size_t row, size_t i, uint32_t *value)
{
    const uint8_t *bytes = pnm->in->bytes + row;
    if (pnm->text)
        return pnm->bits ? read_bit(pnm, value) : read_number(pnm, pnm->white, value);
    if (pnm->bits)
        *value = !(bytes[i / 8] >> (7 - i % 8) & 1);
    else
        *value = pnm->white > WHITE_8 ? codec_number(bytes + 2 * i, 2, true) : bytes[i];
    return *value <= pnm->white;
}

/* Pillow's rounding (half to even) for what is at most a byte, the upper part of the range for what is more. */
static uint8_t level_of(uint32_t value, uint32_t white)
{
    if (white > WHITE_8)
        return (uint8_t)(256 * value / (white + 1));
    return (uint8_t)lrint((double)value / white * WHITE_8);
}

bool pnm_read(struct arena *arena, struct raster *out, const struct codec_input *in, const char **why)
{
    struct pnm pnm = { .in = in };
    *why = read_header(arena, &pnm);
    if (*why)
        return false;
    size_t row_samples = (size_t)pnm.width * (size_t)pnm.channels, count = row_samples * pnm.height;
    size_t row_bytes = pnm.bits ? (row_samples + 7) / 8 : row_samples * (pnm.white > WHITE_8 ? 2 : 1);
    size_t least = pnm.text ? count : row_bytes * pnm.height; /* bytes that the samples take at least */
    *why = least > in->size - pnm.at ? "PNM: the file is cut off" : NULL;
    if (*why)
        return false;
    *out = (struct raster){ .height = (int)pnm.height, .width = (int)pnm.width, .channels = pnm.channels };
    if (pnm.white == WHITE_16)
        out->samples = arena_take_raw(arena, count, sizeof *out->samples);
    else
        out->pixels = arena_take_raw(arena, count, 1);
    for (size_t y = 0, at = pnm.at, n = 0; y < pnm.height; y++, at += row_bytes)
        for (size_t i = 0; i < row_samples; i++, n++) {
            uint32_t value = 0;
            if (!read_sample(&pnm, at, i, &value)) {
                *why = "PNM: a sample that is missing, no number, or above the largest value of the header";
                return false;
            }
            if (out->samples)
                out->samples[n] = (uint16_t)value;
            else
                out->pixels[n] = level_of(value, pnm.white);
        }
    return true;
}
