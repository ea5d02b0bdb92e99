/* Adam, as torch.optim.Adam: weight decay is part of the gradient. Threading rule: the
 * context's. */
#include "train/optim/adam_family.h"

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_adam_opts *a = &o->opts.adam;
    const wf_optim_group *g = &o->groups[p->group];
    const wf_adam update = {.lr = g->lr,
                            .beta1 = a->beta1,
                            .beta2 = a->beta2,
                            .eps = a->eps,
                            .l2 = g->weight_decay,
                            .step = (double)(p->steps + 1)};
    weft_tensor *const state[WF_OPTIM_STATES] = {p->state[0], p->state[1],
                                                 a->amsgrad ? p->state[2] : NULL};
    return wf_record_adam_update(p->tensor, grad, state, &update);
}

static const wf_optim_rule adam_rule = {.name = "Adam", .record = record, WF_ADAM_RULE};

weft_optimizer *weft_adam_create(weft_context *ctx, weft_module *m, const weft_adam_opts *opts)
{
    const weft_adam_opts usual = WEFT_ADAM_OPTS_INIT;
    return wf_adam_family_create(ctx, &adam_rule, m, opts, &usual, "WEFT_ADAM_OPTS_INIT");
}
