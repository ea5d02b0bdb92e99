/* add: y = a + b, element by element. Broadcasting is done by recorded expands. */
#include "engine/graph/ops/binary.h"
#include "engine/graph/ops/pointwise.h"

static weft_status lower(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_add);
}

static weft_status grad(wf_grad *g)
{
    for (int i = 0; i < 2; i++)
        if (g->needs[i])
            g->din[i] = g->dout[0];
    return WEFT_OK;
}

weft_tensor *weft_add(weft_tensor *a, weft_tensor *b)
{
    return wf_record_pair(&wf_op_add, NULL, a, b);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_add(in[0], in[n - 1]); /* n == 1: the same tensor twice */
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    return wf_binary_sample(ctx, index, s, apply);
}

const wf_op wf_op_add = {
    .name = "add",
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
