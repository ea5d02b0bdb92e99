/* Modules: creating, counting references, destroying; and the array of a module's parts.
 *
 * Threading rule: the context's. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "modules/internal.h"

weft_status wf_module_nomem(const weft_module *m)
{
    return wf_fail(m->ctx, WEFT_ERR_NOMEM, "out of memory in module %s", m->cls->name);
}

weft_status wf_module_check(const weft_module *m, weft_context *other, const char *what)
{
    if (wf_module_valid(m))
        return WEFT_OK;
    if (m != NULL && m->magic == WF_MODULE_DEAD)
        return wf_fail(m->ctx, WEFT_ERR_STATE,
                       "%s: the module was destroyed: its last reference was dropped", what);
    static const char null[] = "%s: the module is NULL",
                      raw[] = "%s: the module is not initialised; create it with "
                              "weft_module_create() or call weft_module_init() first";
    if (other == NULL)
        return wf_fail_stray(WEFT_ERR_STATE, m == NULL ? null : raw, what);
    return wf_fail(other, WEFT_ERR_STATE, m == NULL ? null : raw, what);
}

weft_status wf_module_check_with(const weft_module *m, const void *argument, const char *what)
{
    WF_TRY(wf_module_check(m, NULL, what));
    return argument != NULL ? WEFT_OK
                            : wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: an argument is NULL", what);
}

weft_status wf_global_check_with(weft_context *ctx, const void *argument, const char *what)
{
    if (ctx == NULL)
        return wf_no_context(what);
    return argument != NULL ? WEFT_OK
                            : wf_fail(ctx, WEFT_ERR_INVALID, "%s: an argument is NULL", what);
}

/* ---- parts ---- */

wf_part *wf_part_find(const weft_module *m, const char *name, size_t length)
{
    for (int i = 0; i < m->state->n_parts; i++) {
        wf_part *p = &m->state->parts[i];
        if (strncmp(p->name, name, length) == 0 && p->name[length] == '\0')
            return p;
    }
    return NULL;
}

wf_part *wf_part_append(weft_module *m, char *name, wf_part_kind kind)
{
    struct weft_module_state *s = m->state;
    if (s->n_parts == s->cap_parts) {
        int capacity = s->cap_parts == 0 ? 8 : 2 * s->cap_parts;
        wf_part *parts = wf_realloc_array(s->parts, (size_t)capacity, sizeof(*parts));
        if (parts == NULL)
            return NULL;
        s->parts = parts;
        s->cap_parts = capacity;
    }
    wf_part *p = &s->parts[s->n_parts++];
    *p = (wf_part){.name = name, .kind = kind};
    return p;
}

void wf_part_set_tensor(wf_part *p, weft_tensor *t)
{
    weft_tensor **place = p->field.tensor != NULL ? p->field.tensor : &p->own.tensor;
    weft_tensor *old = *place;
    *place = t;
    weft_tensor_unref(old);
}

void wf_part_set_module(weft_module *m, wf_part *p, weft_module *child)
{
    weft_module **place = p->field.module != NULL ? p->field.module : &p->own.module;
    weft_module *old = *place;
    if (!wf_module_valid(old)) /* the caller dropped a reference that was ours */
        old = NULL;
    *place = child;
    if (child != NULL)
        child->state->places++;
    if (old != NULL)
        old->state->places--;
    if (child != NULL && child->state->parent == NULL)
        child->state->parent = m;
    /* A module that is still another part of m keeps m as its parent. */
    if (old != NULL && old->state->parent == m && wf_module_path_name(old)[0] == '\0')
        old->state->parent = NULL;
    weft_module_unref(old);
}

void wf_part_remove(weft_module *m, wf_part *p)
{
    struct weft_module_state *s = m->state;
    if (p->kind == WF_CHILD)
        wf_part_set_module(m, p, NULL);
    else
        wf_part_set_tensor(p, NULL);
    wf_free(p->name);
    int at = (int)(p - s->parts);
    memmove(p, p + 1, (size_t)(s->n_parts - at - 1) * sizeof(*p));
    s->n_parts--;
}

wf_part *wf_part_child(const weft_module *m, int index)
{
    for (int i = 0; i < m->state->n_parts; i++) {
        wf_part *p = &m->state->parts[i];
        if (p->kind == WF_CHILD && index-- == 0)
            return p;
    }
    return NULL;
}

weft_status wf_part_check(const weft_module *m, const wf_part *p)
{
    if (p->kind != WF_CHILD || wf_part_module(p) == NULL || wf_module_valid(wf_part_module(p)))
        return WEFT_OK;
    return wf_fail(m->ctx, WEFT_ERR_STATE,
                   "%s: module '%s' was destroyed: its last reference was dropped", m->cls->name,
                   p->name);
}

int wf_child_count(const weft_module *m)
{
    int n = 0;
    for (int i = 0; i < m->state->n_parts; i++)
        n += m->state->parts[i].kind == WF_CHILD;
    return n;
}

const char *wf_module_path_name(const weft_module *m)
{
    const weft_module *parent = m->state->parent;
    if (parent == NULL)
        return "";
    for (int i = 0; i < parent->state->n_parts; i++) {
        const wf_part *p = &parent->state->parts[i];
        if (p->kind == WF_CHILD && wf_part_module(p) == m)
            return p->name;
    }
    return "";
}

/* ---- life ---- */

weft_status weft_module_init(weft_module *m, weft_context *ctx, const weft_module_class *cls)
{
    if (ctx == NULL)
        return wf_no_context("weft_module_init");
    if (m == NULL || cls == NULL)
        return wf_fail(ctx, WEFT_ERR_INVALID, "weft_module_init: there is no %s",
                       m == NULL ? "module" : "class");
    if (ctx->closed)
        return wf_fail(ctx, WEFT_ERR_STATE, "%s: the context was destroyed",
                       cls->name != NULL ? cls->name : "module");
    if (cls->name == NULL || cls->size < sizeof(weft_module) ||
        (cls->forward != NULL && cls->forward_many != NULL))
        return wf_fail(ctx, WEFT_ERR_INVALID,
                       "module class %s: it needs a name, the size of a struct that begins with a "
                       "weft_module, and not both forward and forward_many",
                       cls->name != NULL ? cls->name : "without a name");
    struct weft_module_state *state = wf_zalloc(sizeof(*state));
    if (state == NULL)
        return wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory creating a module %s", cls->name);
    memset((void *)m, 0, cls->size);
    state->refs = 1;
    m->cls = cls;
    m->ctx = ctx;
    m->training = true;
    m->state = state;
    m->magic = WF_MODULE_MAGIC;
    wf_context_ref(ctx);
    return WEFT_OK;
}

/* A new module whose parts are not registered yet. */
void *wf_module_new(weft_context *ctx, const weft_module_class *cls)
{
    if (ctx != NULL && cls == NULL)
        wf_fail(ctx, WEFT_ERR_INVALID, "weft_module_create: there is no class");
    if (ctx == NULL)
        wf_no_context("weft_module_create");
    if (ctx == NULL || cls == NULL)
        return NULL;
    size_t size = cls->size < sizeof(weft_module) ? sizeof(weft_module) : cls->size;
    weft_module *m = wf_handles_take(&ctx->handles, size);
    if (m == NULL) {
        wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory creating a module %s",
                cls->name != NULL ? cls->name : "");
        return NULL;
    }
    if (weft_module_init(m, ctx, cls) != WEFT_OK) {
        wf_handles_give(&ctx->handles, m);
        return NULL;
    }
    m->state->owns_memory = true;
    return m;
}

void *weft_module_create(weft_context *ctx, const weft_module_class *cls, const void *args)
{
    weft_module *m = wf_module_new(ctx, cls);
    if (m == NULL || cls->init == NULL)
        return m;
    weft_error older;
    wf_error_set_aside(ctx, &older);
    cls->init(m, args);
    wf_error_put_back(ctx, &older);
    return weft_module_ok(m);
}

weft_module *weft_module_ref(weft_module *m)
{
    if (m == NULL || wf_module_check(m, NULL, "weft_module_ref") != WEFT_OK)
        return NULL;
    m->state->refs++;
    return m;
}

static void free_hooks(wf_hook *h)
{
    while (h != NULL) {
        wf_hook *next = h->next;
        wf_free(h);
        h = next;
    }
}

void weft_module_unref(weft_module *m)
{
    if (m == NULL || wf_module_check(m, NULL, "weft_module_unref") != WEFT_OK ||
        --m->state->refs > 0)
        return;
    struct weft_module_state *s = m->state;
    weft_context *ctx = m->ctx;
    s->refs = INT_MAX / 2; /* so that `destroy` may call ref and unref */
    if (m->cls->destroy != NULL && !s->unowned)
        m->cls->destroy(m);
    while (s->n_parts > 0)
        wf_part_remove(m, &s->parts[s->n_parts - 1]);
    wf_free(s->parts);
    free_hooks(s->pre_hooks);
    free_hooks(s->post_hooks);
    wf_free(s->backward);
    m->state = NULL;
    m->magic = s->owns_memory ? WF_MODULE_DEAD : 0;
    if (s->owns_memory)
        wf_handles_give(&ctx->handles, m);
    wf_free(s);
    wf_context_unref(ctx);
}

void *weft_module_ok(void *m)
{
    weft_module *module = m;
    if (m == NULL || wf_module_check(module, NULL, "weft_module_ok") != WEFT_OK)
        return NULL;
    if (module->state->failed == WEFT_OK)
        return m;
    weft_module_unref(module);
    return NULL;
}

const char *weft_module_name(const weft_module *m)
{
    return wf_module_valid(m) ? m->cls->name : "";
}
