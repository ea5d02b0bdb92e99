/* Where a transform's pixels come from: its crop, size and flips, and the black around a picture. */
#include <math.h>
#include <string.h>

#include "data/transform/state.h"

/* Python's round(): ties to even. */
static int rounded(double x)
{
    return (int)rint(x);
}

/* torchvision's RandomResizedCrop.get_params. */
static void random_crop(const weft_transform *t, int height, int width, const wf_transform_key *key,
                        wf_placement *p)
{
    const double area = (double)height * (double)width;
    const double low = log(t->ratio[0]), high = log(t->ratio[1]);
    for (uint32_t i = 0; i < 10; i++) {
        const wf_random r = wf_transform_draw(key, WF_DRAW_CROP + i);
        const double target = area * wf_draw_uniform(r.v[0], t->scale[0], t->scale[1]);
        const double ratio = exp(wf_draw_uniform(r.v[1], low, high));
        const double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (w >= 1 && w <= width && h >= 1 && h <= height) {
            p->height = (int)h;
            p->width = (int)w;
            p->top = wf_draw_below(r.v[2], height - p->height + 1);
            p->left = wf_draw_below(r.v[3], width - p->width + 1);
            return;
        }
    }
    const double in_ratio = (double)width / (double)height;
    p->width = width;
    p->height = height;
    if (in_ratio < t->ratio[0])
        p->height = rounded(width / t->ratio[0]);
    else if (in_ratio > t->ratio[1])
        p->width = rounded(height * t->ratio[1]);
    /* Nothing is left of a picture that is thinner than a pixel of the wanted shape. */
    p->height = p->height < 1 ? 1 : p->height > height ? height : p->height;
    p->width = p->width < 1 ? 1 : p->width > width ? width : p->width;
    p->top = (height - p->height) / 2;
    p->left = (width - p->width) / 2;
}

/* Where torchvision's CenterCrop begins; below 0 where it pads. */
static int centre(int size, int wanted)
{
    return wanted > size ? -((wanted - size) / 2) : rounded((size - wanted) / 2.0);
}

wf_placement wf_choose_placement(const weft_transform *t, int height, int width,
                                 const wf_transform_key *key)
{
    wf_placement p = {.height = height,
                      .width = width,
                      .crop_height = t->height,
                      .crop_width = t->width,
                      .filter = (wf_resize_filter)t->interpolation};
    const wf_random r = wf_transform_draw(key, WF_DRAW_PLACE);
    p.hflip = wf_draw_happens(r.v[2], t->hflip);
    p.vflip = wf_draw_happens(r.v[3], t->vflip);
    if (t->random_crop) {
        random_crop(t, height, width, key, &p);
        p.to_height = t->height;
        p.to_width = t->width;
    } else {
        p.to_height = height;
        p.to_width = width;
        if (t->resize > 0) { /* the longer side's fraction is cut off */
            const int shorter = height < width ? height : width;
            p.to_height = height == shorter
                              ? t->resize
                              : (int)((double)((int64_t)t->resize * height) / (double)shorter);
            p.to_width = width == shorter
                             ? t->resize
                             : (int)((double)((int64_t)t->resize * width) / (double)shorter);
        }
        p.crop_top = centre(p.to_height, t->height);
        p.crop_left = centre(p.to_width, t->width);
        if (t->resize == 0 && t->crop_padding > 0) { /* as wf_augment_draw moves the picture */
            const int rows = height + 2 * t->crop_padding - t->height + 1;
            const int columns = width + 2 * t->crop_padding - t->width + 1;
            if (rows > 0)
                p.crop_top = rows - 1 - wf_draw_below(r.v[0], rows) - t->crop_padding;
            if (columns > 0)
                p.crop_left = columns - 1 - wf_draw_below(r.v[1], columns) - t->crop_padding;
        }
    }
    p.box[2] = (float)p.width;
    p.box[3] = (float)p.height;
    return p;
}

/* Writes the placement's part that lies inside the picture, and black around it. */
weft_status wf_place_image(wf_transform_state *s, const weft_transform *t,
                           const wf_picture *picture, wf_placement p, uint8_t *image,
                           weft_error *err)
{
    const size_t plane = (size_t)t->height * (size_t)t->width;
    const int end_y = p.crop_top + t->height, end_x = p.crop_left + t->width;
    const int top = p.crop_top > 0 ? p.crop_top : 0, left = p.crop_left > 0 ? p.crop_left : 0;
    const int bottom = end_y < p.to_height ? end_y : p.to_height;
    const int right = end_x < p.to_width ? end_x : p.to_width;
    const int h = bottom - top, w = right - left;
    if (h < t->height || w < t->width)
        memset(image, 0, plane * (size_t)picture->channels);
    if (h <= 0 || w <= 0)
        return WEFT_OK;
    const int y = p.vflip ? end_y - bottom : top - p.crop_top;
    const int x = p.hflip ? end_x - right : left - p.crop_left;
    p.crop_top = top;
    p.crop_left = left;
    p.crop_height = h;
    p.crop_width = w;
    return wf_place(s, picture, &p, image + (size_t)y * (size_t)t->width + x, (size_t)t->width,
                    plane, err);
}
