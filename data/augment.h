/* Random flips and shifts, and conversion of pixels to normalised floats.
 *
 * As torchvision's RandomCrop(padding=shift), RandomHorizontalFlip(hflip), ToTensor, Normalize: the
 * pixels that a shift uncovers are black before they are normalised. Pure functions, any thread. */
#ifndef WF_DATA_AUGMENT_H
#define WF_DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/data.h"

/* Moves the picture by so many pixels, then mirrors it. */
typedef struct wf_crop {
    int down, right;
    bool flip;
} wf_crop;

/* The crop of a sample in an epoch: down and right each in -shift .. shift, all alike; mirrored
 * with the probability hflip, 0 .. 1. */
wf_crop wf_augment_draw(double hflip, int shift, uint64_t seed, int64_t epoch, int64_t sample);

/* Writes y (C, H, W) from x (C, H, W; u8 or f32): crops, scales u8 to 0..1, then computes (x -
 * mean) / std per channel. scratch: twice a sample's bytes, 64-byte aligned. std is not 0. */
void wf_augment(float *y, const void *x, const weft_dataset_info *info, wf_crop crop,
                const float *mean, const float *std, void *scratch);
/* Writes y (C, H, W) in the type of x: only crops. */
void wf_augment_crop(void *y, const void *x, const weft_dataset_info *info, wf_crop crop,
                     void *scratch);

#endif
