/* maximum and minimum of two tensors, element by element, and their gradients: the larger (smaller)
 * operand gets all of the gradient; equal operands get half each, as in PyTorch. */
#include "engine/graph/ops/binary.h"
#include "engine/graph/ops/pointwise.h"

static weft_status lower_maximum(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_maximum);
}
static weft_status lower_minimum(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_minimum);
}
static weft_status lower_maximum_share(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_maximum_share);
}
static weft_status lower_minimum_share(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_minimum_share);
}

static weft_status lower_maximum_both(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_maximum_both);
}
static weft_status lower_minimum_both(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_minimum_both);
}

static weft_status grad(wf_grad *g)
{
    const wf_op *share = g->op == &wf_op_maximum ? &wf_op_maximum_share : &wf_op_minimum_share;
    if (g->needs[0] && g->needs[1])
        return wf_grad_both(g, g->op == &wf_op_maximum ? &wf_op_maximum_both : &wf_op_minimum_both,
                            0, 3, (weft_tensor *[]){g->in[0], g->in[1], g->dout[0]});
    for (int i = 0; i < 2; i++)
        if (g->needs[i])
            g->din[i] = wf_record(share, NULL, NULL, 3,
                                  (weft_tensor *[]){g->in[i], g->in[1 - i], g->dout[0]}, NULL);
    return WEFT_OK;
}

weft_tensor *weft_maximum(weft_tensor *a, weft_tensor *b)
{
    return wf_record_pair(&wf_op_maximum, NULL, a, b);
}
weft_tensor *weft_minimum(weft_tensor *a, weft_tensor *b)
{
    return wf_record_pair(&wf_op_minimum, NULL, a, b);
}

static weft_tensor *apply_maximum(void *user, weft_tensor *const *in, int n)
{
    return weft_maximum(in[0], in[n - 1]); /* n == 1: the same tensor twice */
}
static weft_tensor *apply_minimum(void *user, weft_tensor *const *in, int n)
{
    return weft_minimum(in[0], in[n - 1]);
}

static bool sample_maximum(weft_context *ctx, int index, wf_sample *s)
{
    return wf_binary_sample(ctx, index, s, apply_maximum);
}
static bool sample_minimum(weft_context *ctx, int index, wf_sample *s)
{
    return wf_binary_sample(ctx, index, s, apply_minimum);
}

#define EXTREMUM(f)                                                                                \
    {                                                                                              \
        .name = #f, .of_nothing = WF_EMPTY_ZERO, .n_out = 1,                                       \
        .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_SPREADS,                   \
        .precision = WF_PRECISION_FOLLOW, .layout_rule = WF_LAYOUT_SAME, .inplace = {1},           \
        .infer = wf_infer_same, .grad = grad, .lower = lower_##f, .sample = sample_##f,            \
    }
const wf_op wf_op_maximum = EXTREMUM(maximum);
const wf_op wf_op_minimum = EXTREMUM(minimum);

#define SHARE(f)                                                                                   \
    {                                                                                              \
        .name = #f "_share", .of_nothing = WF_EMPTY_ZERO, .n_out = 1,                              \
        .precision = WF_PRECISION_FOLLOW,                                                          \
        .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_SPREADS,                   \
        .layout_rule = WF_LAYOUT_SAME, .inplace = {3}, .infer = wf_infer_same,                     \
        .no_grad_reason = "second derivatives are not built", .lower = lower_##f##_share,          \
        .no_sample_reason = #f "'s samples run it",                                                \
    }
const wf_op wf_op_maximum_share = SHARE(maximum);
const wf_op wf_op_minimum_share = SHARE(minimum);

/* Inputs: a, b, dy. Outputs: da, db. */
const wf_op wf_op_maximum_both = WF_POINTWISE_BOTH(
    "maximum_both", lower_maximum_both, WF_OP_KEEPS_ZERO | WF_OP_BF16, WF_PRECISION_FOLLOW, {3});
const wf_op wf_op_minimum_both = WF_POINTWISE_BOTH(
    "minimum_both", lower_minimum_both, WF_OP_KEEPS_ZERO | WF_OP_BF16, WF_PRECISION_FOLLOW, {3});
