/* What the losses share. Threading: the recording thread. */
#ifndef WF_OPS_LOSSES_H
#define WF_OPS_LOSSES_H

#include "engine/graph/ops/common.h"

/* False, with the error set, when x and y differ in shape; false when one is NULL. */
bool wf_same_shapes(const char *op, weft_tensor *x, weft_tensor *y);
/* weft_cross_entropy with the classes' probabilities as labels. */
weft_tensor *wf_cross_entropy_of_probabilities(weft_tensor *x, weft_tensor *target,
                                               const weft_cross_entropy_opts *o);
/* The label whose rows do not count: ignore_index of an options struct; NULL means PyTorch's
 * default. */
static inline int64_t wf_ignored_label(const int64_t *ignore_index)
{
    return ignore_index ? *ignore_index : -100;
}
/* Reduces the losses; NULL stays NULL. */
weft_tensor *wf_reduce_losses(const char *op, weft_tensor *losses, weft_reduction reduction);
/* False, with the error set, where `reduction` is not a weft_reduction. */
bool wf_reduction_known(weft_context *ctx, const char *op, weft_reduction reduction);

#endif
