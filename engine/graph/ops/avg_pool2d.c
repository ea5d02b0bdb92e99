/* avg_pool2d: the mean of each window. avg_pool2d_backward: its gradient, for adaptive pooling
 * too. */
#include "engine/graph/ops/pool2d.h"

const wf_op wf_op_avg_pool2d_backward = {
    .name = "avg_pool2d_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_pool2d_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = wf_pool2d_infer_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = wf_pool2d_lower_avg_backward,
    .no_sample_reason = "the samples of avg_pool2d and adaptive_avg_pool2d run it",
};

weft_tensor *weft_avg_pool2d(weft_tensor *x, const weft_pool2d_opts *opts)
{
    WF_SAY("avg_pool2d", 1, x);
    bool one;
    wf_pool2d_attrs a = wf_pool2d_from(opts);
    a.dilation[0] = a.dilation[1] = 1;
    x = wf_record_batched(x, &one);
    return wf_record_unbatched(wf_record(&wf_op_avg_pool2d, &a, NULL, 1, &x, NULL), one);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_avg_pool2d(in[0], user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_pool2d_opts two = {.kernel = {2, 2}};
    static const weft_pool2d_opts meeting = {.kernel = {3, 2}, .stride = {1, 2}, .padding = {1, 1}};
    static const weft_pool2d_opts cut = {
        .kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 0}, .ceil_mode = true};
    static const weft_pool2d_opts inside = {
        .kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}, .exclude_padding = true};
    static const wf_sample_case cases[] = {
        {"2x2", 1, {{4, {2, 3, 4, 5}}}, apply, &two},
        {"windows that meet, padding", 1, {{4, {2, 2, 4, 5}}}, apply, &meeting},
        {"ceil_mode", 1, {{4, {1, 2, 6, 6}}}, apply, &cut},
        {"count_include_pad=False", 1, {{4, {1, 2, 5, 4}}}, apply, &inside},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_avg_pool2d = {
    .name = "avg_pool2d",
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
