/* The random steps on one image after it was placed. See steps.c. */
#ifndef WF_DATA_TRANSFORM_STEPS_H
#define WF_DATA_TRANSFORM_STEPS_H

#include "data/transform/ops.h"

/* What colour jitter does: the ops in their order, each with its factor. */
typedef struct wf_jitter {
    int order[4];     /* 0 brightness, 1 contrast, 2 saturation, 3 hue */
    double factor[4]; /* by op, not by order; 1, or 0 for the hue, where the op is off */
} wf_jitter;
wf_jitter wf_choose_jitter(const weft_transform *t, const wf_transform_key *key);

/* What random erasing erases; height 0: nothing. */
typedef struct wf_erasure {
    int top, left, height, width;
} wf_erasure;
wf_erasure wf_choose_erasure(const weft_transform *t, const wf_transform_key *key);

/* How many weights a blur has in each direction: they reach three times the largest sigma, and no
 * further than the image does. */
int wf_blur_taps(const weft_transform *t);

/* All of them, in the order that weft_transform says. */
weft_status wf_apply_steps(const weft_transform *t, const wf_transform_key *key,
                           const wf_aug_image *image);

#endif
