/* div: y = a / b, element by element. Broadcasting is done by recorded expands. */
#include "engine/graph/ops/binary.h"
#include "engine/graph/ops/pointwise.h"

static weft_status lower(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_div);
}

static weft_status lower_both(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_div_both);
}

/* da = dy / b, db = -dy (y / b). The order of operations is PyTorch's: dy / b may underflow where y
 * is infinite. */
static weft_status grad(wf_grad *g)
{
    if (g->needs[0] && g->needs[1])
        return wf_grad_both(g, &wf_op_div_both, 0, 3,
                            (weft_tensor *[]){g->out[0], g->in[1], g->dout[0]});
    if (g->needs[0])
        g->din[0] = weft_div(g->dout[0], g->in[1]);
    if (g->needs[1])
        g->din[1] = weft_scale(weft_mul(g->dout[0], weft_div(g->out[0], g->in[1])), -1);
    return WEFT_OK;
}

weft_tensor *weft_div(weft_tensor *a, weft_tensor *b)
{
    return wf_record_pair(&wf_op_div, NULL, a, b);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_div(in[0], in[n - 1]); /* n == 1: the same tensor twice */
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    return wf_binary_sample(ctx, index, s, apply);
}

const wf_op wf_op_div = {
    .name = "div",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_SPREADS,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

/* Inputs: y, b, dy. Outputs: da, db. */
const wf_op wf_op_div_both =
    WF_POINTWISE_BOTH("div_both", lower_both, WF_OP_BF16, WF_PRECISION_FOLLOW, {3});
