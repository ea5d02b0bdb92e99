/* Random flips and shifts, and turning pixels into normalised floats.
 *
 * As torchvision's RandomCrop(padding=shift), RandomHorizontalFlip(hflip), ToTensor, Normalize: the gap
 * that a shift leaves is black before it is normalised. Threads: all of it is pure. */
#ifndef WF_DATA_AUGMENT_H
#define WF_DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/data.h"

/* The picture moves down and right by so many pixels, then is mirrored. */
typedef struct wf_crop {
    int down, right;
    bool flip;
} wf_crop;

/* The crop of a sample in an epoch: down and right each in -shift .. shift, all alike; mirrored with
 * the probability hflip, 0 .. 1. */
wf_crop wf_augment_draw(double hflip, int shift, uint64_t seed, int64_t epoch, int64_t sample);

/* y (C, H, W) from x (C, H, W; u8 or f32): cropped, then (x - mean) / std per channel, u8 scaled to
 * 0..1 first. scratch: twice a sample's bytes, 64-byte aligned. std is not 0. */
void wf_augment(float *y, const void *x, const weft_dataset_info *info, wf_crop crop,
                const float *mean, const float *std, void *scratch);
/* y (C, H, W) in the type of x: cropped only. */
void wf_augment_crop(void *y, const void *x, const weft_dataset_info *info, wf_crop crop,
                     void *scratch);

#endif
