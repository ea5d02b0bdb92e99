/* What the update rules and an optimizer's state need of optimizer.c. Threading rule: the context's. */
#ifndef WF_TRAIN_OPTIMIZER_H
#define WF_TRAIN_OPTIMIZER_H

#include "train/optim.h"

/* WEFT_ERR_NOMEM, in o's context. */
weft_status wf_optimizer_nomem(const weft_optimizer *o);
/* Adds o's parameters' names, which the map borrows, each with its place in params. */
weft_status wf_optimizer_names(const weft_optimizer *o, wf_name_map *names);

/* Makes an optimizer with m's parameters (m may be NULL) as group 0. */
weft_optimizer *wf_optimizer_create(weft_context *ctx, const wf_optim_rule *rule, weft_module *m,
                                    const weft_optimizer *like);
/* `value` of an optimizer's `field` must be in [0, below); `below` may be INFINITY. */
weft_status wf_optimizer_range(weft_context *ctx, const char *optimizer, const char *field,
                               double value, double below);
/* Counts a recorded update that has been committed since. */
void wf_optimizer_settle(weft_optimizer *o);
/* Slots become of their parameter's type, where weft_module_to has changed that. */
weft_status wf_optimizer_fit_slots(weft_optimizer *o);
/* Makes the slots of p that are missing. */
weft_status wf_optimizer_make_slots(weft_optimizer *o, wf_optim_param *p, int n);

#endif
