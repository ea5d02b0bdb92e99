/* where: y = a where the condition is not 0, else b. The gradient goes to the operand that was
 * chosen. */
#include "engine/graph/ops/pointwise.h"

static weft_status lower(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_where);
}
static weft_status lower_true(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_where_true);
}
static weft_status lower_false(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_where_false);
}

static weft_status lower_both(wf_lower *l)
{
    return wf_pointwise_lower(l, WF_PW_where_both);
}

static weft_status grad(wf_grad *g)
{
    const wf_op *const taken[2] = {&wf_op_where_true, &wf_op_where_false};
    if (g->needs[1] && g->needs[2])
        return wf_grad_both(g, &wf_op_where_both, 1, 2, (weft_tensor *[]){g->in[0], g->dout[0]});
    for (int i = 0; i < 2; i++)
        if (g->needs[1 + i])
            g->din[1 + i] =
                wf_record(taken[i], NULL, NULL, 2, (weft_tensor *[]){g->in[0], g->dout[0]}, NULL);
    return WEFT_OK;
}

weft_tensor *weft_where(weft_tensor *condition, weft_tensor *a, weft_tensor *b)
{
    WF_SAY("where", 3, condition, a, b);
    weft_tensor *in[3] = {condition, a, b};
    if (!wf_record_broadcast("where", in, 3))
        return NULL;
    return wf_record(&wf_op_where, NULL, NULL, 3, in, NULL);
}

/* The condition is a comparison, which has no gradient. */
static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_where(weft_gt(in[0], in[1]), in[1], in[n - 1]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"same shape", 2, {{2, {2, 3}}, {2, {2, 3}}}, apply, NULL},
        {"three", 3, {{4, {2, 3, 2, 2}}, {4, {2, 3, 2, 2}}, {4, {2, 3, 2, 2}}}, apply, NULL},
        {"broadcast", 3, {{3, {2, 1, 3}}, {2, {4, 1}}, {0, {0}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 3, index, s);
}

const wf_op wf_op_where = {
    .name = "where",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_SPREADS,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {2},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

#define TAKEN(f)                                                                                   \
    {                                                                                              \
        .name = "where_" #f, .of_nothing = WF_EMPTY_ZERO, .n_out = 1,                              \
        .precision = WF_PRECISION_FOLLOW,                                                          \
        .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_SPREADS,                   \
        .layout_rule = WF_LAYOUT_SAME, .inplace = {2}, .infer = wf_infer_same,                     \
        .no_grad_reason = "second derivatives are not built", .lower = lower_##f,                  \
        .no_sample_reason = "where's samples run it",                                              \
    }
const wf_op wf_op_where_true = TAKEN(true);
const wf_op wf_op_where_false = TAKEN(false);

/* Inputs: the condition, dy. Outputs: da, db. */
const wf_op wf_op_where_both = WF_POINTWISE_BOTH(
    "where_both", lower_both, WF_OP_KEEPS_ZERO | WF_OP_BF16, WF_PRECISION_FOLLOW, {2});
