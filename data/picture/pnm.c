/* PBM, PGM and PPM, plain and raw, by a reader of our own: Debian has no library for them.
 * Source: netpbm's pages pbm(5), pgm(5), ppm(5).
 *
 * Samples up to a greatest value M are scaled as PIL does: to 255, rounded half to even; but grey of
 * more than 8 bits is scaled to 65535, and above 255 it is white, as all of PIL's 16-bit grey. */
#include <math.h>
#include <string.h>

#include "data/picture/codec.h"
#include "data/picture/pixels.h"

#define LONGEST_NUMBER 10 /* digits */

typedef struct pnm_reader {
    int kind; /* '1' to '6' */
    bool plain, bitmap;
    unsigned greatest; /* sample value */
    size_t at;         /* in the file */
} pnm_reader;

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool pnm_matches(const uint8_t *bytes, size_t n)
{
    return n >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && is_space(bytes[2]);
}

/* Goes to the first byte that is neither space nor comment. False: the file ends. */
static bool skip_space(wf_decoder *d, pnm_reader *r)
{
    bool comment = false;
    for (; r->at < d->n; r->at++) {
        uint8_t c = d->bytes[r->at];
        if (comment)
            comment = c != '\n' && c != '\r';
        else if (c == '#')
            comment = true;
        else if (!is_space(c))
            return true;
    }
    return false;
}

/* Reads a number of at most `most`, and leaves the byte after it to be read. */
static weft_status read_number(wf_decoder *d, pnm_reader *r, const char *what, unsigned most,
                               unsigned *number)
{
    if (!skip_space(d, r))
        return wf_picture_cut_short(d);
    uint64_t value = 0;
    size_t begin = r->at;
    for (; r->at < d->n && d->bytes[r->at] >= '0' && d->bytes[r->at] <= '9'; r->at++) {
        if (r->at - begin == LONGEST_NUMBER)
            return wf_picture_damaged(d, "a number of more than %d digits", LONGEST_NUMBER);
        value = 10 * value + (unsigned)(d->bytes[r->at] - '0');
    }
    if (r->at == begin || (r->at < d->n && !is_space(d->bytes[r->at]) && d->bytes[r->at] != '#'))
        return wf_picture_damaged(d, "its %s is no number", what);
    if (value > most)
        return wf_picture_damaged(d, "its %s is %llu, expected at most %u", what,
                                  (unsigned long long)value, most);
    *number = (unsigned)value;
    return WEFT_OK;
}

static weft_status pnm_begin(wf_decoder *d)
{
    pnm_reader *r = wf_picture_memory_take(&d->memory, sizeof *r);
    if (!r)
        return wf_picture_nomem(d);
    d->open = r;
    int kind = d->bytes[1];
    *r = (pnm_reader){.kind = kind,
                      .plain = kind <= '3',
                      .bitmap = kind == '1' || kind == '4',
                      .greatest = 1,
                      .at = 2};
    unsigned width, height;
    WF_TRY(read_number(d, r, "width", INT32_MAX, &width));
    WF_TRY(read_number(d, r, "height", INT32_MAX, &height));
    if (!r->bitmap) {
        WF_TRY(read_number(d, r, "greatest value", 65535, &r->greatest));
        if (r->greatest == 0)
            return wf_picture_damaged(d, "its greatest value is 0");
    }
    d->info.width = (int)width;
    d->info.height = (int)height;
    d->info.channels = kind == '3' || kind == '6' ? 3 : 1;
    return WEFT_OK;
}

/* What each sample value becomes: greatest + 1 bytes. NULL: out of memory. */
static uint8_t *scale(wf_decoder *d, const pnm_reader *r)
{
    uint8_t *to = wf_picture_memory_take(&d->memory, (size_t)r->greatest + 1);
    double full = d->info.channels == 1 && r->greatest > 255 ? 65535 : 255;
    for (unsigned v = 0; to && v <= r->greatest; v++) {
        double scaled = nearbyint((double)v / r->greatest * full);
        to[v] = (uint8_t)(scaled < 255 ? scaled : 255);
    }
    return to;
}

static weft_status read_plain(wf_decoder *d, pnm_reader *r, uint8_t *pixels, size_t samples)
{
    if (samples > d->n - r->at) /* each takes a byte at least */
        return wf_picture_cut_short(d);
    uint8_t *scaled = scale(d, r);
    if (!scaled)
        return wf_picture_nomem(d);
    for (size_t i = 0; i < samples; i++) {
        unsigned v;
        WF_TRY(read_number(d, r, "sample", r->greatest, &v));
        pixels[i] = scaled[v];
    }
    return WEFT_OK;
}

/* Bits need no space between them. 1 is black. */
static weft_status read_plain_bits(wf_decoder *d, pnm_reader *r, uint8_t *pixels, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        if (!skip_space(d, r))
            return wf_picture_cut_short(d);
        uint8_t c = d->bytes[r->at++];
        if (c != '0' && c != '1')
            return wf_picture_damaged(d, "a sample is neither 0 nor 1");
        pixels[i] = c == '0' ? 255 : 0;
    }
    return WEFT_OK;
}

static weft_status read_raw(wf_decoder *d, pnm_reader *r, uint8_t *pixels, size_t samples)
{
    const uint8_t *from = d->bytes + r->at;
    size_t left = d->n - r->at, size = r->greatest > 255 ? 2 : 1;
    if (samples > left / size)
        return wf_picture_cut_short(d);
    if (r->greatest == 255) {
        memcpy(pixels, from, samples);
        return WEFT_OK;
    }
    uint8_t *scaled = scale(d, r);
    if (!scaled)
        return wf_picture_nomem(d);
    for (size_t i = 0; i < samples; i++) {
        unsigned v = size == 1 ? from[i] : (unsigned)from[2 * i] << 8 | from[2 * i + 1];
        pixels[i] = scaled[v < r->greatest ? v : r->greatest];
    }
    return WEFT_OK;
}

static weft_status read_raw_bits(wf_decoder *d, pnm_reader *r, uint8_t *pixels)
{
    size_t width = (size_t)d->width, height = (size_t)d->height, row = (width + 7) / 8;
    const uint8_t *from = d->bytes + r->at;
    if (height > (d->n - r->at) / row)
        return wf_picture_cut_short(d);
    for (size_t y = 0; y < height; y++)
        wf_pixels_bits_to_grey(from + y * row, pixels + y * width, width, 255, 0);
    return WEFT_OK;
}

static weft_status pnm_read(wf_decoder *d, uint8_t *pixels)
{
    pnm_reader *r = d->open;
    size_t samples = (size_t)d->height * (size_t)d->width * (size_t)d->info.channels;
    if (r->plain)
        return r->bitmap ? read_plain_bits(d, r, pixels, samples)
                         : read_plain(d, r, pixels, samples);
    if (r->at >= d->n)
        return wf_picture_cut_short(d);
    r->at++; /* one space ends the header */
    return r->bitmap ? read_raw_bits(d, r, pixels) : read_raw(d, r, pixels, samples);
}

const wf_picture_codec wf_codec_pnm = {
    .name = "PNM",
    .matches = pnm_matches,
    .begin = pnm_begin,
    .read = pnm_read,
};
