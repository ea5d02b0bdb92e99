/* Reverse-mode differentiation: weft_backward records the gradient nodes of a loss.
 *
 * It walks the nodes from the loss back, in reverse recording order. Where several gradients meet
 * at a value, they are added in the order in which the walk reaches the readers of the value. So
 * the graph fixes the order of the sum. Threading rule: the context's. */
#include <string.h>

#include "engine/graph/autograd/autograd.h"
#include "engine/graph/lint.h"
#include "engine/base/stack.h"
#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "weft/autograd.h"

typedef struct walk {
    weft_context *ctx;
    weft_tensor **grads; /* per value: its gradient so far */
    char *reached;       /* per node: the loss depends on it, and it passes gradients on */
    int n_values;
    bool retain;
} walk;

/* A handle of exactly this value: a leaf's tensor may have newer content by now. */
static weft_tensor *value_handle(weft_context *ctx, int value)
{
    wf_graph *g = ctx->graph;
    wf_value *v = &g->values[value];
    if (v->node >= 0)
        return v->handle;
    weft_tensor *t = wf_ring_new(&ctx->ring);
    if (t)
        wf_ring_fill(t, ctx, &v->type, value);
    return t;
}

static weft_status mark(walk *w, int loss_node)
{
    wf_graph *g = w->ctx->graph;
    w->reached[loss_node] = 1;
    for (int n = loss_node; n >= 0; n--) {
        if (!w->reached[n])
            continue;
        const wf_node *node = &g->nodes[n];
        if (node->consumed)
            return wf_fail(w->ctx, WEFT_ERR_STATE,
                           "backward: %s%s%s was already walked by a backward pass; use "
                           "weft_backward_with(retain) there to walk the graph again",
                           node->path, *node->path ? ": " : "", node->title);
        for (int i = 0; i < node->n_in; i++) {
            const wf_value *v = &g->values[wf_node_in(g, node)[i]];
            if (v->node >= 0 && v->requires_grad)
                w->reached[v->node] = 1;
        }
    }
    return WEFT_OK;
}

static weft_status gather(walk *w, int value, weft_tensor *grad)
{
    const wf_value *v = &w->ctx->graph->values[value];
    if (v->type.dtype != grad->type.dtype || !weft_shape_equal(v->type.shape, grad->type.shape)) {
        char a[128], b[128];
        return wf_fail(
            w->ctx, WEFT_ERR_INTERNAL, "backward: gradient of %s %s for a value of %s %s",
            weft_dtype_name(grad->type.dtype), weft_shape_format(grad->type.shape, a, sizeof a),
            weft_dtype_name(v->type.dtype), weft_shape_format(v->type.shape, b, sizeof b));
    }
    w->grads[value] = w->grads[value] ? weft_add(w->grads[value], grad) : grad;
    return w->grads[value] ? WEFT_OK : wf_step_status(w->ctx);
}

/* Applies one node's gradient rule and adds the results to the gradients of its inputs. */
static weft_status walk_node(walk *w, int n)
{
    weft_context *ctx = w->ctx;
    wf_graph *g = ctx->graph;
    wf_node node = g->nodes[n]; /* a copy: recording moves the array */
    weft_tensor *out[WF_MAX_OUT], *dout[WF_MAX_OUT];
    bool any = false;
    for (int o = 0; o < node.n_out; o++) {
        out[o] = g->values[node.out + o].handle;
        dout[o] = w->grads[node.out + o];
        if (dout[o] && out[o]->hooks)
            WF_TRY(wf_grad_hooks_run(ctx, out[o], &dout[o]));
        any |= dout[o] != NULL;
    }
    g->nodes[n].consumed = !w->retain;
    if (!any)
        return WEFT_OK;

    const size_t count = (size_t)node.n_in;
    weft_status status = WEFT_OK;
    weft_tensor *few[2 * WF_MAX_IN] = {NULL}, **in = few;
    bool few_needs[WF_MAX_IN], *needs = few_needs;
    int few_values[WF_MAX_IN], *values = few_values;
    if (count > WF_MAX_IN) {
        in = wf_zalloc_array(count, 2 * sizeof *in);
        needs = wf_alloc_array(count, sizeof *needs);
        values = wf_alloc_array(count, sizeof *values);
        if (!in || !needs || !values) {
            status = wf_nomem(&ctx->error, count * sizeof *in, "the backward pass");
            goto done;
        }
    }
    weft_tensor **din = in + count;
    memcpy(values, wf_node_in(g, &node), count * sizeof *values);
    for (int i = 0; i < node.n_in; i++) {
        needs[i] = g->values[values[i]].requires_grad;
        if (!(in[i] = value_handle(ctx, values[i]))) {
            status = wf_fail(ctx, WEFT_ERR_STATE, "backward: too many ops in one step");
            goto done;
        }
    }
    /* Attributes and scalars are copied, since recording may move the arrays. */
    void *attrs = wf_attrs_room();
    double scalars[WF_MAX_SCALARS];
    memcpy(attrs, g->bytes + node.attrs, node.op->attr_size);
    if (node.op->n_scalars)
        memcpy(scalars, g->scalars + node.scalars, (size_t)node.op->n_scalars * sizeof *scalars);
    wf_grad rule = {.ctx = ctx,
                    .op = node.op,
                    .attrs = attrs,
                    .scalars = scalars,
                    .n_in = node.n_in,
                    .n_out = node.n_out,
                    .in = in,
                    .out = out,
                    .dout = dout,
                    .needs = needs,
                    .din = din};
    g->rule = node.op;
    status = node.op->grad(&rule);
    if (status == WEFT_OK) /* NULL for a gradient may mean zero, or that an op failed */
        status = wf_step_status(ctx);
    for (int i = 0; i < node.n_in && status == WEFT_OK; i++)
        if (needs[i] && din[i])
            status = gather(w, values[i], din[i]);
done:
    g->rule = NULL;
    if (count > WF_MAX_IN) {
        wf_free(in);
        wf_free(needs);
        wf_free(values);
    }
    return status;
}

/* Whether a new gradient must wait for the commit phase, because the tensor has a gradient that
 * must survive if the step fails. */
static bool grad_waits(const weft_context *ctx, const weft_tensor *grad)
{
    const wf_graph *g = ctx->graph;
    bool pending = grad->gen == ctx->gen && grad->pending >= 0;
    return !pending || g->assigned[grad->assignment].state;
}

/* Adds a leaf's gradient to its tensor's gradient. A first gradient is written as soon as it is
 * computed. A sum with an existing gradient waits for the commit phase. */
static weft_status store(weft_context *ctx, weft_tensor *leaf, weft_tensor *grad)
{
    char shape[128];
    if (leaf->type.dtype == WEFT_BF16)
        return wf_fail(
            ctx, WEFT_ERR_STATE,
            "backward: a tensor of shape %s that requires a gradient is stored as bf16, "
            "which is for inference; convert its module with weft_module_to(m, WEFT_F32), "
            "or freeze it",
            weft_shape_format(leaf->type.shape, shape, sizeof shape));
    if (leaf->type.dtype != grad->type.dtype)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "backward: a tensor became %s after recorded work had read it as %s",
                       weft_dtype_name(leaf->type.dtype), weft_dtype_name(grad->type.dtype));
    if (leaf->hooks)
        WF_TRY(wf_grad_hooks_run(ctx, leaf, &grad));
    if (!leaf->grad) {
        leaf->grad = weft_tensor_create(ctx, leaf->type.dtype, leaf->type.shape);
        if (!leaf->grad)
            return weft_error_status(ctx);
        leaf->grad->is_grad = true;
    }
    bool state = false;
    if (leaf->grad_present) {
        state = grad_waits(ctx, leaf->grad);
        grad = weft_add(leaf->grad, grad);
        if (!grad)
            return wf_step_status(ctx);
    }
    WF_TRY(wf_graph_assign(leaf->grad, grad, state));
    leaf->grad_present = true;
    return WEFT_OK;
}

weft_status wf_grad_replace(weft_tensor *t, weft_tensor *grad)
{
    if (!grad)
        return wf_step_status(t->ctx);
    return wf_graph_assign(t->grad, grad, grad_waits(t->ctx, t->grad));
}

static weft_status run_walk(walk *w, weft_tensor *loss, weft_tensor *seed)
{
    weft_context *ctx = w->ctx;
    wf_graph *g = ctx->graph;
    int last = g->values[loss->value].node;
    if (!seed)
        seed = wf_record_fill(ctx, loss->type.dtype, loss->type.shape, 1.0);
    if (!seed)
        return wf_step_status(ctx);
    w->grads[loss->value] = seed;
    const char *outer = wf_path_intern(ctx);
    weft_status status = WEFT_OK;
    for (int n = last; n >= 0 && status == WEFT_OK; n--) {
        if (!w->reached[n])
            continue;
        wf_path_set(ctx, g->nodes[n].path);
        if (g->nodes[n].op == &wf_op_border)
            status = wf_border_cross(ctx, n, w->grads);
        if (status == WEFT_OK)
            status = walk_node(w, n);
        if (g->unwanted && status == WEFT_OK)
            status = WEFT_ERR_STATE;
    }
    wf_path_set(ctx, outer);
    for (int v = 0; v < w->n_values && status == WEFT_OK; v++) {
        if (!w->grads[v] || g->values[v].node >= 0)
            continue;
        weft_tensor *leaf = g->values[v].stored;
        if (leaf->optimizers == 0 && ctx->lint->optimizers > 0 && wf_lint_on(ctx))
            wf_lint_loose(ctx, v);
        status = store(ctx, leaf, w->grads[v]);
        if (g->unwanted && status == WEFT_OK)
            status = WEFT_ERR_STATE;
    }
    return status;
}

/* Gives the walk its arrays, zeroed. The graph keeps them: only one walk goes on at a time. */
static weft_status reserve_walk(weft_context *ctx, walk *w)
{
    wf_graph *g = ctx->graph;
    const size_t values = (size_t)g->n_values * sizeof *w->grads, nodes = (size_t)g->n_nodes;
    if (values + nodes > g->walk_bytes) {
        const size_t bytes = 2 * (values + nodes);
        void *more = wf_alloc(bytes);
        if (!more)
            return wf_nomem(&ctx->error, bytes, "the backward pass");
        wf_free(g->walk_mem);
        g->walk_mem = more;
        g->walk_bytes = bytes;
    }
    memset(g->walk_mem, 0, values + nodes);
    w->grads = g->walk_mem;
    w->reached = (char *)g->walk_mem + values;
    return WEFT_OK;
}

/* Whether no code of the program's runs while gradients are recorded: hooks and the rules of custom ops
 * get handles. */
static bool nobody_looks(const weft_context *ctx)
{
    return ctx->last_hook == 0 && ctx->graph->n_borders == 0 && !ctx->customs;
}

static weft_status backward(weft_context *ctx, weft_tensor *loss, weft_tensor *seed, bool retain)
{
    wf_graph *g = ctx->graph;
    char a[128], b[128];
    if (g->in_backward)
        return wf_fail(ctx, WEFT_ERR_STATE, "backward: a hook cannot begin another backward pass");
    WF_TRY(wf_may_end_step(ctx, "backward")); /* a failed backward pass ends the step */
    WF_TRY(wf_stack_check("backward", &ctx->error));
    if (loss->magic == WF_MAGIC_STORED && loss->requires_grad && !g->grad_off) {
        /* the loss is a leaf: add a node from which the walk can start */
        loss = weft_scale(loss, 1);
        if (!loss)
            return wf_step_status(ctx);
    }
    if (loss->magic != WF_MAGIC_RECORDED || !g->values[loss->value].requires_grad)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "backward: the loss does not depend on a tensor that requires a gradient");
    if (!seed && weft_shape_count(loss->type.shape) != 1)
        return wf_fail(ctx, WEFT_ERR_SHAPE,
                       "backward: the loss has shape %s; give a seed gradient of that shape",
                       weft_shape_format(loss->type.shape, a, sizeof a));
    if (seed && (seed->type.dtype != loss->type.dtype ||
                 !weft_shape_equal(seed->type.shape, loss->type.shape)))
        return wf_fail(
            ctx, WEFT_ERR_SHAPE, "backward: seed is %s %s, the loss %s %s",
            weft_dtype_name(seed->type.dtype), weft_shape_format(seed->type.shape, a, sizeof a),
            weft_dtype_name(loss->type.dtype), weft_shape_format(loss->type.shape, b, sizeof b));
    if (g->backwards > 0)
        WF_TRY(g->runner->pending(ctx));
    WF_TRY(wf_graph_keep(ctx, loss));
    walk w = {.ctx = ctx, .n_values = g->n_values, .retain = retain};
    WF_TRY(reserve_walk(ctx, &w));
    weft_status status = mark(&w, g->values[loss->value].node);
    if (status == WEFT_OK) {
        g->in_backward = true;
        g->unwanted = false;
        g->backwards++;
        g->walks++;
        const bool was = wf_ring_hide(&ctx->ring, nobody_looks(ctx));
        status = run_walk(&w, loss, seed);
        wf_ring_hide(&ctx->ring, was);
        g->in_backward = false;
        if (status != WEFT_OK) /* half a backward pass must not run */
            g->runner->none(ctx);
    }
    return status;
}

weft_status weft_backward_with(weft_tensor *loss, weft_tensor *seed, bool retain)
{
    weft_tensor *operands[] = {loss, seed};
    weft_context *owner = wf_tensor_owner(loss ? loss : seed);
    if (!owner) /* the loss was not recorded */
        return wf_fail_stray(WEFT_ERR_INVALID,
                             "backward: the loss is NULL, so no context is known");
    weft_context *ctx = wf_record_context("backward", 1, 2, operands);
    if (!ctx)
        return wf_step_status(owner);
    weft_status status = backward(ctx, loss, seed, retain);
    return status == WEFT_OK ? WEFT_OK : wf_step_fail(ctx, status);
}

weft_status weft_backward(weft_tensor *loss)
{
    return weft_backward_with(loss, NULL, false);
}

weft_tensor *weft_grad(weft_tensor *t)
{
    weft_context *ctx = wf_tensor_check(t, "grad", false);
    if (!ctx || t->magic != WF_MAGIC_STORED)
        return NULL;
    if (t->optimizers == 0 && ctx->lint->n_loose > 0)
        wf_lint_wanted(ctx, t);
    return t->grad_present ? t->grad : NULL;
}

void weft_zero_grad(weft_tensor *t)
{
    weft_context *ctx = wf_tensor_check(t, "zero_grad", false);
    if (!ctx || t->magic != WF_MAGIC_STORED || !t->grad_present)
        return;
    t->grad_present = false;
    wf_graph_unassign(ctx, t->grad);
}
