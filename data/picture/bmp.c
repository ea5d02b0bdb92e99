/* BMP, by a reader of our own: Debian has no library for it. Windows headers from version 2 on, and
 * OS/2's; 1, 4, 8, 16, 24 and 32 bits, RLE4 and RLE8, bit fields, either row first. Alpha is dropped.
 * Source: Microsoft's BITMAPINFOHEADER, BITMAPV5HEADER and "Bitmap Compression".
 *
 * As in PIL: a palette whose colours are the greys 0, 1, 2, ... (or black and white, of two) makes a
 * grey picture; bit fields are those of a list; RLE goes over the pixels in file order, and what it
 * skips is colour 0. Not as in PIL: pixels of such a grey palette are read with the width that they
 * have, and an RLE picture may end early. */
#include <string.h>

#include "data/picture/codec.h"
#include "data/picture/pixels.h"

#define FILE_HEADER 14

enum compression { PLAIN = 0, RLE8 = 1, RLE4 = 2, BIT_FIELDS = 3 };

typedef struct bmp_reader {
    uint32_t header, compression;
    int bits; /* a pixel */
    bool top_down;
    size_t pixels; /* where they begin in the file */
    uint8_t palette[256][3];
    int at[3];     /* of red, green and blue: the byte (24 and 32 bits) or lowest bit (16) */
    int green_max; /* of 16 bits */
} bmp_reader;

static uint32_t u16(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static bool bmp_matches(const uint8_t *bytes, size_t n)
{
    /* The reserved bytes are no rule of ours, but text may begin with BM. */
    return n >= 16 && bytes[0] == 'B' && bytes[1] == 'M' && bytes[15] == 0;
}

/* ---- the header ------------------------------------------------------------------------------ */

static weft_status read_masks(wf_decoder *d, bmp_reader *r)
{
    static const struct {
        uint8_t bits;
        uint32_t masks[3]; /* red, green, blue */
        int at[3], green_max;
    } known[] = {
        {32, {0xff0000, 0xff00, 0xff}, {2, 1, 0}, 0},
        {32, {0xff000000, 0xff0000, 0xff00}, {3, 2, 1}, 0},
        {32, {0xff000000, 0xff00, 0xff}, {3, 1, 0}, 0},
        {32, {0xff, 0xff00, 0xff0000}, {0, 1, 2}, 0},
        {32, {0, 0, 0}, {2, 1, 0}, 0},
        {24, {0xff0000, 0xff00, 0xff}, {2, 1, 0}, 0},
        {16, {0xf800, 0x7e0, 0x1f}, {11, 5, 0}, 63},
        {16, {0x7c00, 0x3e0, 0x1f}, {10, 5, 0}, 31},
    };
    size_t at = FILE_HEADER + 40;
    if (d->n < at + 12)
        return wf_picture_cut_short(d);
    uint32_t masks[3] = {u32(d->bytes + at), u32(d->bytes + at + 4), u32(d->bytes + at + 8)};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].bits == r->bits && !memcmp(known[i].masks, masks, sizeof masks)) {
            memcpy(r->at, known[i].at, sizeof r->at);
            r->green_max = known[i].green_max;
            return WEFT_OK;
        }
    return wf_picture_unsupported(d, "bit fields %#x, %#x and %#x of %d bits", masks[0], masks[1],
                                  masks[2], r->bits);
}

/* The palette, which begins at `at` and has `colours` entries of `size` bytes. */
static weft_status read_palette(wf_decoder *d, bmp_reader *r, size_t at, uint32_t colours,
                                size_t size)
{
    if (colours == 0 || colours > 65536)
        return wf_picture_damaged(d, "a palette of %u colours", colours);
    if (at > d->n || colours > (d->n - at) / size)
        return wf_picture_cut_short(d);
    bool grey = true;
    for (uint32_t i = 0; i < colours; i++) {
        const uint8_t *p = d->bytes + at + i * size;
        uint8_t want = colours == 2 ? (uint8_t)(i * 255) : (uint8_t)i;
        grey &= p[0] == want && p[1] == want && p[2] == want;
        if (i < 256) {
            r->palette[i][0] = p[2];
            r->palette[i][1] = p[1];
            r->palette[i][2] = p[0];
        }
    }
    if (grey)
        d->info.channels = 1;
    return WEFT_OK;
}

static weft_status bmp_begin(wf_decoder *d)
{
    bmp_reader *r = wf_picture_memory_take(&d->memory, sizeof *r);
    if (!r)
        return wf_picture_nomem(d);
    memset(r, 0, sizeof *r);
    d->open = r;
    const uint8_t *bytes = d->bytes;
    if (d->n < FILE_HEADER + 12)
        return wf_picture_cut_short(d);
    r->header = u32(bytes + FILE_HEADER);
    if (d->n - FILE_HEADER < r->header)
        return wf_picture_cut_short(d);
    uint32_t width, colours = 0;
    int64_t height;
    bool old = r->header == 12;
    const uint8_t *h = bytes + FILE_HEADER;
    if (old) {
        width = u16(h + 4);
        height = u16(h + 6);
        r->bits = (int)u16(h + 10);
    } else if (r->header == 40 || r->header == 52 || r->header == 56 || r->header == 64 ||
               r->header == 108 || r->header == 124) {
        width = u32(h + 4);
        height = u32(h + 8);
        r->top_down = h[11] == 0xff;
        if (r->top_down)
            height = (INT64_C(1) << 32) - height;
        r->bits = (int)u16(h + 14);
        r->compression = u32(h + 16);
        colours = u32(h + 32);
    } else {
        return wf_picture_unsupported(d, "a header of %u bytes", r->header);
    }
    if (width > INT32_MAX || height > INT32_MAX)
        return wf_picture_damaged(d, "its size is %ux%lld", width, (long long)height);
    d->info.width = (int)width;
    d->info.height = (int)height;
    d->info.channels = 3;
    if (r->bits != 1 && r->bits != 4 && r->bits != 8 && r->bits != 16 && r->bits != 24 &&
        r->bits != 32)
        return wf_picture_unsupported(d, "%d bits a pixel", r->bits);
    if (r->compression > BIT_FIELDS || (r->compression == RLE8 && r->bits != 8) ||
        (r->compression == RLE4 && r->bits != 4) || (r->compression == BIT_FIELDS && r->bits < 16))
        return wf_picture_unsupported(d, "compression %u of %d bits a pixel", r->compression,
                                      r->bits);

    memcpy(r->at, (int[3]){2, 1, 0}, sizeof r->at);
    if (r->bits == 16) {
        memcpy(r->at, (int[3]){10, 5, 0}, sizeof r->at);
        r->green_max = 31;
    }
    size_t after = FILE_HEADER + (size_t)r->header; /* of what has been read */
    if (r->compression == BIT_FIELDS) {
        WF_TRY(read_masks(d, r));
        if (r->header == 40)
            after += 12;
    }
    r->pixels = u32(bytes + 10);
    if (r->bits <= 8) {
        size_t entry = old ? 3 : 4;
        if (colours == 0)
            colours = 1u << r->bits;
        WF_TRY(read_palette(d, r, after, colours, entry));
        after += colours * entry;
        /* Some writers forget the palette when they say where pixels begin. */
        if (r->pixels == FILE_HEADER + (size_t)r->header)
            r->pixels = after;
    }
    if (r->pixels == 0)
        r->pixels = after;
    return WEFT_OK;
}

/* ---- pixels ---------------------------------------------------------------------------------- */

/* One row of pixels of up to 8 bits: a byte each. */
static void unpack_row(const bmp_reader *r, const uint8_t *from, uint8_t *to, size_t width)
{
    if (r->bits == 1)
        wf_pixels_bits_to_grey(from, to, width, 0, 1);
    for (size_t x = 0; r->bits == 4 && x < width; x++)
        to[x] = x % 2 ? from[x / 2] & 15 : from[x / 2] >> 4;
    if (r->bits == 8)
        memcpy(to, from, width);
}

/* One row of more than 8 bits. */
static void colour_row(const bmp_reader *r, const uint8_t *from, uint8_t *to, size_t width)
{
    if (r->bits == 16) {
        for (size_t x = 0; x < width; x++) {
            uint32_t v = u16(from + 2 * x);
            to[3 * x] = (uint8_t)((v >> r->at[0] & 31) * 255 / 31);
            to[3 * x + 1] =
                (uint8_t)((v >> 5 & (uint32_t)r->green_max) * 255 / (uint32_t)r->green_max);
            to[3 * x + 2] = (uint8_t)((v & 31) * 255 / 31);
        }
        return;
    }
    size_t size = (size_t)r->bits / 8;
    for (size_t x = 0; x < width; x++)
        for (int c = 0; c < 3; c++)
            to[3 * x + (size_t)c] = from[size * x + (size_t)r->at[c]];
}

/* Colours of a picture with a palette, from their numbers, to a row of the result. */
static void finish_row(const wf_decoder *d, const bmp_reader *r, const uint8_t *numbers,
                       uint8_t *to)
{
    size_t width = (size_t)d->width;
    if (d->info.channels == 3)
        wf_pixels_look_up(numbers, r->palette, to, width);
    else
        for (size_t x = 0; x < width; x++)
            to[x] = r->palette[numbers[x]][0];
}

static uint8_t *row_of(const wf_decoder *d, const bmp_reader *r, uint8_t *pixels, size_t y)
{
    size_t row = r->top_down ? y : (size_t)d->height - 1 - y;
    return pixels + row * (size_t)d->width * (size_t)d->info.channels;
}

static weft_status read_rows(wf_decoder *d, const bmp_reader *r, uint8_t *pixels)
{
    size_t width = (size_t)d->width, height = (size_t)d->height;
    size_t stride = (width * (size_t)r->bits + 31) / 32 * 4;
    size_t least = (width * (size_t)r->bits + 7) / 8; /* the last row may end without padding */
    if (r->pixels > d->n || d->n - r->pixels < least ||
        height - 1 > (d->n - r->pixels - least) / stride)
        return wf_picture_cut_short(d);
    const uint8_t *from = d->bytes + r->pixels;
    uint8_t *numbers = NULL;
    if (r->bits <= 8 && !(numbers = wf_picture_memory_take(&d->memory, width)))
        return wf_picture_nomem(d);
    for (size_t y = 0; y < height; y++, from += stride) {
        uint8_t *to = row_of(d, r, pixels, y);
        if (r->bits > 8) {
            colour_row(r, from, to, width);
        } else {
            unpack_row(r, from, numbers, width);
            finish_row(d, r, numbers, to);
        }
    }
    return WEFT_OK;
}

/* Unpacks run lengths into `to`, a byte a pixel, which is all zeros. A pair of bytes is a run: a
 * length and what to repeat; or, after a 0, an escape: 0 the end of a row, 1 of the picture, 2 a
 * step to the right and up, more: so many pixels as they are, padded to an even place. */
static weft_status unpack_runs(wf_decoder *d, const bmp_reader *r, uint8_t *to)
{
    size_t width = (size_t)d->width, size = width * (size_t)d->height, done = 0, x = 0;
    bool nibbles = r->compression == RLE4;
    const uint8_t *bytes = d->bytes;
    size_t at = r->pixels;
    while (done < size) {
        if (at > d->n || d->n - at < 2)
            return wf_picture_cut_short(d);
        size_t count = bytes[at], value = bytes[at + 1];
        at += 2;
        if (count > 0) {
            if (count > width - (x < width ? x : width)) /* no run leaves its row */
                count = width - (x < width ? x : width);
            if (count > size - done)
                count = size - done;
            for (size_t i = 0; i < count; i++)
                to[done + i] = (uint8_t)(!nibbles ? value : i % 2 ? value & 15 : value >> 4);
            done += count;
            x += count;
        } else if (value == 0) {
            done = (done + width - 1) / width * width;
            x = 0;
        } else if (value == 1) {
            return WEFT_OK;
        } else if (value == 2) {
            if (d->n - at < 2)
                return wf_picture_cut_short(d);
            size_t step = bytes[at] + bytes[at + 1] * width;
            at += 2;
            done += step < size - done ? step : size - done;
            x = done % width;
        } else {
            count = value < size - done ? value : size - done;
            size_t used = nibbles ? (count + 1) / 2 : count;
            if (d->n - at < used)
                return wf_picture_cut_short(d);
            for (size_t i = 0; i < count; i++)
                to[done + i] = !nibbles ? bytes[at + i]
                               : i % 2  ? bytes[at + i / 2] & 15
                                        : bytes[at + i / 2] >> 4;
            done += count;
            x += value;
            at += used;
            at += at % 2;
        }
    }
    return WEFT_OK;
}

static weft_status bmp_read(wf_decoder *d, uint8_t *pixels)
{
    const bmp_reader *r = d->open;
    if (r->compression != RLE8 && r->compression != RLE4)
        return read_rows(d, r, pixels);
    size_t width = (size_t)d->width, height = (size_t)d->height;
    uint8_t *numbers = wf_picture_memory_take(&d->memory, width * height);
    if (!numbers)
        return wf_picture_nomem(d);
    memset(numbers, 0, width * height);
    WF_TRY(unpack_runs(d, r, numbers));
    for (size_t y = 0; y < height; y++)
        finish_row(d, r, numbers + y * width, row_of(d, r, pixels, y));
    return WEFT_OK;
}

const wf_picture_codec wf_codec_bmp = {
    .name = "BMP",
    .matches = bmp_matches,
    .begin = bmp_begin,
    .read = bmp_read,
};
