/* Which tensors require a gradient, and the modes of recording: without gradients, with anomaly
 * checks, in a segment that the backward pass runs again. */
#include "engine/graph/graph.h"

weft_status weft_set_requires_grad(weft_tensor *t, bool requires_grad)
{
    weft_context *ctx = wf_tensor_check(t, "set_requires_grad", false);
    if (!ctx)
        return WEFT_ERR_INVALID;
    if (t->magic != WF_MAGIC_STORED)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "set_requires_grad: only stored tensors are leaves of the gradient graph");
    if (requires_grad && t->type.dtype != WEFT_F32 && t->type.dtype != WEFT_F64)
        return wf_fail(ctx, WEFT_ERR_DTYPE, "set_requires_grad: %s tensors have no gradient",
                       weft_dtype_name(t->type.dtype));
    if (t->requires_grad != requires_grad)
        t->leaf = -1; /* uses that are already recorded keep the old setting */
    t->requires_grad = requires_grad;
    return WEFT_OK;
}

bool weft_requires_grad(const weft_tensor *t)
{
    weft_context *ctx = wf_tensor_check(t, "requires_grad", false);
    if (!ctx)
        return false;
    return t->magic == WF_MAGIC_STORED ? t->requires_grad
                                       : ctx->graph->values[t->value].requires_grad;
}

bool weft_no_grad_begin(weft_context *ctx)
{
    bool was = ctx && ctx->graph->grad_off;
    if (ctx)
        ctx->graph->grad_off = true;
    return was;
}

void weft_no_grad_end(weft_context *ctx, bool was)
{
    if (ctx)
        ctx->graph->grad_off = was;
}

bool weft_grad_enabled(const weft_context *ctx)
{
    return ctx && !ctx->graph->grad_off;
}

bool weft_recompute_begin(weft_context *ctx)
{
    if (!ctx)
        return false;
    wf_graph *g = ctx->graph;
    const bool was = g->segment > 0;
    if (!was)
        g->segment = ++g->segments;
    return was;
}

void weft_recompute_end(weft_context *ctx, bool was)
{
    if (ctx && !was)
        ctx->graph->segment = 0;
}

bool weft_anomaly_begin(weft_context *ctx)
{
    bool was = ctx && ctx->graph->anomaly;
    if (ctx)
        ctx->graph->anomaly = true;
    return was;
}

void weft_anomaly_end(weft_context *ctx, bool was)
{
    if (ctx)
        ctx->graph->anomaly = was;
}
