/* See pointwise.h. */
#include "engine/graph/ops/pointwise.h"

#include "engine/graph/ops/spread.h"
#include "kernels/eltwise/activation.h"

typedef struct pointwise_args {
    wf_cut cut;
    int n_in, n_out;
    wf_buf in[WF_PW_OPERANDS], out[WF_PW_RESULTS];
    size_t size;
    wf_act clear; /* the image, where f(0) is not 0 and padding must be cleared; else C = 0 */
    wf_pointwise_fn fn;
} pointwise_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const pointwise_args *g = vargs;
    const wf_pointwise_rows r = wf_pointwise_run(wf_cut_count(&g->cut, tile));
    const void *in[WF_PW_OPERANDS] = {NULL};
    void *out[WF_PW_RESULTS] = {NULL};
    for (int i = 0; i < g->n_in; i++)
        in[i] = wf_cut_ptr(&g->cut, t, g->in[i], g->size, tile);
    for (int o = 0; o < g->n_out; o++)
        out[o] = wf_cut_ptr(&g->cut, t, g->out[o], g->size, tile);
    g->fn(&r, in, out);
    for (int o = 0; o < g->n_out && g->clear.C; o++)
        wf_clear_padding(g->clear, g->size, out[o]);
    return WEFT_OK;
}

weft_status wf_pointwise_lower(wf_lower *l, wf_pointwise f)
{
    const wf_operand y = wf_lower_out(l, 0);
    const wf_pointwise_table *kernels = wf_pointwise_get(y.dtype, l->isa);
    if (wf_lower_is_spread(l))
        return wf_spread_lower(l, kernels->name, kernels->fn[f]);
    pointwise_args g = {
        .cut = wf_cut_images(&y),
        .n_in = l->n_in,
        .n_out = l->n_out,
        .size = weft_dtype_size(y.dtype),
        .fn = kernels->fn[f],
    };
    for (int i = 0; i < l->n_in; i++)
        g.in[i] = wf_lower_in(l, i).buf;
    for (int o = 0; o < l->n_out; o++)
        g.out[o] = wf_lower_out(l, o).buf;
    if (!wf_pointwise_keeps_zero(f) && y.shape.rank == 4)
        g.clear = y.act;
    return wf_lowered(l, wf_lower_cut(l, kernels->name, run, &g, sizeof(g), &g.cut, 1.0));
}

weft_status wf_grad_both(wf_grad *g, const wf_op *op, int first, int n_in, weft_tensor *const *in)
{
    weft_tensor *out[WF_MAX_OUT];
    if (!wf_record(op, NULL, NULL, n_in, in, out))
        return wf_step_status(g->ctx);
    g->din[first] = out[0];
    g->din[first + 1] = out[1];
    return WEFT_OK;
}
