/* mul_channels: x (N, C, H, W) times s (N, C, 1, 1): each channel of each image has a factor of its
 * own, as in squeeze and excitation. mul_channels_backward: the factors' gradient, which sums dy x
 * over the pixels in the order of Note [Fixed reduction trees]. weft_mul records them. */
#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/reduce/reduce.h"

/* Checks that the inputs have one shape; if the second has the factors, its H and W are 1. */
static weft_status check(const wf_infer *f, bool factors)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    WF_TRY(wf_infer_float(f, 0));
    weft_shape want = f->in[0].shape;
    if (factors)
        want.dim[2] = want.dim[3] = 1;
    if (want.rank != 4 || f->in[1].dtype != f->in[0].dtype ||
        !weft_shape_equal(f->in[1].shape, want))
        return wf_infer_fail(
            f, WEFT_ERR_SHAPE, "input 0 is %s %s, input 1 %s %s", weft_dtype_name(f->in[0].dtype),
            weft_shape_format(f->in[0].shape, a, sizeof(a)), weft_dtype_name(f->in[1].dtype),
            weft_shape_format(f->in[1].shape, b, sizeof(b)));
    return WEFT_OK;
}

/* ---- forward ---- */

typedef struct mul_args {
    wf_act act;
    wf_buf x, s, y;
    const wf_eltwise *kernels;
} mul_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t n)
{
    const mul_args *g = vargs;
    g->kernels->mul_channels(g->act, wf_image(t, g->x, n), wf_image(t, g->s, n),
                             wf_image(t, g->y, n));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), s = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    mul_args g = {x.act, x.buf, s.buf, y.buf, wf_eltwise_get(x.dtype, l->isa)};
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), x.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_reads(task, s.buf, WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    const double count = (double)wf_operand_count(&x);
    wf_cost(task, count, 2.0 * count * (double)weft_dtype_size(x.dtype));
    return wf_lowered(l, task);
}

static weft_status infer(wf_infer *f)
{
    WF_TRY(check(f, true));
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    weft_tensor *dy = g->dout[0];
    if (g->needs[0])
        g->din[0] =
            wf_record(&wf_op_mul_channels, NULL, NULL, 2, (weft_tensor *[]){dy, g->in[1]}, NULL);
    if (g->needs[1])
        g->din[1] = wf_record(&wf_op_mul_channels_backward, NULL, NULL, 2,
                              (weft_tensor *[]){dy, g->in[0]}, NULL);
    return WEFT_OK;
}

/* ---- the factors' gradient ---- */

typedef struct dot_args {
    wf_act act;
    wf_buf dy, x, ds;
    weft_dtype dtype;
    const wf_reduce *kernels;
} dot_args;

static weft_status run_dot(const wf_tile *t, const void *vargs, int64_t n)
{
    const dot_args *g = vargs;
    const int channels = wf_round_up(g->act.C, g->act.block);
    double *sums = t->scratch;
    void *ds = wf_image(t, g->ds, n);
    g->kernels->channels_dot(g->act, wf_image(t, g->dy, n), wf_image(t, g->x, n), sums);
    for (int c = 0; c < channels; c++)
        wf_float_set(g->dtype, ds, c, c < g->act.C ? sums[c] : 0);
    return WEFT_OK;
}

static weft_status lower_dot(wf_lower *l)
{
    wf_operand dy = wf_lower_in(l, 0), x = wf_lower_in(l, 1), ds = wf_lower_out(l, 0);
    dot_args g = {x.act, dy.buf, x.buf, ds.buf, ds.dtype, wf_reduce_get(x.dtype, l->isa)};
    wf_task *task = wf_lower_task(l, g.kernels->name, run_dot, &g, sizeof(g), x.N);
    wf_reads(task, dy.buf, WF_TILED);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, ds.buf, WF_TILED);
    wf_scratch(task, (size_t)x.act.C * sizeof(double));
    const double count = (double)wf_operand_count(&x);
    wf_cost(task, 2.0 * count, 2.0 * count * (double)weft_dtype_size(x.dtype));
    return wf_lowered(l, task);
}

static weft_status infer_dot(wf_infer *f)
{
    WF_TRY(check(f, false));
    f->out[0] = f->in[0];
    f->out[0].shape.dim[2] = f->out[0].shape.dim[3] = 1;
    return WEFT_OK;
}

/* ---- samples ---- */

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_mul(in[0], in[1]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"factors second", 2, {{4, {2, 3, 2, 3}}, {4, {2, 3, 1, 1}}}, apply, NULL},
        {"factors first", 2, {{4, {2, 11, 1, 1}}, {4, {2, 11, 1, 3}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

const wf_op wf_op_mul_channels = {
    .name = "mul_channels",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

const wf_op wf_op_mul_channels_backward = {
    .name = "mul_channels_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer_dot,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_dot,
    .no_sample_reason = "mul_channels' samples run it",
};
