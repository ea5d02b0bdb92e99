/* Gradient hooks of tensors, and borders: the places where modules' backward hooks run.
 *
 * Both run on the recording thread inside weft_backward, and get handles. A hook that is removed
 * while hooks run is only marked. The next removal frees it, or its tensor's end. */
#include "engine/graph/autograd/autograd.h"
#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "weft/autograd.h"

/* ---- tensors' hooks ---- */

uint64_t weft_register_grad_hook(weft_tensor *t, weft_grad_hook_fn fn, void *user)
{
    weft_context *ctx = wf_tensor_check(t, "register_grad_hook", false);
    if (!ctx)
        return 0;
    if (!fn || !weft_requires_grad(t)) {
        wf_fail(ctx, fn ? WEFT_ERR_STATE : WEFT_ERR_INVALID, "register_grad_hook: %s",
                fn ? "the tensor requires no gradient" : "no function");
        return 0;
    }
    wf_grad_hook *h = wf_alloc(sizeof *h);
    if (!h) {
        wf_nomem(&ctx->error, sizeof *h, "a gradient hook");
        return 0;
    }
    *h = (wf_grad_hook){.id = ++ctx->last_hook, .fn = fn, .user = user};
    wf_grad_hook **last = &t->hooks;
    while (*last)
        last = &(*last)->next;
    *last = h;
    ctx->graph->hooked |= t->magic == WF_MAGIC_RECORDED;
    return h->id;
}

void weft_grad_hook_remove(weft_tensor *t, uint64_t handle)
{
    weft_context *ctx = wf_tensor_owner(t);
    if (!ctx || !handle || !(t->magic == WF_MAGIC_STORED || t->gen == ctx->gen))
        return;
    for (wf_grad_hook *h = t->hooks; h; h = h->next)
        if (h->id == handle)
            h->fn = NULL;
    if (ctx->graph->in_backward)
        return;
    for (wf_grad_hook **at = &t->hooks; *at;) {
        wf_grad_hook *h = *at;
        if (h->fn) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        wf_free(h);
    }
}

/* Whether `new` may stand for the gradient `old`. */
static weft_status check_replaced(weft_context *ctx, const char *what, weft_tensor *was,
                                  weft_tensor *is)
{
    char a[128], b[128];
    if (!wf_tensor_check(is, what, false))
        return weft_error_status(ctx);
    if (was->type.dtype == is->type.dtype && weft_shape_equal(was->type.shape, is->type.shape))
        return WEFT_OK;
    return wf_fail(ctx, WEFT_ERR_SHAPE, "%s gave %s %s for a gradient of %s %s", what,
                   weft_dtype_name(is->type.dtype), weft_shape_format(is->type.shape, a, sizeof a),
                   weft_dtype_name(was->type.dtype),
                   weft_shape_format(was->type.shape, b, sizeof b));
}

weft_status wf_grad_hooks_run(weft_context *ctx, weft_tensor *t, weft_tensor **grad)
{
    /* hooks that a hook registers wait for the next backward pass */
    uint64_t last = ctx->last_hook;
    for (wf_grad_hook *h = t->hooks; h; h = h->next) {
        if (!h->fn || h->id > last)
            continue;
        weft_tensor *g = *grad;
        weft_status status = h->fn(h->user, t, &g);
        if (status == WEFT_OK && !g)
            status = weft_error_status(ctx) ? weft_error_status(ctx) : WEFT_ERR_INVALID;
        if (status != WEFT_OK)
            return wf_fail(ctx, status, "backward: a gradient hook failed");
        if (g != *grad)
            WF_TRY(check_replaced(ctx, "backward: a gradient hook", *grad, g));
        *grad = g;
    }
    return WEFT_OK;
}

/* ---- borders ---- */

weft_status wf_record_border(weft_context *ctx, int n, weft_tensor **t, wf_border_fn fn, void *user,
                             void (*drop)(void *user), bool *any)
{
    wf_graph *g = ctx->graph;
    wf_border *b = wf_alloc(sizeof *b + (size_t)n * sizeof *b->values);
    if (!b || !wf_grow(&g->borders, &g->cap_borders, g->n_borders, 1, sizeof *g->borders)) {
        wf_free(b);
        drop(user);
        return wf_nomem(&ctx->error, sizeof *b, "backward hooks");
    }
    *b = (wf_border){.first_node = g->n_nodes, .fn = fn, .user = user, .drop = drop, .n = n};
    weft_status status = WEFT_OK;
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        b->values[i] = -1;
        if (!t[i] || !weft_requires_grad(t[i]) || g->grad_off)
            continue;
        weft_tensor *behind = wf_record(&wf_op_border, NULL, NULL, 1, &t[i], NULL);
        if (!behind) {
            status = weft_error_status(ctx);
            break;
        }
        b->values[i] = behind->value;
        t[i] = behind;
    }
    b->last_node = g->n_nodes - 1;
    *any = status == WEFT_OK && b->last_node >= b->first_node;
    if (*any) {
        g->borders[g->n_borders++] = b;
    } else {
        drop(user);
        wf_free(b);
    }
    return status;
}

/* The border of a node; NULL: the border's recording failed. */
static wf_border *border_of(const wf_graph *g, int node)
{
    int low = 0, high = g->n_borders - 1;
    while (low < high) { /* find the last border that begins at or before the node */
        int middle = (low + high + 1) / 2;
        if (g->borders[middle]->first_node <= node)
            low = middle;
        else
            high = middle - 1;
    }
    wf_border *b = high >= 0 ? g->borders[low] : NULL;
    return b && node >= b->first_node && node <= b->last_node ? b : NULL;
}

weft_status wf_border_cross(weft_context *ctx, int node, weft_tensor **grads)
{
    wf_graph *g = ctx->graph;
    wf_border *b = border_of(g, node);
    if (!b || b->walk == g->walks)
        return WEFT_OK;
    b->walk = g->walks;
    weft_tensor **now = wf_zalloc_array((size_t)b->n, 2 * sizeof *now);
    if (!now)
        return wf_nomem(&ctx->error, (size_t)b->n * sizeof *now, "backward hooks");
    weft_tensor **was = now + b->n;
    for (int i = 0; i < b->n; i++)
        now[i] = was[i] = b->values[i] >= 0 ? grads[b->values[i]] : NULL;
    weft_status status = b->fn(b->user, b->n, now);
    for (int i = 0; i < b->n && status == WEFT_OK; i++) {
        if (now[i] == was[i])
            continue;
        if (!was[i])
            status = wf_fail(ctx, WEFT_ERR_STATE,
                             "a backward hook gave a gradient for tensor %d of %d, where none "
                             "arrives",
                             i, b->n);
        else if (now[i])
            status = check_replaced(ctx, "a backward hook", was[i], now[i]);
        if (status == WEFT_OK)
            grads[b->values[i]] = now[i];
    }
    wf_free(now);
    return status;
}
