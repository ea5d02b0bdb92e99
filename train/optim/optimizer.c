/* Optimizers: groups, the step, learning rates. Threading rule: the context's.
 *
 * See Note [Optimizer counters]. */
#include <math.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/graph/lint.h"
#include "engine/step/execute.h"
#include "modules/internal.h"
#include "train/optim/lint.h"
#include "train/optim/optimizer.h"

weft_status wf_optimizer_nomem(const weft_optimizer *o)
{
    return wf_fail(o->ctx, WEFT_ERR_NOMEM, "out of memory in optimizer %s", o->rule->name);
}

static weft_status check_range(weft_context *ctx, const char *optimizer, const char *field,
                               double value, double below)
{
    if (value >= 0 && value < below)
        return WEFT_OK;
    return wf_fail(ctx, WEFT_ERR_INVALID, "%s: %s %g is not in [0, %g)", optimizer, field, value,
                   below);
}

bool wf_optimizer_in_range(weft_context *ctx, const wf_optim_rule *rule,
                           const wf_optim_setting *settings, int n)
{
    for (int i = 0; i < n; i++)
        if (check_range(ctx, rule->name, settings[i].name, settings[i].value, settings[i].below))
            return false;
    return true;
}

/* ---- life ---- */

weft_optimizer *wf_optimizer_create(weft_context *ctx, const wf_optim_rule *rule, weft_module *m,
                                    const weft_optimizer *like)
{
    if (ctx->closed) {
        wf_fail(ctx, WEFT_ERR_STATE, "optimizer %s: the context was destroyed", rule->name);
        return NULL;
    }
    weft_optimizer *o = wf_alloc(sizeof(*o));
    if (o == NULL) {
        wf_fail(ctx, WEFT_ERR_NOMEM, "out of memory creating optimizer %s", rule->name);
        return NULL;
    }
    *o = *like;
    o->ctx = ctx;
    o->rule = rule;
    wf_context_ref(ctx);
    ctx->lint->optimizers++;
    if (m == NULL)
        return o;
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT;
    weft_status status = weft_parameters(m, 0, &params);
    if (status == WEFT_OK)
        status = weft_optimizer_add_group(o, &params, NAN, NAN);
    else
        wf_fail(ctx, status, "optimizer %s: the module's parameters cannot be listed", rule->name);
    weft_tensor_list_done(&params);
    if (status == WEFT_OK)
        return o;
    weft_optimizer_destroy(o);
    return NULL;
}

/* Fails inside weft_optimizer_record: a message handler must not change an optimizer that is
 * recording its step. */
static weft_status check_idle(const weft_optimizer *o, const char *what)
{
    if (o->recording)
        return wf_fail(o->ctx, WEFT_ERR_STATE, "%s: not possible inside a callback", what);
    return WEFT_OK;
}

static void drop_param(wf_optim_param *p)
{
    wf_free(p->name);
    p->tensor->optimizers--;
    weft_tensor_unref(p->tensor);
    for (int i = 0; i < WF_OPTIM_STATES; i++)
        weft_tensor_unref(p->state[i]);
}

void weft_optimizer_destroy(weft_optimizer *o)
{
    if (o == NULL || check_idle(o, "optimizer_destroy") != WEFT_OK)
        return;
    for (int i = 0; i < o->n_params; i++)
        drop_param(&o->params[i]);
    wf_free(o->params);
    wf_free(o->groups);
    o->ctx->lint->optimizers--;
    wf_context_unref(o->ctx);
    wf_free(o);
}

/* ---- groups ---- */

static weft_status check_param(const weft_optimizer *o, const char *name, const weft_tensor *t)
{
    if (weft_tensor_context(t) != o->ctx)
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "optimizer: '%s' belongs to another context",
                       name);
    if (!weft_tensor_is_stored(t))
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "optimizer: '%s' is the result of an op", name);
    if (weft_tensor_dtype(t) != WEFT_F32 && weft_tensor_dtype(t) != WEFT_F64)
        return wf_fail(o->ctx, WEFT_ERR_DTYPE, "optimizer: '%s' is %s; it must be f32 or f64%s",
                       name, weft_dtype_name(weft_tensor_dtype(t)),
                       weft_tensor_dtype(t) == WEFT_BF16
                           ? " (bf16 is for inference: weft_module_to(m, WEFT_F32))"
                           : "");
    for (int i = 0; t->optimizers > 0 && i < o->n_params; i++) {
        if (o->params[i].tensor == t)
            return wf_fail(o->ctx, WEFT_ERR_INVALID,
                           "optimizer: '%s' is already in group %d, as '%s'", name,
                           o->params[i].group, o->params[i].name);
    }
    return WEFT_OK;
}

/* The name under which the parameter's state is saved: `name`; where another group has this name,
 * the group's number and `name`. A copy; NULL: out of memory. */
static char *name_in_state(const weft_optimizer *o, const wf_name_map *names, const char *name,
                           int group)
{
    const int same = wf_name_map_find(names, name);
    if (same >= 0 && o->params[same].group != group)
        return wf_asprintf("%d:%s", group, name);
    return wf_strdup(name);
}

weft_status wf_optimizer_names(const weft_optimizer *o, wf_name_map *names)
{
    for (int i = 0; i < o->n_params; i++) {
        if (!wf_name_map_add(names, o->params[i].name, i))
            return wf_optimizer_nomem(o);
    }
    return WEFT_OK;
}

static weft_status add_param(weft_optimizer *o, wf_name_map *names, const char *name,
                             weft_tensor *t, int group)
{
    WF_TRY(check_param(o, name, t));
    if (o->n_params == o->cap_params) {
        int capacity = o->cap_params == 0 ? 32 : 2 * o->cap_params;
        wf_optim_param *params = wf_realloc_array(o->params, (size_t)capacity, sizeof(*params));
        if (params == NULL)
            return wf_optimizer_nomem(o);
        o->params = params;
        o->cap_params = capacity;
    }
    char *copy = name_in_state(o, names, name, group);
    if (copy == NULL)
        return wf_optimizer_nomem(o);
    const int same = wf_name_map_find(names, copy);
    weft_status status = WEFT_OK;
    if (same >= 0)
        status = wf_fail(o->ctx, WEFT_ERR_INVALID,
                         "optimizer: group %d has another parameter named '%s'",
                         o->params[same].group, copy);
    else if (!wf_name_map_add(names, copy, o->n_params))
        status = wf_optimizer_nomem(o);
    if (status != WEFT_OK) {
        wf_free(copy);
        return status;
    }
    t->optimizers++;
    o->params[o->n_params++] =
        (wf_optim_param){.name = copy, .tensor = weft_tensor_ref(t), .group = group};
    return WEFT_OK;
}

weft_status weft_optimizer_add_group(weft_optimizer *o, const weft_tensor_list *params, double lr,
                                     double weight_decay)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_optimizer_add_group: the optimizer is NULL");
    if (params == NULL)
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "optimizer: there is no list of parameters");
    WF_TRY(check_idle(o, "optimizer_add_group"));
    if (!isnan(lr))
        WF_TRY(check_range(o->ctx, o->rule->name, "learning rate", lr, INFINITY));
    if (!isnan(weight_decay))
        WF_TRY(check_range(o->ctx, o->rule->name, "weight decay", weight_decay, INFINITY));
    if (o->n_groups == o->cap_groups) {
        int capacity = o->cap_groups == 0 ? 4 : 2 * o->cap_groups;
        wf_optim_group *groups = wf_realloc_array(o->groups, (size_t)capacity, sizeof(*groups));
        if (groups == NULL)
            return wf_optimizer_nomem(o);
        o->groups = groups;
        o->cap_groups = capacity;
    }
    int before = o->n_params;
    wf_name_map names = {0};
    weft_status status = wf_optimizer_names(o, &names);
    for (int i = 0; i < params->n && status == WEFT_OK; i++)
        status = add_param(o, &names, params->item[i].name, params->item[i].tensor, o->n_groups);
    wf_name_map_done(&names);
    if (status != WEFT_OK) {
        while (o->n_params > before)
            drop_param(&o->params[--o->n_params]);
        return status;
    }
    o->groups[o->n_groups++] = (wf_optim_group){
        .lr = isnan(lr) ? o->lr : lr,
        .weight_decay = isnan(weight_decay) ? o->rule->weight_decay(o) : weight_decay};
    return WEFT_OK;
}

void wf_optimizer_drop_groups(weft_optimizer *o, int n)
{
    o->n_groups -= n;
    while (o->n_params > 0 && o->params[o->n_params - 1].group >= o->n_groups)
        drop_param(&o->params[--o->n_params]);
}

int weft_optimizer_groups(const weft_optimizer *o)
{
    return o != NULL ? o->n_groups : 0;
}

static weft_status set_in_groups(weft_optimizer *o, int group, double value, const char *what,
                                 size_t offset)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "%s: the optimizer is NULL", what);
    if (group < -1 || group >= o->n_groups)
        return wf_fail(o->ctx, WEFT_ERR_NOT_FOUND, "optimizer: there is no group %d, there are %d",
                       group, o->n_groups);
    WF_TRY(check_range(o->ctx, o->rule->name, what, value, INFINITY));
    for (int i = 0; i < o->n_groups; i++) {
        if (group == -1 || group == i)
            memcpy((char *)&o->groups[i] + offset, &value, sizeof(value));
    }
    return WEFT_OK;
}

static const wf_optim_group *group_at(const weft_optimizer *o, int group)
{
    group = group == -1 ? 0 : group;
    return o != NULL && group >= 0 && group < o->n_groups ? &o->groups[group] : NULL;
}

weft_status weft_optimizer_set_lr(weft_optimizer *o, int group, double lr)
{
    WF_TRY(set_in_groups(o, group, lr, "learning rate", offsetof(wf_optim_group, lr)));
    o->lr_set = true;
    return WEFT_OK;
}

double weft_optimizer_lr(const weft_optimizer *o, int group)
{
    const wf_optim_group *g = group_at(o, group);
    return g != NULL ? g->lr : (double)NAN;
}

weft_status weft_optimizer_set_weight_decay(weft_optimizer *o, int group, double weight_decay)
{
    return set_in_groups(o, group, weight_decay, "weight decay",
                         offsetof(wf_optim_group, weight_decay));
}

double weft_optimizer_weight_decay(const weft_optimizer *o, int group)
{
    const wf_optim_group *g = group_at(o, group);
    return g != NULL ? g->weight_decay : (double)NAN;
}

weft_status weft_optimizer_set_momentum(weft_optimizer *o, double momentum)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID,
                             "weft_optimizer_set_momentum: the optimizer is NULL");
    if (o->rule->momentum == NULL)
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "%s: it has no momentum to set", o->rule->name);
    WF_TRY(check_range(o->ctx, o->rule->name, "momentum", momentum, 1));
    *o->rule->momentum(o) = momentum;
    return WEFT_OK;
}

double weft_optimizer_momentum(const weft_optimizer *o)
{
    const bool has = o != NULL && o->rule->momentum != NULL;
    return has ? *o->rule->momentum((weft_optimizer *)o) : (double)NAN;
}

/* ---- the step ---- */

static void end_pending(weft_optimizer *o, bool committed)
{
    if (!o->pending)
        return;
    o->pending = false;
    o->steps += committed;
    for (int i = 0; i < o->n_params; i++) {
        wf_optim_param *p = &o->params[i];
        if (p->pending && committed) {
            p->steps++;
            p->has_state = o->rule->states(o) != 0;
        }
        p->pending = false;
    }
}

void wf_optimizer_settle(weft_optimizer *o)
{
    if (!o->pending)
        return;
    if (wf_context_step(o->ctx) != o->pending_step)
        end_pending(o, true);
    else if (o->ctx->gen != o->pending_gen)
        end_pending(o, false);
}

weft_status wf_optimizer_fit_state(weft_optimizer *o)
{
    for (int i = 0; i < o->n_params; i++) {
        const wf_optim_param *p = &o->params[i];
        weft_dtype dtype = p->tensor->type.dtype;
        if (dtype == WEFT_BF16 && !p->tensor->grad_present)
            continue; /* frozen */
        if (dtype == WEFT_BF16)
            return wf_fail(o->ctx, WEFT_ERR_STATE,
                           "optimizer: '%s' became bf16, which is for inference; "
                           "weft_module_to(m, WEFT_F32) before its training goes on",
                           p->name);
        for (int s = 0; s < WF_OPTIM_STATES; s++) {
            if (p->state[s] != NULL && p->state[s]->type.dtype != dtype) {
                WF_TRY(wf_tensors_change_type(o->ctx, p->state, WF_OPTIM_STATES, dtype));
                break;
            }
        }
    }
    return WEFT_OK;
}

weft_status wf_optimizer_make_state(weft_optimizer *o, wf_optim_param *p, unsigned states)
{
    for (int i = 0; i < WF_OPTIM_STATES; i++) {
        if (!(states >> i & 1))
            continue;
        if (p->state[i] == NULL)
            p->state[i] = weft_tensor_create(o->ctx, weft_tensor_dtype(p->tensor),
                                             weft_tensor_shape(p->tensor));
        if (p->state[i] == NULL)
            return weft_error_status(o->ctx);
    }
    return WEFT_OK;
}

weft_status weft_optimizer_record(weft_optimizer *o)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_optimizer_record: the optimizer is NULL");
    WF_TRY(wf_may_end_step(o->ctx, "optimizer_record"));
    wf_optimizer_settle(o);
    if (o->pending)
        return wf_fail(o->ctx, WEFT_ERR_STATE,
                       "optimizer: this step's update is already recorded; run it first");
    WF_TRY(wf_optimizer_fit_state(o));
    WF_TRY(wf_step_status(o->ctx));
    bool was = weft_no_grad_begin(o->ctx);
    o->recording = true;
    weft_status status = wf_optimizer_lint(o);
    o->recording = false;
    const bool hidden = wf_ring_hide(&o->ctx->ring, true);
    for (int i = 0; i < o->n_params && status == WEFT_OK; i++) {
        wf_optim_param *p = &o->params[i];
        weft_tensor *grad = weft_grad(p->tensor);
        if (grad == NULL)
            continue;
        status = wf_optimizer_make_state(o, p, o->rule->states(o));
        if (status == WEFT_OK)
            status = o->rule->record(o, p, grad);
        p->pending = status == WEFT_OK;
    }
    wf_ring_hide(&o->ctx->ring, hidden);
    weft_no_grad_end(o->ctx, was);
    if (status != WEFT_OK) { /* neither half an update nor the step without the update may run */
        for (int i = 0; i < o->n_params; i++)
            o->params[i].pending = false;
        wf_execute_none(o->ctx);
        return wf_step_fail(o->ctx, status);
    }
    o->pending = true;
    o->pending_gen = o->ctx->gen;
    o->pending_step = wf_context_step(o->ctx);
    return WEFT_OK;
}

weft_status weft_optimizer_step(weft_optimizer *o)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_optimizer_step: the optimizer is NULL");
    WF_TRY(wf_may_end_step(o->ctx, "optimizer_step"));
    wf_optimizer_settle(o);
    if (!o->pending)
        WF_TRY(weft_optimizer_record(o));
    weft_status status = weft_sync(o->ctx);
    if (status == WEFT_OK)
        end_pending(o, true);
    else
        wf_optimizer_settle(o); /* a failed step may still exist: Note [Failed steps] */
    return status;
}

void weft_optimizer_zero_grad(weft_optimizer *o)
{
    for (int i = 0; o != NULL && i < o->n_params; i++)
        weft_zero_grad(o->params[i].tensor);
}

int64_t weft_optimizer_steps(const weft_optimizer *o)
{
    if (o == NULL)
        return 0;
    wf_optimizer_settle((weft_optimizer *)o); /* only counts what has happened already */
    return o->steps;
}
