/* Augmentation and normalisation of one sample. See augment.h. */
#include "data/augment.h"

#include <string.h>

#include "data/random.h"
#include "kernels/image/image.h"

wf_crop wf_augment_draw(double hflip, int shift, uint64_t seed, int64_t epoch, int64_t sample)
{
    wf_random r = wf_random_at(seed, WF_STREAM_AUGMENT, (uint64_t)sample, (uint32_t)epoch);
    uint64_t span = 2 * (uint64_t)shift + 1; /* 32 random bits are enough for it */
    return (wf_crop){.down = (int)(r.v[0] * span >> 32) - shift,
                     .right = (int)(r.v[1] * span >> 32) - shift,
                     .flip = (double)(UINT32_MAX - r.v[2]) < hflip * 0x1p32};
}

/* x cropped, in scratch; x itself where the crop changes nothing. */
static const void *cropped(const void *x, const weft_dataset_info *info, wf_crop crop,
                           void *scratch)
{
    int C = info->channels, H = info->height, W = info->width;
    size_t size = weft_dtype_size(info->dtype), bytes = (size_t)C * (size_t)H * (size_t)W * size;
    if (crop.down || crop.right) {
        wf_image_shift(size, C, H, W, crop.down, crop.right, x, scratch);
        x = scratch;
    }
    if (crop.flip) {
        void *flipped = (char *)scratch + bytes;
        wf_image_flip(size, C, H, W, x, flipped);
        x = flipped;
    }
    return x;
}

void wf_augment_crop(void *y, const void *x, const weft_dataset_info *info, wf_crop crop,
                     void *scratch)
{
    size_t pixels = (size_t)info->channels * (size_t)info->height * (size_t)info->width;
    memcpy(y, cropped(x, info, crop, scratch), pixels * weft_dtype_size(info->dtype));
}

void wf_augment(float *y, const void *x, const weft_dataset_info *info, wf_crop crop,
                const float *mean, const float *std, void *scratch)
{
    int C = info->channels;
    size_t pixels = (size_t)info->height * (size_t)info->width;
    x = cropped(x, info, crop, scratch);
    if (info->dtype == WEFT_U8) {
        wf_image_get(wf_cpu_isa())->normalize(C, pixels, mean, std, x, y);
        return;
    }
    const float *f = x;
    for (int c = 0; c < C; c++)
        for (size_t i = 0; i < pixels; i++)
            y[(size_t)c * pixels + i] = (f[(size_t)c * pixels + i] - mean[c]) / std[c];
}
