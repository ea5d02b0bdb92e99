/* Sheets of samples. See look_sheet.h. */
#include "train/report/look_sheet.h"

#include <math.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "train/report/jpeg.h"
#include "train/report/markup.h"
#include "train/report/png.h"

enum {
    GAP = 4,          /* pixels between cells */
    BACKGROUND = 224, /* a light grey, on pages that are light or dark */
    EXACT_SIDE = 64,  /* cells up to this size are kept exactly, larger ones as JPEG */
};

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a page of pictures");
}

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

/* Sizes of an image that is to fit into a cell, its shape kept. */
static void fit(int side, int height, int width, int *h, int *w)
{
    double largest = height > width ? height : width;
    double factor = largest > side ? side / largest : 1;
    *h = (int)fmax(1, floor(height * factor));
    *w = (int)fmax(1, floor(width * factor));
}

/* ---- one cell -------------------------------------------------------------------------------- */

/* Copies a planar image (channels, h, w) into the middle of a cell. */
static void place(const wf_look_sheet *s, int stride, int row, int column, int h, int w,
                  const uint8_t *image)
{
    const int C = s->channels;
    const size_t area = (size_t)h * (size_t)w;
    const int top = GAP + row * (s->cell + GAP) + (s->cell - h) / 2;
    const int left = GAP + column * (s->cell + GAP) + (s->cell - w) / 2;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < C; c++)
                s->sheet[((size_t)(top + y) * (size_t)stride + (size_t)(left + x)) * (size_t)C +
                         (size_t)c] = image[(size_t)c * area + (size_t)y * (size_t)w + (size_t)x];
}

/* A cross, where a sample cannot be read. */
static void cross(const wf_look_sheet *s, int stride, int row, int column)
{
    const int C = s->channels;
    for (int i = 0; i < s->cell; i++)
        for (int side = 0; side < 2; side++) {
            const int x = side ? s->cell - 1 - i : i;
            const size_t at = (size_t)(GAP + row * (s->cell + GAP) + i) * (size_t)stride +
                              (size_t)(GAP + column * (s->cell + GAP) + x);
            memset(s->sheet + at * (size_t)C, 64, (size_t)C);
        }
}

/* f32 images are what the network reads, and may be normalised: their smallest value becomes black,
 * their largest white. */
static void bytes_of_floats(const float *x, size_t n, uint8_t *y)
{
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) {
            low = fminf(low, x[i]);
            high = fmaxf(high, x[i]);
        }
    for (size_t i = 0; i < n; i++)
        y[i] =
            isfinite(x[i]) && high > low ? (uint8_t)lroundf(255 * (x[i] - low) / (high - low)) : 0;
}

/* Draws planar bytes (channels, height, width) of any size. */
static weft_status place_any(wf_look_sheet *s, int stride, int row, int column, int height,
                             int width, const uint8_t *planar, weft_error *err)
{
    int h, w;
    fit(s->cell, height, width, &h, &w);
    if (h == height && w == width) {
        place(s, stride, row, column, h, w, planar);
        return WEFT_OK;
    }
    const size_t C = (size_t)s->channels, area = (size_t)height * (size_t)width;
    if (!wf_bytes_resize(&s->pixels, C * area + C * (size_t)h * (size_t)w))
        return no_memory(err);
    for (size_t i = 0; i < area; i++)
        for (size_t c = 0; c < C; c++)
            s->pixels.data[i * C + c] = planar[c * area + i];
    const wf_picture picture = {s->pixels.data, height, width, s->channels};
    weft_transform small = WEFT_TRANSFORM_INIT;
    small.height = h;
    small.width = w;
    small.resize = h < w ? h : w;
    uint8_t *image = s->pixels.data + C * area;
    WF_TRY(wf_transform_apply(s->shrink, &small, &picture, (wf_transform_key){0}, image, err));
    place(s, stride, row, column, h, w, image);
    return WEFT_OK;
}

static weft_status draw_as_it_is(wf_look_sheet *s, const weft_look_part *part, int stride,
                                 int column, int64_t sample, weft_error *err)
{
    const weft_dataset_info *info = weft_dataset_get_info(part->ds);
    int64_t label;
    if (part->ds->read) { /* a picture file, of any size */
        wf_picture_info file;
        WF_TRY(wf_stage_probe(s->stage, sample, &file, err));
        weft_transform small = WEFT_TRANSFORM_INIT;
        const bool turned = part->ds->decode.exif && file.orientation > 4;
        fit(s->cell, turned ? file.width : file.height, turned ? file.height : file.width,
            &small.height, &small.width);
        small.resize = small.height < small.width ? small.height : small.width;
        if (!wf_bytes_resize(&s->image,
                             (size_t)s->channels * (size_t)small.height * (size_t)small.width))
            return no_memory(err);
        WF_TRY(wf_stage_transform(s->stage, &small, (wf_transform_key){0}, false, sample, NULL,
                                  s->image.data, &label, err));
        place(s, stride, 0, column, small.height, small.width, s->image.data);
        return WEFT_OK;
    }
    const void *pixels;
    WF_TRY(wf_stage_view(s->stage, sample, NULL, &pixels, &label, err));
    const size_t n = (size_t)s->channels * (size_t)info->height * (size_t)info->width;
    if (info->dtype != WEFT_U8) {
        if (!wf_bytes_resize(&s->image, n))
            return no_memory(err);
        bytes_of_floats(pixels, n, s->image.data);
        pixels = s->image.data;
    }
    return place_any(s, stride, 0, column, info->height, info->width, pixels, err);
}

static weft_status draw_as_the_network_gets_it(wf_look_sheet *s, const weft_look_part *part,
                                               uint64_t seed, int stride, int draw, int column,
                                               int64_t sample, weft_error *err)
{
    const weft_transform *t = part->transform;
    const wf_transform_key key = {.seed = seed, .epoch = draw, .sample = sample};
    int64_t label;
    if (!wf_bytes_resize(&s->image, (size_t)s->channels * (size_t)t->height * (size_t)t->width))
        return no_memory(err);
    WF_TRY(wf_stage_transform(s->stage, t, key, false, sample, NULL, s->image.data, &label, err));
    return place_any(s, stride, 1 + draw, column, t->height, t->width, s->image.data, err);
}

/* ---- the sheet ------------------------------------------------------------------------------- */

weft_status wf_look_sheet_init(wf_look_sheet *s, const weft_look_part *part, weft_error *err)
{
    const weft_dataset_info *info = weft_dataset_get_info(part->ds);
    *s = (wf_look_sheet){.channels = info->channels >= 3 ? 3 : 1};
    if (info->channels != 1 && info->channels != 3)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: its images have %d channels, and only 1 (grey) or 3 (red, green, "
                            "blue) can be shown",
                            info->source, info->channels);
    int side = WF_LOOK_CELL;
    if (!info->sizes_vary) {
        side = info->height > info->width ? info->height : info->width;
        if (part->transform && part->transform->height > side)
            side = part->transform->height;
        if (part->transform && part->transform->width > side)
            side = part->transform->width;
    }
    s->cell = at_most(side, WF_LOOK_CELL);
    s->stage = wf_stage_create(part->ds);
    s->shrink = wf_transform_state_create();
    return s->stage && s->shrink ? WEFT_OK : no_memory(err);
}

void wf_look_sheet_done(wf_look_sheet *s)
{
    wf_stage_destroy(s->stage);
    wf_transform_state_destroy(s->shrink);
    wf_bytes_done(&s->image);
    wf_bytes_done(&s->pixels);
    wf_free(s->sheet);
    *s = (wf_look_sheet){0};
}

static weft_status encode(const wf_look_sheet *s, int width, int height, char **uri,
                          weft_error *err)
{
    unsigned char *bytes = NULL;
    size_t size = 0;
    const bool exact = s->cell <= EXACT_SIDE;
    weft_status status =
        exact ? wf_png_encode(width, height, s->channels, s->sheet, &bytes, &size, err)
              : wf_jpeg_encode(width, height, s->channels, s->sheet, &bytes, &size, err);
    if (status == WEFT_OK) {
        *uri = wf_data_uri(exact ? "image/png" : "image/jpeg", bytes, size);
        status = *uri ? WEFT_OK : no_memory(err);
    }
    wf_free(bytes);
    return status;
}

weft_status wf_look_sheet_draw(wf_look_sheet *s, const weft_look_part *part, uint64_t seed,
                               const int64_t *samples, int n, weft_note_fn note, void *user,
                               char **uri, int *width, int *height, weft_error *err)
{
    const int rows = 1 + (part->transform ? part->draws : 0);
    *width = GAP + n * (s->cell + GAP);
    *height = GAP + rows * (s->cell + GAP);
    const size_t bytes = (size_t)*width * (size_t)*height * (size_t)s->channels;
    wf_free(s->sheet);
    s->sheet = wf_alloc(bytes);
    if (!s->sheet)
        return no_memory(err);
    memset(s->sheet, BACKGROUND, bytes);
    for (int i = 0; i < n; i++) {
        weft_error why = WEFT_ERROR_INIT;
        weft_status status = draw_as_it_is(s, part, *width, i, samples[i], &why);
        for (int draw = 0; status == WEFT_OK && draw < rows - 1; draw++)
            status = draw_as_the_network_gets_it(s, part, seed, *width, draw, i, samples[i], &why);
        if (status == WEFT_ERR_NOMEM)
            return wf_error_set(err, status, "%s", why.text);
        if (status != WEFT_OK) {
            cross(s, *width, 0, i);
            note(user, why.text);
        }
    }
    return encode(s, *width, *height, uri, err);
}
