/* State dictionaries: what a module tree is made of, by name, out and in.
 *
 * Note [Two-phase load]. Loading first compares every name, shape and type and prepares every
 * source, so that the second phase only copies memory and cannot fail. Threading rule: the
 * context's. */
#include <string.h>

#include "modules/internal.h"

#define EXTRA "_extra_state"

/* ---- out ---- */

static weft_status add_joined(weft_tensor_list *list, const char *path, const char *name,
                              weft_tensor *t)
{
    char *joined = wf_join_path(path, name);
    weft_status status = joined != NULL ? weft_tensor_list_add(list, joined, t) : WEFT_ERR_NOMEM;
    wf_free(joined);
    return status;
}

static bool saved(const wf_part *p, wf_part_kind kind)
{
    return p->kind == kind && (kind == WF_PARAMETER || p->persistent) && wf_part_tensor(p) != NULL;
}

static weft_status add_state(void *user, const char *path, weft_module *m)
{
    weft_tensor_list *list = user;
    for (wf_part_kind kind = WF_PARAMETER; kind <= WF_BUFFER; kind++) {
        for (int i = 0; i < m->state->n_parts; i++) {
            const wf_part *p = &m->state->parts[i];
            if (saved(p, kind))
                WF_TRY(add_joined(list, path, p->name, wf_part_tensor(p)));
        }
    }
    if (m->cls->get_extra_state == NULL)
        return WEFT_OK;
    weft_tensor *extra = NULL;
    WF_TRY(m->cls->get_extra_state(m, &extra));
    weft_status status = extra != NULL ? add_joined(list, path, EXTRA, extra) : WEFT_OK;
    weft_tensor_unref(extra);
    return status;
}

weft_status weft_state_dict(weft_module *m, weft_tensor_list *list)
{
    if (wf_module_check(m, NULL, "weft_state_dict") != WEFT_OK || list == NULL)
        return WEFT_ERR_STATE;
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, add_state, &all);
    for (int i = 0; i < all.n && status == WEFT_OK && list->n > 0; i++)
        status = weft_tensor_list_add(list, all.item[i].name, all.item[i].tensor);
    if (status != WEFT_OK) {
        weft_tensor_list_done(&all);
        return wf_fail(m->ctx, status, "%s: cannot list the state: %s", m->cls->name,
                       weft_status_string(status));
    }
    if (list->n == 0) {
        weft_tensor_list_done(list);
        *list = all;
    } else {
        weft_tensor_list_done(&all);
    }
    return WEFT_OK;
}

/* ---- in ---- */

/* A place of the module that a load fills. */
typedef struct target {
    char *name;
    weft_tensor *tensor; /* borrowed from the module; NULL: extra state */
    weft_module *module;
    weft_tensor *source; /* borrowed from the list, or `staged`; NULL: missing */
    weft_tensor *staged;
    void *to;
    const void *from;
} target;

typedef struct load {
    weft_module *m;
    const weft_tensor_list *list;
    target *targets;
    int n, capacity;
    wf_pointer_map places; /* the module's tensors, each to a source found for it */
} load;

static weft_status add_target(load *l, const char *path, const char *name, weft_tensor *t,
                              weft_module *m)
{
    if (l->n == l->capacity) {
        int capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
        target *targets = wf_realloc_array(l->targets, (size_t)capacity, sizeof(*targets));
        if (targets == NULL)
            return WEFT_ERR_NOMEM;
        l->targets = targets;
        l->capacity = capacity;
    }
    char *joined = wf_join_path(path, name);
    if (joined == NULL)
        return WEFT_ERR_NOMEM;
    l->targets[l->n++] = (target){.name = joined, .tensor = t, .module = m};
    if (t != NULL && wf_pointer_map_find(&l->places, t) == NULL &&
        !wf_pointer_map_add(&l->places, t, NULL))
        return WEFT_ERR_NOMEM;
    return WEFT_OK;
}

static weft_status add_targets(void *user, const char *path, weft_module *m)
{
    load *l = user;
    for (wf_part_kind kind = WF_PARAMETER; kind <= WF_BUFFER; kind++) {
        for (int i = 0; i < m->state->n_parts; i++) {
            const wf_part *p = &m->state->parts[i];
            if (saved(p, kind))
                WF_TRY(add_target(l, path, p->name, wf_part_tensor(p), m));
        }
    }
    return m->cls->set_extra_state != NULL ? add_target(l, path, EXTRA, NULL, m) : WEFT_OK;
}

static const target *find_target(const load *l, const char *name)
{
    for (int i = 0; i < l->n; i++) {
        if (strcmp(l->targets[i].name, name) == 0)
            return &l->targets[i];
    }
    return NULL;
}

/* Adds "; missing: a, b" as the items come. */
static void add_problem(wf_text *t, int count, const char *kind, const char *name)
{
    if (count == 0)
        wf_text_add(t, "; %s: %s", kind, name);
    else
        wf_text_add(t, ", %s", name);
}

/* Compares names, shapes and types; reports everything that is wrong at once. */
static weft_status compare(load *l, bool strict)
{
    wf_text text = {0};
    int missing = 0, unexpected = 0, shapes = 0;
    for (int i = 0; i < l->n; i++) {
        target *t = &l->targets[i];
        t->source = weft_tensor_list_find(l->list, t->name);
        void **found = t->tensor != NULL ? wf_pointer_map_find(&l->places, t->tensor) : NULL;
        if (found != NULL && *found == NULL)
            *found = t->source;
    }
    for (int i = 0; i < l->n && strict; i++) {
        const target *t = &l->targets[i];
        /* A shared tensor needs only one of its names: safetensors' save_model writes one. */
        void **found = t->tensor != NULL ? wf_pointer_map_find(&l->places, t->tensor) : NULL;
        if (t->source == NULL && (found == NULL || *found == NULL))
            add_problem(&text, missing++, "missing", t->name);
    }
    for (int i = 0; i < l->list->n && strict; i++) {
        if (find_target(l, l->list->item[i].name) == NULL)
            add_problem(&text, unexpected++, "unexpected", l->list->item[i].name);
    }
    for (int i = 0; i < l->n; i++) {
        const target *t = &l->targets[i];
        if (t->source == NULL || t->tensor == NULL)
            continue;
        weft_shape have = weft_tensor_shape(t->source), want = weft_tensor_shape(t->tensor);
        weft_dtype from = weft_tensor_dtype(t->source), to = weft_tensor_dtype(t->tensor);
        if (weft_shape_equal(have, want) && wf_converts(from, to))
            continue;
        char a[96], b[96];
        add_problem(&text, shapes++, "shape or type", t->name);
        wf_text_add(&text, " is %s %s here and %s %s in the state", weft_dtype_name(to),
                    weft_shape_format(want, b, sizeof(b)), weft_dtype_name(from),
                    weft_shape_format(have, a, sizeof(a)));
    }
    weft_status status = WEFT_OK;
    if (text.failed)
        status = wf_module_nomem(l->m);
    else if (text.length > 0)
        status = wf_fail(l->m->ctx, missing + unexpected > 0 ? WEFT_ERR_NOT_FOUND : WEFT_ERR_SHAPE,
                         "the state does not fit %s, nothing was loaded (%d missing, %d "
                         "unexpected, %d of another shape or type)%s",
                         l->m->cls->name, missing, unexpected, shapes, text.text);
    wf_text_done(&text);
    return status;
}

/* Makes every source and target memory. A source that is itself a target is copied first. */
static weft_status stage(load *l)
{
    for (int i = 0; i < l->n; i++) {
        target *t = &l->targets[i];
        if (t->source == NULL || t->tensor == NULL)
            continue;
        if (t->source != t->tensor && wf_pointer_map_find(&l->places, t->source) != NULL) {
            t->staged = wf_tensor_copy(t->source, weft_tensor_dtype(t->source));
            t->source = t->staged;
        }
        t->from = t->source != NULL ? weft_tensor_data(t->source) : NULL;
        t->to = weft_tensor_data(t->tensor);
        if (t->from == NULL || t->to == NULL)
            return wf_fail(l->m->ctx, WEFT_ERR_STATE, "%s: cannot read '%s'", l->m->cls->name,
                           t->name);
    }
    return WEFT_OK;
}

/* Extra states are set first, since only they can fail; those already set are put back then. */
static weft_status set_extra_states(load *l)
{
    weft_status status = WEFT_OK;
    int i = 0;
    for (; i < l->n && status == WEFT_OK; i++) {
        target *t = &l->targets[i];
        if (t->tensor != NULL || t->source == NULL)
            continue;
        if (t->module->cls->get_extra_state != NULL)
            status = t->module->cls->get_extra_state(t->module, &t->staged);
        if (status == WEFT_OK)
            status = t->module->cls->set_extra_state(t->module, t->source);
        if (status != WEFT_OK)
            wf_fail(l->m->ctx, status, "%s: the extra state '%s' was refused", l->m->cls->name,
                    t->name);
    }
    for (; status != WEFT_OK && i > 0; i--) {
        target *t = &l->targets[i - 1];
        if (t->tensor == NULL && t->staged != NULL)
            t->module->cls->set_extra_state(t->module, t->staged);
    }
    return status;
}

weft_status weft_load_state_dict(weft_module *m, const weft_tensor_list *list, bool strict)
{
    if (wf_module_check(m, NULL, "weft_load_state_dict") != WEFT_OK || list == NULL)
        return WEFT_ERR_STATE;
    load l = {.m = m, .list = list};
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, add_targets, &l);
    if (status != WEFT_OK)
        wf_module_nomem(m);
    if (status == WEFT_OK)
        status = compare(&l, strict);
    if (status == WEFT_OK)
        status = stage(&l);
    if (status == WEFT_OK)
        status = set_extra_states(&l);
    for (int i = 0; i < l.n; i++) {
        target *t = &l.targets[i];
        if (status == WEFT_OK && t->to != NULL && t->to != t->from)
            wf_convert(t->to, weft_tensor_dtype(t->tensor), t->from, weft_tensor_dtype(t->source),
                       weft_shape_count(weft_tensor_shape(t->tensor)));
        if (status == WEFT_OK && t->to != NULL)
            t->module->state->loaded = true;
        weft_tensor_unref(t->staged);
        wf_free(t->name);
    }
    if (status == WEFT_OK)
        m->ctx->lint.batch_norm_told = false;
    wf_free(l.targets);
    wf_pointer_map_done(&l.places);
    return status;
}
