/* How a batch is mixed. See mix.c. */
#ifndef WF_DATA_TRANSFORM_MIX_H
#define WF_DATA_TRANSFORM_MIX_H

#include "data/transform/state.h"

/* A batch's mixture: each image keeps the share lambda of itself. */
typedef struct wf_mixture {
    bool cut;      /* cutmix: the box comes from the other image; else every pixel is mixed */
    double lambda; /* cutmix: the box's own, clipped at the border */
    int left, top, right, bottom;
} wf_mixture;

/* t->mixup_alpha or t->cutmix_alpha is above 0. */
wf_mixture wf_choose_mixture(const weft_transform *t, uint64_t seed, int64_t epoch, int64_t batch);

#endif
