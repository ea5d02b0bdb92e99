/* Copies of tensors, and deep copies of module trees.
 *
 * Threading rule: the context's. */
#include <string.h>

#include "engine/step/execute.h"
#include "modules/internal.h"

/* ---- tensors ---- */

weft_tensor *wf_tensor_copy(weft_tensor *t, weft_dtype dtype)
{
    weft_shape shape = weft_tensor_shape(t);
    const void *from = weft_tensor_const_data(t);
    weft_tensor *copy =
        from != NULL ? weft_tensor_create(weft_tensor_context(t), dtype, shape) : NULL;
    void *to = copy != NULL ? wf_tensor_writable(copy) : NULL;
    if (to == NULL) {
        weft_tensor_unref(copy);
        return NULL;
    }
    wf_convert(to, dtype, from, weft_tensor_dtype(t), weft_shape_count(shape));
    copy->requires_grad = weft_requires_grad(t); /* of bf16 too, for when it becomes f32 again */
    return copy;
}

/* ---- clone ---- */

/* The member of `copy` at the place that `field` has in `m`; NULL where `field` is outside m's
 * struct. */
static void *same_field(const weft_module *m, weft_module *copy, const void *field)
{
    uintptr_t offset = (uintptr_t)field - (uintptr_t)m;
    if (field == NULL || offset < sizeof(weft_module) || offset + sizeof(void *) > m->cls->size)
        return NULL;
    return (char *)copy + offset;
}

/* `made` has the copies made so far, so shared tensors and modules are copied once. */
static weft_tensor *clone_tensor(wf_pointer_map *made, weft_tensor *t)
{
    void **before = wf_pointer_map_find(made, t);
    if (before != NULL)
        return weft_tensor_ref(*before);
    weft_tensor *copy = wf_tensor_copy(t, weft_tensor_dtype(t));
    if (copy != NULL && !wf_pointer_map_add(made, t, copy)) {
        wf_fail(weft_tensor_context(t), WEFT_ERR_NOMEM, "out of memory copying a module");
        weft_tensor_unref(copy);
        return NULL;
    }
    return copy;
}

static weft_module *clone_module(wf_pointer_map *made, weft_module *m);

static weft_status clone_part(wf_pointer_map *made, weft_module *m, weft_module *copy,
                              const wf_part *p)
{
    char *name = wf_strdup(p->name);
    wf_part *q = name != NULL ? wf_part_append(copy, name, p->kind) : NULL;
    if (q == NULL) {
        wf_free(name);
        return wf_module_nomem(m);
    }
    q->persistent = p->persistent;
    if (p->kind == WF_CHILD) {
        q->field.module = same_field(m, copy, p->field.module);
        if (q->field.module != NULL)
            *q->field.module = NULL; /* the copied struct still points to the original's child */
        weft_module *child = wf_part_module(p);
        WF_TRY(wf_part_check(m, p));
        if (child != NULL && (child = clone_module(made, child)) == NULL)
            return weft_error_status(m->ctx);
        wf_part_set_module(copy, q, child);
    } else {
        q->field.tensor = same_field(m, copy, p->field.tensor);
        if (q->field.tensor != NULL)
            *q->field.tensor = NULL;
        weft_tensor *t = wf_part_tensor(p);
        if (t != NULL && (t = clone_tensor(made, t)) == NULL)
            return weft_error_status(m->ctx);
        wf_part_set_tensor(q, t);
    }
    return WEFT_OK;
}

static weft_module *clone_module(wf_pointer_map *made, weft_module *m)
{
    const weft_module_class *cls = m->cls;
    void **before = wf_pointer_map_find(made, m);
    if (before != NULL)
        return weft_module_ref(*before);
    if (cls->destroy != NULL && cls->clone == NULL) {
        wf_fail(m->ctx, WEFT_ERR_UNSUPPORTED,
                "%s cannot be cloned: its class has a destroy but no clone", cls->name);
        return NULL;
    }
    weft_module *copy = wf_module_new(m->ctx, cls); /* init does not run: the parts are copied */
    if (copy == NULL)
        return NULL;
    copy->training = m->training;
    copy->state->unowned = true;
    copy->state->recompute = m->state->recompute;
    memcpy((char *)copy + sizeof(*copy), (const char *)m + sizeof(*m), cls->size - sizeof(*m));
    weft_status status = WEFT_OK;
    for (int i = 0; i < m->state->n_parts && status == WEFT_OK; i++)
        status = clone_part(made, m, copy, &m->state->parts[i]);
    if (status == WEFT_OK && !wf_pointer_map_add(made, m, copy))
        status = wf_module_nomem(m);
    if (status == WEFT_OK && cls->clone != NULL) {
        status = cls->clone(copy, m);
        if (status != WEFT_OK)
            wf_fail(m->ctx, status, "%s: clone failed", cls->name);
    }
    if (status != WEFT_OK) {
        weft_module_unref(copy);
        return NULL;
    }
    copy->state->unowned = false;
    return copy;
}

weft_module *weft_module_clone(weft_module *m)
{
    if (wf_module_check(m, NULL, "weft_module_clone") != WEFT_OK)
        return NULL;
    wf_pointer_map made = {0};
    weft_module *copy = clone_module(&made, m);
    wf_pointer_map_done(&made);
    return copy;
}
