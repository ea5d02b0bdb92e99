/* Gradient clipping, by the norm of all gradients together and by value. Both record ops whose
 * results replace the gradients recorded so far. Threading rule: the context's. */
#include <math.h>

#include "engine/graph/autograd/autograd.h"
#include "engine/tensor/context.h"
#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "weft/optim.h"

/* The gradients of a list's tensors. */
typedef struct gradients {
    weft_context *ctx;
    int n;
    weft_tensor **of; /* tensors that have a gradient */
    weft_tensor **grad;
} gradients;

static weft_status gather(const weft_tensor_list *params, const char *what, double limit,
                          gradients *g)
{
    weft_context *ctx =
        params != NULL && params->n > 0 ? weft_tensor_context(params->item[0].tensor) : NULL;
    *g = (gradients){.ctx = NULL};
    if (ctx == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "%s: %s", what,
                             params == NULL  ? "the list is NULL"
                             : params->n > 0 ? "the first tensor is no tensor"
                                             : "the list is empty");
    WF_TRY(wf_may_end_step(ctx, what)); /* a failed clipping ends the step */
    g->ctx = ctx;
    if (!(limit >= 0))
        return wf_fail(g->ctx, WEFT_ERR_INVALID, "%s: the limit must be at least 0, is %g", what,
                       limit);
    g->of = wf_alloc_array((size_t)params->n, 2 * sizeof(*g->of));
    if (g->of == NULL)
        return wf_fail(g->ctx, WEFT_ERR_NOMEM, "%s: out of memory", what);
    g->grad = g->of + params->n;
    for (int i = 0; i < params->n; i++) {
        weft_tensor *t = params->item[i].tensor, *grad = weft_grad(t);
        if (grad == NULL)
            continue;
        g->of[g->n] = t;
        g->grad[g->n++] = grad;
    }
    return WEFT_OK;
}

/* Records the total norm and *factor, by which the gradients are scaled. Returns the norm. */
static weft_tensor *record_norm(const gradients *g, double max_norm, weft_tensor **factor)
{
    weft_tensor **sums = wf_alloc_array((size_t)g->n, sizeof(*sums)), *out[2] = {NULL};
    if (sums == NULL) {
        wf_fail(g->ctx, WEFT_ERR_NOMEM, "clip_grad_norm: out of memory");
        return NULL;
    }
    for (int i = 0; i < g->n; i++)
        sums[i] = wf_record(&wf_op_sum_squares, NULL, NULL, 1, &g->grad[i], NULL);
    wf_record(&wf_op_clip_coefficient, NULL, &max_norm, g->n, sums, out);
    wf_free(sums);
    *factor = out[1];
    return out[0];
}

/* Records the clipping by norm. Returns the norm; NULL on failure. */
static weft_tensor *clip_norm(const gradients *g, double max_norm, bool error_if_nonfinite)
{
    weft_tensor *factor = NULL;
    weft_tensor *norm = g->n > 0 ? record_norm(g, max_norm, &factor)
                                 : wf_record_fill(g->ctx, WEFT_F64, WEFT_SCALAR, 0);
    if (error_if_nonfinite) {
        wf_path_push(g->ctx, "clip_grad_norm"); /* for the message */
        norm = weft_check_finite(norm);
        wf_path_pop(g->ctx);
    }
    for (int i = 0; i < g->n && norm != NULL; i++) {
        weft_tensor *in[] = {g->grad[i], factor};
        if (wf_grad_replace(g->of[i], wf_record(&wf_op_scale_by, NULL, NULL, 2, in, NULL)))
            return NULL;
    }
    return norm != NULL && wf_graph_keep(g->ctx, norm) == WEFT_OK ? norm : NULL;
}

/* If only some gradients were clipped, the step must not run: it ends and has failed. */
static weft_status end(gradients *g, weft_status status)
{
    wf_free(g->of);
    if (g->ctx == NULL || status == WEFT_OK)
        return status;
    weft_discard(g->ctx);
    return wf_step_fail(g->ctx, status);
}

weft_tensor *weft_clip_grad_norm(const weft_tensor_list *params, double max_norm,
                                 bool error_if_nonfinite)
{
    gradients g;
    weft_tensor *norm = NULL;
    weft_status status = gather(params, "clip_grad_norm", max_norm, &g);
    if (status == WEFT_OK) {
        bool was = weft_no_grad_begin(g.ctx);
        norm = clip_norm(&g, max_norm, error_if_nonfinite);
        weft_no_grad_end(g.ctx, was);
        status = wf_step_status(g.ctx);
    }
    return end(&g, status) == WEFT_OK ? norm : NULL;
}

static weft_status clip_values(const gradients *g, double limit)
{
    for (int i = 0; i < g->n; i++)
        WF_TRY(wf_grad_replace(g->of[i],
                               wf_record(&wf_op_clip_value, NULL, &limit, 1, &g->grad[i], NULL)));
    return WEFT_OK;
}

weft_status weft_clip_grad_value(const weft_tensor_list *params, double limit)
{
    gradients g;
    weft_status status = gather(params, "clip_grad_value", limit, &g);
    if (status == WEFT_OK) {
        bool was = weft_no_grad_begin(g.ctx);
        status = clip_values(&g, limit);
        weft_no_grad_end(g.ctx, was);
    }
    return end(&g, status);
}
