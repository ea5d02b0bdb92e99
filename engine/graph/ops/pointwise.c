/* See pointwise.h. */
#include "engine/graph/ops/pointwise.h"

#include "engine/graph/ops/spread.h"
#include "kernels/eltwise/activation.h"

typedef struct pointwise_args {
    wf_cut cut;
    wf_buf in[3], y; /* in[2]: in[1] again where f has two operands */
    size_t size;
    wf_act clear; /* the image, where f(0) is not 0 and padding must be cleared; else C = 0 */
    wf_pointwise_fn fn;
} pointwise_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const pointwise_args *g = vargs;
    void *y = wf_cut_ptr(&g->cut, t, g->y, g->size, tile);
    const void *in[3];
    for (int i = 0; i < 3; i++)
        in[i] = wf_cut_ptr(&g->cut, t, g->in[i], g->size, tile);
    g->fn(wf_cut_count(&g->cut, tile), in[0], in[1], in[2], y);
    if (g->clear.C)
        wf_clear_padding(g->clear, g->size, y);
    return WEFT_OK;
}

weft_status wf_pointwise_lower(wf_lower *l, wf_pointwise f)
{
    const wf_operand y = wf_lower_out(l, 0);
    const wf_pointwise_table *kernels = wf_pointwise_get(y.dtype, l->isa);
    if (wf_lower_is_spread(l))
        return wf_spread_lower(l, kernels->name, NULL, kernels->fn[f]);
    pointwise_args g = {
        .cut = wf_cut_images(&y),
        .y = y.buf,
        .size = weft_dtype_size(y.dtype),
        .fn = kernels->fn[f],
    };
    for (int i = 0; i < 3; i++)
        g.in[i] = wf_lower_in(l, i < l->n_in ? i : l->n_in - 1).buf;
    if (!wf_pointwise_keeps_zero(f) && y.shape.rank == 4)
        g.clear = y.act;
    return wf_lowered(l, wf_lower_cut(l, kernels->name, run, &g, sizeof(g), &g.cut, 1.0));
}
