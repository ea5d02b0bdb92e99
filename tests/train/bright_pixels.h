/* Small images of three classes that a linear layer learns within a few epochs. */
#ifndef TESTS_TRAIN_BRIGHT_PIXELS_H
#define TESTS_TRAIN_BRIGHT_PIXELS_H

#include "weft/weft.h"

/* N images of one channel, S x S, K classes; the class's own pixel is bright. */
enum { N = 44, S = 4, K = 3, PIXELS = S * S };

static inline void bright_pixels_fill(float images[N * PIXELS], int64_t labels[N])
{
    for (int n = 0; n < N; n++) {
        labels[n] = n % K;
        for (int i = 0; i < PIXELS; i++)
            images[n * PIXELS + i] = (float)((n * 7 + i * 5) % 11) / 22.0f - 0.25f;
        images[n * PIXELS + n % K] += 2.0f;
    }
}

/* A data set that reads these arrays: they stay the caller's. */
static inline weft_status bright_pixels_open(const float *images, const int64_t *labels,
                                             weft_dataset **ds, weft_error *err)
{
    const weft_dataset_arrays arrays = {.count = N,
                                        .channels = 1,
                                        .height = S,
                                        .width = S,
                                        .classes = K,
                                        .dtype = WEFT_F32,
                                        .images = images,
                                        .labels = labels};
    return weft_dataset_from_arrays(&arrays, ds, err);
}

#endif
