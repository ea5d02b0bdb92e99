/* Calling a module: its path for messages, hooks, forward.
 *
 * Threading rule: the context's. */
#include <string.h>

#include "engine/graph/lint.h"
#include "engine/base/stack.h"
#include "modules/internal.h"

/* ---- hooks ---- */

static uint64_t add_hook(weft_module *m, wf_hook **list, wf_hook hook)
{
    wf_hook *h = wf_alloc(sizeof(*h));
    if (h == NULL) {
        wf_module_nomem(m);
        return 0;
    }
    *h = hook;
    h->id = ++m->state->last_hook;
    if ((hook.flags & WEFT_HOOK_PREPEND) == 0) {
        while (*list != NULL)
            list = &(*list)->next;
    }
    h->next = *list;
    *list = h;
    return h->id;
}

uint64_t weft_register_forward_pre_hook(weft_module *m, weft_pre_hook_fn fn, void *user,
                                        unsigned flags)
{
    if (wf_module_check_with(m, (const void *)(uintptr_t)fn, "weft_register_forward_pre_hook") !=
        WEFT_OK)
        return 0;
    return add_hook(m, &m->state->pre_hooks, (wf_hook){.flags = flags, .pre = fn, .user = user});
}

uint64_t weft_register_forward_hook(weft_module *m, weft_hook_fn fn, void *user, unsigned flags)
{
    if (wf_module_check_with(m, (const void *)(uintptr_t)fn, "weft_register_forward_hook") !=
        WEFT_OK)
        return 0;
    return add_hook(m, &m->state->post_hooks, (wf_hook){.flags = flags, .post = fn, .user = user});
}

/* Frees hooks that are marked as removed. */
static void sweep(wf_hook **list)
{
    while (*list != NULL) {
        wf_hook *h = *list;
        if (h->pre == NULL && h->post == NULL) {
            *list = h->next;
            wf_free(h);
        } else {
            list = &h->next;
        }
    }
}

void weft_hook_remove(weft_module *m, uint64_t handle)
{
    if (wf_module_check(m, NULL, "weft_hook_remove") != WEFT_OK || handle == 0)
        return;
    if (handle & WF_BACKWARD_HOOK) {
        wf_backward_hook_remove(m->state->backward, handle);
        return;
    }
    wf_hook *lists[] = {m->state->pre_hooks, m->state->post_hooks};
    for (int i = 0; i < 2; i++) {
        for (wf_hook *h = lists[i]; h != NULL; h = h->next) {
            if (h->id == handle) {
                h->pre = NULL;
                h->post = NULL;
            }
        }
    }
    if (m->state->calls == 0) {
        sweep(&m->state->pre_hooks);
        sweep(&m->state->post_hooks);
    }
}

/* ---- calling ---- */

static weft_status run_pre_hooks(weft_module *m, uint64_t last, int n_in, weft_tensor **in)
{
    for (wf_hook *h = m->state->pre_hooks; h != NULL; h = h->next) {
        if (h->pre == NULL || h->id > last)
            continue;
        weft_status status = h->pre(h->user, m, n_in, in);
        if (status != WEFT_OK)
            return wf_fail(m->ctx, status, "%s: a forward pre-hook failed", m->cls->name);
    }
    return WEFT_OK;
}

static weft_status run_hooks(weft_module *m, uint64_t last, weft_status status, int n_in,
                             weft_tensor *const *in, int n_out, weft_tensor **out)
{
    for (wf_hook *h = m->state->post_hooks; h != NULL; h = h->next) {
        bool wanted = status == WEFT_OK || (h->flags & WEFT_HOOK_ALWAYS) != 0;
        if (h->post == NULL || h->id > last || !wanted)
            continue;
        weft_status s = h->post(h->user, m, n_in, in, status == WEFT_OK ? n_out : 0, out);
        if (s != WEFT_OK && status == WEFT_OK)
            status = wf_fail(m->ctx, s, "%s: a forward hook failed", m->cls->name);
    }
    return status;
}

static weft_status run_forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                               weft_tensor **out)
{
    const weft_module_class *cls = m->cls;
    if (cls->forward == NULL && cls->forward_many == NULL)
        return wf_fail(m->ctx, WEFT_ERR_STATE, "%s has no forward; call its children", cls->name);
    if (cls->forward == NULL)
        return cls->forward_many(m, n_in, in, n_out, out);
    if (n_in != 1 || *n_out < 1)
        return wf_fail(m->ctx, WEFT_ERR_INVALID,
                       "%s takes one tensor and gives one; called with %d", cls->name, n_in);
    out[0] = cls->forward(m, in[0]);
    *n_out = 1;
    if (out[0] != NULL)
        return WEFT_OK;
    weft_status status = wf_step_status(m->ctx);
    return status != WEFT_OK ? status : WEFT_ERR_STATE;
}

/* Checks that an input or output can be used now and belongs to m's context. NULL: an optional
 * input that was left out. */
static weft_status check_tensor(const weft_module *m, const char *which, int i,
                                const weft_tensor *t)
{
    if (t == NULL)
        return WEFT_OK;
    if (weft_tensor_context(t) != m->ctx)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: %s %d %s", m->cls->name, which, i,
                       weft_tensor_context(t) != NULL ? "belongs to another context"
                                                      : "is not a tensor");
    return wf_tensor_check(t, m->cls->name, true) != NULL ? WEFT_OK : WEFT_ERR_STATE;
}

static weft_status call(weft_module *m, int n_in, weft_tensor **in, int *n_out, weft_tensor **out)
{
    struct weft_module_state *s = m->state;
    uint64_t last = s->last_hook; /* hooks that a hook registers wait for the next call */
    uint64_t last_global = wf_global_hooks_enter(m->ctx);
    s->calls++;
    const wf_call_mark begin = wf_lint_call_begins(m->ctx);
    wf_path_push(m->ctx, wf_module_path_name(m));
    weft_status status = wf_global_pre_hooks(m, last_global, n_in, in);
    if (status == WEFT_OK)
        status = run_pre_hooks(m, last, n_in, in);
    for (int i = 0; i < n_in && status == WEFT_OK; i++)
        status = check_tensor(m, "input", i, in[i]); /* hooks replace them */
    void *crossed = NULL;
    if (status == WEFT_OK)
        status = wf_backward_enter(m, n_in, in, &crossed);
    if (status == WEFT_OK) {
        const bool was = s->recompute && weft_recompute_begin(m->ctx);
        status = run_forward(m, n_in, in, n_out, out);
        if (s->recompute)
            weft_recompute_end(m->ctx, was);
    }
    if (status == WEFT_OK && (*n_out < 0 || *n_out > WEFT_MODULE_MAX_OUT))
        status = wf_fail(m->ctx, WEFT_ERR_INVALID,
                         "%s: forward says it gives %d tensors; 0 to %d are possible", m->cls->name,
                         *n_out, WEFT_MODULE_MAX_OUT);
    for (int i = 0; status == WEFT_OK && i < *n_out; i++)
        status = check_tensor(m, "output", i, out[i]);
    status = wf_global_hooks(m, last_global, status, n_in, in, *n_out, out);
    status = run_hooks(m, last, status, n_in, in, *n_out, out);
    for (int i = 0; status == WEFT_OK && i < *n_out; i++) { /* hooks replace them */
        status = out[i] != NULL ? check_tensor(m, "output", i, out[i]) : WEFT_ERR_STATE;
    }
    status = wf_backward_leave(crossed, status, *n_out, out);
    if (status != WEFT_OK)
        wf_fail_step(m->ctx, status, "%s: forward failed without saying why", m->cls->name);
    else if (*n_out == 1)
        wf_lint_call_ends(m->ctx, begin, m, out[0]);
    wf_path_pop(m->ctx);
    wf_global_hooks_leave(m->ctx, last_global);
    if (--s->calls == 0) {
        sweep(&s->pre_hooks);
        sweep(&s->post_hooks);
    }
    return status;
}

static weft_status call_checked(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                                weft_tensor **out)
{
    if (n_in < 0 || (n_in > 0 && in == NULL) || n_out == NULL || out == NULL)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: weft_call_many: invalid arguments",
                       m->cls->name);
    weft_error deep = WEFT_ERROR_INIT; /* modules within modules, or one that calls itself */
    if (wf_stack_check(m->cls->name, &deep) != WEFT_OK)
        return wf_fail(m->ctx, deep.status, "%s", deep.text);
    for (int i = 0; i < n_in; i++)
        WF_TRY(check_tensor(m, "input", i, in[i]));
    weft_tensor *few[8], **inputs = few; /* a copy, because pre-hooks replace inputs */
    if (n_in > 8 && (inputs = wf_alloc_array((size_t)n_in, sizeof(*inputs))) == NULL)
        return wf_module_nomem(m);
    if (n_in > 0)
        memcpy(inputs, in, (size_t)n_in * sizeof(*inputs));
    weft_tensor *outputs[WEFT_MODULE_MAX_OUT] = {NULL};
    int n = WEFT_MODULE_MAX_OUT;
    weft_module_ref(m); /* a hook or the forward may drop the last reference */
    weft_status status = call(m, n_in, inputs, &n, outputs);
    if (inputs != few)
        wf_free(inputs);
    if (status == WEFT_OK && (n < 0 || n > *n_out))
        status = wf_fail(m->ctx, WEFT_ERR_INVALID, "%s gives %d tensors; there is room for %d",
                         m->cls->name, n, *n_out);
    weft_module_unref(m);
    WF_TRY(status);
    for (int i = 0; i < n; i++)
        out[i] = outputs[i];
    *n_out = n;
    return WEFT_OK;
}

weft_status weft_call_many(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                           weft_tensor **out)
{
    weft_context *ctx = NULL; /* the inputs' context, for a module without a context */
    for (int i = 0; i < n_in && in != NULL && ctx == NULL; i++)
        ctx = weft_tensor_context(in[i]);
    weft_status status = wf_module_check(m, ctx, "weft_call");
    if (status == WEFT_OK)
        ctx = m->ctx;
    if (ctx == NULL)
        return status;
    WF_TRY(wf_step_status(ctx)); /* in a failed step, a NULL input may stand for a failure */
    if (status == WEFT_OK)
        status = call_checked(m, n_in, in, n_out, out);
    return status == WEFT_OK ? WEFT_OK : wf_step_fail(ctx, status);
}

weft_tensor *weft_call(weft_module *m, weft_tensor *x)
{
    weft_tensor *out = NULL;
    int n = 1;
    if (x == NULL) {
        if (wf_module_check(m, NULL, "weft_call") == WEFT_OK)
            wf_fail_step(m->ctx, WEFT_ERR_INVALID, "%s: the input is NULL", m->cls->name);
        else if (m != NULL && m->magic == WF_MODULE_DEAD)
            wf_step_fail(m->ctx, WEFT_ERR_STATE);
        return NULL;
    }
    weft_module *held = wf_module_valid(m) ? weft_module_ref(m) : NULL;
    if (weft_call_many(m, 1, &x, &n, &out) == WEFT_OK && n != 1)
        wf_fail_step(m->ctx, WEFT_ERR_INVALID, "%s gives no tensor", m->cls->name);
    weft_module_unref(held);
    return out;
}
