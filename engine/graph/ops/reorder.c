/* reorder (internal): a rank-4 value in another layout, image by image. */
#include "engine/graph/ops/reorder.h"

#include "engine/graph/ops/common.h"
#include "kernels/layout/layout.h"

static weft_status infer(wf_infer *f)
{
    if (f->in[0].shape.rank != 4)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input has rank %d, expected 4",
                             f->in[0].shape.rank);
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static int layout(const wf_lower *l, int i, const int *in_block, int block)
{
    const wf_reorder_attrs *a = l->attrs;
    return i == 0 ? in_block[0] : (int)a->block;
}

typedef struct reorder_args {
    wf_act act;
    int to_block;
    wf_buf x, y;
    const wf_layout *kernels;
} reorder_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const reorder_args *g = vargs;
    g->kernels->reorder(g->act, g->to_block, wf_image(t, g->x, tile), wf_image(t, g->y, tile));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    reorder_args g = {
        .act = x.act,
        .to_block = y.act.block,
        .x = x.buf,
        .y = y.buf,
        .kernels = wf_layout_get(weft_dtype_size(x.dtype), l->isa),
    };
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), x.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    double count = (double)(wf_operand_count(&x) + wf_operand_count(&y));
    wf_cost(task, 0.0, count * (double)weft_dtype_size(x.dtype));
    return wf_lowered(l, task);
}

/* The layout is not part of the value, so the gradient is the identity. The plan inserts reorders
 * after gradients are recorded, but tests record them. */
static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = g->dout[0];
    return WEFT_OK;
}

const wf_op wf_op_reorder = {
    .name = "reorder",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_reorder_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE,
    .layout_rule = WF_LAYOUT_OWN,
    .layout = layout,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .no_sample_reason =
        "only the plan makes it; in f64 there is one layout only; the value tests run it",
};
