/* What an optimizer is inside: its parameters and their state, and what a rule must say of itself.
 *
 * Note [Optimizer counters]. State tensors change when the recorded step commits, so the counters
 * beside them (steps, whether a slot holds anything) must not change before. A recorded update is
 * `pending` until the context's count of committed steps has moved; if the graph ended without
 * that, it never happened. Threading rule: the context's. */
#ifndef WF_TRAIN_OPTIM_H
#define WF_TRAIN_OPTIM_H

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

#endif
