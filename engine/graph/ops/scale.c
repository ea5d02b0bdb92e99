/* scale: y = factor x. The factor is a plan input, so a schedule of it never recompiles. */
#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

typedef struct scale_args {
    wf_cut cut;
    wf_buf x, y;
    size_t size;
    int scalar;
    const wf_eltwise *kernels;
} scale_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const scale_args *g = vargs;
    g->kernels->scale(wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->x, g->size, tile),
                      t->scalars[g->scalar], wf_cut_ptr(&g->cut, t, g->y, g->size, tile));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand y = wf_lower_out(l, 0);
    scale_args g = {
        .cut = wf_cut_images(&y),
        .x = wf_lower_in(l, 0).buf,
        .y = y.buf,
        .size = weft_dtype_size(y.dtype),
        .scalar = l->scalar,
        .kernels = wf_eltwise_get(y.dtype, l->isa),
    };
    return wf_lowered(l, wf_lower_cut(l, g.kernels->name, run, &g, sizeof(g), &g.cut, 1.0));
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_scale, NULL, g->scalars, 1, g->dout, NULL);
    return WEFT_OK;
}

weft_tensor *weft_scale(weft_tensor *x, double factor)
{
    return wf_record(&wf_op_scale, NULL, &factor, 1, &x, NULL);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_scale(in[0], *(const double *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const double factor = -1.75;
    static const wf_sample_case cases[] = {
        {"by -1.75", 1, {{4, {2, 3, 2, 2}}}, apply, &factor},
    };
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_scale = {
    .name = "scale",
    .n_out = 1,
    .n_scalars = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};
