/* Backward hooks of modules.
 *
 * When a module has backward hooks, or its context has some for all modules, a call puts its inputs
 * behind one border and its outputs behind another. Borders are identity nodes, which the plan
 * removes (wf_record_border). The backward pass crosses the outputs' border when the gradients of
 * all outputs are complete; the pre-hooks run then. It crosses the inputs' border when the
 * gradients of the inputs are; the hooks run then. A crossing holds, until the step ends, what one
 * border tells the other. Threading rule: the context's. */
#include <string.h>

#include "engine/graph/autograd/autograd.h"
#include "modules/internal.h"

typedef struct backward_hook {
    uint64_t id;
    weft_backward_pre_hook_fn pre; /* one of the two; both NULL: removed */
    weft_backward_hook_fn post;
    void *user;
} backward_hook;

/* In the order in which they run. The block moves in memory when a hook registers hooks. */
struct wf_backward_hooks {
    int n, capacity;
    int running; /* hooks run now: removal only marks them */
    backward_hook item[];
};

typedef struct crossing {
    int refs; /* one reference per border */
    weft_module *m;
    bool behind_inputs; /* an input requires a gradient */
    int n_in, n_out;
    weft_tensor *grad_out[WEFT_MODULE_MAX_OUT]; /* gradients of the outputs, after the pre-hooks */
} crossing;

/* ---- registration ---------------------------------------------------------------------------- */

static struct wf_backward_hooks *grown(struct wf_backward_hooks *hooks)
{
    int capacity = hooks == NULL ? 4 : 2 * hooks->capacity;
    struct wf_backward_hooks *fresh =
        wf_realloc_array(hooks, sizeof(*hooks) + (size_t)capacity * sizeof(hooks->item[0]), 1);
    if (fresh == NULL)
        return NULL;
    if (hooks == NULL)
        *fresh = (struct wf_backward_hooks){.n = 0};
    fresh->capacity = capacity;
    return fresh;
}

/* `*place` is the module's or the context's list of hooks. */
static uint64_t add(weft_context *ctx, struct wf_backward_hooks **place, backward_hook hook,
                    unsigned flags)
{
    struct wf_backward_hooks *hooks = *place;
    if (hooks == NULL || hooks->n == hooks->capacity) {
        hooks = grown(hooks);
        if (hooks == NULL) {
            wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory registering a backward hook");
            return 0;
        }
        *place = hooks;
    }
    /* Running hooks are counted from the front, so hooks registered meanwhile go to the end. */
    int at = (flags & WEFT_HOOK_PREPEND) != 0 && hooks->running == 0 ? 0 : hooks->n;
    memmove(&hooks->item[at + 1], &hooks->item[at], (size_t)(hooks->n - at) * sizeof(hook));
    hook.id = ++ctx->last_hook | WF_BACKWARD_HOOK;
    hooks->item[at] = hook;
    hooks->n++;
    return hook.id;
}

uint64_t weft_register_backward_pre_hook(weft_module *m, weft_backward_pre_hook_fn fn, void *user,
                                         unsigned flags)
{
    if (wf_module_check_with(m, (const void *)(uintptr_t)fn, "weft_register_backward_pre_hook") !=
        WEFT_OK)
        return 0;
    return add(m->ctx, &m->state->backward, (backward_hook){.pre = fn, .user = user}, flags);
}

uint64_t weft_register_backward_hook(weft_module *m, weft_backward_hook_fn fn, void *user,
                                     unsigned flags)
{
    if (wf_module_check_with(m, (const void *)(uintptr_t)fn, "weft_register_backward_hook") !=
        WEFT_OK)
        return 0;
    return add(m->ctx, &m->state->backward, (backward_hook){.post = fn, .user = user}, flags);
}

uint64_t weft_register_global_backward_pre_hook(weft_context *ctx, weft_backward_pre_hook_fn fn,
                                                void *user)
{
    if (wf_global_check_with(ctx, (const void *)(uintptr_t)fn,
                             "weft_register_global_backward_pre_hook") != WEFT_OK)
        return 0;
    return add(ctx, &ctx->backward_hooks, (backward_hook){.pre = fn, .user = user}, 0);
}

uint64_t weft_register_global_backward_hook(weft_context *ctx, weft_backward_hook_fn fn, void *user)
{
    if (wf_global_check_with(ctx, (const void *)(uintptr_t)fn,
                             "weft_register_global_backward_hook") != WEFT_OK)
        return 0;
    return add(ctx, &ctx->backward_hooks, (backward_hook){.post = fn, .user = user}, 0);
}

static void sweep(struct wf_backward_hooks *hooks)
{
    int n = 0;
    for (int i = 0; i < hooks->n; i++) {
        if (hooks->item[i].pre != NULL || hooks->item[i].post != NULL)
            hooks->item[n++] = hooks->item[i];
    }
    hooks->n = n;
}

void wf_backward_hook_remove(struct wf_backward_hooks *hooks, uint64_t handle)
{
    if (hooks == NULL)
        return;
    for (int i = 0; i < hooks->n; i++) {
        if (hooks->item[i].id == handle)
            hooks->item[i] = (backward_hook){.id = handle};
    }
    if (hooks->running == 0)
        sweep(hooks);
}

/* ---- running --------------------------------------------------------------------------------- */

/* What hooks of one kind get. */
typedef struct pass {
    weft_module *m;
    bool pre;
    int n;
    weft_tensor **grads; /* (n) gradients, which hooks may replace */
    int n_out;           /* hooks only */
    weft_tensor *const *grad_out;
} pass;

static weft_status run_one(const pass *p, const backward_hook *h)
{
    int n = p->n;
    weft_status status = p->pre ? h->pre(h->user, p->m, &n, p->grads)
                                : h->post(h->user, p->m, &n, p->grads, p->n_out, p->grad_out);
    const char *kind = p->pre ? "pre-hook" : "hook", *name = weft_module_name(p->m);
    if (status != WEFT_OK)
        return wf_fail(p->m->ctx, status, "%s: a backward %s failed", name, kind);
    if (n != p->n)
        return wf_fail(p->m->ctx, WEFT_ERR_INVALID,
                       "%s: a backward %s gave %d gradients; there are %d %s", name, kind, n, p->n,
                       p->pre ? "outputs" : "inputs");
    return WEFT_OK;
}

static weft_status run_list(const pass *p, struct wf_backward_hooks **place)
{
    if (*place == NULL)
        return WEFT_OK;
    int n = (*place)->n;
    weft_status status = WEFT_OK;
    (*place)->running++;
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        const backward_hook h = (*place)->item[i];
        if (p->pre ? h.pre != NULL : h.post != NULL)
            status = run_one(p, &h);
    }
    if (--(*place)->running == 0)
        sweep(*place);
    return status;
}

static weft_status run_hooks(const pass *p)
{
    WF_TRY(run_list(p, &p->m->ctx->backward_hooks));
    return run_list(p, &p->m->state->backward);
}

/* If no input requires a gradient, the hooks get NULLs and can replace nothing. */
static weft_status run_without_inputs(crossing *c)
{
    weft_tensor **none = wf_zalloc_array((size_t)c->n_in + 1, sizeof(*none));
    if (none == NULL)
        return wf_module_nomem(c->m);
    pass p = {c->m, false, c->n_in, none, c->n_out, c->grad_out};
    weft_status status = run_hooks(&p);
    for (int i = 0; i < c->n_in && status == WEFT_OK; i++) {
        if (none[i] != NULL)
            status = wf_fail(c->m->ctx, WEFT_ERR_STATE,
                             "%s: a backward hook gave a gradient for input %d, but no input "
                             "requires one",
                             c->m->cls->name, i);
    }
    wf_free(none);
    return status;
}

static weft_status cross_outputs(void *user, int n, weft_tensor **grads)
{
    crossing *c = user;
    pass p = {.m = c->m, .pre = true, .n = n, .grads = grads};
    WF_TRY(run_hooks(&p));
    memcpy(c->grad_out, grads, (size_t)n * sizeof(*grads));
    return c->behind_inputs ? WEFT_OK : run_without_inputs(c);
}

static weft_status cross_inputs(void *user, int n, weft_tensor **grads)
{
    crossing *c = user;
    pass p = {c->m, false, n, grads, c->n_out, c->grad_out};
    return run_hooks(&p);
}

static void drop(void *user)
{
    crossing *c = user;
    if (--c->refs > 0)
        return;
    weft_module_unref(c->m);
    wf_free(c);
}

/* ---- a call ---------------------------------------------------------------------------------- */

static bool has_hooks(const struct wf_backward_hooks *hooks)
{
    return hooks != NULL && hooks->n > 0;
}

weft_status wf_backward_enter(weft_module *m, int n_in, weft_tensor **in, void **crossed)
{
    *crossed = NULL;
    if ((!has_hooks(m->state->backward) && !has_hooks(m->ctx->backward_hooks)) ||
        !weft_grad_enabled(m->ctx))
        return WEFT_OK;
    crossing *c = wf_zalloc(sizeof(*c));
    if (c == NULL)
        return wf_module_nomem(m);
    *c = (crossing){.refs = 2, .m = weft_module_ref(m), .n_in = n_in};
    weft_status status =
        wf_record_border(m->ctx, n_in, in, cross_inputs, c, drop, &c->behind_inputs);
    if (status == WEFT_OK)
        *crossed = c;
    else
        drop(c);
    return status;
}

weft_status wf_backward_leave(void *crossed, weft_status status, int n_out, weft_tensor **out)
{
    crossing *c = crossed;
    if (c == NULL)
        return status;
    if (status != WEFT_OK) {
        drop(c);
        return status;
    }
    c->n_out = n_out;
    bool any;
    return wf_record_border(c->m->ctx, n_out, out, cross_outputs, c, drop, &any);
}
