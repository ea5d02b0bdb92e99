/* Parameter groups by kind: weight decay of their own for norm layers and for biases. Threading
 * rule: the context's. */
#include <math.h>
#include <string.h>

#include "engine/base/error.h"
#include "modules/internal.h"
#include "train/optim/optimizer.h"

enum { OTHER, BIAS, NORM, KINDS };

/* As torchvision's set_weight_decay: what a norm layer itself has. */
static bool is_norm(const weft_module *m)
{
    static const char *const classes[] = {"BatchNorm2d", "LayerNorm", "LayerNorm2d", "GroupNorm"};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strcmp(weft_module_name(m), classes[i]) == 0)
            return true;
    return false;
}

/* Biases first, a norm layer's too, as torchvision's custom keys. */
static int kind_of(const weft_module *m, const char *name, const double decay[KINDS])
{
    if (!isnan(decay[BIAS]) && strcmp(name, "bias") == 0)
        return BIAS;
    return !isnan(decay[NORM]) && is_norm(m) ? NORM : OTHER;
}

/* Adds m's own parameters that are in `left` to the lists. */
static weft_status sort_own(const weft_module_entry *m, const double decay[KINDS],
                            const wf_name_map *left, const weft_tensor_list *all,
                            weft_tensor_list lists[KINDS])
{
    weft_tensor_list own = WEFT_TENSOR_LIST_INIT;
    weft_status status = weft_parameters(m->module, WEFT_WALK_SHALLOW, &own);
    for (int i = 0; i < own.n && status == WEFT_OK; i++) {
        const char *name = own.item[i].name;
        char *full = m->name[0] ? wf_asprintf("%s.%s", m->name, name) : wf_strdup(name);
        if (full == NULL)
            status = WEFT_ERR_NOMEM;
        else if (wf_name_map_find(left, full) >= 0) {
            weft_tensor *t = all->item[wf_name_map_find(left, full)].tensor;
            if (weft_requires_grad(t))
                status = weft_tensor_list_add(&lists[kind_of(m->module, name, decay)], full, t);
        }
        wf_free(full);
    }
    weft_tensor_list_done(&own);
    return status;
}

static weft_status sort(weft_module *m, const double decay[KINDS], weft_tensor_list lists[KINDS])
{
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT;
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT; /* a shared one once, under its first name */
    wf_name_map names = {0};
    weft_status status = weft_parameters(m, 0, &all);
    if (status == WEFT_OK)
        status = weft_modules(m, 0, &modules);
    if (status == WEFT_OK && !wf_tensor_list_names(&all, &names))
        status = WEFT_ERR_NOMEM;
    for (int i = 0; i < modules.n && status == WEFT_OK; i++)
        status = sort_own(&modules.item[i], decay, &names, &all, lists);
    wf_name_map_done(&names);
    weft_named_modules_done(&modules);
    weft_tensor_list_done(&all);
    return status;
}

weft_status weft_optimizer_add_by_kind(weft_optimizer *o, weft_module *m, double norm_weight_decay,
                                       double bias_weight_decay)
{
    if (o == NULL)
        return wf_fail_stray(WEFT_ERR_INVALID, "weft_optimizer_add_by_kind: the optimizer is NULL");
    if (m == NULL)
        return wf_fail(o->ctx, WEFT_ERR_INVALID, "optimizer: there is no module");
    const double decay[KINDS] = {NAN, bias_weight_decay, norm_weight_decay};
    const wf_optim_setting settings[] = {
        {"weight decay of norms", isnan(decay[NORM]) ? 0 : decay[NORM], INFINITY},
        {"weight decay of biases", isnan(decay[BIAS]) ? 0 : decay[BIAS], INFINITY}};
    if (!wf_optimizer_in_range(o->ctx, o->rule, settings, 2))
        return WEFT_ERR_INVALID;
    weft_tensor_list lists[KINDS] = {WEFT_TENSOR_LIST_INIT, WEFT_TENSOR_LIST_INIT,
                                     WEFT_TENSOR_LIST_INIT};
    weft_status status = sort(m, decay, lists);
    if (status != WEFT_OK && weft_error_status(o->ctx) == WEFT_OK)
        wf_fail(o->ctx, status, "optimizer %s: the module's parameters cannot be listed",
                o->rule->name);
    int added = 0;
    for (int k = 0; k < KINDS && status == WEFT_OK; k++) {
        if (lists[k].n == 0)
            continue;
        status = weft_optimizer_add_group(o, &lists[k], NAN, decay[k]);
        added += status == WEFT_OK;
    }
    if (status != WEFT_OK)
        wf_optimizer_drop_groups(o, added);
    for (int k = 0; k < KINDS; k++)
        weft_tensor_list_done(&lists[k]);
    return status;
}
