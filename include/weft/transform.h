/* Transforms: how a picture of any size becomes the image of fixed size that a network reads.
 *
 * They are torchvision's classification presets, computed on bytes. Resizing and every op that is
 * integer arithmetic in PIL give PIL's pixels to the bit. Random numbers depend on seed, epoch and
 * sample alone, so a sample has the same pixels for any number of loader threads. */
#ifndef WEFT_TRANSFORM_H
#define WEFT_TRANSFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How pixels between pixels are computed; with antialiasing where a picture gets smaller, as PIL
 * does. */
typedef enum weft_interpolation {
    WEFT_INTERPOLATE_BILINEAR,
    WEFT_INTERPOLATE_BICUBIC,
    WEFT_INTERPOLATE_NEAREST
} weft_interpolation;

/* torchvision's policies of automatic augmentation. */
typedef enum weft_auto_augment {
    WEFT_AUGMENT_NONE,
    WEFT_AUGMENT_RA,       /* RandAugment (Cubuk et al. 2020) */
    WEFT_AUGMENT_TA_WIDE,  /* TrivialAugmentWide (Mueller and Hutter 2021) */
    WEFT_AUGMENT_IMAGENET, /* AutoAugment (Cubuk et al. 2019), the ImageNet policy */
    WEFT_AUGMENT_CIFAR10   /* the same, the CIFAR-10 policy */
} weft_auto_augment;

/* A transform. Its steps run in this order: crop and resize, flips, automatic augmentation, colour
 * jitter, grey, blur, rotation, random erasing; then, on the whole batch, mixup and cutmix. Zeros
 * leave a step out. Begin with WEFT_TRANSFORM_INIT. */
typedef struct weft_transform {
    int height, width; /* of the result, which every transform has */

    /* Where the pixels come from: one of three ways.
     * random_crop: a random part of the picture, resized (RandomResizedCrop): its area is a share
     *   between scale[0] and scale[1] of the picture's, its width divided by its height between
     *   ratio[0] and ratio[1].
     * resize above 0: the shorter side is resized to so many pixels, then the middle is cut out
     *   (Resize, CenterCrop).
     * neither: the middle of the picture as it is, after it was padded by crop_padding black pixels
     *   on each side and cut at random (RandomCrop) if that is above 0. */
    bool random_crop;
    double scale[2], ratio[2];
    int resize;
    int crop_padding;
    weft_interpolation interpolation; /* of the resize, and of auto_augment's maps */

    double hflip, vflip;            /* probabilities */
    weft_auto_augment auto_augment; /* ops drawn from a policy */
    int ra_ops;                     /* RandAugment: how many ops in a row */
    int ra_magnitude;               /* RandAugment: their strength, 0 to 30 */
    /* ColorJitter: each factor is drawn from 1 - x to 1 + x (hue: from -x to x, at most 0.5). */
    double brightness, contrast, saturation, hue;
    double grey;           /* RandomGrayscale: a probability */
    double blur;           /* GaussianBlur with this probability */
    double blur_sigma[2];  /* its sigma, in pixels */
    double rotation;       /* RandomRotation: from -x to x degrees */
    double erase;          /* RandomErasing: a probability */
    uint8_t erase_fill[3]; /* what erased pixels become: the mean, so that 0 reaches the network */

    /* Of batches: Beta(alpha, alpha) gives the share of an image (mixup) or of its area (cutmix).
     * With both, each batch takes one of the two at random. */
    double mixup_alpha, cutmix_alpha;
} weft_transform;
/* torchvision's defaults, and no step. */
#define WEFT_TRANSFORM_INIT                                                                        \
    WEFT_INIT(weft_transform, WEFT_SET_PAIR(scale, 0.08, 1.0),                                     \
              WEFT_SET_PAIR(ratio, 3.0 / 4.0, 4.0 / 3.0), WEFT_SET(ra_ops, 2),                     \
              WEFT_SET(ra_magnitude, 9), WEFT_SET_PAIR(blur_sigma, 0.1, 2.0))

/* WEFT_ERR_INVALID for a member out of range; err (may be NULL) names it and the range. */
weft_status weft_transform_check(const weft_transform *t, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
