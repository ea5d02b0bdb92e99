/* adaptive_avg_pool2d: means over windows that cover the image: output i has rows floor(i*H/P) to
 * ceil((i+1)*H/P). avg_pool2d_backward is its gradient too, with the same windows. */
#include "engine/graph/ops/pool2d.h"

weft_tensor *weft_adaptive_avg_pool2d(weft_tensor *x, int out_h, int out_w)
{
    WF_SAY("adaptive_avg_pool2d", 1, x);
    bool one;
    wf_pool2d_attrs a = {.adaptive = 1, .out = {out_h, out_w}};
    x = wf_record_batched(x, &one);
    return wf_record_unbatched(wf_record(&wf_op_adaptive_avg_pool2d, &a, NULL, 1, &x, NULL), one);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const int *out = user;
    return weft_adaptive_avg_pool2d(in[0], out[0], out[1]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int global[2] = {1, 1}, fewer[2] = {2, 3}, more[2] = {5, 3};
    static const wf_sample_case cases[] = {
        {"global", 1, {{4, {2, 3, 3, 4}}}, apply, global},
        {"windows that meet", 1, {{4, {1, 2, 5, 7}}}, apply, fewer},
        {"larger than the input", 1, {{4, {1, 2, 3, 2}}}, apply, more},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_adaptive_avg_pool2d = {
    .name = "adaptive_avg_pool2d",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_pool2d_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = wf_pool2d_infer,
    .grad = wf_pool2d_grad_avg,
    .lower = wf_pool2d_lower_avg,
    .sample = sample,
};
