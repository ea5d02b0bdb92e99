/* A codec reads one format of picture files. This is a codec as decode.c sees it, and the decoder as
 * codecs see it.
 *
 * One call on a decoder is begin, and for a decoded picture read; then end, whatever failed. */
#ifndef WF_DATA_PICTURE_CODEC_H
#define WF_DATA_PICTURE_CODEC_H

#include "data/picture/memory.h"
#include "data/picture/picture.h"
#include "engine/base/error.h"

struct wf_picture_codec;

struct wf_decoder {
    /* The call: the file, and what is wanted of it. */
    const uint8_t *bytes;
    size_t n;
    const char *name;
    const struct wf_picture_codec *codec;
    bool want_exif; /* info.orientation is wanted */
    int fast_side;  /* as wf_decode_opts */
    weft_error *err;
    /* What begin has found. */
    wf_picture_info info;
    int height, width; /* of what read gives: less than info's after a scaled DCT */
    void *open;        /* the codec's own, of this call; in `memory` */
    /* What lives as long as the decoder. */
    void *jpeg; /* libjpeg's decompressor */
    wf_picture_memory memory;
    uint8_t *pixels, *turned;
    size_t pixels_capacity, turned_capacity;
};

typedef struct wf_picture_codec {
    const char *name; /* "JPEG" */
    /* Whether a file that begins with these bytes is of this format. */
    bool (*matches)(const uint8_t *bytes, size_t n);
    /* Reads the header. Fills d->info; d->height and d->width are info's unless it changes them.
     * Allocates no memory that grows with the picture. */
    weft_status (*begin)(wf_decoder *d);
    /* Writes d->height rows of d->width * info.channels bytes. */
    weft_status (*read)(wf_decoder *d, uint8_t *pixels);
    void (*end)(wf_decoder *d);  /* after begin, even if it failed; may be NULL */
    void (*done)(wf_decoder *d); /* frees what lives as long as the decoder; may be NULL */
} wf_picture_codec;

#define WF_PICTURE(codec) extern const wf_picture_codec wf_codec_##codec;
#include "data/picture/pictures.def"
#undef WF_PICTURE

/* Errors of the file in hand; all return a status. `why` is a phrase, often a library's text:
 * "a.jpg: damaged JPEG: Unsupported marker type 0x5a". */
weft_status wf_picture_damaged(wf_decoder *d, const char *why, ...)
    __attribute__((format(printf, 2, 3)));
weft_status wf_picture_cut_short(wf_decoder *d); /* "a.jpg: truncated JPEG: ..." */
/* It is no damage, but a kind of this format that Weft does not read. */
weft_status wf_picture_unsupported(wf_decoder *d, const char *what, ...)
    __attribute__((format(printf, 2, 3)));
weft_status wf_picture_nomem(wf_decoder *d);

/* Orientation, 1 to 8, of an EXIF block (a TIFF header and what follows, with or without "Exif\0\0"
 * in front). 1 where it has none, or is damaged. */
int wf_exif_orientation(wf_decoder *d, const uint8_t *bytes, size_t n);

#endif
