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
    wf_buf x, b, y;
    int64_t images, per_tile; /* of a tile */
    size_t image_bytes;
    bool tiled;
    const wf_eltwise *kernels;
} bias_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const bias_args *g = vargs;
    const void *b = wf_data(t, g->b);
    if (g->tiled) {
        g->kernels->bias(g->act, wf_image(t, g->x, tile), b, wf_image(t, g->y, tile));
        return WEFT_OK;
    }
    int64_t end = (tile + 1) * g->per_tile < g->images ? (tile + 1) * g->per_tile : g->images;
    for (int64_t n = tile * g->per_tile; n < end; n++) {
        size_t at = (size_t)n * g->image_bytes;
        g->kernels->bias(g->act, (char *)wf_data(t, g->x) + at, b, (char *)wf_data(t, g->y) + at);
    }
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), b = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    bool tiled = wf_cut_images(&y).access == WF_TILED;
    int64_t image = (int64_t)wf_act_count(y.act), per_tile = (WF_CHUNK + image - 1) / image;
    bias_args g = {
        .act = wf_channel_act(&y),
        .x = x.buf,
        .b = b.buf,
        .y = y.buf,
        .images = y.N,
        .per_tile = per_tile,
        .image_bytes = y.image_bytes,
        .tiled = tiled,
        .kernels = wf_eltwise_get(y.dtype, l->isa),
    };
    int64_t tiles = tiled ? y.N : (y.N + per_tile - 1) / per_tile;
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), tiles);
    wf_reads(task, x.buf, tiled ? WF_TILED : WF_WHOLE);
    wf_reads(task, b.buf, WF_WHOLE);
    wf_writes(task, y.buf, tiled ? WF_TILED : WF_WHOLE);
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
