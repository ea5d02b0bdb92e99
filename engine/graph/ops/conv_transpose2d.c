/* conv_transpose2d: the transposed convolution. It computes what a convolution's backward-data
 * computes, with the same shapes, kernels and gradients (the convolution, and its
 * backward-weights). This file adds two things: the size of the output, and the bias, which is
 * added afterwards.
 *
 * Letters: N minibatch, C H W input, K P Q output, R S filter. The convolution that this transposes
 * goes from K P Q to C H W. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/conv2d_lower.h"
#include "engine/graph/ops/internal.h"

/* ---- recording ------------------------------------------------------------------------------ */

static bool refuse_options(weft_context *ctx, const weft_conv_transpose2d_opts *o)
{
    for (int i = 0; i < 2; i++) {
        if (o->stride[i] < 1 || o->dilation[i] < 1 || o->padding[i] < 0 || o->groups < 1) {
            wf_fail_step(ctx, WEFT_ERR_INVALID,
                         "conv_transpose2d: stride %d, dilation %d and groups %d must be at least "
                         "1, padding %d at least 0",
                         o->stride[i], o->dilation[i], o->groups, o->padding[i]);
            return true;
        }
        const int limit = o->stride[i] > o->dilation[i] ? o->stride[i] : o->dilation[i];
        if (o->output_padding[i] < 0 || o->output_padding[i] >= limit) {
            wf_fail_step(ctx, WEFT_ERR_INVALID,
                         "conv_transpose2d: output padding %d must be at least 0 and below stride "
                         "%d or dilation %d",
                         o->output_padding[i], o->stride[i], o->dilation[i]);
            return true;
        }
    }
    return false;
}

static bool refuse_shapes(weft_context *ctx, const weft_shape *x, const weft_shape *w, int groups)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    if (x->rank != 4 || w->rank != 4)
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "conv_transpose2d: input %s and weight %s, expected (N, C, H, W) or "
                     "(C, H, W), and "
                     "(C, K/groups, R, S)",
                     weft_shape_format(*x, a, sizeof a), weft_shape_format(*w, b, sizeof b));
    else if (x->dim[1] != w->dim[0])
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "conv_transpose2d: input has %lld channels, weight expects %lld",
                     (long long)x->dim[1], (long long)w->dim[0]);
    else if (x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1 || w->dim[1] < 1)
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "conv_transpose2d: input %s and weight %s: only N may be 0",
                     weft_shape_format(*x, a, sizeof a), weft_shape_format(*w, b, sizeof b));
    else if (x->dim[1] % groups)
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "conv_transpose2d: %d groups do not divide %lld input channels", groups,
                     (long long)x->dim[1]);
    else
        return false;
    return true;
}

static bool refuse_bias(weft_context *ctx, weft_tensor *x, weft_tensor *bias, int64_t K)
{
    char a[WF_SHAPE_TEXT];
    const weft_shape b = weft_tensor_shape(bias);
    if (wf_operand_dtype(bias) != wf_operand_dtype(x))
        wf_fail_step(ctx, WEFT_ERR_DTYPE, "conv_transpose2d: the bias is %s, the input %s",
                     weft_dtype_name(wf_operand_dtype(bias)), weft_dtype_name(wf_operand_dtype(x)));
    else if (!weft_shape_equal(b, WEFT_SHAPE(K)))
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "conv_transpose2d: bias has shape %s, the output %lld channels",
                     weft_shape_format(b, a, sizeof a), (long long)K);
    else
        return false;
    return true;
}

/* Sets *out to P or Q. WEFT_ERR_SHAPE where there is no output. */
static weft_status output_size(weft_context *ctx, const weft_conv_transpose2d_opts *o, int i,
                               int64_t in, int64_t kernel, int32_t *out)
{
    static const char *const side[2] = {"height", "width"};
    enum { LIMIT = WF_CONV2D_LIMIT };
    const int64_t stride = o->stride[i], padding = o->padding[i], dilation = o->dilation[i];
    if (in > LIMIT || kernel > LIMIT || stride > LIMIT || padding > LIMIT || dilation > LIMIT ||
        (in - 1) * stride + dilation * (kernel - 1) + o->output_padding[i] >= LIMIT)
        return wf_fail_step(ctx, WEFT_ERR_SHAPE,
                            "conv_transpose2d: %s %lld with kernel %lld, stride %lld, padding %lld "
                            "and dilation %lld is too large",
                            side[i], (long long)in, (long long)kernel, (long long)stride,
                            (long long)padding, (long long)dilation);
    const int64_t size =
        (in - 1) * stride - 2 * padding + dilation * (kernel - 1) + o->output_padding[i] + 1;
    if (size < 1)
        return wf_fail_step(ctx, WEFT_ERR_SHAPE,
                            "conv_transpose2d: the output is empty: %s %lld with kernel %lld, "
                            "stride %lld and padding %lld",
                            side[i], (long long)in, (long long)kernel, (long long)stride,
                            (long long)padding);
    *out = (int32_t)size;
    return WEFT_OK;
}

/* An output padding of at least the stride (possible where the dilation is larger) needs input rows
 * after the last one. They are zero, so this appends rows of zeros to x: then the transposed
 * convolution has an output of this size. */
static weft_tensor *with_zeros(weft_context *ctx, weft_tensor *x,
                               const weft_conv_transpose2d_opts *o)
{
    for (int i = 0; i < 2 && x; i++) {
        weft_shape more = weft_tensor_shape(x);
        more.dim[2 + i] = o->output_padding[i] / o->stride[i];
        if (more.dim[2 + i] == 0)
            continue;
        weft_tensor *zeros = wf_record_fill(ctx, wf_operand_dtype(x), more, 0);
        x = zeros ? weft_concat((weft_tensor *[]){x, zeros}, 2, 2 + i) : NULL;
    }
    return x;
}

static weft_conv_transpose2d_opts completed(const weft_conv_transpose2d_opts *opts)
{
    weft_conv_transpose2d_opts o = opts ? *opts : (weft_conv_transpose2d_opts){.groups = 1};
    for (int i = 0; i < 2; i++) {
        o.stride[i] = o.stride[i] ? o.stride[i] : 1;
        o.dilation[i] = o.dilation[i] ? o.dilation[i] : 1;
    }
    o.groups = o.groups ? o.groups : 1;
    return o;
}

weft_tensor *weft_conv_transpose2d(weft_tensor *x, weft_tensor *weight, weft_tensor *bias,
                                   const weft_conv_transpose2d_opts *opts)
{
    WF_SAY("conv_transpose2d", 2, x, weight, bias);
    weft_context *ctx =
        wf_record_context("conv_transpose2d", 2, 3, (weft_tensor *[]){x, weight, bias});
    bool one;
    if (!ctx || !(x = wf_record_batched(x, &one)))
        return NULL;
    const weft_conv_transpose2d_opts o = completed(opts);
    const weft_shape xs = weft_tensor_shape(x), ws = weft_tensor_shape(weight);
    wf_conv2d_attrs a = {.groups = o.groups};
    if (refuse_options(ctx, &o) || refuse_shapes(ctx, &xs, &ws, o.groups) ||
        (bias && refuse_bias(ctx, x, bias, ws.dim[1] * o.groups)))
        return NULL;
    for (int i = 0; i < 2; i++) {
        a.stride[i] = o.stride[i];
        a.padding[i] = o.padding[i];
        a.dilation[i] = o.dilation[i];
        if (output_size(ctx, &o, i, xs.dim[2 + i], ws.dim[2 + i], &a.size[i]) != WEFT_OK)
            return NULL;
    }
    x = with_zeros(ctx, x, &o);
    weft_tensor *y =
        x ? wf_record(&wf_op_conv_transpose2d, &a, NULL, 2, (weft_tensor *[]){x, weight}, NULL)
          : NULL;
    return wf_record_unbatched(y && bias ? weft_bias(y, bias) : y, one);
}

/* ---- sample inputs and the descriptor ---------------------------------------------------- */

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_conv_transpose2d(in[0], in[1], n > 2 ? in[2] : NULL, user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_conv_transpose2d_opts twice = {.stride = {2, 2}},
                                            padded = {.stride = {2, 3},
                                                      .padding = {1, 1},
                                                      .output_padding = {1, 2}},
                                            grouped = {.padding = {1, 0}, .groups = 2},
                                            behind = {.padding = {1, 0},
                                                      .output_padding = {1, 2},
                                                      .dilation = {2, 3}};
    static const wf_sample_case cases[] = {
        {"2x2, twice as large", 2, {{4, {2, 3, 2, 3}}, {4, {3, 2, 2, 2}}}, apply, &twice},
        {"bias", 3, {{4, {2, 2, 3, 3}}, {4, {2, 3, 2, 2}}, {1, {3}}}, apply, NULL},
        {"output padding", 3, {{4, {1, 2, 3, 2}}, {4, {2, 2, 3, 3}}, {1, {2}}}, apply, &padded},
        {"grouped", 2, {{4, {2, 4, 3, 2}}, {4, {4, 3, 3, 2}}}, apply, &grouped},
        {"output padding of a stride", 2, {{4, {1, 2, 3, 2}}, {4, {2, 2, 2, 2}}}, apply, &behind},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_conv_transpose2d = {
    .name = "conv_transpose2d",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_conv2d_attrs),
    .flags = WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .precision = WF_PRECISION_BF16,
    .weights = 2,
    .layout = wf_conv2d_layout_backward_data,
    .infer = wf_conv2d_infer_backward_data,
    .grad = wf_conv2d_grad_backward_data,
    .lower = wf_conv2d_lower_backward_data,
    .sample = sample,
};
