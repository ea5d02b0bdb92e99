/* Recording: appends a node and its outputs, once shape inference has accepted its inputs. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/graph/graph.h"
#include "engine/graph/lint.h"

/* A pending update of a stored tensor runs in the commit phase, so one plan cannot hold both the
 * update and a reader of the new content. So this runs the update first. */
static weft_status settle_updates(weft_context *ctx, const wf_op *op, weft_tensor *const *in,
                                  int n_in)
{
    if (op->flags & WF_OP_COMMIT)
        return WEFT_OK;
    for (int i = 0; i < n_in; i++) {
        weft_tensor *t = in[i];
        if (t->magic != WF_MAGIC_STORED || t->gen != ctx->gen || t->pending < 0)
            continue;
        int node = ctx->graph->values[t->pending].node;
        if (node >= 0 && (ctx->graph->nodes[node].op->flags & WF_OP_COMMIT))
            WF_TRY(ctx->graph->runner->assigned(ctx, t));
    }
    return WEFT_OK;
}

static bool reserve(wf_graph *g, const wf_op *op, int n_in, int n_out)
{
    size_t want = g->n_bytes + op->attr_size + 16;
    if (want > g->cap_bytes) {
        size_t cap = g->cap_bytes ? g->cap_bytes * 2 : 16384;
        while (cap < want)
            cap *= 2;
        char *grown = wf_realloc_array(g->bytes, cap, 1);
        if (!grown)
            return false;
        g->bytes = grown;
        g->cap_bytes = cap;
    }
    return wf_grow(&g->nodes, &g->cap_nodes, g->n_nodes, 1, sizeof *g->nodes) &&
           wf_grow(&g->values, &g->cap_values, g->n_values, n_out, sizeof *g->values) &&
           wf_grow(&g->operands, &g->cap_operands, g->n_operands, n_in, sizeof *g->operands) &&
           wf_grow(&g->scalars, &g->cap_scalars, g->n_scalars, op->n_scalars, sizeof(double));
}

static bool is_float(weft_dtype dtype)
{
    return dtype == WEFT_F32 || dtype == WEFT_F64 || dtype == WEFT_BF16;
}

/* Whether outputs of the node need gradients. */
static bool wants_grad(const wf_graph *g, const wf_op *op, int n_in, const int *in)
{
    bool grad = false;
    for (int i = 0; i < n_in; i++)
        grad |= g->values[in[i]].requires_grad;
    return grad && op->grad && !g->grad_off && !g->in_backward;
}

/* Writes the node that is recorded next: what may differ even where the step is the same again. */
static void describe(weft_context *ctx, const wf_op *op)
{
    wf_graph *g = ctx->graph;
    wf_node *node = &g->nodes[g->n_nodes];
    node->path = wf_path_intern(ctx);
    node->executed = node->consumed = false;
    node->recorded_grad = g->in_backward;
    node->no_grad = g->grad_off;
    node->check = g->anomaly;
    node->title = ctx->where.said ? ctx->where.said : op->name;
    node->grad_of = g->rule;
}

/* Counts the next node, which is written already, as recorded, and gives its outputs handles. */
static void finish(weft_context *ctx, const double *scalars, bool grad, weft_tensor *const *handles,
                   weft_tensor **out)
{
    wf_graph *g = ctx->graph;
    const wf_node *node = &g->nodes[g->n_nodes];
    const wf_op *op = node->op;
    g->n_bytes += (op->attr_size + 15) / 16 * 16;
    if (op->n_scalars)
        memcpy(g->scalars + g->n_scalars, scalars, (size_t)op->n_scalars * sizeof(double));
    g->n_scalars += op->n_scalars;
    g->n_operands += node->n_in;
    for (int o = 0; o < node->n_out; o++) {
        wf_value *v = &g->values[g->n_values];
        wf_ring_fill(handles[o], ctx, &v->type, g->n_values);
        v->requires_grad = grad && is_float(v->type.dtype);
        v->watched = false;
        v->handle = out[o] = handles[o];
        v->block = 1;
        v->storage = WEFT_F32;
        g->n_values++;
    }
    g->n_nodes++;
}

static weft_status make_handles(weft_context *ctx, const wf_op *op, int n, weft_tensor **handles)
{
    for (int o = 0; o < n; o++) {
        handles[o] = wf_ring_new(&ctx->ring);
        if (!handles[o])
            return wf_fail(ctx, WEFT_ERR_STATE, "%s: too many ops in one step", op->name);
    }
    return WEFT_OK;
}

/* Records the node that the last step had here. */
static weft_status append_known(weft_context *ctx, const wf_op *op, const double *scalars, int n_in,
                                const int *in, weft_tensor **out)
{
    wf_graph *g = ctx->graph;
    weft_tensor *handles[WF_MAX_OUT];
    WF_TRY(make_handles(ctx, op, g->nodes[g->n_nodes].n_out, handles));
    describe(ctx, op);
    finish(ctx, scalars, wants_grad(g, op, n_in, in), handles, out);
    return WEFT_OK;
}

static weft_status append(weft_context *ctx, const wf_op *op, const void *attrs,
                          const double *scalars, int n_in, const int *in, const wf_type *types,
                          int n_out, weft_tensor **out)
{
    wf_graph *g = ctx->graph;
    if (!reserve(g, op, n_in, n_out))
        return wf_nomem(&ctx->error, sizeof(wf_node), "the graph");
    weft_tensor *handles[WF_MAX_OUT];
    WF_TRY(make_handles(ctx, op, n_out, handles));
    wf_graph_differs(g);
    g->nodes[g->n_nodes] = (wf_node){.op = op,
                                     .n_in = n_in,
                                     .n_out = n_out,
                                     .in = g->n_operands,
                                     .out = g->n_values,
                                     .attrs = g->n_bytes,
                                     .scalars = g->n_scalars,
                                     .segment = g->in_backward ? 0 : g->segment};
    describe(ctx, op);
    if (op->attr_size)
        memcpy(g->bytes + g->n_bytes, attrs, op->attr_size);
    if (n_in)
        memcpy(g->operands + g->n_operands, in, (size_t)n_in * sizeof *in);
    for (int o = 0; o < n_out; o++)
        g->values[g->n_values + o] = (wf_value){.type = types[o], .node = g->n_nodes, .out = o};
    finish(ctx, scalars, wants_grad(g, op, n_in, in), handles, out);
    return WEFT_OK;
}

weft_status wf_infer_fail(const wf_infer *f, weft_status status, const char *format, ...)
{
    char text[WEFT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    wf_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return wf_fail(f->ctx, status, "%s: %s", f->op->name, text);
}

/* Note [Empty tensors] in op.h. */
static weft_status check_empty(const wf_infer *f)
{
    char text[128];
    if (f->op->of_nothing != WF_EMPTY_REFUSED)
        return WEFT_OK;
    for (int i = 0; i < f->n_in; i++)
        if (weft_shape_count(f->in[i].shape) == 0)
            return wf_infer_fail(f, WEFT_ERR_SHAPE, "input %d is %s, which is empty", i,
                                 weft_shape_format(f->in[i].shape, text, sizeof text));
    return WEFT_OK;
}

static weft_status record(weft_context *ctx, const wf_op *op, const void *attrs,
                          const double *scalars, int n_in, weft_tensor *const *in,
                          weft_tensor **out)
{
    wf_type few_types[WF_MAX_IN], types[WF_MAX_OUT];
    int few_values[WF_MAX_IN];
    void *attr_copy = wf_attrs_room(); /* infer may fill in defaults */
    if (op->attr_size > WF_ATTRS_ROOM || op->n_out > WF_MAX_OUT)
        return wf_fail(ctx, WEFT_ERR_INTERNAL, "%s: descriptor out of bounds", op->name);
    wf_type *in_types = few_types;
    int *values = few_values;
    weft_status status = WEFT_OK;
    if (n_in > WF_MAX_IN) {
        in_types = wf_alloc_array((size_t)n_in, sizeof *in_types);
        values = wf_alloc_array((size_t)n_in, sizeof *values);
        if (!in_types || !values) {
            status = wf_nomem(&ctx->error, (size_t)n_in * sizeof *in_types, op->name);
            goto done;
        }
    }
    status = settle_updates(ctx, op, in, n_in);
    for (int i = 0; i < n_in && status == WEFT_OK; i++) {
        values[i] = wf_graph_value(ctx, in[i]);
        if (values[i] < 0)
            status = WEFT_ERR_NOMEM;
    }
    /* Not in gradient rules: they choose the order of operands themselves. */
    if (status == WEFT_OK && n_in > 1 && !ctx->where.said && !ctx->graph->in_backward &&
        wf_lint_on(ctx))
        status = wf_lint_order(ctx, op->name, n_in, in);
    if (status == WEFT_OK && !(op->flags & WF_OP_CUSTOM) &&
        wf_graph_is_known(ctx->graph, op, attrs, n_in, values)) {
        status = append_known(ctx, op, scalars, n_in, values, out);
        goto done;
    }
    for (int i = 0; i < n_in; i++)
        in_types[i] = (wf_type){wf_read_as(in[i]->type.dtype), in[i]->type.shape};
    if (op->attr_size)
        memcpy(attr_copy, attrs, op->attr_size);
    wf_infer f = {.ctx = ctx,
                  .op = op,
                  .attrs = attr_copy,
                  .n_in = n_in,
                  .in = in_types,
                  .n_out = op->n_out,
                  .out = types};
    if (status == WEFT_OK)
        status = check_empty(&f);
    if (status == WEFT_OK)
        status = op->infer(&f);
    if (status == WEFT_OK)
        status = wf_check_sizes(&f);
    if (status == WEFT_OK && wf_graph_is_known(ctx->graph, op, attr_copy, n_in, values) &&
        wf_graph_has_types(ctx->graph, &ctx->graph->nodes[ctx->graph->n_nodes], f.n_out, types))
        status = append_known(ctx, op, scalars, n_in, values, out);
    else if (status == WEFT_OK)
        status = append(ctx, op, attr_copy, scalars, n_in, values, types, f.n_out, out);
done:
    if (in_types != few_types) {
        wf_free(in_types);
        wf_free(values);
    }
    return status;
}

/* Every recording comes through here. In a failed step nothing is recorded; a recording that fails
 * makes the step fail. */
static weft_tensor *record_in_step(weft_context *ctx, const wf_op *op, const void *attrs,
                                   const double *scalars, int n_in, weft_tensor *const *in,
                                   weft_tensor **out)
{
    weft_tensor *results[WF_MAX_OUT];
    if (wf_step_status(ctx) != WEFT_OK)
        return NULL;
    weft_status status = record(ctx, op, attrs, scalars, n_in, in, out ? out : results);
    if (status == WEFT_OK)
        return out ? out[0] : results[0];
    wf_step_fail(ctx, status);
    return NULL;
}

/* Fails the step where one of the first `needed` operands is NULL. */
static void refuse_null(weft_context *ctx, const char *name, int needed, const char *names,
                        weft_tensor *const *in)
{
    for (int i = 0; i < needed && wf_step_status(ctx) == WEFT_OK; i++) {
        const int length = (int)strcspn(names, ",");
        if (!in[i])
            wf_fail_step(ctx, WEFT_ERR_INVALID, "%s: %.*s is NULL", name, length, names);
        names += length;
        names += strspn(names, ", ");
    }
}

wf_said wf_said_begin(const char *name, int needed, const char *names, int n,
                      weft_tensor *const *in)
{
    weft_context *ctx = NULL;
    for (int i = 0; i < n && !ctx; i++)
        ctx = wf_tensor_owner(in[i]);
    if (!ctx)
        wf_record_context(name, 0, n, in); /* which says so */
    if (!ctx || ctx->where.said || ctx->graph->rule)
        return (wf_said){NULL};
    refuse_null(ctx, name, needed, names, in);
    /* Checks the order of the user's operands here, because the operands that the function makes
     * from them have no known order. */
    if (n > 1 && !ctx->graph->in_backward && wf_lint_on(ctx)) {
        weft_status status = wf_lint_order(ctx, name, n, in);
        if (status != WEFT_OK)
            wf_step_fail(ctx, status);
    }
    ctx->where.said = name;
    return (wf_said){ctx};
}

void wf_said_end(wf_said *said)
{
    if (said->ctx)
        said->ctx->where.said = NULL;
}

/* Whether the tensor is one of the context's that may be read: what wf_tensor_check finds out for nearly
 * all tensors, but without its calls. */
static bool is_fine(const weft_context *ctx, const weft_tensor *t)
{
    return (t->magic == WF_MAGIC_STORED || (t->magic == WF_MAGIC_RECORDED && t->gen == ctx->gen)) &&
           t->ctx == ctx && !ctx->closed;
}

weft_context *wf_record_context(const char *what, int needed, int n, weft_tensor *const *in)
{
    weft_context *ctx = NULL;
    for (int i = 0; i < n && in && !ctx; i++)
        ctx = wf_tensor_owner(in[i]);
    if (!ctx)
        wf_fail_stray(WEFT_ERR_INVALID, "%s: all its tensors are NULL, so no context is known",
                      what);
    if (!ctx || wf_step_status(ctx) != WEFT_OK)
        return NULL;
    weft_status status = WEFT_OK;
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        if (in[i] ? is_fine(ctx, in[i]) : i >= needed)
            continue;
        if (!in[i])
            status = wf_fail(ctx, WEFT_ERR_INVALID, "%s: input %d is NULL", what, i);
        else if (wf_tensor_owner(in[i]) != ctx)
            status = wf_fail(ctx, WEFT_ERR_INVALID, "%s: inputs of two contexts", what);
        else if (!wf_tensor_check(in[i], what, false))
            status = WEFT_ERR_STATE;
    }
    if (status == WEFT_OK)
        return ctx;
    wf_step_fail(ctx, status);
    return NULL;
}

weft_tensor *wf_record(const wf_op *op, const void *attrs, const double *scalars, int n_in,
                       weft_tensor *const *in, weft_tensor **out)
{
    weft_context *ctx = wf_record_context(op->name, n_in, n_in, in);
    return ctx ? record_in_step(ctx, op, attrs, scalars, n_in, in, out) : NULL;
}

weft_tensor *wf_record_source(weft_context *ctx, const wf_op *op, const void *attrs,
                              const double *scalars)
{
    return record_in_step(ctx, op, attrs, scalars, 0, NULL, NULL);
}
