/* bias: y = x + b along dimension 1; x (N, C, ...), b (C). */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/dims.h"
#include "kernels/eltwise/eltwise.h"

static weft_status infer(wf_infer *f)
{
    char x[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    WF_TRY(wf_infer_float(f, 0));
    const weft_shape *xs = &f->in[0].shape, *bs = &f->in[1].shape;
    if (f->in[1].dtype != f->in[0].dtype)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "input is %s, bias is %s",
                             weft_dtype_name(f->in[0].dtype), weft_dtype_name(f->in[1].dtype));
    if (xs->rank < 2 || bs->rank != 1)
        return wf_infer_fail(
            f, WEFT_ERR_SHAPE, "input %s and bias %s, expected (N, C, ...) and (C)",
            weft_shape_format(*xs, x, sizeof(x)), weft_shape_format(*bs, b, sizeof(b)));
    if (xs->dim[1] != bs->dim[0])
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input has %lld channels, bias has %lld",
                             (long long)xs->dim[1], (long long)bs->dim[0]);
    f->out[0] = f->in[0];
    return WEFT_OK;
}

typedef struct bias_args {
    wf_act act;
    wf_image_cut cut;
    wf_buf x, b, y;
    const wf_eltwise *kernels;
} bias_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const bias_args *g = vargs;
    const int64_t first = wf_image_cut_first(&g->cut, tile);
    for (int64_t n = first; n < first + wf_image_cut_count(&g->cut, tile); n++)
        g->kernels->bias(g->act, wf_image_cut_ptr(&g->cut, t, g->x, n), wf_data(t, g->b),
                         wf_image_cut_ptr(&g->cut, t, g->y, n));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), b = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    const bias_args g = {.act = wf_channel_act(&y),
                         .cut = wf_cut_whole_images(&y),
                         .x = x.buf,
                         .b = b.buf,
                         .y = y.buf,
                         .kernels = wf_eltwise_get(y.dtype, l->isa)};
    const wf_access access = g.cut.tiled ? WF_TILED : WF_WHOLE;
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), g.cut.tiles);
    wf_reads(task, x.buf, access);
    wf_reads(task, b.buf, WF_WHOLE);
    wf_writes(task, y.buf, access);
    double count = (double)wf_operand_count(&y);
    wf_cost(task, count, 2 * count * (double)weft_dtype_size(y.dtype));
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = g->dout[0];
    if (g->needs[1]) {
        int rank = weft_tensor_shape(g->in[0]).rank;
        g->din[1] = weft_sum(g->dout[0], wf_dims_of(((1u << rank) - 1) & ~2u), false);
    }
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_bias(in[0], in[1]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"(N, C, H, W)", 2, {{4, {2, 3, 2, 2}}, {1, {3}}}, apply, NULL},
        {"(N, C)", 2, {{2, {3, 5}}, {1, {5}}}, apply, NULL},
        {"(N, C, L)", 2, {{3, {2, 3, 4}}, {1, {3}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 3, index, s);
}

const wf_op wf_op_bias = {
    .name = "bias",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_bias(weft_tensor *x, weft_tensor *b)
{
    return wf_record(&wf_op_bias, NULL, NULL, 2, (weft_tensor *[]){x, b}, NULL);
}
