/* Sequential, ModuleList and ModuleDict.
 *
 * In a Sequential and a ModuleList, children are named by position: inserting and removing moves
 * the modules, not the names. Threading rule: the context's. */
#include <stdio.h>
#include <string.h>

#include "modules/internal.h"
#include "weft/layers.h"

weft_tensor *wf_sequential_forward(weft_module *m, weft_tensor *x)
{
    for (int i = 0; x != NULL; i++) {
        const wf_part *p = wf_part_child(m, i);
        if (p == NULL)
            break;
        x = weft_call(wf_part_module(p), x);
    }
    return x;
}

static const weft_module_class sequential_class = {.name = "Sequential",
                                                   .size = sizeof(weft_module),
                                                   .version = 1,
                                                   .forward = wf_sequential_forward};
const weft_module_class wf_module_list_class = {
    .name = "ModuleList", .size = sizeof(weft_module), .version = 1};
static const weft_module_class dict_class = {
    .name = "ModuleDict", .size = sizeof(weft_module), .version = 1};

static weft_status check_list(const weft_module *m, weft_module *child, const char *what)
{
    WF_TRY(wf_module_check(m, wf_module_valid(child) ? child->ctx : NULL, what));
    if (m->cls->forward != wf_sequential_forward && m->cls != &wf_module_list_class)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "%s: %s is neither Sequential nor ModuleList",
                       what, m->cls->name);
    return WEFT_OK;
}

static weft_module **place(weft_module *m, int index)
{
    wf_part *p = wf_part_child(m, index);
    return p->field.module != NULL ? p->field.module : &p->own.module;
}

/* ---- creating ---- */

static weft_module *create(weft_context *ctx, const weft_module_class *cls, int n,
                           weft_module *const *modules)
{
    if (n < 0 || (n > 0 && modules == NULL)) {
        if (ctx == NULL)
            wf_no_context(cls->name);
        else
            wf_fail(ctx, WEFT_ERR_INVALID, "%s of %d modules: %s", cls->name, n,
                    n < 0 ? "the number must not be negative" : "the array is NULL");
        return NULL;
    }
    weft_module *m = weft_module_create(ctx, cls, NULL);
    weft_status status = m != NULL ? WEFT_OK : WEFT_ERR_NOMEM;
    for (int i = 0; i < n; i++) {
        if (status == WEFT_OK)
            status = weft_append(m, modules[i]);
        else
            weft_module_unref(modules[i]);
    }
    if (status == WEFT_OK)
        return m;
    weft_module_unref(m);
    return NULL;
}

weft_module *wf_sequential_as(weft_context *ctx, const weft_module_class *cls, int n,
                              weft_module *const *modules)
{
    return create(ctx, cls, n, modules);
}

weft_module *weft_sequential_create(weft_context *ctx, int n, weft_module *const *modules)
{
    return create(ctx, &sequential_class, n, modules);
}

weft_module *weft_module_list_create(weft_context *ctx, int n, weft_module *const *modules)
{
    return create(ctx, &wf_module_list_class, n, modules);
}

weft_module *weft_module_dict_create(weft_context *ctx)
{
    return weft_module_create(ctx, &dict_class, NULL);
}

/* ---- Sequential and ModuleList ---- */

weft_status weft_append(weft_module *list, weft_module *child)
{
    weft_status status = check_list(list, child, "weft_append");
    if (status == WEFT_OK && child == NULL) {
        status = weft_error_status(list->ctx);
        if (status == WEFT_OK)
            status = wf_fail(list->ctx, WEFT_ERR_INVALID, "weft_append: the module is NULL");
    }
    if (status != WEFT_OK) {
        if (wf_module_valid(list) && list->state->failed == WEFT_OK)
            list->state->failed = status; /* weft_module_ok() reports it */
        weft_module_unref(child);
        return status;
    }
    char name[16];
    snprintf(name, sizeof(name), "%d", wf_child_count(list));
    return weft_register_module(list, name, NULL, child);
}

weft_status weft_insert(weft_module *list, int index, weft_module *child)
{
    weft_status status = check_list(list, child, "weft_insert");
    int n = status == WEFT_OK ? wf_child_count(list) : 0;
    if (status == WEFT_OK && (index < -n || index > n))
        status = wf_fail(list->ctx, WEFT_ERR_INVALID,
                         "weft_insert: index %d is out of range for %d modules", index, n);
    if (status != WEFT_OK) {
        weft_module_unref(child);
        return status;
    }
    index = index < 0 ? index + n : index;
    WF_TRY(weft_append(list, child));
    for (int i = n; i > index; i--)
        *place(list, i) = *place(list, i - 1);
    *place(list, index) = child;
    return WEFT_OK;
}

weft_status weft_remove(weft_module *list, int index)
{
    WF_TRY(check_list(list, NULL, "weft_remove"));
    int n = wf_child_count(list);
    if (index < -n || index >= n)
        return wf_fail(list->ctx, WEFT_ERR_INVALID,
                       "weft_remove: index %d is out of range for %d modules", index, n);
    index = index < 0 ? index + n : index;
    weft_module *gone = *place(list, index);
    for (int i = index; i < n - 1; i++)
        *place(list, i) = *place(list, i + 1);
    *place(list, n - 1) = gone;
    wf_part_remove(list, wf_part_child(list, n - 1));
    return WEFT_OK;
}

weft_module *weft_at(weft_module *list, int index)
{
    if (wf_module_check(list, NULL, "weft_at") != WEFT_OK)
        return NULL;
    int n = wf_child_count(list);
    if (index < -n || index >= n) {
        wf_fail(list->ctx, WEFT_ERR_NOT_FOUND, "weft_at: index %d is out of range for %d modules",
                index, n);
        return NULL;
    }
    const wf_part *p = wf_part_child(list, index < 0 ? index + n : index);
    if (wf_part_check(list, p) != WEFT_OK)
        return NULL;
    if (wf_part_module(p) == NULL)
        wf_fail(list->ctx, WEFT_ERR_NOT_FOUND, "weft_at: module %d is empty (NULL)", index);
    return wf_part_module(p);
}

int weft_length(const weft_module *list)
{
    return wf_module_valid(list) ? wf_child_count(list) : 0;
}

/* ---- ModuleDict ---- */

weft_status weft_dict_remove(weft_module *dict, const char *name)
{
    WF_TRY(wf_module_check(dict, NULL, "weft_dict_remove"));
    for (int i = 0; name != NULL && i < dict->state->n_parts; i++) {
        wf_part *p = &dict->state->parts[i];
        if (p->kind == WF_CHILD && strcmp(p->name, name) == 0) {
            wf_part_remove(dict, p);
            return WEFT_OK;
        }
    }
    return wf_fail(dict->ctx, WEFT_ERR_NOT_FOUND, "weft_dict_remove: no module '%s'",
                   name != NULL ? name : "");
}
