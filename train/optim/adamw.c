/* AdamW, as torch.optim.AdamW: weight decay apart from the gradient. Threading rule: the
 * context's. */
#include "kernels/optim/optim.h"
#include "train/optim/optimizer.h"

static unsigned states(const weft_optimizer *o)
{
    return 3;
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.adam.weight_decay;
}

static double *momentum(weft_optimizer *o)
{
    return &o->opts.adam.beta1;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_adamw_opts *a = &o->opts.adam;
    const wf_optim_group *g = &o->groups[p->group];
    const wf_adam update = {.lr = g->lr,
                            .beta1 = a->beta1,
                            .beta2 = a->beta2,
                            .eps = a->eps,
                            .weight_decay = g->weight_decay,
                            .step = (double)(p->steps + 1)};
    return wf_record_adam_update(p->tensor, grad, p->state, &update);
}

static const wf_optim_rule adamw_rule = {.name = "AdamW",
                                         .state_names = {"exp_avg", "exp_avg_sq"},
                                         .states = states,
                                         .weight_decay = weight_decay,
                                         .momentum = momentum,
                                         .record = record};

weft_optimizer *weft_adamw_create(weft_context *ctx, weft_module *m, const weft_adamw_opts *opts)
{
    if (ctx == NULL)
        return NULL;
    const weft_adamw_opts usual = WEFT_ADAMW_OPTS_INIT, *a = opts != NULL ? opts : &usual;
    if (!wf_optimizer_adam_in_range(ctx, &adamw_rule, a, "WEFT_ADAMW_OPTS_INIT"))
        return NULL;
    const weft_optimizer like = {.opts.adam = *a, .lr = a->lr};
    return wf_optimizer_create(ctx, &adamw_rule, m, &like);
}
