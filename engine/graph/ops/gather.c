/* A task that gathers channels: see gather.h. */
#include "engine/graph/ops/gather.h"

#include "engine/base/alloc.h"

typedef struct gather_state {
    wf_act act; /* of the output */
    wf_buf y;
    const wf_channel_from *from; /* the plan's */
    const wf_layout *kernels;
    int n;
    wf_buf x[];
} gather_state;

typedef struct gather_args {
    const gather_state *state; /* the plan's */
} gather_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const gather_state *s = ((const gather_args *)vargs)->state;
    const void **x = t->scratch;
    for (int i = 0; i < s->n; i++)
        x[i] = wf_image(t, s->x[i], tile);
    s->kernels->gather(s->act, s->from, x, wf_image(t, s->y, tile));
    return WEFT_OK;
}

size_t wf_image_runs(const wf_operand *o, int dim)
{
    size_t runs = (size_t)wf_dims_count(&o->shape, 1, dim);
    if (o->act.block == 1 || dim == 1)
        return runs;
    const int blocks = wf_round_up(o->act.C, o->act.block) / o->act.block;
    return runs / (size_t)o->act.C * (size_t)blocks;
}

wf_channel_from *wf_gather_channels(wf_lower *l, int out)
{
    const wf_operand y = wf_lower_out(l, out);
    wf_channel_from *from = wf_alloc_array((size_t)wf_channel_act(&y).C, sizeof(*from));
    if (!from)
        wf_lower_fail(l, WEFT_ERR_NOMEM, "out of memory");
    return from;
}

weft_status wf_lower_gather(wf_lower *l, int out, wf_channel_from *from)
{
    if (!from)
        return WEFT_ERR_NOMEM;
    WF_TRY(wf_lower_own(l, from, wf_free));
    wf_operand y = wf_lower_out(l, out);
    gather_state *s = wf_zalloc(sizeof(*s) + (size_t)l->n_in * sizeof(s->x[0]));
    if (!s)
        return wf_lower_fail(l, WEFT_ERR_NOMEM, "out of memory");
    s->act = wf_channel_act(&y);
    s->y = y.buf;
    s->from = from;
    s->kernels = wf_layout_get(weft_dtype_size(y.dtype), l->isa);
    s->n = l->n_in;
    for (int i = 0; i < l->n_in; i++)
        s->x[i] = wf_lower_in(l, i).buf;
    WF_TRY(wf_lower_own(l, s, wf_free));
    gather_args g = {s};
    wf_task *task = wf_lower_task(l, s->kernels->gather_name, run, &g, sizeof(g), y.N);
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, s->x[i], WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    wf_scratch(task, (size_t)l->n_in * sizeof(void *));
    wf_cost(task, 0.0, 2.0 * (double)y.N * (double)y.image_bytes);
    return wf_lowered(l, task);
}
