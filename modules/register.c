/* Registering parts under names, and looking them up by dotted path.
 *
 * Threading rule: the context's. */
#include <string.h>

#include "modules/internal.h"

static const char *const kind_name[] = {
    [WF_PARAMETER] = "parameter", [WF_BUFFER] = "buffer", [WF_CHILD] = "module"};

/* Fails where another part uses this member of the struct already. */
static weft_status check_field(const weft_module *m, const char *name, wf_part_kind kind,
                               const void *field)
{
    for (int i = 0; field != NULL && i < m->state->n_parts; i++) {
        const wf_part *p = &m->state->parts[i];
        const void *its = p->kind == WF_CHILD ? (void *)p->field.module : (void *)p->field.tensor;
        if (its == field && strcmp(p->name, name) != 0)
            return wf_fail(m->ctx, WEFT_ERR_INVALID,
                           "%s: the field given for %s '%s' already holds '%s'", m->cls->name,
                           kind_name[kind], name, p->name);
    }
    return WEFT_OK;
}

/* Checks the name and the field, then finds or creates the part `name` of this kind. */
static weft_status claim(weft_module *m, const char *name, wf_part_kind kind, const void *field,
                         wf_part **part)
{
    const char *cls = m->cls->name, *what = kind_name[kind];
    if (name == NULL || name[0] == '\0')
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: the name of a %s is empty", cls, what);
    if (strchr(name, '.') != NULL)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: the name of %s '%s' contains a '.'", cls,
                       what, name);
    wf_part *p = wf_part_find(m, name, strlen(name));
    if (p != NULL && p->kind != kind)
        return wf_fail(m->ctx, WEFT_ERR_STATE, "%s: cannot register %s '%s': there is a %s '%s'",
                       cls, what, name, kind_name[p->kind], name);
    WF_TRY(check_field(m, name, kind, field));
    if (p == NULL) {
        char *copy = wf_strdup(name);
        p = copy != NULL ? wf_part_append(m, copy, kind) : NULL;
        if (p == NULL) {
            wf_free(copy);
            return wf_module_nomem(m);
        }
    }
    *part = p;
    return WEFT_OK;
}

static weft_status check_tensor(const weft_module *m, const char *name, wf_part_kind kind,
                                const weft_tensor *t)
{
    const char *cls = m->cls->name, *what = kind_name[kind];
    if (weft_tensor_context(t) != m->ctx)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: %s '%s' belongs to another context", cls,
                       what, name);
    if (wf_tensor_check(t, "register", true) == NULL)
        return WEFT_ERR_STATE;
    if (!weft_tensor_is_stored(t))
        return wf_fail(m->ctx, WEFT_ERR_INVALID,
                       "%s: %s '%s' is the result of an op; only stored tensors can be "
                       "registered (weft_keep() makes one)",
                       cls, what, name);
    weft_dtype dtype = weft_tensor_dtype(t);
    if (kind == WF_PARAMETER && !wf_floating(dtype) && dtype != WEFT_BF16)
        return wf_fail(m->ctx, WEFT_ERR_DTYPE,
                       "%s: parameter '%s' is %s; it must be f32, f64 or bf16", cls, name,
                       weft_dtype_name(dtype));
    return WEFT_OK;
}

/* Moves the part's value to the member `field`, if that is a new one; the old one holds NULL
 * then. */
static void bind_tensor(wf_part *p, weft_tensor **field)
{
    if (field == NULL || field == p->field.tensor)
        return;
    weft_tensor *value = wf_part_tensor(p);
    if (p->field.tensor != NULL)
        *p->field.tensor = NULL;
    *field = value;
    p->field.tensor = field;
    p->own.tensor = NULL;
}

static void bind_module(wf_part *p, weft_module **field)
{
    if (field == NULL || field == p->field.module)
        return;
    weft_module *value = wf_part_module(p);
    if (p->field.module != NULL)
        *p->field.module = NULL;
    *field = value;
    p->field.module = field;
    p->own.module = NULL;
}

static weft_status register_tensor(weft_module *m, const char *name, weft_tensor **field,
                                   weft_tensor *value, wf_part_kind kind, bool persistent)
{
    weft_status status =
        wf_module_check(m, value != NULL ? weft_tensor_context(value) : NULL,
                        kind == WF_BUFFER ? "weft_register_buffer" : "weft_register_parameter");
    wf_part *p = NULL;
    if (status == WEFT_OK) {
        status = value != NULL ? check_tensor(m, name != NULL ? name : "", kind, value)
                               : weft_error_status(m->ctx);
        if (status == WEFT_OK)
            status = claim(m, name, kind, field, &p);
        if (status == WEFT_OK && kind == WF_PARAMETER && value != NULL)
            status = weft_set_requires_grad(value, true);
        if (status != WEFT_OK && m->state->failed == WEFT_OK)
            m->state->failed = status;
    }
    if (status != WEFT_OK) {
        weft_tensor_unref(value);
        return status;
    }
    p->persistent = persistent;
    bind_tensor(p, field);
    wf_part_set_tensor(p, value);
    return WEFT_OK;
}

weft_status weft_register_parameter(weft_module *m, const char *name, weft_tensor **field,
                                    weft_tensor *value)
{
    return register_tensor(m, name, field, value, WF_PARAMETER, true);
}

weft_status weft_register_buffer(weft_module *m, const char *name, weft_tensor **field,
                                 weft_tensor *value, bool persistent)
{
    return register_tensor(m, name, field, value, WF_BUFFER, persistent);
}

weft_status wf_register_empty(weft_module *m, const char *name, weft_tensor **field)
{
    wf_part *p = NULL;
    weft_status status = claim(m, name, WF_PARAMETER, field, &p);
    if (status != WEFT_OK) {
        m->state->failed = status;
        return status;
    }
    bind_tensor(p, field);
    wf_part_set_tensor(p, NULL);
    return WEFT_OK;
}

static weft_status is_target(void *target, const char *path, weft_module *m)
{
    return m == target ? WEFT_ERR_STATE : WEFT_OK;
}

static weft_status check_child(const weft_module *m, const char *name, weft_module *child)
{
    if (child->magic == WF_MODULE_DEAD)
        return wf_fail(m->ctx, WEFT_ERR_STATE,
                       "%s: module '%s' was destroyed: its last reference was dropped",
                       m->cls->name, name);
    if (!wf_module_valid(child))
        return wf_fail(m->ctx, WEFT_ERR_STATE,
                       "%s: module '%s' is not initialised; create it with weft_module_create() or "
                       "call weft_module_init() first",
                       m->cls->name, name);
    if (child->ctx != m->ctx)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: module '%s' belongs to another context",
                       m->cls->name, name);
    /* Only a module that is part of another one can lie below the child, so only then search. */
    if (m == child || (m->state->places != 0 && wf_child_count(child) > 0)) {
        weft_status status = wf_walk(child, 0, is_target, (void *)m);
        if (status == WEFT_ERR_STATE)
            return wf_fail(m->ctx, WEFT_ERR_STATE,
                           "%s: registering module '%s' would close a cycle: %s is part of it",
                           m->cls->name, name, m->cls->name);
        if (status != WEFT_OK)
            return wf_module_nomem(m);
    }
    return WEFT_OK;
}

weft_status weft_register_module(weft_module *m, const char *name, weft_module **field,
                                 weft_module *value)
{
    weft_status status =
        wf_module_check(m, wf_module_valid(value) ? value->ctx : NULL, "weft_register_module");
    wf_part *p = NULL;
    if (status == WEFT_OK) {
        status = value != NULL ? check_child(m, name != NULL ? name : "", value)
                               : weft_error_status(m->ctx);
        if (status == WEFT_OK)
            status = claim(m, name, WF_CHILD, field, &p);
        if (status != WEFT_OK && m->state->failed == WEFT_OK)
            m->state->failed = status;
    }
    if (status != WEFT_OK) {
        weft_module_unref(value);
        return status;
    }
    bind_module(p, field);
    wf_part_set_module(m, p, value);
    return WEFT_OK;
}

/* ---- looking up ---- */

/* Walks to the module that `path` names (`whole`), or to the one that holds its last name. Sets
 * *last to the rest of the path. NULL: there is no such module; with `tell`, sets the error. */
static weft_module *descend(weft_module *m, const char *path, bool whole, bool tell,
                            const char **last)
{
    weft_module *at = m;
    const char *rest = path;
    while (*rest != '\0') {
        size_t length = strcspn(rest, ".");
        if (!whole && rest[length] == '\0')
            break;
        const wf_part *p = wf_part_find(at, rest, length);
        weft_module *child = p != NULL && p->kind == WF_CHILD ? wf_part_module(p) : NULL;
        if (child == NULL && !tell)
            return NULL;
        if (child == NULL) {
            const char *why = p == NULL             ? "there is no such part"
                              : p->kind == WF_CHILD ? "that module is empty (NULL)"
                                                    : "it is not a module";
            wf_fail(m->ctx, WEFT_ERR_NOT_FOUND, "%s: no module '%.*s' (in '%s'): %s", m->cls->name,
                    (int)(rest + length - path), path, path, why);
            return NULL;
        }
        if (!wf_module_valid(child)) {
            if (tell)
                wf_part_check(at, p);
            return NULL;
        }
        at = child;
        rest += length;
        if (*rest == '.')
            rest++;
    }
    *last = rest;
    return at;
}

/* Checks that a path is "" or names separated by single dots. */
static weft_status check_path(const weft_module *m, const char *path, const char *what)
{
    if (path == NULL)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: the path is NULL", what);
    size_t n = strlen(path);
    if (n > 0 && (path[0] == '.' || path[n - 1] == '.' || strstr(path, "..") != NULL))
        return wf_fail(m->ctx, WEFT_ERR_NOT_FOUND, "%s: a name in the path '%s' is empty", what,
                       path);
    return WEFT_OK;
}

weft_module *weft_get_module(weft_module *m, const char *path)
{
    const char *last;
    if (wf_module_check(m, NULL, "weft_get_module") != WEFT_OK ||
        check_path(m, path, "weft_get_module") != WEFT_OK)
        return NULL;
    return descend(m, path, true, true, &last);
}

static weft_tensor *get_tensor(weft_module *m, const char *path, wf_part_kind kind)
{
    const char *last;
    const char *what = kind == WF_PARAMETER ? "weft_get_parameter" : "weft_get_buffer";
    if (wf_module_check(m, NULL, what) != WEFT_OK || check_path(m, path, what) != WEFT_OK)
        return NULL;
    weft_module *at = descend(m, path, false, true, &last);
    if (at == NULL)
        return NULL;
    const wf_part *p = wf_part_find(at, last, strlen(last));
    weft_tensor *t = p != NULL && p->kind == kind ? wf_part_tensor(p) : NULL;
    if (t != NULL)
        return t;
    if (p == NULL)
        wf_fail(m->ctx, WEFT_ERR_NOT_FOUND, "%s: no %s '%s': there is no such part", m->cls->name,
                kind_name[kind], path);
    else if (p->kind != kind)
        wf_fail(m->ctx, WEFT_ERR_NOT_FOUND, "%s: no %s '%s': it is a %s", m->cls->name,
                kind_name[kind], path, kind_name[p->kind]);
    else
        wf_fail(m->ctx, WEFT_ERR_NOT_FOUND, "%s: %s '%s' is empty (NULL)", m->cls->name,
                kind_name[kind], path);
    return NULL;
}

weft_tensor *weft_get_parameter(weft_module *m, const char *path)
{
    return get_tensor(m, path, WF_PARAMETER);
}

weft_tensor *weft_get_buffer(weft_module *m, const char *path)
{
    return get_tensor(m, path, WF_BUFFER);
}

/* ---- asking ---- */

static bool has_tensor(weft_module *m, const char *path, wf_part_kind kind)
{
    const char *last;
    weft_module *at =
        wf_module_valid(m) && path != NULL ? descend(m, path, false, false, &last) : NULL;
    const wf_part *p = at != NULL ? wf_part_find(at, last, strlen(last)) : NULL;
    return p != NULL && p->kind == kind && wf_part_tensor(p) != NULL;
}

bool weft_has_parameter(weft_module *m, const char *path)
{
    return has_tensor(m, path, WF_PARAMETER);
}

bool weft_has_buffer(weft_module *m, const char *path)
{
    return has_tensor(m, path, WF_BUFFER);
}

bool weft_has_module(weft_module *m, const char *path)
{
    const char *last;
    return wf_module_valid(m) && path != NULL && descend(m, path, true, false, &last) != NULL;
}
