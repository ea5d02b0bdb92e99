/* LAMB (You et al. 2020), as timm's Lamb without its clipping. Threading rule: the
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
    const weft_lamb_opts *a = &o->opts.adam;
    const wf_optim_group *g = &o->groups[p->group];
    const wf_lamb update = {.rate = g->lr,
                            .beta1 = a->beta1,
                            .beta2 = a->beta2,
                            .eps = a->eps,
                            .weight_decay = g->weight_decay,
                            .step = (double)(p->steps + 1)};
    return wf_record_lamb_update(p->tensor, grad, p->state, &update);
}

static const wf_optim_rule lamb_rule = {.name = "LAMB",
                                        .state_names = {"exp_avg", "exp_avg_sq"},
                                        .states = states,
                                        .weight_decay = weight_decay,
                                        .momentum = momentum,
                                        .record = record};

weft_optimizer *weft_lamb_create(weft_context *ctx, weft_module *m, const weft_lamb_opts *opts)
{
    if (ctx == NULL)
        return NULL;
    const weft_lamb_opts usual = WEFT_LAMB_OPTS_INIT, *a = opts != NULL ? opts : &usual;
    if (!wf_optimizer_adam_in_range(ctx, &lamb_rule, a, "WEFT_LAMB_OPTS_INIT"))
        return NULL;
    const weft_optimizer like = {.opts.adam = *a, .lr = a->lr};
    return wf_optimizer_create(ctx, &lamb_rule, m, &like);
}
