/* Loads state dictionaries.
 *
 * Note [Two-phase load]. Loading first compares every name, shape and type, prepares every source
 * and, where asked, looks at its values. So the second phase only copies memory and cannot fail.
 * One message tells everything that does not fit (misfit.c). Threading rule: the context's. */
#include <math.h>
#include <string.h>

#include "engine/graph/lint.h"
#include "engine/step/execute.h"
#include "modules/state/state.h"

/* A tensor or extra state of the module that a load fills. */
typedef struct target {
    char *name;
    /* with a reference, as `module`: setting extra state runs the user's code */
    weft_tensor *tensor;
    weft_module *module; /* where tensor is NULL: the module whose extra state this is */
    /* borrowed from the list, or `staged`; NULL: missing, or not to be loaded */
    weft_tensor *source;
    weft_tensor *staged;
    void *to;
    const void *from;
} target;

typedef struct load {
    weft_module *m;
    const weft_tensor_list *list;
    const wf_load_rules *rules;
    target *targets;
    int n, capacity;
    wf_pointer_map places; /* maps the module's tensors to their sources */
    wf_name_map names;     /* names of the targets */
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
    if (t != NULL && wf_tensor_check(t, joined, false) == NULL) {
        wf_free(joined);
        return WEFT_ERR_STATE;
    }
    l->targets[l->n++] =
        (target){.name = joined, .tensor = weft_tensor_ref(t), .module = weft_module_ref(m)};
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
            if (wf_part_saved(p, kind))
                WF_TRY(add_target(l, path, p->name, wf_part_tensor(p), m));
        }
    }
    return m->cls->set_extra_state != NULL ? add_target(l, path, WF_EXTRA_STATE, NULL, m) : WEFT_OK;
}

/* ---- what fits ---- */

bool wf_names_cover(const char *prefixes, const char *name)
{
    for (const char *p = prefixes; p != NULL && *p != '\0'; p += strcspn(p, " ")) {
        p += strspn(p, " ");
        size_t n = strcspn(p, " ");
        if (n > 0 && strncmp(name, p, n) == 0 &&
            (p[n - 1] == '.' || name[n] == '.' || name[n] == '\0'))
            return true;
    }
    return false;
}

/* Finds the sources of the targets. A shared tensor needs only one of its names, because
 * safetensors' save_model writes only one. */
static weft_status find_sources(load *l)
{
    wf_name_map given = {0};
    bool listed = wf_tensor_list_names(l->list, &given);
    for (int i = 0; i < l->n && listed; i++) {
        target *t = &l->targets[i];
        listed = wf_name_map_add(&l->names, t->name, i);
        if (wf_names_cover(l->rules->except, t->name))
            continue;
        int at = wf_name_map_find(&given, t->name);
        t->source = at >= 0 ? l->list->item[at].tensor : NULL;
        void **found = t->tensor != NULL ? wf_pointer_map_find(&l->places, t->tensor) : NULL;
        if (found != NULL && *found == NULL)
            *found = t->source;
    }
    wf_name_map_done(&given);
    return listed ? WEFT_OK : wf_module_nomem(l->m);
}

/* Whether this is BatchNorm's counter. States from before torch 0.4.1 do not have it. Torch's
 * strict loading does not require it either, unless the state says that it is of a later
 * version. */
static bool may_lack(const target *t)
{
    static const char counter[] = ".num_batches_tracked";
    size_t n = strlen(t->name), k = sizeof(counter) - 1;
    return n > k && strcmp(t->name + n - k, counter) == 0 && t->tensor != NULL &&
           weft_tensor_dtype(t->tensor) == WEFT_I64;
}

/* Whether the shapes fit. A vector of one element fits a scalar and the reverse, as in torch's
 * copy_: states from before torch 0.4 have such vectors. */
static bool shapes_fit(weft_shape from, weft_shape to)
{
    bool one =
        from.rank <= 1 && to.rank <= 1 && weft_shape_count(from) == 1 && weft_shape_count(to) == 1;
    return one || weft_shape_equal(from, to);
}

static const wf_foreign *find_foreign(const load *l, const char *name)
{
    for (int i = 0; i < l->rules->n_foreign; i++) {
        if (strcmp(l->rules->foreign[i].name, name) == 0)
            return &l->rules->foreign[i];
    }
    return NULL;
}

static void compare_target(const load *l, const target *t, wf_misfits *misfits)
{
    if (wf_names_cover(l->rules->except, t->name))
        return;
    const wf_foreign *foreign = t->source == NULL ? find_foreign(l, t->name) : NULL;
    if (foreign != NULL && t->tensor != NULL) {
        wf_misfit_add(misfits, (wf_misfit){.kind = WF_OTHER_TYPE,
                                           .name = t->name,
                                           .have = t->tensor,
                                           .foreign = foreign->what});
        return;
    }
    void **found = t->tensor != NULL ? wf_pointer_map_find(&l->places, t->tensor) : NULL;
    if (t->source == NULL && (found == NULL || *found == NULL) && l->rules->strict && !may_lack(t))
        wf_misfit_add(misfits, (wf_misfit){.kind = WF_MISSING, .name = t->name});
    if (t->source == NULL || t->tensor == NULL)
        return;
    wf_misfit other = {.name = t->name, .have = t->tensor, .given = t->source};
    bool fits = shapes_fit(weft_tensor_shape(t->source), weft_tensor_shape(t->tensor));
    other.kind = fits ? WF_OTHER_TYPE : WF_OTHER_SHAPE;
    if (!fits || !wf_converts(weft_tensor_dtype(t->source), weft_tensor_dtype(t->tensor)))
        wf_misfit_add(misfits, other);
}

static void compare_given(const load *l, const char *name, wf_misfits *misfits)
{
    if (l->rules->strict && wf_name_map_find(&l->names, name) < 0 &&
        !wf_names_cover(l->rules->optional, name) && !wf_names_cover(l->rules->except, name))
        wf_misfit_add(misfits, (wf_misfit){.kind = WF_UNEXPECTED, .name = name});
}

/* Compares names, shapes and types. Reports everything that is wrong in one message. */
static weft_status compare(load *l)
{
    wf_misfits misfits = {.m = l->m, .list = l->list, .rules = l->rules};
    WF_TRY(find_sources(l));
    for (int i = 0; i < l->n; i++)
        compare_target(l, &l->targets[i], &misfits);
    for (int i = 0; i < l->list->n; i++)
        compare_given(l, l->list->item[i].name, &misfits);
    for (int i = 0; i < l->rules->n_foreign; i++)
        compare_given(l, l->rules->foreign[i].name, &misfits);
    return wf_misfits_end(&misfits);
}

/* Brings the memory of every source and target up to date. Copies a source that is itself a
 * target. */
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
        t->from = t->source != NULL ? weft_tensor_const_data(t->source) : NULL;
        t->to = wf_tensor_writable(t->tensor);
        if (t->from == NULL || t->to == NULL)
            return wf_fail(l->m->ctx, WEFT_ERR_STATE, "%s: cannot read '%s'", l->m->cls->name,
                           t->name);
    }
    return WEFT_OK;
}

/* How many of the n values are not finite once they are stored as `to`: an f64 value may be too
 * large for f32. */
static int64_t count_not_finite(const void *from, weft_dtype dtype, weft_dtype to, int64_t n)
{
    enum { CHUNK = 1024 };
    double wide[CHUNK];
    float narrow[CHUNK];
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t count = n - i < CHUNK ? n - i : CHUNK;
        const char *at = (const char *)from + (size_t)i * weft_dtype_size(dtype);
        wf_convert(to == WEFT_F64 ? (void *)wide : (void *)narrow, to, at, dtype, count);
        for (int64_t k = 0; k < count && to == WEFT_F64; k++)
            bad += !isfinite(wide[k]);
        for (int64_t k = 0; k < count && to == WEFT_F32; k++)
            bad += !isfinite(narrow[k]);
    }
    return bad;
}

static void check_target_values(const load *l, const target *t, wf_misfits *misfits)
{
    weft_dtype to = weft_tensor_dtype(t->tensor), from = weft_tensor_dtype(t->source);
    int64_t n = weft_shape_count(weft_tensor_shape(t->tensor));
    int64_t at = wf_first_misfit(to, t->from, from, n);
    if (at >= 0)
        wf_misfit_add(misfits, (wf_misfit){.kind = WF_OTHER_VALUE,
                                           .name = t->name,
                                           .have = t->tensor,
                                           .given = t->source,
                                           .bad = at});
    if (!l->rules->finite || (to != WEFT_F32 && to != WEFT_F64))
        return;
    int64_t bad = count_not_finite(t->from, from, to, n);
    if (bad > 0)
        wf_misfit_add(misfits,
                      (wf_misfit){.kind = WF_NOT_FINITE, .name = t->name, .bad = bad, .of = n});
}

static weft_status check_values(const load *l)
{
    wf_misfits misfits = {.m = l->m, .list = l->list, .rules = l->rules};
    for (int i = 0; i < l->n; i++) {
        if (l->targets[i].from != NULL)
            check_target_values(l, &l->targets[i], &misfits);
    }
    return wf_misfits_end(&misfits);
}

/* Sets the extra states first, because only this can fail. On failure, restores those already
 * set. */
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
            status = wf_fail(l->m->ctx, status, "%s: the extra state '%s' was refused",
                             l->m->cls->name, t->name);
    }
    for (; status != WEFT_OK && i > 0; i--) {
        target *t = &l->targets[i - 1];
        if (t->tensor == NULL && t->staged != NULL)
            t->module->cls->set_extra_state(t->module, t->staged);
    }
    return status;
}

weft_status wf_load_state(weft_module *m, const weft_tensor_list *list, const wf_load_rules *rules)
{
    load l = {.m = m, .list = list, .rules = rules};
    weft_status status = wf_walk(m, WEFT_WALK_DUPLICATES, add_targets, &l);
    if (status == WEFT_ERR_NOMEM)
        wf_module_nomem(m);
    if (status == WEFT_OK)
        status = compare(&l);
    if (status == WEFT_OK)
        status = stage(&l);
    if (status == WEFT_OK)
        status = check_values(&l);
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
        weft_tensor_unref(t->tensor);
        weft_module_unref(t->module);
        wf_free(t->name);
    }
    if (status == WEFT_OK)
        m->ctx->lint->batch_norm_told = false;
    wf_free(l.targets);
    wf_name_map_done(&l.names);
    wf_pointer_map_done(&l.places);
    return status;
}

weft_status weft_load_state_dict(weft_module *m, const weft_tensor_list *list, bool strict)
{
    WF_TRY(wf_module_check_with(m, list, "weft_load_state_dict"));
    WF_TRY(wf_tensor_list_check(m->ctx, "weft_load_state_dict", list));
    return wf_load_state(m, list, &(wf_load_rules){.strict = strict, .what = "the state"});
}
