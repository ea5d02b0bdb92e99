/* Pictures: what a picture file becomes when it is decoded.
 *
 * A decoder holds the state and the buffers of one thread; they grow to the largest picture and are
 * used again, so that decoding allocates nothing after warm-up. The file's content says which
 * format it is, never its name. Files are hostile input.
 *
 * Pixels are u8 and interleaved, (H, W, C) with C 1 (grey) or 3 (red, green, blue), as PIL's. */
#ifndef WF_DATA_PICTURE_H
#define WF_DATA_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

/* A decoded picture. Rows lie `channels * width` bytes apart, without padding. */
typedef struct wf_picture {
    const uint8_t *pixels; /* (height, width, channels) */
    int height, width, channels;
} wf_picture;

/* What a file's header says. */
typedef struct wf_picture_info {
    const char *format; /* "JPEG", "PNG", ...: static text */
    int height, width;  /* as stored: before any orientation is applied */
    int channels;       /* 1: grey; 3: everything else */
    int orientation;    /* EXIF's, 1 to 8; 1 where there is none */
} wf_picture_info;

/* How to decode. Zeros are defaults. */
typedef struct wf_decode_opts {
    int channels;       /* 1: as PIL's convert("L"); 3: as convert("RGB"); 0: as stored, 1 or 3 */
    int64_t max_pixels; /* more are refused; 0: WF_PICTURE_MAX_PIXELS */
    bool exif;          /* turn and mirror the picture as its EXIF orientation says */
    /* JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (scaled DCT) as long as neither side gets
     * shorter than this. It changes pixels. 0: never. */
    int fast_side;
} wf_decode_opts;
/* PIL's limit before it calls a picture a decompression bomb is 89 million pixels, and an error
 * twice that. */
#define WF_PICTURE_MAX_PIXELS (INT64_C(178956970))

typedef struct wf_decoder wf_decoder; /* of one thread */

/* NULL: no memory. */
wf_decoder *wf_decoder_create(void);
void wf_decoder_destroy(wf_decoder *d); /* NULL: no effect */

/* Whether these bytes begin like a picture of a format that this build reads. `n` may be few: 16
 * are enough. Returns the format's name, or NULL. */
const char *wf_picture_format(const void *bytes, size_t n);
/* Reads the header only. `name` is for the error: the file's name as people know it. */
weft_status wf_picture_probe(wf_decoder *d, const void *bytes, size_t n, const char *name,
                             wf_picture_info *info, weft_error *err);
/* Decodes. *picture is valid until the next call on `d`. opts may be NULL. A file that is cut short
 * or damaged is an error, WEFT_ERR_FORMAT, that names it. */
weft_status wf_decode(wf_decoder *d, const void *bytes, size_t n, const char *name,
                      const wf_decode_opts *opts, wf_picture *picture, weft_error *err);

#endif
