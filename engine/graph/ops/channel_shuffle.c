/* channel_shuffle: regards the channels as a matrix (groups, C/groups) and transposes it, in any
 * layout. Its gradient is the shuffle with C/groups groups. */
#include "engine/graph/ops/gather.h"

static weft_status infer(wf_infer *f)
{
    char text[WF_SHAPE_TEXT];
    const wf_shuffle_attrs *a = f->attrs;
    const weft_shape *x = &f->in[0].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (x->rank < 2)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s, expected (N, C, ...)",
                             weft_shape_format(*x, text, sizeof(text)));
    if (a->groups < 1 || x->dim[1] % a->groups != 0)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%lld channels do not divide by %lld groups",
                             (long long)x->dim[1], (long long)a->groups);
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const wf_shuffle_attrs *a = l->attrs;
    wf_operand y = wf_lower_out(l, 0);
    const int C = (int)y.shape.dim[1];
    wf_channel_from *from = wf_gather_channels(l, 0);
    for (int c = 0; from && c < C; c++)
        from[c] = (wf_channel_from){0, wf_shuffled(c, C, (int)a->groups)};
    return wf_lower_gather(l, 0, from);
}

static weft_status grad(wf_grad *g)
{
    const wf_shuffle_attrs *a = g->attrs;
    const int64_t C = weft_tensor_shape(g->in[0]).dim[1];
    const wf_shuffle_attrs back = {C > 0 ? C / a->groups : 1};
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_channel_shuffle, &back, NULL, 1, g->dout, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_channel_shuffle(in[0], *(const int *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int groups[] = {2, 3, 5};
    static const wf_sample_case cases[] = {
        {"two groups", 1, {{4, {2, 6, 2, 2}}}, apply, &groups[0]},
        {"three groups", 1, {{4, {2, 12, 1, 3}}}, apply, &groups[1]},
        {"rank 2", 1, {{2, {3, 10}}}, apply, &groups[2]},
    };
    return wf_sample_from(ctx, cases, 3, index, s);
}

const wf_op wf_op_channel_shuffle = {
    .name = "channel_shuffle",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_shuffle_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_channel_shuffle(weft_tensor *x, int groups)
{
    wf_shuffle_attrs a = {groups};
    return wf_record(&wf_op_channel_shuffle, &a, NULL, 1, &x, NULL);
}
