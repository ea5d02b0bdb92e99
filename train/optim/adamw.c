/* AdamW, as torch.optim.AdamW. Threading rule: the context's. */
#include <math.h>

#include "engine/base/error.h"
#include "train/optim/optimizer.h"

static int n_states(const weft_optimizer *o)
{
    return 2;
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.adamw.weight_decay;
}

static double *momentum(weft_optimizer *o)
{
    return &o->opts.adamw.beta1;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_adamw_opts *a = &o->opts.adamw;
    const wf_optim_group *g = &o->groups[p->group];
    wf_adamw_update_opts update = {.lr = g->lr,
                                   .beta1 = a->beta1,
                                   .beta2 = a->beta2,
                                   .eps = a->eps,
                                   .weight_decay = g->weight_decay,
                                   .step = p->steps + 1};
    return wf_record_adamw_update(p->tensor, grad, p->state[0], p->state[1], &update);
}

static const wf_optim_rule adamw_rule = {.name = "AdamW",
                                         .state_names = {"exp_avg", "exp_avg_sq"},
                                         .n_states = n_states,
                                         .weight_decay = weight_decay,
                                         .momentum = momentum,
                                         .record = record};

weft_optimizer *weft_adamw_create(weft_context *ctx, weft_module *m, const weft_adamw_opts *opts)
{
    if (ctx == NULL)
        return NULL;
    const weft_adamw_opts usual = WEFT_ADAMW_OPTS_INIT, *a = opts != NULL ? opts : &usual;
    const wf_optim_setting settings[] = {{"learning rate", a->lr, INFINITY},
                                         {"beta1", a->beta1, 1},
                                         {"beta2", a->beta2, 1},
                                         {"eps", a->eps, INFINITY},
                                         {"weight decay", a->weight_decay, INFINITY}};
    if (!wf_optimizer_in_range(ctx, &adamw_rule, settings, 5))
        return NULL;
    if (a->beta2 == 0 && a->eps == 0) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "AdamW: beta2 and eps are both 0; begin its options with WEFT_ADAMW_OPTS_INIT");
        return NULL;
    }
    const weft_optimizer like = {.opts.adamw = *a, .lr = a->lr};
    return wf_optimizer_create(ctx, &adamw_rule, m, &like);
}
