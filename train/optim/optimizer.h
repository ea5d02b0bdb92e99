/* What the update rules and an optimizer's state need of optimizer.c. Threading rule: the
 * context's. */
#ifndef WF_TRAIN_OPTIM_OPTIMIZER_H
#define WF_TRAIN_OPTIM_OPTIMIZER_H

#include "train/optim/internal.h"

/* WEFT_ERR_NOMEM, in o's context. */
weft_status wf_optimizer_nomem(const weft_optimizer *o);
/* Adds the names of o's parameters to the map, which borrows them, each with its index in
 * params. */
weft_status wf_optimizer_names(const weft_optimizer *o, wf_name_map *names);

/* Creates an optimizer with m's parameters as group 0; m may be NULL. */
weft_optimizer *wf_optimizer_create(weft_context *ctx, const wf_optim_rule *rule, weft_module *m,
                                    const weft_optimizer *like);
/* A number that must be in [0, below); `below` may be INFINITY. */
typedef struct wf_optim_setting {
    const char *name;
    double value, below;
} wf_optim_setting;
/* Whether all settings of an optimizer are in their ranges; false, with the error in the context,
 * where one is not. */
bool wf_optimizer_in_range(weft_context *ctx, const wf_optim_rule *rule,
                           const wf_optim_setting *settings, int n);
/* Takes the last n groups away again. */
void wf_optimizer_drop_groups(weft_optimizer *o, int n);
/* Counts a recorded update that has been committed since. */
void wf_optimizer_settle(weft_optimizer *o);
/* Converts state tensors to their parameter's type, where weft_module_to has changed it. */
weft_status wf_optimizer_fit_state(weft_optimizer *o);
/* Creates the missing ones of p's state tensors that are in `states`, a set as wf_optim_rule.states
 * gives. They are zero. */
weft_status wf_optimizer_make_state(weft_optimizer *o, wf_optim_param *p, unsigned states);

#endif
