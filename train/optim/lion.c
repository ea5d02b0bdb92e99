/* Lion (Chen et al. 2023), as timm's Lion. Threading rule: the context's. */
#include <math.h>

#include "kernels/optim/optim.h"
#include "train/optim/optimizer.h"

static unsigned states(const weft_optimizer *o)
{
    return 1;
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.lion.weight_decay;
}

static double *momentum(weft_optimizer *o)
{
    return &o->opts.lion.beta1;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_lion_opts *s = &o->opts.lion;
    const wf_optim_group *g = &o->groups[p->group];
    const wf_lion update = {
        .lr = g->lr, .beta1 = s->beta1, .beta2 = s->beta2, .weight_decay = g->weight_decay};
    return wf_record_lion_update(p->tensor, grad, p->state, &update);
}

static const wf_optim_rule lion_rule = {.name = "Lion",
                                        .state_names = {"exp_avg"},
                                        .states = states,
                                        .weight_decay = weight_decay,
                                        .momentum = momentum,
                                        .record = record};

weft_optimizer *weft_lion_create(weft_context *ctx, weft_module *m, const weft_lion_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_lion_create");
        return NULL;
    }
    const weft_lion_opts usual = WEFT_LION_OPTS_INIT, *s = opts != NULL ? opts : &usual;
    const wf_optim_setting settings[] = {{"learning rate", s->lr, INFINITY},
                                         {"beta1", s->beta1, 1},
                                         {"beta2", s->beta2, 1},
                                         {"weight decay", s->weight_decay, INFINITY}};
    if (!wf_optimizer_in_range(ctx, &lion_rule, settings, 4))
        return NULL;
    const weft_optimizer like = {.opts.lion = *s, .lr = s->lr};
    return wf_optimizer_create(ctx, &lion_rule, m, &like);
}
