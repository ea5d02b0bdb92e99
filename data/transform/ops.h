/* The ops of automatic augmentation and of colour jitter, on one planar image in place. See ops.c. */
#ifndef WF_DATA_TRANSFORM_OPS_H
#define WF_DATA_TRANSFORM_OPS_H

#include "data/transform/state.h"

/* An image (channels, height, width), where its thread's buffers are, how maps take pixels, and where
 * errors go. */
typedef struct wf_aug_image {
    wf_transform_state *state;
    int channels, height, width;
    uint8_t *pixels;
    wf_resize_filter filter;
    weft_error *err;
} wf_aug_image;

/* torchvision's names, in its order. */
typedef enum wf_aug {
    WF_AUG_IDENTITY,
    WF_AUG_SHEAR_X,
    WF_AUG_SHEAR_Y,
    WF_AUG_TRANSLATE_X,
    WF_AUG_TRANSLATE_Y,
    WF_AUG_ROTATE,
    WF_AUG_BRIGHTNESS,
    WF_AUG_COLOR,
    WF_AUG_CONTRAST,
    WF_AUG_SHARPNESS,
    WF_AUG_POSTERIZE,
    WF_AUG_SOLARIZE,
    WF_AUG_AUTO_CONTRAST,
    WF_AUG_EQUALIZE,
    WF_AUG_INVERT,
    WF_N_AUGS
} wf_aug;

/* Applies an op. The magnitude is torchvision's: the tangent of a shear; pixels of a translation, of
 * which whole ones count; degrees, counter-clockwise; factor - 1 of brightness, colour, contrast and
 * sharpness; bits that stay; the level from which solarize inverts. All failures are WEFT_ERR_NOMEM
 * and leave the image unchanged. */
weft_status wf_aug_apply(const wf_aug_image *image, wf_aug op, double magnitude);

/* F.adjust_brightness and so on: 1 changes nothing. */
void wf_adjust_brightness(const wf_aug_image *image, double factor);
weft_status wf_adjust_contrast(const wf_aug_image *image, double factor);
weft_status wf_adjust_saturation(const wf_aug_image *image, double factor);
weft_status wf_adjust_sharpness(const wf_aug_image *image, double factor);
void wf_adjust_hue(const wf_aug_image *image, double turn); /* -1/2 .. 1/2 of the circle */
/* Every channel becomes the luma. */
weft_status wf_to_grey(const wf_aug_image *image);
/* Degrees, counter-clockwise about the middle; black from outside. */
weft_status wf_rotate(const wf_aug_image *image, wf_resize_filter filter, double degrees);
/* torchvision's gaussian_blur with `taps` weights in each direction: odd, at most 2 min(height,
 * width) - 1. */
weft_status wf_gaussian_blur(const wf_aug_image *image, int taps, double sigma);

#endif
