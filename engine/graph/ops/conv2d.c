/* conv2d and its two gradients, which are ops of their own: backward-data (dy, w -> dx) and
 * backward-weights (x, dy -> dw). Each of the three is linear in each of its two inputs. So the
 * gradients of each are the other two, to any order.
 *
 * This file has shapes, gradients and sample inputs; conv2d_lower.c has layouts and kernels.
 * Everything runs on the recording thread. Letters: N minibatch, C H W input, K P Q output, R S
 * filter. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/conv2d_lower.h"

typedef wf_conv2d_attrs attrs;

enum { LIMIT = WF_CONV2D_LIMIT };

/* ---- recording ------------------------------------------------------------------------------ */

/* Checks attributes and sizes, and sets out to P and Q. */
static weft_status output_size(const wf_infer *f, const int64_t in[2], const int64_t kernel[2],
                               int64_t out[2])
{
    static const char *const side[2] = {"height", "width"};
    const attrs *a = f->attrs;
    int64_t size[2]; /* of the padded image */
    for (int i = 0; i < 2; i++) {
        if (a->stride[i] < 1 || a->dilation[i] < 1 || a->padding[i] < 0)
            return wf_infer_fail(f, WEFT_ERR_INVALID,
                                 "stride %d and dilation %d must be at least 1, padding %d at "
                                 "least 0 (%s)",
                                 a->stride[i], a->dilation[i], a->padding[i], side[i]);
        int64_t extent = (int64_t)a->dilation[i] * (kernel[i] - 1) + 1;
        int64_t padded = in[i] + 2 * (int64_t)a->padding[i];
        if (in[i] < 1 || kernel[i] < 1)
            return wf_infer_fail(f, WEFT_ERR_SHAPE, "%s of the input is %lld, of the kernel %lld",
                                 side[i], (long long)in[i], (long long)kernel[i]);
        if (padded > LIMIT || a->stride[i] > LIMIT || kernel[i] > LIMIT || extent > LIMIT)
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "%s %lld with padding %d, kernel %lld, stride "
                                 "%d and dilation %d is too large",
                                 side[i], (long long)in[i], a->padding[i], (long long)kernel[i],
                                 a->stride[i], a->dilation[i]);
        if (extent > padded)
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "the output is empty: %s %lld with padding %d is smaller than the "
                                 "kernel's %lld",
                                 side[i], (long long)in[i], a->padding[i], (long long)extent);
        out[i] = (padded - extent) / a->stride[i] + 1;
        size[i] = padded;
    }
    /* The filter fits into the padded image, so it is small enough too. */
    if (size[0] * size[1] > LIMIT)
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "the padded image of %lld x %lld pixels is too large",
                             (long long)size[0], (long long)size[1]);
    return WEFT_OK;
}

static weft_status check_types(const wf_infer *f)
{
    for (int i = 0; i < f->n_in; i++) {
        WF_TRY(wf_infer_float(f, i));
        if (f->in[i].dtype != f->in[0].dtype)
            return wf_infer_fail(f, WEFT_ERR_DTYPE, "%s is %s, the first input is %s",
                                 i == 1 ? "the second input" : "the bias",
                                 weft_dtype_name(f->in[i].dtype), weft_dtype_name(f->in[0].dtype));
    }
    return WEFT_OK;
}

static weft_status check_rank(const wf_infer *f, const char *what, weft_shape shape, int rank)
{
    char text[WF_SHAPE_TEXT];
    if (shape.rank == rank)
        return WEFT_OK;
    return wf_infer_fail(f, WEFT_ERR_SHAPE, "%s must have %d dimensions, has shape %s", what, rank,
                         weft_shape_format(shape, text, sizeof text));
}

static weft_status check_channels(const wf_infer *f, int64_t N, int64_t C, int64_t K,
                                  int64_t weight_C)
{
    const attrs *a = f->attrs;
    if (a->groups < 1)
        return wf_infer_fail(f, WEFT_ERR_INVALID, "groups must be at least 1, is %d", a->groups);
    if (N < 0 || N > LIMIT || C < 1 || C > LIMIT || K < 1 || K > LIMIT)
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "cannot have %lld images, %lld input and %lld output channels",
                             (long long)N, (long long)C, (long long)K);
    if (C % a->groups || K % a->groups)
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "%d groups do not divide %lld input and %lld output channels",
                             a->groups, (long long)C, (long long)K);
    if (weight_C * a->groups != C)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input has %lld channels, weight expects %lld",
                             (long long)C, (long long)(weight_C * a->groups));
    return WEFT_OK;
}

static weft_status set_output(wf_infer *f, weft_shape shape)
{
    char text[WF_SHAPE_TEXT];
    int64_t bytes; /* an upper bound: one channel stored as a block of 16, 4 bytes each */
    if (weft_shape_count(shape) < 0 || __builtin_mul_overflow(weft_shape_count(shape), 64, &bytes))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "output %s is too large",
                             weft_shape_format(shape, text, sizeof text));
    f->out[0] = (wf_type){f->in[0].dtype, shape};
    return WEFT_OK;
}

static weft_status infer_forward(wf_infer *f)
{
    const int64_t *x = f->in[0].shape.dim, *w = f->in[1].shape.dim;
    int64_t out[2];
    WF_TRY(check_types(f));
    if (f->in[0].shape.rank != 4) {
        char text[WF_SHAPE_TEXT];
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s, expected (N, C, H, W) or (C, H, W)",
                             weft_shape_format(f->in[0].shape, text, sizeof text));
    }
    WF_TRY(check_rank(f, "weight", f->in[1].shape, 4));
    WF_TRY(check_channels(f, x[0], x[1], w[0], w[1]));
    if (f->n_in > 2 && !weft_shape_equal(f->in[2].shape, WEFT_SHAPE(w[0]))) {
        char text[WF_SHAPE_TEXT];
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "bias has shape %s, the output %lld channels",
                             weft_shape_format(f->in[2].shape, text, sizeof text), (long long)w[0]);
    }
    WF_TRY(output_size(f, x + 2, w + 2, out));
    return set_output(f, WEFT_SHAPE(x[0], w[0], out[0], out[1]));
}

weft_status wf_conv2d_infer_backward_data(wf_infer *f)
{
    const attrs *a = f->attrs;
    const int64_t *dy = f->in[0].shape.dim, *w = f->in[1].shape.dim;
    const int64_t in[2] = {a->size[0], a->size[1]};
    int64_t out[2];
    WF_TRY(check_types(f));
    WF_TRY(check_rank(f, "output gradient", f->in[0].shape, 4));
    WF_TRY(check_rank(f, "weight", f->in[1].shape, 4));
    WF_TRY(check_channels(f, dy[0], w[1] * a->groups, w[0], w[1]));
    WF_TRY(output_size(f, in, w + 2, out));
    if (dy[1] != w[0] || dy[2] != out[0] || dy[3] != out[1])
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "output gradient does not fit input and weight");
    return set_output(f, WEFT_SHAPE(dy[0], w[1] * a->groups, in[0], in[1]));
}

static weft_status infer_backward_weights(wf_infer *f)
{
    const attrs *a = f->attrs;
    const int64_t *x = f->in[0].shape.dim, *dy = f->in[1].shape.dim;
    const int64_t kernel[2] = {a->size[0], a->size[1]};
    int64_t out[2];
    WF_TRY(check_types(f));
    WF_TRY(check_rank(f, "input", f->in[0].shape, 4));
    WF_TRY(check_rank(f, "output gradient", f->in[1].shape, 4));
    WF_TRY(check_channels(f, x[0], x[1], dy[1], a->groups > 0 ? x[1] / a->groups : 0));
    WF_TRY(output_size(f, x + 2, kernel, out));
    if (dy[0] != x[0] || dy[2] != out[0] || dy[3] != out[1])
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "output gradient does not fit input and kernel");
    return set_output(f, WEFT_SHAPE(dy[1], x[1] / a->groups, kernel[0], kernel[1]));
}

weft_tensor *weft_conv2d(weft_tensor *x, weft_tensor *weight, weft_tensor *bias,
                         const weft_conv2d_opts *opts)
{
    WF_SAY("conv2d", 2, x, weight, bias);
    static const weft_conv2d_opts none;
    bool one;
    weft_tensor *in[] = {wf_record_batched(x, &one), weight, bias};
    attrs a = {.groups = 1};
    if (!opts)
        opts = &none;
    for (int i = 0; i < 2; i++) {
        a.stride[i] = opts->stride[i] ? opts->stride[i] : 1;
        a.dilation[i] = opts->dilation[i] ? opts->dilation[i] : 1;
        a.padding[i] = opts->padding[i];
    }
    if (opts->groups)
        a.groups = opts->groups;
    return wf_record_unbatched(wf_record(&wf_op_conv2d, &a, NULL, bias ? 3 : 2, in, NULL), one);
}

/* ---- gradients ------------------------------------------------------------------------------ */

static weft_tensor *record(const wf_op *op, const attrs *a, int64_t size0, int64_t size1,
                           weft_tensor *first, weft_tensor *second)
{
    attrs b = *a;
    weft_tensor *in[] = {first, second};
    b.size[0] = (int32_t)size0;
    b.size[1] = (int32_t)size1;
    return wf_record(op, &b, NULL, 2, in, NULL);
}

static weft_tensor *record_data(const attrs *a, weft_tensor *dy, weft_tensor *w, weft_tensor *x)
{
    weft_shape s = weft_tensor_shape(x);
    return record(&wf_op_conv2d_backward_data, a, s.dim[2], s.dim[3], dy, w);
}

static weft_tensor *record_weights(const attrs *a, weft_tensor *x, weft_tensor *dy, weft_tensor *w)
{
    weft_shape s = weft_tensor_shape(w);
    return record(&wf_op_conv2d_backward_weights, a, s.dim[2], s.dim[3], x, dy);
}

static weft_status grad_forward(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = record_data(g->attrs, g->dout[0], g->in[1], g->in[0]);
    if (g->needs[1])
        g->din[1] = record_weights(g->attrs, g->in[0], g->dout[0], g->in[1]);
    if (g->n_in > 2 && g->needs[2])
        g->din[2] = weft_sum(g->dout[0], WEFT_DIMS(0, 2, 3), false); /* over N, P, Q */
    return wf_step_status(g->ctx);
}

weft_status wf_conv2d_grad_backward_data(wf_grad *g) /* in: dy, w; dout: of dx */
{
    if (g->needs[0])
        g->din[0] = record(&wf_op_conv2d, g->attrs, 0, 0, g->dout[0], g->in[1]);
    if (g->needs[1])
        g->din[1] = record_weights(g->attrs, g->dout[0], g->in[0], g->in[1]);
    return wf_step_status(g->ctx);
}

static weft_status grad_backward_weights(wf_grad *g) /* in: x, dy; dout: of dw */
{
    if (g->needs[0])
        g->din[0] = record_data(g->attrs, g->in[1], g->dout[0], g->in[0]);
    if (g->needs[1])
        g->din[1] = record(&wf_op_conv2d, g->attrs, 0, 0, g->in[0], g->dout[0]);
    return wf_step_status(g->ctx);
}

/* ---- sample inputs and descriptors ---------------------------------------------------------- */

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_conv2d(in[0], in[1], n > 2 ? in[2] : NULL, user);
}

static bool sample_forward(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_conv2d_opts same = {.padding = {1, 1}}, strided = {.stride = {2, 2}},
                                  dilated = {.padding = {2, 1}, .dilation = {2, 1}},
                                  grouped = {.padding = {1, 1}, .groups = 2},
                                  all = {{2, 1}, {2, 1}, {2, 1}, 3};
    static const wf_sample_case cases[] = {
        {"3x3", 2, {{4, {2, 2, 4, 5}}, {4, {3, 2, 3, 3}}}, apply, &same},
        {"bias", 3, {{4, {2, 2, 3, 3}}, {4, {3, 2, 2, 2}}, {1, {3}}}, apply, NULL},
        {"1x1 strided", 2, {{4, {2, 3, 5, 4}}, {4, {2, 3, 1, 1}}}, apply, &strided},
        {"3x3 strided", 2, {{4, {1, 2, 6, 5}}, {4, {2, 2, 3, 3}}}, apply, &strided},
        {"dilated", 2, {{4, {2, 1, 5, 4}}, {4, {2, 1, 3, 2}}}, apply, &dilated},
        {"grouped", 2, {{4, {2, 4, 3, 3}}, {4, {6, 2, 3, 3}}}, apply, &grouped},
        {"everything", 3, {{4, {2, 3, 5, 4}}, {4, {6, 1, 2, 3}}, {1, {6}}}, apply, &all},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

/* For the gradient ops: a 6x4 image gives a 3x4 output with stride (2, 1), padding 1 and a 3x3
 * filter. */
static const attrs sample_data = {{2, 1}, {1, 1}, {1, 1}, 2, {6, 4}};
static const attrs sample_weights = {{2, 1}, {1, 1}, {1, 1}, 2, {3, 3}};

static weft_tensor *apply_data(void *user, weft_tensor *const *in, int n)
{
    return wf_record(&wf_op_conv2d_backward_data, user, NULL, 2, in, NULL);
}

static weft_tensor *apply_weights(void *user, weft_tensor *const *in, int n)
{
    return wf_record(&wf_op_conv2d_backward_weights, user, NULL, 2, in, NULL);
}

static bool sample_backward_data(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"grouped, strided", 2, {{4, {2, 2, 3, 4}}, {4, {2, 1, 3, 3}}}, apply_data, &sample_data}};
    return wf_sample_from(ctx, cases, 1, index, s);
}

static bool sample_backward_weights(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {{"grouped, strided",
                                            2,
                                            {{4, {2, 2, 6, 4}}, {4, {2, 2, 3, 4}}},
                                            apply_weights,
                                            &sample_weights}};
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_conv2d = {
    .name = "conv2d",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(attrs),
    .flags = WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .precision = WF_PRECISION_BF16,
    .weights = 2,
    .layout = wf_conv2d_layout_forward,
    .infer = infer_forward,
    .grad = grad_forward,
    .lower = wf_conv2d_lower_forward,
    .sample = sample_forward,
};

const wf_op wf_op_conv2d_backward_data = {
    .name = "conv2d_backward_data",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(attrs),
    .flags = WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .precision = WF_PRECISION_BF16,
    .weights = 2,
    .layout = wf_conv2d_layout_backward_data,
    .infer = wf_conv2d_infer_backward_data,
    .grad = wf_conv2d_grad_backward_data,
    .lower = wf_conv2d_lower_backward_data,
    .sample = sample_backward_data,
};

const wf_op wf_op_conv2d_backward_weights = {
    .name = "conv2d_backward_weights",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(attrs),
    .flags = WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .precision = WF_PRECISION_F32_OUT,
    .layout = wf_conv2d_layout_backward_weights,
    .infer = infer_backward_weights,
    .grad = grad_backward_weights,
    .lower = wf_conv2d_lower_backward_weights,
    .sample = sample_backward_weights,
};
