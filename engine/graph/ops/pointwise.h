/* What ops over the functions of kernels/eltwise/pointwise.def share: lowering. */
#ifndef WF_OPS_POINTWISE_H
#define WF_OPS_POINTWISE_H

#include "engine/graph/ops/common.h"
#include "kernels/eltwise/pointwise.h"

/* Adds the task outputs = f(inputs), of one shape; for ops with WF_OP_SPREADS inputs may have a shape that
 * broadcasts to it (spread.h). Padding channels become zero. */
weft_status wf_pointwise_lower(wf_lower *l, wf_pointwise f);

/* For gradient rules that need both: records op, whose two outputs are the gradients of inputs `first` and
 * first + 1. */
weft_status wf_grad_both(wf_grad *g, const wf_op *op, int first, int n_in, weft_tensor *const *in);
/* The descriptor of an op with two outputs, which are the gradients of two operands. */
#define WF_POINTWISE_BOTH(text, lower_it, more_flags, rule, ...)                                   \
    {                                                                                              \
        .name = text, .of_nothing = WF_EMPTY_ZERO, .n_out = 2,                                     \
        .flags = WF_OP_BY_IMAGE | WF_OP_SPREADS | (more_flags), .layout_rule = WF_LAYOUT_SAME,     \
        .precision = rule, .inplace = __VA_ARGS__, .infer = wf_infer_same,                         \
        .no_grad_reason = "second derivatives are not built", .lower = lower_it,                   \
        .no_sample_reason = "the samples of the op whose gradients these are run it",              \
    }

#endif
