/* pow_tensor: y = x^a, element by element, where the exponents are a tensor. Broadcasting is done
 * by recorded expands.
 *
 * Gradients as in PyTorch: dx = dy a x^(a - 1), and 0 where a is 0. da = dy y ln x, 0 where x is 0
 * and a >= 0, and NaN where x is negative. */
#include "engine/graph/ops/binary.h"
#include "engine/graph/ops/pointwise.h"

static weft_status lower(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_pow);
}
static weft_status lower_base(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_pow_base);
}
static weft_status lower_log(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_pow_log);
}

static weft_status lower_both(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_pow_both);
}

static weft_status grad(wf_grad *g)
{
    weft_tensor *x = g->in[0], *a = g->in[1], *dy = g->dout[0];
    if (g->needs[0] && g->needs[1])
        return wf_grad_both(g, &wf_op_pow_tensor_both, 0, 4,
                            (weft_tensor *[]){x, a, dy, g->out[0]});
    if (g->needs[0])
        g->din[0] =
            wf_record(&wf_op_pow_tensor_base, NULL, NULL, 3, (weft_tensor *[]){x, a, dy}, NULL);
    if (g->needs[1])
        g->din[1] = weft_mul(dy, wf_record(&wf_op_pow_tensor_log, NULL, NULL, 3,
                                           (weft_tensor *[]){x, a, g->out[0]}, NULL));
    return WEFT_OK;
}

weft_tensor *weft_pow_tensor(weft_tensor *x, weft_tensor *exponent)
{
    WF_SAY("pow_tensor", 2, x, exponent);
    return wf_record_pair(&wf_op_pow_tensor, NULL, x, exponent);
}

/* With a positive base. */
static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_pow_tensor(weft_mul(in[0], in[0]), in[n - 1]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    return wf_binary_sample(ctx, index, s, apply);
}

const wf_op wf_op_pow_tensor = {
    .name = "pow_tensor",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_BY_IMAGE | WF_OP_SPREADS,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

const wf_op wf_op_pow_tensor_base = {
    .name = "pow_tensor_base",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_SPREADS,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {3},
    .infer = wf_infer_same,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_base,
    .no_sample_reason = "pow_tensor's samples run it",
};

const wf_op wf_op_pow_tensor_log = {
    .name = "pow_tensor_log",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_SPREADS,
    .layout_rule = WF_LAYOUT_SAME,
    .infer = wf_infer_same,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_log,
    .no_sample_reason = "pow_tensor's samples run it",
};

/* Inputs: x, a, dy, y. Outputs: dx, da. */
const wf_op wf_op_pow_tensor_both =
    WF_POINTWISE_BOTH("pow_tensor_both", lower_both, WF_OP_KEEPS_ZERO, WF_PRECISION_F32, {3});
