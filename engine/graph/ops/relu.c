/* relu: y = max(x, 0); NaN stays NaN. relu_backward: dx = 0 where y <= 0, else dy; so where y is
 * NaN, dx is dy. */
#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

typedef struct relu_args {
    wf_cut cut;
    wf_buf x, y; /* backward: y, dy */
    wf_buf dx;   /* backward only */
    size_t size;
    const wf_eltwise *kernels;
} relu_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const relu_args *g = vargs;
    g->kernels->relu(wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->x, g->size, tile),
                     wf_cut_ptr(&g->cut, t, g->y, g->size, tile));
    return WEFT_OK;
}

static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t tile)
{
    const relu_args *g = vargs;
    g->kernels->relu_backward(
        wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->x, g->size, tile),
        wf_cut_ptr(&g->cut, t, g->y, g->size, tile), wf_cut_ptr(&g->cut, t, g->dx, g->size, tile));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand out = wf_lower_out(l, 0);
    bool backward = l->n_in == 2;
    relu_args g = {
        .cut = wf_cut_images(&out),
        .x = wf_lower_in(l, 0).buf,
        .y = backward ? wf_lower_in(l, 1).buf : out.buf,
        .dx = out.buf,
        .size = weft_dtype_size(out.dtype),
        .kernels = wf_eltwise_get(out.dtype, l->isa),
    };
    return wf_lowered(l, wf_lower_cut(l, g.kernels->name, backward ? run_backward : run, &g,
                                      sizeof(g), &g.cut, 1.0));
}

const wf_op wf_op_relu_backward = {
    .name = "relu_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {2},
    .infer = wf_infer_same,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower,
    .no_sample_reason = "relu's samples run it",
};

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_relu_backward, NULL, NULL, 2,
                              (weft_tensor *[]){g->out[0], g->dout[0]}, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_relu(in[0]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {2, 3, 3, 2}}}, apply, NULL},
        {"rank 1", 1, {{1, {17}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

const wf_op wf_op_relu = {
    .name = "relu",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_relu(weft_tensor *x)
{
    return wf_record(&wf_op_relu, NULL, NULL, 1, &x, NULL);
}
