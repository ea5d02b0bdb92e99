/* What an optimizer is inside: its parameters, their state tensors, and what an update rule must
 * provide.
 *
 * Note [Optimizer counters]. State tensors change when the recorded step commits, so the counters
 * beside them (steps, has_state) must not change earlier. A recorded update is `pending` until the
 * context's count of committed steps has moved. If the graph ended and the count has not moved, the
 * update never happened. Threading rule: the context's. */
#ifndef WF_TRAIN_OPTIM_INTERNAL_H
#define WF_TRAIN_OPTIM_INTERNAL_H

#include "engine/tensor/context.h"
#include "engine/base/name_map.h"
#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "weft/optim.h"

enum { WF_OPTIM_STATES = 3 };

typedef struct wf_optim_param {
    char *name;
    weft_tensor *tensor;                 /* a reference is held */
    weft_tensor *state[WF_OPTIM_STATES]; /* made with the first update; NULL before */
    int group;
    int64_t steps;  /* committed updates */
    bool has_state; /* an update wrote the state tensors */
    bool told;      /* the warning that it got no gradient was given */
    bool pending;   /* an update is recorded and not yet committed */
} wf_optim_param;

typedef struct wf_optim_group {
    double lr, weight_decay;
} wf_optim_group;

/* One update rule: sgd.c, adam.c, and so on. */
typedef struct wf_optim_rule {
    const char *name;
    /* torch's names of them; NULL where there are fewer */
    const char *state_names[WF_OPTIM_STATES];
    /* Which state tensors the present settings use: bit i for state_names[i]. */
    unsigned (*states)(const weft_optimizer *o);
    double (*weight_decay)(const weft_optimizer *o); /* the start value of new groups */
    double *(*momentum)(weft_optimizer *o);          /* NULL: the rule has none */
    /* Records the update of p, whose state tensors exist. */
    weft_status (*record)(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad);
} wf_optim_rule;

struct weft_optimizer {
    weft_context *ctx;
    const wf_optim_rule *rule;
    union {
        weft_sgd_opts sgd;
        weft_adam_opts adam; /* AdamW's and LAMB's, too */
        weft_rmsprop_opts rmsprop;
        weft_adagrad_opts adagrad;
        weft_lars_opts lars;
        weft_lion_opts lion;
    } opts;
    double lr;   /* the start value of new groups */
    bool lr_set; /* weft_optimizer_set_lr was called, even if with 0 */
    wf_optim_param *params;
    int n_params, cap_params;
    wf_optim_group *groups;
    int n_groups, cap_groups;
    int64_t steps;
    bool recording; /* inside weft_optimizer_record, which may call the user's message handler */
    /* a step is recorded, in graph pending_gen; it happens if it commits after pending_step */
    bool pending;
    uint64_t pending_gen, pending_step;
};

#endif
