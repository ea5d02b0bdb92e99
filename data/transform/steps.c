/* The random steps on one image: what they draw, and their order. Definitions are torchvision 0.29's:
 * ColorJitter, RandomGrayscale, GaussianBlur, RandomRotation, RandomErasing. */
#include "data/transform/steps.h"

#include <math.h>
#include <string.h>

#include "data/transform/policy.h"

/* ---- draws ---------------------------------------------------------------------------------- */

wf_jitter wf_choose_jitter(const weft_transform *t, const wf_transform_key *key)
{
    wf_jitter j = {{0, 1, 2, 3}, {1, 1, 1, 0}};
    wf_random r = wf_transform_draw(key, WF_DRAW_JITTER);
    for (int i = 3; i > 0; i--) { /* Fisher and Yates */
        const int with = wf_draw_below(r.v[i], i + 1), op = j.order[i];
        j.order[i] = j.order[with];
        j.order[with] = op;
    }
    r = wf_transform_draw(key, WF_DRAW_JITTER + 1);
    const double spread[3] = {t->brightness, t->contrast, t->saturation};
    for (int i = 0; i < 3; i++)
        if (spread[i] > 0)
            j.factor[i] = wf_draw_uniform(r.v[i], spread[i] < 1 ? 1 - spread[i] : 0, 1 + spread[i]);
    if (t->hue > 0)
        j.factor[3] = wf_draw_uniform(r.v[3], -t->hue, t->hue);
    return j;
}

/* RandomErasing.get_params with its default scale and ratio. */
wf_erasure wf_choose_erasure(const weft_transform *t, const wf_transform_key *key)
{
    const wf_erasure nothing = {0};
    if (!wf_draw_happens(wf_transform_draw(key, WF_DRAW_ERASE).v[0], t->erase))
        return nothing;
    const double area = (double)t->height * (double)t->width, low = log(0.3), high = log(3.3);
    for (uint32_t i = 0; i < 10; i++) {
        const wf_random r = wf_transform_draw(key, WF_DRAW_ERASE + 1 + i);
        const double target = area * wf_draw_uniform(r.v[0], 0.02, 0.33);
        const double ratio = exp(wf_draw_uniform(r.v[1], low, high));
        const int h = (int)rint(sqrt(target * ratio)), w = (int)rint(sqrt(target / ratio));
        if (h < t->height && w < t->width)
            return (wf_erasure){wf_draw_below(r.v[2], t->height - h + 1),
                                wf_draw_below(r.v[3], t->width - w + 1), h, w};
    }
    return nothing;
}

int wf_blur_taps(const weft_transform *t)
{
    const int side = t->height < t->width ? t->height : t->width;
    const double reach = ceil(3 * t->blur_sigma[1]);
    return 2 * (int)(reach < side ? reach : side - 1) + 1;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static weft_status jitter(const weft_transform *t, const wf_transform_key *key,
                          const wf_aug_image *image)
{
    const wf_jitter j = wf_choose_jitter(t, key);
    weft_status status = WEFT_OK;
    for (int i = 0; i < 4 && status == WEFT_OK; i++) {
        const int op = j.order[i];
        const double f = j.factor[op];
        if (op == 0 && t->brightness > 0)
            wf_adjust_brightness(image, f);
        else if (op == 1 && t->contrast > 0)
            status = wf_adjust_contrast(image, f);
        else if (op == 2 && t->saturation > 0)
            status = wf_adjust_saturation(image, f);
        else if (op == 3 && t->hue > 0)
            wf_adjust_hue(image, f);
    }
    return status;
}

/* Grey, blur and rotation draw from one block. */
static weft_status grey_blur_rotate(const weft_transform *t, const wf_transform_key *key,
                                    const wf_aug_image *image)
{
    const wf_random r = wf_transform_draw(key, WF_DRAW_GREY);
    weft_status status = WEFT_OK;
    if (wf_draw_happens(r.v[0], t->grey))
        status = wf_to_grey(image);
    if (status == WEFT_OK && wf_draw_happens(r.v[1], t->blur))
        status = wf_gaussian_blur(image, wf_blur_taps(t),
                                  wf_draw_uniform(r.v[2], t->blur_sigma[0], t->blur_sigma[1]));
    if (status == WEFT_OK && t->rotation > 0)
        status =
            wf_rotate(image, WF_RESIZE_NEAREST, wf_draw_uniform(r.v[3], -t->rotation, t->rotation));
    return status;
}

/* On bytes, before the image is normalised, while torchvision erases after it and writes 0. The fill
 * is the mean's byte, so what the network gets is not 0 but within half a level of it: (fill / 255 -
 * mean) / std, at most 1/510 divided by std. */
static void erase(const weft_transform *t, const wf_transform_key *key, const wf_aug_image *image)
{
    const wf_erasure e = wf_choose_erasure(t, key);
    for (int c = 0; c < image->channels; c++)
        for (int h = 0; h < e.height; h++) {
            const size_t row = (size_t)c * (size_t)t->height + (size_t)(e.top + h);
            memset(image->pixels + row * (size_t)t->width + e.left, t->erase_fill[c],
                   (size_t)e.width);
        }
}

weft_status wf_apply_steps(const weft_transform *t, const wf_transform_key *key,
                           const wf_aug_image *image)
{
    wf_aug_step steps[WF_AUG_MOST_STEPS];
    const int n = wf_choose_augs(t, image->height, image->width, key, steps);
    weft_status status = WEFT_OK;
    for (int i = 0; i < n && status == WEFT_OK; i++)
        status = wf_aug_apply(image, steps[i].op, steps[i].magnitude);
    if (status == WEFT_OK &&
        (t->brightness > 0 || t->contrast > 0 || t->saturation > 0 || t->hue > 0))
        status = jitter(t, key, image);
    if (status == WEFT_OK && (t->grey > 0 || t->blur > 0 || t->rotation > 0))
        status = grey_blur_rotate(t, key, image);
    if (status == WEFT_OK && t->erase > 0)
        erase(t, key, image);
    return status;
}
