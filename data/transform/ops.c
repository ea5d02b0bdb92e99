/* The ops of augmentation, one by one. What they compute is PIL's: ImageEnhance, ImageOps, rotate and
 * transform of Pillow 13, called as torchvision 0.29's functional.py does for PIL images. All but the
 * blur give its pixels to the bit. */
#include "data/transform/ops.h"

#include <math.h>
#include <string.h>

#include "kernels/image/affine.h"
#include "kernels/image/colour.h"

static size_t plane_of(const wf_aug_image *i)
{
    return (size_t)i->height * (size_t)i->width;
}

static uint8_t *channel(const wf_aug_image *i, int c)
{
    return i->pixels + (size_t)c * plane_of(i);
}

/* Memory for `planes` planes beside the image; NULL: there is none, and err says so. */
static uint8_t *beside(const wf_aug_image *i, int planes)
{
    return wf_transform_buffer(i->state, WF_BUFFER_IMAGE, plane_of(i) * (size_t)planes, i->err);
}

/* The image moves beside itself, as the source of a map. */
static const uint8_t *moved(const wf_aug_image *i)
{
    uint8_t *copy = beside(i, i->channels);
    if (copy)
        memcpy(copy, i->pixels, plane_of(i) * (size_t)i->channels);
    return copy;
}

/* ---- blends: ImageEnhance ------------------------------------------------------------------- */

void wf_adjust_brightness(const wf_aug_image *i, double factor)
{
    i->state->colour->blend_level(plane_of(i) * (size_t)i->channels, (float)factor, 0, i->pixels);
}

/* The luma's plane: the image itself if it is grey. */
static const uint8_t *luma(const wf_aug_image *i)
{
    if (i->channels == 1)
        return i->pixels;
    uint8_t *grey = beside(i, 1);
    if (grey)
        i->state->colour->grey(plane_of(i), channel(i, 0), channel(i, 1), channel(i, 2), grey);
    return grey;
}

/* Away from the mean luma, which is rounded to a level. */
weft_status wf_adjust_contrast(const wf_aug_image *i, double factor)
{
    const uint8_t *grey = luma(i);
    if (!grey)
        return WEFT_ERR_NOMEM;
    const double sum = (double)i->state->colour->sum(plane_of(i), grey);
    const uint8_t mean = (uint8_t)(int)(sum / (double)plane_of(i) + 0.5);
    i->state->colour->blend_level(plane_of(i) * (size_t)i->channels, (float)factor, mean,
                                  i->pixels);
    return WEFT_OK;
}

weft_status wf_adjust_saturation(const wf_aug_image *i, double factor)
{
    if (i->channels == 1)
        return WEFT_OK;
    const uint8_t *grey = luma(i);
    for (int c = 0; grey && c < i->channels; c++)
        i->state->colour->blend(plane_of(i), (float)factor, grey, channel(i, c));
    return grey ? WEFT_OK : WEFT_ERR_NOMEM;
}

weft_status wf_adjust_sharpness(const wf_aug_image *i, double factor)
{
    uint8_t *smooth = beside(i, 1);
    if (!smooth)
        return WEFT_ERR_NOMEM;
    for (int c = 0; c < i->channels; c++) {
        i->state->colour->smooth(i->height, i->width, channel(i, c), smooth);
        i->state->colour->blend(plane_of(i), (float)factor, smooth, channel(i, c));
    }
    return WEFT_OK;
}

void wf_adjust_hue(const wf_aug_image *i, double turn)
{
    if (i->channels == 3)
        wf_colour_hue(plane_of(i), (uint8_t)(int)(turn * 255), channel(i, 0), channel(i, 1),
                      channel(i, 2));
}

weft_status wf_to_grey(const wf_aug_image *i)
{
    const uint8_t *grey = luma(i);
    if (!grey)
        return WEFT_ERR_NOMEM;
    for (int c = 0; i->channels > 1 && c < i->channels; c++)
        memcpy(channel(i, c), grey, plane_of(i));
    return WEFT_OK;
}

/* ---- tables: ImageOps ----------------------------------------------------------------------- */

static void fill_solarize(uint8_t *table, double threshold)
{
    for (int v = 0; v < WF_BYTE_VALUES; v++)
        table[v] = (uint8_t)(v < threshold ? v : 255 - v);
}

static void fill_posterize(uint8_t *table, int bits)
{
    for (int v = 0; v < WF_BYTE_VALUES; v++)
        table[v] = (uint8_t)(v & ~((1 << (8 - bits)) - 1));
}

/* False: the table would change nothing. */
static bool fill_auto_contrast(uint8_t *table, const uint32_t *count)
{
    int low = 0, high = 255;
    while (low < 255 && !count[low])
        low++;
    while (high > 0 && !count[high])
        high--;
    if (high <= low)
        return false;
    const double scale = 255.0 / (high - low), offset = -low * scale;
    for (int v = 0; v < WF_BYTE_VALUES; v++) {
        const int to = (int)(v * scale + offset);
        table[v] = (uint8_t)(to < 0 ? 0 : to > 255 ? 255 : to);
    }
    return true;
}

static bool fill_equalize(uint8_t *table, const uint32_t *count)
{
    int64_t total = 0, last = 0;
    int levels = 0;
    for (int v = 0; v < WF_BYTE_VALUES; v++)
        if (count[v]) {
            total += count[v];
            last = count[v];
            levels++;
        }
    const int64_t step = (total - last) / 255;
    if (levels <= 1 || step == 0)
        return false;
    int64_t n = step / 2;
    for (int v = 0; v < WF_BYTE_VALUES; v++) {
        table[v] = (uint8_t)(n / step < 255 ? n / step : 255);
        n += count[v];
    }
    return true;
}

static void through_own_table(const wf_aug_image *i, bool (*fill)(uint8_t *, const uint32_t *))
{
    for (int c = 0; c < i->channels; c++) {
        uint32_t count[WF_BYTE_VALUES];
        uint8_t table[WF_BYTE_VALUES];
        wf_colour_histogram(plane_of(i), channel(i, c), count);
        if (fill(table, count))
            wf_colour_look_up(plane_of(i), table, channel(i, c));
    }
}

static void through_table(const wf_aug_image *i, const uint8_t *table)
{
    wf_colour_look_up(plane_of(i) * (size_t)i->channels, table, i->pixels);
}

/* ---- maps ----------------------------------------------------------------------------------- */

weft_status wf_rotate(const wf_aug_image *i, wf_resize_filter filter, double degrees)
{
    const uint8_t *source = moved(i);
    if (!source)
        return WEFT_ERR_NOMEM;
    wf_image_rotate(filter, i->channels, i->height, i->width, degrees, source, i->pixels);
    return WEFT_OK;
}

/* torchvision's _get_inverse_affine_matrix without rotation and scale, operation by operation: shears
 * in degrees about (cx, cy), then a translation. */
static weft_status map(const wf_aug_image *i, double shear_x, double shear_y, double right,
                       double down, double cx, double cy)
{
    const double degree = M_PI / 180.0, sx = shear_x * degree, sy = shear_y * degree;
    const double a = cos(0 - sy) / cos(sy), b = -cos(0 - sy) * tan(sx) / cos(sy) - sin(0);
    const double c = sin(0 - sy) / cos(sy), d = -sin(0 - sy) * tan(sx) / cos(sy) + cos(0);
    double m[6] = {d, -b, 0, -c, a, 0};
    m[2] += m[0] * (-cx - right) + m[1] * (-cy - down);
    m[5] += m[3] * (-cx - right) + m[4] * (-cy - down);
    m[2] += cx;
    m[5] += cy;
    const uint8_t *source = moved(i);
    if (!source)
        return WEFT_ERR_NOMEM;
    wf_image_affine(i->filter, i->channels, i->height, i->width, m, source, i->pixels);
    return WEFT_OK;
}

static double shear_degrees(double magnitude)
{
    return atan(magnitude) * (180.0 / M_PI);
}

static weft_status translate(const wf_aug_image *i, double right, double down)
{
    return map(i, 0, 0, trunc(right), trunc(down), i->width * 0.5, i->height * 0.5);
}

weft_status wf_gaussian_blur(const wf_aug_image *i, int taps, double sigma)
{
    const size_t scratch = wf_blur_scratch(i->height, i->width, taps);
    /* [weights, scratch, plane]: floats first, so that all are aligned. */
    float *weights = wf_transform_buffer(
        i->state, WF_BUFFER_IMAGE, (size_t)taps * sizeof(float) + scratch + plane_of(i), i->err);
    if (!weights)
        return WEFT_ERR_NOMEM;
    double sum = 0;
    for (int t = 0; t < taps; t++) {
        const double x = (t - taps / 2) / sigma;
        sum += exp(-0.5 * x * x);
    }
    for (int t = 0; t < taps; t++) {
        const double x = (t - taps / 2) / sigma;
        weights[t] = (float)(exp(-0.5 * x * x) / sum);
    }
    uint8_t *plane = (uint8_t *)(weights + taps) + scratch;
    for (int c = 0; c < i->channels; c++) {
        memcpy(plane, channel(i, c), plane_of(i));
        i->state->colour->blur(i->height, i->width, taps, weights, plane, weights + taps,
                               channel(i, c));
    }
    return WEFT_OK;
}

/* ---- all ------------------------------------------------------------------------------------ */

weft_status wf_aug_apply(const wf_aug_image *i, wf_aug op, double magnitude)
{
    uint8_t table[WF_BYTE_VALUES];
    switch (op) {
    case WF_AUG_SHEAR_X: return map(i, shear_degrees(magnitude), 0, 0, 0, 0, 0);
    case WF_AUG_SHEAR_Y: return map(i, 0, shear_degrees(magnitude), 0, 0, 0, 0);
    case WF_AUG_TRANSLATE_X: return translate(i, magnitude, 0);
    case WF_AUG_TRANSLATE_Y: return translate(i, 0, magnitude);
    case WF_AUG_ROTATE: return wf_rotate(i, i->filter, magnitude);
    case WF_AUG_BRIGHTNESS: wf_adjust_brightness(i, 1.0 + magnitude); return WEFT_OK;
    case WF_AUG_COLOR: return wf_adjust_saturation(i, 1.0 + magnitude);
    case WF_AUG_CONTRAST: return wf_adjust_contrast(i, 1.0 + magnitude);
    case WF_AUG_SHARPNESS: return wf_adjust_sharpness(i, 1.0 + magnitude);
    case WF_AUG_POSTERIZE: fill_posterize(table, (int)magnitude); break;
    case WF_AUG_SOLARIZE: fill_solarize(table, magnitude); break;
    case WF_AUG_INVERT: fill_solarize(table, 0); break;
    case WF_AUG_AUTO_CONTRAST: through_own_table(i, fill_auto_contrast); return WEFT_OK;
    case WF_AUG_EQUALIZE: through_own_table(i, fill_equalize); return WEFT_OK;
    case WF_AUG_IDENTITY:
    case WF_N_AUGS: return WEFT_OK;
    }
    through_table(i, table);
    return WEFT_OK;
}
