/* stochastic_depth: dropout of whole rows (images): y = x / (1 - p) where a row is kept, else 0. Row
 * n takes the random word of element n of a vector: Note [Dropout bits]. The gradient is the same op
 * with the same scalars. */
#include "engine/graph/ops/dropout.h"

typedef struct depth_args {
    wf_buf x, y;
    size_t count; /* elements of an image */
    int scalar;
    wf_dropout_fn drop;
    const wf_eltwise *kernels;
} depth_args;

static void run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const depth_args *g = vargs;
    const wf_dropout key = wf_drop_key(t->scalars + g->scalar);
    const double one = 1;
    double factor; /* 1 / (1 - p), or 0 */
    g->drop(&key, (wf_act){1, 1, 1, 1}, tile, &one, &factor);
    if (factor != 0)
        g->kernels->scale(g->count, wf_image(t, g->x, tile), factor, wf_image(t, g->y, tile));
    else
        g->kernels->fill(g->count, 0, wf_image(t, g->y, tile));
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    depth_args g = {
        .x = x.buf,
        .y = y.buf,
        .count = wf_act_count(y.act),
        .scalar = l->scalar,
        .drop = wf_dropout_get(WEFT_F64, l->isa),
        .kernels = wf_eltwise_get(y.dtype, l->isa),
    };
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), y.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    double count = (double)wf_operand_count(&y);
    wf_cost(task, count, 2.0 * count * (double)weft_dtype_size(y.dtype));
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_stochastic_depth, NULL, g->scalars, 1, g->dout, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return wf_record_drop_fixed(&wf_op_stochastic_depth, in[0]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {5, 3, 2, 2}}}, apply, NULL},
        {"rank 2", 1, {{2, {7, 3}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

const wf_op wf_op_stochastic_depth = {
    .name = "stochastic_depth",
    .n_out = 1,
    .n_scalars = WF_DROP_SCALARS,
    .flags = WF_OP_KEEPS_ZERO,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_stochastic_depth(weft_tensor *x, double p, bool training)
{
    return wf_record_drop(&wf_op_stochastic_depth, x, p, training);
}
