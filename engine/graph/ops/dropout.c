/* dropout: y = x / (1 - p) where kept, else 0. The gradient is the same op with the same scalars:
 * no mask is stored. See Note [Dropout bits] in kernels/eltwise/eltwise.h. */
#include "engine/graph/ops/dropout.h"

#include "engine/context/context.h"

typedef struct dropout_args {
    wf_act act;
    int64_t logical; /* elements of an image */
    wf_buf x, y;
    int scalar;
    wf_dropout_fn fn;
} dropout_args;

static void run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const dropout_args *g = vargs;
    const wf_dropout d = wf_drop_key(t->scalars + g->scalar);
    g->fn(&d, g->act, tile * g->logical, wf_image(t, g->x, tile), wf_image(t, g->y, tile));
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    dropout_args g = {
        .act = y.act,
        .logical = (int64_t)y.act.C * y.act.H * y.act.W,
        .x = x.buf,
        .y = y.buf,
        .scalar = l->scalar,
        .fn = wf_dropout_get(y.dtype, l->isa),
    };
    wf_task *task = wf_lower_task(l, "dropout:philox4x32", run, &g, sizeof(g), y.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    double count = (double)wf_operand_count(&y);
    wf_cost(task, 20.0 * count, 2.0 * count * (double)weft_dtype_size(y.dtype));
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_dropout, NULL, g->scalars, 1, g->dout, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return wf_record_drop_fixed(&wf_op_dropout, in[0]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {2, 3, 3, 3}}}, apply, NULL},
        {"rank 2", 1, {{2, {3, 7}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

const wf_op wf_op_dropout = {
    .name = "dropout",
    .n_out = 1,
    .n_scalars = WF_DROP_SCALARS,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *wf_record_drop_fixed(const wf_op *op, weft_tensor *x)
{
    const double scalars[WF_DROP_SCALARS] = {
        [WF_DROP_SEED_LOW] = 5, [WF_DROP_STEP] = 1, [WF_DROP_OP] = 2, [WF_DROP_P] = 0.4};
    return wf_record(op, NULL, scalars, 1, &x, NULL);
}

weft_tensor *wf_record_drop(const wf_op *op, weft_tensor *x, double p, bool training)
{
    if (!x)
        return NULL;
    weft_context *ctx = weft_tensor_context(x);
    if (!(p >= 0.0 && p < 1.0)) {
        if (ctx)
            wf_fail(ctx, WEFT_ERR_INVALID, "%s: probability %g is outside [0, 1)", op->name, p);
        return NULL;
    }
    if (!training || p == 0.0)
        return x;
    if (!ctx) /* a stale handle: recording says so */
        return wf_record(op, NULL, (double[WF_DROP_SCALARS]){0}, 1, &x, NULL);
    uint64_t seed = wf_context_seed(ctx);
    const double scalars[WF_DROP_SCALARS] = {
        [WF_DROP_SEED_LOW] = (double)(uint32_t)seed,
        [WF_DROP_SEED_HIGH] = (double)(seed >> 32),
        [WF_DROP_STEP] = (double)(uint32_t)wf_context_step(ctx),
        [WF_DROP_OP] = (double)ctx->graph.n_nodes, /* the node's number in this step's graph */
        [WF_DROP_P] = p,
    };
    return wf_record(op, NULL, scalars, 1, &x, NULL);
}

weft_tensor *weft_dropout(weft_tensor *x, double p, bool training)
{
    return wf_record_drop(&wf_op_dropout, x, p, training);
}
