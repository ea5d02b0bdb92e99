/* WebP, by libwebp and libwebpdemux: lossy and lossless. Alpha is dropped, as by PIL. Of an animation
 * the first frame is taken, on its canvas, which is black around it.
 *
 * libwebp has no hooks for memory: it allocates for each picture itself. */
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "data/picture/codec.h"

/* What begin keeps for read. */
typedef struct webp_reader {
    WebPDemuxer *parts; /* of an animation; NULL otherwise */
    WebPIterator frame; /* its first frame */
    bool has_frame;
} webp_reader;

static weft_status failure(wf_decoder *d, VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY: return wf_picture_nomem(d);
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED: return wf_picture_cut_short(d);
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return wf_picture_unsupported(d, "a feature that libwebp does not know");
    default: return wf_picture_damaged(d, "its bits make no picture");
    }
}

static bool webp_matches(const uint8_t *bytes, size_t n)
{
    return n >= 16 && !memcmp(bytes, "RIFF", 4) && !memcmp(bytes + 8, "WEBPVP8", 7);
}

static void find_orientation(wf_decoder *d, WebPDemuxer *parts)
{
    WebPChunkIterator chunk;
    if (!WebPDemuxGetChunk(parts, "EXIF", 1, &chunk))
        return;
    d->info.orientation = wf_exif_orientation(d, chunk.chunk.bytes, chunk.chunk.size);
    WebPDemuxReleaseChunkIterator(&chunk);
}

static weft_status webp_begin(wf_decoder *d)
{
    webp_reader *r = wf_picture_memory_take(&d->memory, sizeof *r);
    if (!r)
        return wf_picture_nomem(d);
    memset(r, 0, sizeof *r);
    d->open = r;
    WebPBitstreamFeatures features;
    VP8StatusCode code = WebPGetFeatures(d->bytes, d->n, &features);
    if (code != VP8_STATUS_OK)
        return failure(d, code);
    d->info.height = features.height;
    d->info.width = features.width;
    d->info.channels = 3;
    bool extended = d->bytes[15] == 'X'; /* only these have animations and EXIF */
    if (!features.has_animation && !(extended && d->want_exif))
        return WEFT_OK;
    WebPDemuxState state;
    r->parts = WebPDemuxPartial(&(WebPData){d->bytes, d->n}, &state);
    if (!r->parts || state < WEBP_DEMUX_PARSED_HEADER)
        return state == WEBP_DEMUX_PARSE_ERROR ? wf_picture_damaged(d, "its chunks make no sense")
                                               : wf_picture_cut_short(d);
    if (d->want_exif)
        find_orientation(d, r->parts);
    if (!features.has_animation)
        return WEFT_OK;
    if (state != WEBP_DEMUX_DONE) /* as PIL, though only the first frame is wanted */
        return wf_picture_cut_short(d);
    if (!WebPDemuxGetFrame(r->parts, 1, &r->frame))
        return wf_picture_damaged(d, "an animation without frames");
    r->has_frame = true;
    if (!r->frame.complete)
        return wf_picture_cut_short(d);
    if (r->frame.x_offset < 0 || r->frame.width > d->info.width - r->frame.x_offset ||
        r->frame.y_offset < 0 || r->frame.height > d->info.height - r->frame.y_offset)
        return wf_picture_damaged(d, "its first frame lies outside of its canvas");
    return WEFT_OK;
}

static weft_status webp_read(wf_decoder *d, uint8_t *pixels)
{
    webp_reader *r = d->open;
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return wf_picture_unsupported(d, "libwebp is another version than it was built with");
    size_t stride = (size_t)d->width * 3;
    WebPData data = {d->bytes, d->n};
    size_t at = 0;
    int height = d->height, width = d->width;
    if (r->has_frame) {
        data = r->frame.fragment;
        at = (size_t)r->frame.y_offset * stride + (size_t)r->frame.x_offset * 3;
        height = r->frame.height;
        width = r->frame.width;
        if (height < d->height || width < d->width)
            memset(pixels, 0, stride * (size_t)d->height);
    }
    /* The frame's own header is what is decoded: it must have the size that was announced. */
    VP8StatusCode code = WebPGetFeatures(data.bytes, data.size, &config.input);
    if (code != VP8_STATUS_OK)
        return failure(d, code);
    if (config.input.height != height || config.input.width != width)
        return wf_picture_damaged(d, "its first frame is %dx%d, not %dx%d as announced",
                                  config.input.width, config.input.height, width, height);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels + at;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)(height - 1) + (size_t)width * 3;
    code = WebPDecode(data.bytes, data.size, &config);
    WebPFreeDecBuffer(&config.output);
    return code == VP8_STATUS_OK ? WEFT_OK : failure(d, code);
}

static void webp_end(wf_decoder *d)
{
    webp_reader *r = d->open;
    if (!r)
        return;
    if (r->has_frame)
        WebPDemuxReleaseIterator(&r->frame);
    WebPDemuxDelete(r->parts);
}

const wf_picture_codec wf_codec_webp = {
    .name = "WebP",
    .matches = webp_matches,
    .begin = webp_begin,
    .read = webp_read,
    .end = webp_end,
};
