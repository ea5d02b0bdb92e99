/* Which ops an automatic augmentation applies, and how strongly. See policy.c. */
#ifndef WF_DATA_TRANSFORM_POLICY_H
#define WF_DATA_TRANSFORM_POLICY_H

#include "data/transform/ops.h"

/* One op with torchvision's magnitude, sign included. */
typedef struct wf_aug_step {
    wf_aug op;
    double magnitude;
} wf_aug_step;

enum { WF_AUG_MOST_STEPS = 16 };

/* The ops for an image of this size, in order; how many. */
int wf_choose_augs(const weft_transform *t, int height, int width, const wf_transform_key *key,
                   wf_aug_step steps[WF_AUG_MOST_STEPS]);

/* Entry `bin` of the policy's magnitudes of an op, without sign: RandAugment and TrivialAugmentWide
 * have 31, AutoAugment 10. *is_signed: half of the draws are negative. 0 for ops without one. */
double wf_aug_magnitude(weft_auto_augment policy, wf_aug op, int bin, int height, int width,
                        bool *is_signed);

#endif
