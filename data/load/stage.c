/* The sample stage. See stage.h. */
#include "data/load/stage.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "kernels/image/colour.h"
#include "kernels/image/resize.h"

struct wf_stage {
    const weft_dataset *ds;
    wf_decoder *decoder;
    wf_transform_state *transform;
    wf_bytes bytes;  /* of a picture file that the stage has read itself */
    wf_bytes pixels; /* what view needs as scratch */
    wf_bytes turned; /* planar pixels of a picture, or interleaved pixels of an image */
};

wf_stage *wf_stage_create(const weft_dataset *ds)
{
    wf_stage *s = wf_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->ds = ds;
    bool good = true;
    if (ds->read) {
        s->decoder = wf_decoder_create();
        good = s->decoder != NULL;
    } else {
        good =
            wf_bytes_resize(&s->pixels, ds->scratch_bytes ? ds->scratch_bytes : ds->sample_bytes);
    }
    if (good && (ds->read || ds->info.dtype == WEFT_U8)) {
        s->transform = wf_transform_state_create();
        good = s->transform != NULL;
    }
    if (good)
        return s;
    wf_stage_destroy(s);
    return NULL;
}

void wf_stage_destroy(wf_stage *s)
{
    if (!s)
        return;
    wf_decoder_destroy(s->decoder);
    wf_transform_state_destroy(s->transform);
    wf_bytes_done(&s->bytes);
    wf_bytes_done(&s->pixels);
    wf_bytes_done(&s->turned);
    wf_free(s);
}

static weft_status no_memory(const wf_stage *s, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for an image", s->ds->source);
}

/* ---- layouts and channels ------------------------------------------------------------------- */

/* Interleaved pixels, y (pixels, C), from planes x (C, pixels). */
static void from_planes(int C, size_t pixels, const uint8_t *x, uint8_t *y)
{
    for (int c = 0; c < C; c++)
        for (size_t i = 0; i < pixels; i++)
            y[i * (size_t)C + (size_t)c] = x[(size_t)c * pixels + i];
}

/* ---- picture files -------------------------------------------------------------------------- */

static weft_status need_bytes(wf_stage *s, int64_t index, const wf_bytes **bytes, weft_error *err)
{
    if (*bytes)
        return WEFT_OK;
    WF_TRY(wf_dataset_read(s->ds, index, &s->bytes, err));
    *bytes = &s->bytes;
    return WEFT_OK;
}

/* The shortest side that a JPEG may be decoded to: a random crop may be as small as half of a side
 * of a large picture without being enlarged. */
static int fast_side(const weft_transform *t)
{
    int side = t->height > t->width ? t->height : t->width;
    if (t->random_crop)
        return 2 * side;
    return t->resize ? (t->resize > side ? t->resize : side) : 0;
}

static weft_status decode(wf_stage *s, int64_t index, const wf_bytes *bytes, int side,
                          wf_picture *picture, weft_error *err)
{
    const weft_dataset *ds = s->ds;
    WF_TRY(need_bytes(s, index, &bytes, err));
    wf_decode_opts opts = ds->decode;
    opts.channels = ds->info.channels;
    opts.fast_side = side;
    wf_sample_name name = wf_dataset_name(ds, index);
    return wf_decode(s->decoder, bytes->data, bytes->size, name.text, &opts, picture, err);
}

weft_status wf_stage_probe(wf_stage *s, int64_t index, wf_picture_info *info, weft_error *err)
{
    const wf_bytes *bytes = NULL;
    WF_TRY(need_bytes(s, index, &bytes, err));
    wf_sample_name name = wf_dataset_name(s->ds, index);
    return wf_picture_probe(s->decoder, bytes->data, bytes->size, name.text, info, err);
}

size_t wf_stage_file_bytes(const wf_stage *s)
{
    return s->bytes.size;
}

size_t wf_stage_memory(const weft_dataset *ds)
{
    const size_t channels = ds->info.channels > 0 ? (size_t)ds->info.channels : 3;
    return ds->file_bytes + 2 * channels * ds->most_pixels;
}

/* The pixels of a picture that must have info's size, or is brought to it by ds->look. */
static weft_status view_picture(wf_stage *s, int64_t index, const wf_bytes *bytes,
                                const void **pixels, weft_error *err)
{
    const weft_dataset *ds = s->ds;
    const weft_dataset_info *info = &ds->info;
    if (ds->sample_bytes == 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: its pictures have several sizes; weft_dataset_look_through says "
                            "how to see them",
                            ds->source);
    wf_picture p;
    WF_TRY(decode(s, index, bytes, 0, &p, err));
    if (!wf_bytes_resize(&s->turned, ds->sample_bytes))
        return no_memory(s, err);
    *pixels = s->turned.data;
    if (ds->look)
        return wf_transform_apply(s->transform, ds->look, &p, (wf_transform_key){0}, s->turned.data,
                                  err);
    if (p.height != info->height || p.width != info->width)
        return wf_error_set(err, WEFT_ERR_SHAPE,
                            "%s: has %dx%d pixels (height, width), the first pictures have %dx%d; "
                            "a transform brings pictures to one size (--train-crop-size)",
                            wf_dataset_name(ds, index).text, p.height, p.width, info->height,
                            info->width);
    size_t area = (size_t)p.height * (size_t)p.width;
    if (p.channels == 1)
        *pixels = p.pixels;
    else
        wf_resize_get(wf_cpu_isa())
            ->split(p.channels, (int)area, false, p.pixels, s->turned.data, area);
    return WEFT_OK;
}

/* ---- both ----------------------------------------------------------------------------------- */

/* Stored pixels, with the channels that info says. */
static weft_status view_pixels(wf_stage *s, int64_t index, const void **pixels, int64_t *label,
                               weft_error *err)
{
    const weft_dataset *ds = s->ds;
    unsigned char *scratch = s->pixels.data;
    WF_TRY(ds->view(ds, wf_dataset_stored(ds, index), scratch, pixels, label, err));
    size_t area = (size_t)ds->info.height * (size_t)ds->info.width;
    if (ds->view_channels == 3 && ds->info.channels == 1) {
        const uint8_t *r = *pixels;
        wf_colour_get(wf_cpu_isa())->grey(area, r, r + area, r + 2 * area, scratch);
        *pixels = scratch;
    } else if (ds->view_channels == 1 && ds->info.channels == 3) {
        memmove(scratch, *pixels, area);
        memcpy(scratch + area, scratch, area);
        memcpy(scratch + 2 * area, scratch, area);
        *pixels = scratch;
    }
    return WEFT_OK;
}

weft_status wf_stage_view(wf_stage *s, int64_t index, const wf_bytes *bytes, const void **pixels,
                          int64_t *label, weft_error *err)
{
    if (!s->ds->read)
        return view_pixels(s, index, pixels, label, err);
    *label = wf_dataset_label(s->ds, index);
    return view_picture(s, index, bytes, pixels, err);
}

weft_status wf_stage_transform(wf_stage *s, const weft_transform *t, wf_transform_key key,
                               bool fast, int64_t index, const wf_bytes *bytes, uint8_t *image,
                               int64_t *label, weft_error *err)
{
    const weft_dataset *ds = s->ds;
    wf_picture p;
    if (ds->read) {
        *label = wf_dataset_label(ds, index);
        WF_TRY(decode(s, index, bytes, fast ? fast_side(t) : 0, &p, err));
        return wf_transform_apply(s->transform, t, &p, key, image, err);
    }
    const void *planes;
    WF_TRY(view_pixels(s, index, &planes, label, err));
    int C = ds->info.channels;
    size_t area = (size_t)ds->info.height * (size_t)ds->info.width;
    p = (wf_picture){planes, ds->info.height, ds->info.width, C};
    if (C > 1) {
        if (!wf_bytes_resize(&s->turned, (size_t)C * area))
            return no_memory(s, err);
        from_planes(C, area, planes, s->turned.data);
        p.pixels = s->turned.data;
    }
    return wf_transform_apply(s->transform, t, &p, key, image, err);
}
