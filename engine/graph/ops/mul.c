/* mul: y = a * b, element by element. Broadcasting is done by recorded expands, except for one
 * factor per channel: mul_channels.c. */
#include "engine/graph/ops/binary.h"
#include "engine/graph/ops/pointwise.h"

static weft_status lower(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_mul);
}

static weft_status lower_both(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_mul_both);
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0] && g->needs[1])
        return wf_grad_both(g, &wf_op_mul_both, 0, 3,
                            (weft_tensor *[]){g->in[0], g->in[1], g->dout[0]});
    for (int i = 0; i < 2; i++)
        if (g->needs[i])
            g->din[i] = wf_record(&wf_op_mul, NULL, NULL, 2,
                                  (weft_tensor *[]){g->dout[0], g->in[1 - i]}, NULL);
    return WEFT_OK;
}

/* Whether x is (N, C, H, W) and s is (N, C, 1, 1), of different shapes. */
static bool scales_channels(weft_tensor *x, weft_tensor *s)
{
    const weft_shape a = weft_tensor_shape(x), b = weft_tensor_shape(s);
    return a.rank == 4 && b.rank == 4 && a.dim[0] == b.dim[0] && a.dim[1] == b.dim[1] &&
           b.dim[2] == 1 && b.dim[3] == 1 && !weft_shape_equal(a, b);
}

weft_tensor *weft_mul(weft_tensor *a, weft_tensor *b)
{
    WF_SAY("mul", 2, a, b);
    weft_tensor *in[2] = {a, b};
    if (a && b && scales_channels(a, b))
        return wf_record(&wf_op_mul_channels, NULL, NULL, 2, in, NULL);
    if (a && b && scales_channels(b, a))
        return wf_record(&wf_op_mul_channels, NULL, NULL, 2, (weft_tensor *[]){b, a}, NULL);
    if (!wf_record_broadcast("mul", in, 2))
        return NULL;
    return wf_record(&wf_op_mul, NULL, NULL, 2, in, NULL);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_mul(in[0], in[n - 1]); /* n == 1: the same tensor twice */
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    return wf_binary_sample(ctx, index, s, apply);
}

const wf_op wf_op_mul = {
    .name = "mul",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP | WF_OP_SPREADS,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

/* Inputs: a, b, dy. Outputs: da, db. */
const wf_op wf_op_mul_both = WF_POINTWISE_BOTH(
    "mul_both", lower_both, WF_OP_KEEPS_ZERO | WF_OP_BF16, WF_PRECISION_FOLLOW, {3});
