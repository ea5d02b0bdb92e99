/* What an optimizer is inside: its parameters and their state, and what a rule must say of itself.
 *
 * Note [Optimizer counters]. State tensors change when the recorded step commits, so the counters
 * beside them (steps, whether a slot holds anything) must not change before. A recorded update is
 * `pending` until the context's count of committed steps has moved; if the graph ended without
 * that, it never happened. Threading rule: the context's. */
#ifndef WF_TRAIN_OPTIMIZER_H
#define WF_TRAIN_OPTIMIZER_H

#include "engine/tensor/context.h"
#include "engine/base/name_map.h"
#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "weft/optim.h"

enum { WF_OPTIM_SLOTS = 2 };

typedef struct wf_optim_param {
    char *name;
    weft_tensor *tensor;               /* a reference is held */
    weft_tensor *slot[WF_OPTIM_SLOTS]; /* made with the first update; NULL before */
    int group;
    int64_t steps;  /* updates committed */
    bool has_state; /* the slots hold something: an update wrote them */
    bool told;      /* that it got no gradient */
    bool pending;   /* an update is recorded and not yet committed */
} wf_optim_param;

typedef struct wf_optim_group {
    double lr, weight_decay;
} wf_optim_group;

/* One update rule: sgd.c, adamw.c. */
typedef struct wf_optim_rule {
    const char *name;
    const char *slot_names[WF_OPTIM_SLOTS]; /* as torch's; NULL: fewer slots */
    /* How many slots the present settings use. */
    int (*slots)(const weft_optimizer *o);
    double (*weight_decay)(const weft_optimizer *o); /* what new groups start with */
    double *(*momentum)(weft_optimizer *o);
    /* Records the update of p, whose slots exist. */
    weft_status (*record)(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad);
} wf_optim_rule;

struct weft_optimizer {
    weft_context *ctx;
    const wf_optim_rule *rule;
    union {
        weft_sgd_opts sgd;
        weft_adamw_opts adamw;
    } opts;
    double lr;   /* what new groups start with */
    bool lr_set; /* by weft_optimizer_set_lr, if only to 0 */
    wf_optim_param *params;
    int n_params, cap_params;
    wf_optim_group *groups;
    int n_groups, cap_groups;
    int64_t steps;
    bool recording; /* inside weft_optimizer_record, which may call the user's message handler */
    bool pending;   /* a step is recorded: in graph pending_gen, after pending_step commits */
    uint64_t pending_gen, pending_step;
};

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
/* Tells what the step about to be recorded is probably not meant to be (lint.c): a learning rate
 * that was forgotten, parameters without a gradient. */
weft_status wf_optimizer_lint(weft_optimizer *o);
/* Slots become of their parameter's type, where weft_module_to has changed that. */
weft_status wf_optimizer_fit_slots(weft_optimizer *o);
/* Makes the slots of p that are missing. */
weft_status wf_optimizer_make_slots(weft_optimizer *o, wf_optim_param *p, int n);

#endif
