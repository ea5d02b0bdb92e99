/* What ops that drop values at random share: their scalars, and how they are recorded. See Note
 * [Dropout bits] in kernels/eltwise/eltwise.h. */
#ifndef WF_OPS_DROPOUT_H
#define WF_OPS_DROPOUT_H

#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

/* Scalars; the seed is split because a double holds 53 bits. */
enum { WF_DROP_SEED_LOW, WF_DROP_SEED_HIGH, WF_DROP_STEP, WF_DROP_OP, WF_DROP_P, WF_DROP_SCALARS };

static inline wf_dropout wf_drop_key(const double *scalars)
{
    return (wf_dropout){
        .seed = (uint64_t)scalars[WF_DROP_SEED_HIGH] << 32 | (uint64_t)scalars[WF_DROP_SEED_LOW],
        .step = (uint32_t)scalars[WF_DROP_STEP],
        .op = (uint32_t)scalars[WF_DROP_OP],
        .p = scalars[WF_DROP_P],
    };
}

/* op on x with the scalars of this place in this step; x itself when not training. */
weft_tensor *wf_record_drop(const wf_op *op, weft_tensor *x, double p, bool training);
/* For samples: with a key of its own, so that every evaluation drops the same. */
weft_tensor *wf_record_drop_fixed(const wf_op *op, weft_tensor *x);

#endif
