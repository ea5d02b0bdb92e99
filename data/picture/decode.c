/* Decoding a picture, whatever its format: which one it is, limits, conversion of channels, EXIF
 * turning. */
#include "data/picture/picture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/picture/codec.h"
#include "data/picture/pixels.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

static const wf_picture_codec *const codecs[] = {
#define WF_PICTURE(codec) &wf_codec_##codec,
#include "data/picture/pictures.def"
#undef WF_PICTURE
};
#define CODECS (sizeof codecs / sizeof *codecs)

/* Rows are converted this many pixels at a time, so that a conversion may work in place. */
#define PIXELS_AT_ONCE 4096

wf_decoder *wf_decoder_create(void)
{
    return wf_zalloc(sizeof(wf_decoder));
}

void wf_decoder_destroy(wf_decoder *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < CODECS; i++)
        if (codecs[i]->done)
            codecs[i]->done(d);
    wf_picture_memory_done(&d->memory);
    wf_free(d->pixels);
    wf_free(d->turned);
    wf_free(d);
}

/* ---- which codec ----------------------------------------------------------------------------- */

static const wf_picture_codec *find_codec(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < CODECS; i++)
        if (codecs[i]->matches(bytes, n))
            return codecs[i];
    return NULL;
}

const char *wf_picture_format(const void *bytes, size_t n)
{
    const wf_picture_codec *codec = find_codec(bytes, n);
    return codec ? codec->name : NULL;
}

/* "JPEG, PNG or BMP" */
static void list_formats(char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < CODECS && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s",
                               i == 0            ? ""
                               : i + 1 == CODECS ? " or "
                                                 : ", ",
                               codecs[i]->name);
}

static weft_status unknown(const uint8_t *bytes, size_t n, const char *name, weft_error *err)
{
    if (n == 0)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: the file is empty, expected a picture",
                            name);
    char formats[128], begins[64];
    list_formats(formats, sizeof formats);
    size_t at = 0;
    for (size_t i = 0; i < n && i < 8; i++)
        at += (size_t)snprintf(begins + at, sizeof begins - at, "%s%02x", i ? " " : "", bytes[i]);
    return wf_error_set(err, WEFT_ERR_FORMAT, "%s: not a %s picture: it begins with the bytes %s",
                        name, formats, begins);
}

/* ---- decoding -------------------------------------------------------------------------------- */

static weft_status begin(wf_decoder *d, const void *bytes, size_t n, const char *name,
                         const wf_decode_opts *opts, weft_error *err)
{
    wf_picture_memory_reset(&d->memory);
    d->codec = find_codec(bytes, n);
    if (!d->codec)
        return unknown(bytes, n, name, err);
    d->bytes = bytes;
    d->n = n;
    d->name = name;
    d->want_exif = opts->exif;
    d->fast_side = opts->fast_side;
    d->err = err;
    d->open = NULL;
    d->info = (wf_picture_info){.format = d->codec->name, .orientation = 1};
    d->height = d->width = 0;
    WF_TRY(d->codec->begin(d));
    if (d->height == 0) {
        d->height = d->info.height;
        d->width = d->info.width;
    }
    if (d->info.height < 1 || d->info.width < 1)
        return wf_picture_damaged(d, "its size is %dx%d", d->info.width, d->info.height);
    return WEFT_OK;
}

static void end(wf_decoder *d)
{
    if (d->codec && d->codec->end)
        d->codec->end(d);
    d->bytes = NULL;
    d->codec = NULL;
}

static weft_status check_limit(wf_decoder *d, int64_t limit)
{
    int64_t pixels = (int64_t)d->info.height * d->info.width;
    if (pixels <= limit && pixels <= PTRDIFF_MAX / 16)
        return WEFT_OK;
    return wf_error_set(d->err, WEFT_ERR_FORMAT,
                        "%s: %dx%d pixels are %" PRId64 ", more than the limit of %" PRId64,
                        d->name, d->info.width, d->info.height, pixels, limit);
}

/* `from` holds `pixels` pixels of d->info.channels bytes, and lies in d->pixels. */
static void convert_channels(wf_decoder *d, const uint8_t *from, size_t pixels, int channels)
{
    if (channels == d->info.channels)
        return;
    uint8_t block[PIXELS_AT_ONCE];
    for (size_t at = 0; at < pixels; at += PIXELS_AT_ONCE) {
        size_t n = pixels - at < PIXELS_AT_ONCE ? pixels - at : PIXELS_AT_ONCE;
        if (channels == 3) {
            memcpy(block, from + at, n);
            wf_pixels_grey_to_rgb(block, d->pixels + 3 * at, n);
        } else {
            wf_pixels_rgb_to_grey(from + 3 * at, block, n);
            memcpy(d->pixels + at, block, n);
        }
    }
}

static weft_status decode(wf_decoder *d, const wf_decode_opts *opts, wf_picture *picture)
{
    WF_TRY(check_limit(d, opts->max_pixels > 0 ? opts->max_pixels : WF_PICTURE_MAX_PIXELS));
    int stored = d->info.channels, channels = opts->channels ? opts->channels : stored;
    size_t pixels = (size_t)d->height * (size_t)d->width;
    size_t size = pixels * (size_t)(channels > stored ? channels : stored);
    if (!wf_picture_reserve(&d->pixels, &d->pixels_capacity, size))
        return wf_picture_nomem(d);
    /* Grey pixels that become three bytes begin at the buffer's end: what grows from its start
     * never reaches them before they are read. */
    uint8_t *decoded = d->pixels + (size - pixels * (size_t)stored);
    WF_TRY(d->codec->read(d, decoded));
    convert_channels(d, decoded, pixels, channels);
    int orientation = opts->exif ? d->info.orientation : 1;
    const uint8_t *result = d->pixels;
    if (orientation > 1) {
        if (!wf_picture_reserve(&d->turned, &d->turned_capacity, pixels * (size_t)channels))
            return wf_picture_nomem(d);
        wf_pixels_turn(d->pixels, d->turned, d->height, d->width, channels, orientation);
        result = d->turned;
    }
    bool exchanged = orientation >= 5;
    *picture = (wf_picture){.pixels = result,
                            .height = exchanged ? d->width : d->height,
                            .width = exchanged ? d->height : d->width,
                            .channels = channels};
    return WEFT_OK;
}

weft_status wf_picture_probe(wf_decoder *d, const void *bytes, size_t n, const char *name,
                             wf_picture_info *info, weft_error *err)
{
    weft_status status = begin(d, bytes, n, name, &(wf_decode_opts){.exif = true}, err);
    if (status == WEFT_OK)
        *info = d->info;
    end(d);
    return status;
}

weft_status wf_decode(wf_decoder *d, const void *bytes, size_t n, const char *name,
                      const wf_decode_opts *opts, wf_picture *picture, weft_error *err)
{
    static const wf_decode_opts defaults = {0};
    opts = opts ? opts : &defaults;
    if (opts->channels != 0 && opts->channels != 1 && opts->channels != 3)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: %d channels wanted, expected 0, 1 or 3",
                            name, opts->channels);
    weft_status status = begin(d, bytes, n, name, opts, err);
    if (status == WEFT_OK)
        status = decode(d, opts, picture);
    end(d);
    return status;
}
