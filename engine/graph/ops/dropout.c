/* dropout: y = x / (1 - p) for elements that are kept, 0 for the others. stochastic_depth: the same
 * for whole rows (images). alpha_dropout: dropped elements get the lowest value of SELU; then all
 * elements are scaled and shifted so that mean and variance stay.
 *
 * The gradients are dropout and stochastic_depth with the same scalars, so no mask is stored. See
 * Note [Dropout bits] in kernels/eltwise/eltwise.h. */
#include <math.h>

#include "engine/graph/graph.h"
#include "engine/tensor/context.h"
#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

/* Scalars; the seed is split because a double holds 53 bits. */
enum { SEED_LOW, SEED_HIGH, DRAW, OP, P, N_SCALARS };

static wf_dropout drop_key(const double *scalars)
{
    return (wf_dropout){
        .seed = (uint64_t)scalars[SEED_HIGH] << 32 | (uint64_t)scalars[SEED_LOW],
        .draw = (uint32_t)scalars[DRAW],
        .op = (uint32_t)scalars[OP],
        .p = scalars[P],
    };
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(g->op, NULL, g->scalars, 1, g->dout, NULL);
    return WEFT_OK;
}

/* ---- dropout: an element uses the random word of its logical index ---- */

typedef struct dropout_args {
    wf_act act;
    int64_t logical; /* elements of an image */
    wf_buf x, y;
    int scalar;
    wf_dropout_fn fn;
} dropout_args;

static weft_status run_dropout(const wf_tile *t, const void *vargs, int64_t tile)
{
    const dropout_args *g = vargs;
    const wf_dropout key = drop_key(t->scalars + g->scalar);
    g->fn(&key, g->act, tile * g->logical, wf_image(t, g->x, tile), wf_image(t, g->y, tile));
    return WEFT_OK;
}

static weft_status lower_each(wf_lower *l, wf_tile_fn run)
{
    wf_operand y = wf_lower_out(l, 0);
    dropout_args g = {
        .act = y.act,
        .logical = (int64_t)y.act.C * y.act.H * y.act.W,
        .x = wf_lower_in(l, 0).buf,
        .y = y.buf,
        .scalar = l->scalar,
        .fn = wf_dropout_get(y.dtype, l->isa),
    };
    const wf_cut cut = wf_cut_each_image(&y);
    return wf_lowered(l, wf_lower_cut(l, "dropout:philox4x32", run, &g, sizeof(g), &cut, 20.0));
}

static weft_status lower_dropout(wf_lower *l)
{
    return lower_each(l, run_dropout);
}

/* ---- stochastic_depth: row n uses the random word of index n ---- */

typedef struct depth_args {
    wf_buf x, y;
    size_t count; /* elements of an image */
    int scalar;
    wf_dropout_fn drop;
    const wf_eltwise *kernels;
} depth_args;

static weft_status run_depth(const wf_tile *t, const void *vargs, int64_t tile)
{
    const depth_args *g = vargs;
    const wf_dropout key = drop_key(t->scalars + g->scalar);
    const double one = 1;
    double factor; /* 1 / (1 - p), or 0 */
    g->drop(&key, (wf_act){1, 1, 1, 1}, tile, &one, &factor);
    if (factor != 0)
        g->kernels->scale(g->count, wf_image(t, g->x, tile), factor, wf_image(t, g->y, tile));
    else
        g->kernels->fill(g->count, 0, wf_image(t, g->y, tile));
    return WEFT_OK;
}

static weft_status lower_depth(wf_lower *l)
{
    wf_operand y = wf_lower_out(l, 0);
    depth_args g = {
        .x = wf_lower_in(l, 0).buf,
        .y = y.buf,
        .count = wf_act_count(y.act),
        .scalar = l->scalar,
        .drop = wf_dropout_get(WEFT_F64, l->isa),
        .kernels = wf_eltwise_get(y.dtype, l->isa),
    };
    const wf_cut cut = wf_cut_each_image(&y);
    return wf_lowered(l, wf_lower_cut(l, g.kernels->name, run_depth, &g, sizeof(g), &cut, 1.0));
}

/* ---- alpha_dropout: y = a (1 - p) dropout(x + alpha) - a (1 - p) alpha ---- */

#define ALPHA 1.7580993408473766 /* SELU's scale times its alpha: Klambauer et al. 2017 */

static double alpha_factor(double p)
{
    return (1 - p) / sqrt((ALPHA * ALPHA * p + 1) * (1 - p));
}

static weft_status run_alpha(const wf_tile *t, const void *vargs, int64_t tile)
{
    const dropout_args *g = vargs;
    wf_dropout key = drop_key(t->scalars + g->scalar);
    key.alpha = ALPHA;
    key.factor = alpha_factor(key.p);
    g->fn(&key, g->act, tile * g->logical, wf_image(t, g->x, tile), wf_image(t, g->y, tile));
    return WEFT_OK;
}

static weft_status lower_alpha(wf_lower *l)
{
    return lower_each(l, run_alpha);
}

static weft_status grad_alpha(wf_grad *g)
{
    if (!g->needs[0])
        return WEFT_OK;
    weft_tensor *kept = wf_record(&wf_op_dropout, NULL, g->scalars, 1, g->dout, NULL);
    g->din[0] = kept ? weft_scale(kept, alpha_factor(g->scalars[P])) : NULL;
    return wf_step_status(g->ctx);
}

/* ---- sample inputs: with a fixed key, so that every evaluation drops the same elements ---- */

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const double scalars[N_SCALARS] = {[SEED_LOW] = 5, [DRAW] = 1, [OP] = 2, [P] = 0.4};
    return wf_record(user, NULL, scalars, 1, in, NULL);
}

static bool sample_dropout(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {2, 3, 3, 3}}}, apply, &wf_op_dropout},
        {"rank 2", 1, {{2, {3, 7}}}, apply, &wf_op_dropout},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

static bool sample_alpha(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {2, 3, 3, 3}}}, apply, &wf_op_alpha_dropout},
        {"rank 2", 1, {{2, {3, 7}}}, apply, &wf_op_alpha_dropout},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

static bool sample_depth(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"rank 4", 1, {{4, {5, 3, 2, 2}}}, apply, &wf_op_stochastic_depth},
        {"rank 2", 1, {{2, {7, 3}}}, apply, &wf_op_stochastic_depth},
    };
    return wf_sample_from(ctx, cases, 2, index, s);
}

/* ---- descriptors ---- */

const wf_op wf_op_dropout = {
    .name = "dropout",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .n_scalars = N_SCALARS,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_DRAWS | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower_dropout,
    .sample = sample_dropout,
};

const wf_op wf_op_stochastic_depth = {
    .name = "stochastic_depth",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .n_scalars = N_SCALARS,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_DRAWS | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower_depth,
    .sample = sample_depth,
};

const wf_op wf_op_alpha_dropout = {
    .name = "alpha_dropout",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .n_scalars = N_SCALARS,
    .flags = WF_OP_BY_IMAGE | WF_OP_DRAWS | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad_alpha,
    .lower = lower_alpha,
    .sample = sample_alpha,
};

/* Records op on x, with the scalars of this place in this step; x itself when not training. */
static weft_tensor *record(const wf_op *op, weft_tensor *x, double p, bool training)
{
    if (!x)
        return NULL;
    weft_context *ctx = weft_tensor_context(x);
    if (!(p >= 0.0 && p <= 1.0)) {
        if (ctx)
            wf_fail_step(ctx, WEFT_ERR_INVALID, "%s: probability %g is outside [0, 1]", op->name,
                         p);
        return NULL;
    }
    if (!training || p == 0.0)
        return x;
    if (p == 1.0) /* as torch: zeros with a gradient of zeros; NaN stays NaN */
        return weft_scale(x, 0.0);
    if (!ctx) /* x is stale; recording reports it */
        return wf_record(op, NULL, (double[N_SCALARS]){0}, 1, &x, NULL);
    uint64_t seed = wf_context_seed(ctx);
    const double scalars[N_SCALARS] = {
        [SEED_LOW] = (double)(uint32_t)seed,
        [SEED_HIGH] = (double)(seed >> 32),
        [DRAW] = (double)(uint32_t)ctx->draws,
        [OP] = (double)ctx->graph->n_nodes, /* the node's number in this step's graph */
        [P] = p,
    };
    return wf_record(op, NULL, scalars, 1, &x, NULL);
}

weft_tensor *weft_dropout(weft_tensor *x, double p, bool training)
{
    WF_SAY("dropout", 1, x);
    return record(&wf_op_dropout, x, p, training);
}

weft_tensor *weft_stochastic_depth(weft_tensor *x, double p, bool training)
{
    WF_SAY("stochastic_depth", 1, x);
    return record(&wf_op_stochastic_depth, x, p, training);
}

weft_tensor *weft_alpha_dropout(weft_tensor *x, double p, bool training)
{
    WF_SAY("alpha_dropout", 1, x);
    return record(&wf_op_alpha_dropout, x, p, training);
}
