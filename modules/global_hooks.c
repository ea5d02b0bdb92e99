/* Forward hooks that a context runs for every module, before the module's own hooks.
 *
 * They are one block of memory, which the context frees. Threading rule: the context's. */
#include "modules/internal.h"

typedef struct global_hook {
    uint64_t id;
    unsigned flags;
    weft_pre_hook_fn pre; /* one of the two; both NULL: removed */
    weft_hook_fn post;
    void *user;
} global_hook;

struct wf_global_hooks {
    int n, capacity;
    int calls; /* calls that run now: while there are any, removal only marks hooks */
    uint64_t last;
    global_hook item[];
};

/* Get the block again each time: it moves in memory when a hook registers hooks. */
static struct wf_global_hooks *hooks_of(const weft_context *ctx)
{
    return ctx->modules;
}

static uint64_t add(weft_context *ctx, global_hook hook)
{
    struct wf_global_hooks *g = hooks_of(ctx);
    if (g == NULL || g->n == g->capacity) {
        int capacity = g == NULL ? 8 : 2 * g->capacity;
        struct wf_global_hooks *grown =
            wf_realloc_array(g, sizeof(*g) + (size_t)capacity * sizeof(hook), 1);
        if (grown == NULL) {
            wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory registering a global hook");
            return 0;
        }
        if (g == NULL)
            *grown = (struct wf_global_hooks){.n = 0};
        grown->capacity = capacity;
        ctx->modules = g = grown;
    }
    hook.id = ++g->last;
    g->item[g->n++] = hook;
    return hook.id;
}

uint64_t weft_register_global_forward_pre_hook(weft_context *ctx, weft_pre_hook_fn fn, void *user)
{
    if (wf_global_check_with(ctx, (const void *)(uintptr_t)fn,
                             "weft_register_global_forward_pre_hook") != WEFT_OK)
        return 0;
    return add(ctx, (global_hook){.pre = fn, .user = user});
}

uint64_t weft_register_global_forward_hook(weft_context *ctx, weft_hook_fn fn, void *user,
                                           unsigned flags)
{
    if (wf_global_check_with(ctx, (const void *)(uintptr_t)fn,
                             "weft_register_global_forward_hook") != WEFT_OK)
        return 0;
    return add(ctx, (global_hook){.flags = flags, .post = fn, .user = user});
}

static void sweep(struct wf_global_hooks *g)
{
    int n = 0;
    for (int i = 0; i < g->n; i++) {
        if (g->item[i].pre != NULL || g->item[i].post != NULL)
            g->item[n++] = g->item[i];
    }
    g->n = n;
}

void weft_global_hook_remove(weft_context *ctx, uint64_t handle)
{
    if (ctx != NULL && (handle & WF_BACKWARD_HOOK)) {
        wf_backward_hook_remove(ctx->backward_hooks, handle);
        return;
    }
    struct wf_global_hooks *g = ctx != NULL ? hooks_of(ctx) : NULL;
    for (int i = 0; g != NULL && i < g->n; i++) {
        if (g->item[i].id == handle) {
            g->item[i].pre = NULL;
            g->item[i].post = NULL;
        }
    }
    if (g != NULL && g->calls == 0)
        sweep(g);
}

uint64_t wf_global_hooks_enter(weft_context *ctx)
{
    struct wf_global_hooks *g = hooks_of(ctx);
    if (g == NULL)
        return 0;
    g->calls++;
    return g->last;
}

void wf_global_hooks_leave(weft_context *ctx, uint64_t last)
{
    struct wf_global_hooks *g = hooks_of(ctx);
    if (last > 0 && --g->calls == 0)
        sweep(g);
}

weft_status wf_global_pre_hooks(weft_module *m, uint64_t last, int n_in, weft_tensor **in)
{
    for (int i = 0; last > 0 && i < hooks_of(m->ctx)->n; i++) {
        const global_hook h = hooks_of(m->ctx)->item[i];
        if (h.pre == NULL || h.id > last)
            continue;
        weft_status status = h.pre(h.user, m, n_in, in);
        if (status != WEFT_OK)
            return wf_fail(m->ctx, status, "%s: a global forward pre-hook failed", m->cls->name);
    }
    return WEFT_OK;
}

weft_status wf_global_hooks(weft_module *m, uint64_t last, weft_status status, int n_in,
                            weft_tensor *const *in, int n_out, weft_tensor **out)
{
    for (int i = 0; last > 0 && i < hooks_of(m->ctx)->n; i++) {
        const global_hook h = hooks_of(m->ctx)->item[i];
        bool wanted = status == WEFT_OK || (h.flags & WEFT_HOOK_ALWAYS) != 0;
        if (h.post == NULL || h.id > last || !wanted)
            continue;
        weft_status s = h.post(h.user, m, n_in, in, status == WEFT_OK ? n_out : 0, out);
        if (s != WEFT_OK && status == WEFT_OK)
            status = wf_fail(m->ctx, s, "%s: a global forward hook failed", m->cls->name);
    }
    return status;
}
