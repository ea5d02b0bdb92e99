/* prelu: x where x > 0, else w x. w has one number, or one for each channel (dimension 1). One op
 * gives dx and the products whose sum is dw. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/dims.h"
#include "kernels/eltwise/eltwise.h"

static weft_status infer(wf_infer *f)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    const weft_shape *x = &f->in[0].shape, *w = &f->in[1].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (f->in[1].dtype != f->in[0].dtype)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "input is %s, weight is %s",
                             weft_dtype_name(f->in[0].dtype), weft_dtype_name(f->in[1].dtype));
    const bool one = weft_shape_equal(*w, WEFT_SHAPE(1));
    if (!one && (x->rank < 2 || !weft_shape_equal(*w, WEFT_SHAPE(x->dim[1]))))
        return wf_infer_fail(
            f, WEFT_ERR_SHAPE, "input %s and weight %s, expected (N, C, ...) and (C), or (1)",
            weft_shape_format(*x, a, sizeof(a)), weft_shape_format(*w, b, sizeof(b)));
    for (int o = 0; o < f->n_out; o++)
        f->out[o] = f->in[0];
    return WEFT_OK;
}

typedef struct prelu_args {
    wf_act act; /* of one image */
    bool side_by_side;
    wf_image_cut cut;
    wf_buf x, w, dy, y, products; /* y: backward dx */
    const wf_eltwise *kernels;
} prelu_args;

static void run_act(const prelu_args *g, wf_act act, const wf_tile *t, int64_t n)
{
    const wf_buf buf[4] = {g->x, g->dy, g->y, g->products};
    void *p[4] = {NULL};
    for (int i = 0; i < 4; i++)
        if (buf[i] >= 0)
            p[i] = wf_image_cut_ptr(&g->cut, t, buf[i], n);
    if (g->dy < 0)
        g->kernels->prelu(act, p[0], wf_data(t, g->w), p[2]);
    else
        g->kernels->prelu_backward(act, p[0], wf_data(t, g->w), p[1], p[2], p[3]);
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const prelu_args *g = vargs;
    const int64_t first = wf_image_cut_first(&g->cut, tile), n = wf_image_cut_count(&g->cut, tile);
    wf_act act = g->act;
    if (g->side_by_side) { /* the images of a tile are contiguous: treat them as one */
        act.H *= (int)n;
        run_act(g, act, t, first);
        return WEFT_OK;
    }
    for (int64_t i = first; i < first + n; i++)
        run_act(g, act, t, i);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const wf_operand x = wf_lower_in(l, 0), w = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    const bool backward = l->n_in == 3;
    const bool one_weight = weft_shape_count(w.shape) == 1, rows = y.shape.rank == 2;
    prelu_args g = {.act = wf_channel_act(&y),
                    .side_by_side = one_weight || rows,
                    .cut = wf_cut_whole_images(&y),
                    .x = x.buf,
                    .w = w.buf,
                    .dy = backward ? wf_lower_in(l, 2).buf : -1,
                    .y = y.buf,
                    .products = backward ? wf_lower_out(l, 1).buf : -1,
                    .kernels = wf_eltwise_get(y.dtype, l->isa)};
    if (one_weight)
        g.act = (wf_act){1, (int)wf_act_count(y.act), 1, 1};
    else if (rows)
        g.act = (wf_act){g.act.C, 1, 1, g.act.C};
    const wf_access access = g.cut.tiled ? WF_TILED : WF_WHOLE;
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), g.cut.tiles);
    wf_reads(task, g.x, access);
    wf_reads(task, g.w, WF_WHOLE);
    wf_writes(task, g.y, access);
    if (backward) {
        wf_reads(task, g.dy, access);
        wf_writes(task, g.products, access);
    }
    const double count = (double)wf_operand_count(&y);
    wf_cost(task, 2 * count, (backward ? 4 : 2) * count * (double)weft_dtype_size(y.dtype));
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    weft_tensor *out[WF_MAX_OUT];
    const weft_shape x = weft_tensor_shape(g->in[0]), w = weft_tensor_shape(g->in[1]);
    if (!wf_record(&wf_op_prelu_backward, NULL, NULL, 3,
                   (weft_tensor *[]){g->in[0], g->in[1], g->dout[0]}, out))
        return wf_step_status(g->ctx);
    if (g->needs[0])
        g->din[0] = out[0];
    if (g->needs[1]) {
        const unsigned all = (1u << x.rank) - 1, but_channels = w.dim[0] == 1 ? all : all & ~2u;
        weft_tensor *sum =
            but_channels ? weft_sum(out[1], wf_dims_of(but_channels), false) : out[1];
        g->din[1] = wf_record_reshape(sum, w);
    }
    return wf_step_status(g->ctx);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_prelu(in[0], in[1]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"one weight", 2, {{4, {2, 3, 2, 3}}, {1, {1}}}, apply, NULL},
        {"a weight a channel", 2, {{4, {2, 10, 2, 2}}, {1, {10}}}, apply, NULL},
        {"(N, C)", 2, {{2, {4, 5}}, {1, {5}}}, apply, NULL},
        {"(N, C, L)", 2, {{3, {2, 3, 5}}, {1, {3}}}, apply, NULL},
        {"a vector", 2, {{1, {7}}, {1, {1}}}, apply, NULL},
        {"a scalar", 2, {{0, {0}}, {1, {1}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 6, index, s);
}

/* Inputs: x, w, dy. Outputs: dx; x dy where x <= 0, else 0, whose sum is dw. */
const wf_op wf_op_prelu_backward = {
    .name = "prelu_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {3},
    .infer = infer,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower,
    .no_sample_reason = "prelu's samples run it",
};

const wf_op wf_op_prelu = {
    .name = "prelu",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_prelu(weft_tensor *x, weft_tensor *weight)
{
    WF_SAY("prelu", 2, x, weight);
    return wf_record(&wf_op_prelu, NULL, NULL, 2, (weft_tensor *[]){x, weight}, NULL);
}
