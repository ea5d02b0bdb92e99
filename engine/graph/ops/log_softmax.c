/* log_softmax: x - log sum exp(x) along one dimension, and its gradient. */
#include "engine/graph/ops/softmax_lower.h"

static weft_status lower(wf_lower *l)
{
    return wf_softmax_lower(l, wf_loss_get(wf_lower_out(l, 0).dtype, l->isa)->log_softmax, NULL);
}

static weft_status lower_backward(wf_lower *l)
{
    const wf_loss *k = wf_loss_get(wf_lower_out(l, 0).dtype, l->isa);
    return wf_softmax_lower(l, NULL, k->log_softmax_backward);
}

/* Inputs: the forward output, its gradient. */
const wf_op wf_op_log_softmax_backward = {
    .name = "log_softmax_backward",
    .n_out = 1,
    .attr_size = sizeof(wf_softmax_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .inplace = {2},
    .infer = wf_softmax_infer,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "log_softmax's samples run it",
};

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_log_softmax_backward, g->attrs, NULL, 2,
                              (weft_tensor *[]){g->out[0], g->dout[0]}, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_log_softmax(in[0], *(const int *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    return wf_softmax_sample(ctx, index, s, apply);
}

const wf_op wf_op_log_softmax = {
    .name = "log_softmax",
    .n_out = 1,
    .attr_size = sizeof(wf_softmax_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .inplace = {1},
    .infer = wf_softmax_infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_log_softmax(weft_tensor *x, int dim)
{
    wf_softmax_attrs a = {dim};
    return wf_record(&wf_op_log_softmax, &a, NULL, 1, &x, NULL);
}
