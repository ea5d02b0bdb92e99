/* An optimizer's state as named tensors: saving and loading. Threading rule: the context's. */
#include <stdio.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/machine/workers.h"
#include "engine/step/execute.h"
#include "modules/internal.h"
#include "train/optim/optimizer.h"

/* ---- out ---- */

static weft_status add_named(weft_tensor_list *list, const wf_optim_param *p, const char *part,
                             weft_tensor *t)
{
    char *name = wf_asprintf("%s.%s", p->name, part);
    weft_status status = name != NULL ? weft_tensor_list_add(list, name, t) : WEFT_ERR_NOMEM;
    wf_free(name);
    return status;
}

static weft_tensor *counter(const weft_optimizer *o, int64_t value)
{
    return weft_tensor_from(o->ctx, WEFT_I64, WEFT_SCALAR, &value);
}

static weft_status add_param_state(const weft_optimizer *o, const wf_optim_param *p,
                                   weft_tensor_list *list)
{
    for (int i = 0; i < WF_OPTIM_STATES && p->has_state; i++) {
        if (p->state[i] != NULL)
            WF_TRY(add_named(list, p, o->rule->state_names[i], p->state[i]));
    }
    weft_tensor *steps = counter(o, p->steps);
    if (steps == NULL)
        return weft_error_status(o->ctx);
    weft_status status = add_named(list, p, "step", steps);
    weft_tensor_unref(steps);
    return status;
}

weft_status weft_optimizer_state(weft_optimizer *o, weft_tensor_list *list)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_optimizer_state: the optimizer is NULL");
    if (list == NULL)
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "optimizer: there is no list");
    wf_optimizer_settle(o);
    WF_TRY(wf_optimizer_fit_state(o));
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    weft_tensor *steps = counter(o, o->steps);
    weft_status status =
        steps != NULL ? weft_tensor_list_add(&all, "steps", steps) : weft_error_status(o->ctx);
    weft_tensor_unref(steps);
    for (int i = 0; i < o->n_params && status == WEFT_OK; i++)
        status = add_param_state(o, &o->params[i], &all);
    if (status != WEFT_OK)
        wf_fail(o->ctx, status, "optimizer %s: cannot list the state: %s", o->rule->name,
                weft_status_string(status));
    else if (list->n == 0) {
        weft_tensor_list_done(list);
        *list = all;
        return WEFT_OK;
    } else {
        for (int i = 0; i < all.n && status == WEFT_OK; i++)
            status = weft_tensor_list_add(list, all.item[i].name, all.item[i].tensor);
    }
    weft_tensor_list_done(&all);
    return status;
}

/* ---- in ---- */

typedef struct found {
    int64_t steps;
    weft_tensor *state[WF_OPTIM_STATES]; /* borrowed; NULL: none */
    const void *from[WF_OPTIM_STATES];   /* their content, and where it goes */
    void *to[WF_OPTIM_STATES];
    bool any; /* of them is there */
} found;

typedef struct load {
    weft_optimizer *o;
    const weft_tensor_list *list;
    wf_name_map names; /* names of the list */
    found *found;
    int used; /* entries of the list that were used */
    int problems;
    char text[WEFT_ERROR_TEXT];
} load;

static void problem(load *l, const char *kind, const char *name)
{
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof(l->text) - n, "%s%s '%s'", l->problems++ > 0 ? ", " : "", kind,
             name);
}

/* Finds the entry "<name>.<part>" ("<part>" where name is NULL) of this shape, with a type that
 * converts to this one. NULL where there is none or it does not fit. */
static weft_status take(load *l, const char *name, const char *part, weft_dtype dtype,
                        weft_shape shape, bool required, weft_tensor **t)
{
    char *full = name != NULL ? wf_asprintf("%s.%s", name, part) : wf_strdup(part);
    if (full == NULL)
        return wf_fail(l->o->ctx, WEFT_ERR_NOMEM, "out of memory loading an optimizer's state");
    int at = wf_name_map_find(&l->names, full);
    *t = at >= 0 ? l->list->item[at].tensor : NULL;
    if (*t != NULL) {
        l->used++;
        weft_dtype from = weft_tensor_dtype(*t);
        bool fits = from == dtype || (wf_floating(from) && wf_floating(dtype));
        if (!fits || !weft_shape_equal(weft_tensor_shape(*t), shape)) {
            problem(l, "wrong shape or type of", full);
            *t = NULL;
        }
    } else if (required) {
        problem(l, "missing", full);
    }
    wf_free(full);
    return WEFT_OK;
}

static weft_status take_counter(load *l, const char *name, const char *part, int64_t *value)
{
    weft_tensor *t = NULL;
    WF_TRY(take(l, name, part, WEFT_I64, WEFT_SCALAR, true, &t));
    if (t == NULL)
        return WEFT_OK;
    WF_TRY(weft_read(t, value, sizeof(*value)));
    if (*value < 0)
        problem(l, "negative", part);
    return WEFT_OK;
}

static weft_status take_param(load *l, const wf_optim_param *p, found *f)
{
    const wf_optim_rule *rule = l->o->rule;
    WF_TRY(take_counter(l, p->name, "step", &f->steps));
    unsigned have = 0;
    for (int n = 0; n < WF_OPTIM_STATES && rule->state_names[n] != NULL; n++) {
        WF_TRY(take(l, p->name, rule->state_names[n], weft_tensor_dtype(p->tensor),
                    weft_tensor_shape(p->tensor), false, &f->state[n]));
        have |= (unsigned)(f->state[n] != NULL) << n;
    }
    /* all that the settings use, or none */
    if (have != 0 && (rule->states(l->o) & ~have) != 0)
        problem(l, "incomplete state of", p->name);
    f->any = have != 0;
    return WEFT_OK;
}

/* Whether `name` is "<parameter>.step" or "<parameter>.<state tensor>". */
static weft_status of_a_param(const load *l, const wf_name_map *params, const char *name, bool *yes)
{
    const char *dot = strrchr(name, '.');
    *yes = dot != NULL && strcmp(dot + 1, "step") == 0;
    for (int s = 0; s < WF_OPTIM_STATES && l->o->rule->state_names[s] != NULL && dot != NULL; s++)
        *yes = *yes || strcmp(dot + 1, l->o->rule->state_names[s]) == 0;
    if (!*yes)
        return WEFT_OK;
    char *param = wf_asprintf("%.*s", (int)(dot - name), name);
    if (param == NULL)
        return wf_optimizer_nomem(l->o);
    *yes = wf_name_map_find(params, param) >= 0;
    wf_free(param);
    return WEFT_OK;
}

/* Fails where entries of the list were not used. */
static weft_status find_unexpected(load *l)
{
    if (l->used == l->list->n)
        return WEFT_OK;
    wf_name_map params = {0};
    weft_status status = wf_optimizer_names(l->o, &params);
    for (int i = 0; i < l->list->n && status == WEFT_OK; i++) {
        const char *name = l->list->item[i].name;
        bool known = false;
        status = of_a_param(l, &params, name, &known);
        if (status == WEFT_OK && !known && strcmp(name, "steps") != 0)
            problem(l, "unexpected", name);
    }
    wf_name_map_done(&params);
    return status;
}

/* A worker's parameters. The states' pages are new, and touching them takes most of the time. */
static void fill_share(void *user, int worker, int workers)
{
    const load *l = user;
    for (int i = worker; i < l->o->n_params; i += workers) {
        const wf_optim_param *p = &l->o->params[i];
        const found *f = &l->found[i];
        const int64_t n = weft_shape_count(weft_tensor_shape(p->tensor));
        for (int s = 0; s < WF_OPTIM_STATES; s++)
            if (f->state[s] != NULL && f->state[s] != p->state[s])
                wf_convert(f->to[s], weft_tensor_dtype(p->tensor), f->from[s],
                           weft_tensor_dtype(f->state[s]), n);
    }
}

/* Copies into the state tensors; everything was checked, so only running pending work can fail. */
static weft_status fill(load *l)
{
    weft_optimizer *o = l->o;
    for (int i = 0; i < o->n_params; i++) {
        for (int s = 0; s < WF_OPTIM_STATES; s++) {
            found *f = &l->found[i];
            if (f->state[s] == NULL)
                continue;
            WF_TRY(wf_optimizer_make_state(o, &o->params[i], 1u << s));
            f->from[s] = weft_tensor_const_data(f->state[s]);
            f->to[s] = wf_tensor_writable(o->params[i].state[s]);
            if (f->from[s] == NULL || f->to[s] == NULL)
                return weft_error_status(o->ctx);
        }
    }
    wf_team_run(o->ctx->threads, fill_share, l);
    for (int i = 0; i < o->n_params; i++) {
        o->params[i].steps = l->found[i].steps;
        o->params[i].has_state = l->found[i].any;
    }
    return WEFT_OK;
}

weft_status weft_optimizer_load_state(weft_optimizer *o, const weft_tensor_list *list)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_optimizer_load_state: the optimizer is NULL");
    if (list == NULL)
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "optimizer: there is no list");
    wf_optimizer_settle(o);
    if (o->pending)
        return wf_fail(o->ctx, WEFT_ERR_STATE, "optimizer: run the recorded step before loading");
    WF_TRY(wf_tensor_list_check(o->ctx, "optimizer", list));
    WF_TRY(wf_optimizer_fit_state(o));
    load l = {.o = o, .list = list};
    int64_t steps = 0;
    l.found = wf_zalloc_array((size_t)o->n_params, sizeof(*l.found));
    weft_status status = l.found != NULL && wf_tensor_list_names(list, &l.names)
                             ? take_counter(&l, NULL, "steps", &steps)
                             : wf_optimizer_nomem(o);
    for (int i = 0; i < o->n_params && status == WEFT_OK; i++)
        status = take_param(&l, &o->params[i], &l.found[i]);
    if (status == WEFT_OK)
        status = find_unexpected(&l);
    if (status == WEFT_OK && l.problems > 0)
        status = wf_fail(o->ctx, WEFT_ERR_INVALID,
                         "the state does not fit optimizer %s, nothing was loaded: %s",
                         o->rule->name, l.text);
    if (status == WEFT_OK)
        status = fill(&l);
    if (status == WEFT_OK)
        o->steps = steps;
    wf_name_map_done(&l.names);
    wf_free(l.found);
    return status;
}
