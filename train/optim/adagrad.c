/* Adagrad, as torch.optim.Adagrad. Threading rule: the context's. */
#include <math.h>

#include "kernels/optim/optim.h"
#include "train/optim/optimizer.h"

static unsigned states(const weft_optimizer *o)
{
    return 1;
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.adagrad.weight_decay;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_adagrad_opts *a = &o->opts.adagrad;
    const wf_optim_group *g = &o->groups[p->group];
    const wf_adagrad update = {.lr = g->lr / (1 + (double)p->steps * a->lr_decay),
                               .eps = a->eps,
                               .weight_decay = g->weight_decay,
                               .initial = a->initial_accumulator_value,
                               .first = !p->has_state};
    return wf_record_adagrad_update(p->tensor, grad, p->state, &update);
}

static const wf_optim_rule adagrad_rule = {.name = "Adagrad",
                                           .state_names = {"sum"},
                                           .states = states,
                                           .weight_decay = weight_decay,
                                           .record = record};

weft_optimizer *weft_adagrad_create(weft_context *ctx, weft_module *m,
                                    const weft_adagrad_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_adagrad_create");
        return NULL;
    }
    const weft_adagrad_opts usual = WEFT_ADAGRAD_OPTS_INIT, *a = opts != NULL ? opts : &usual;
    const wf_optim_setting settings[] = {
        {"learning rate", a->lr, INFINITY},
        {"learning rate decay", a->lr_decay, INFINITY},
        {"eps", a->eps, INFINITY},
        {"weight decay", a->weight_decay, INFINITY},
        {"initial accumulator value", a->initial_accumulator_value, INFINITY}};
    if (!wf_optimizer_in_range(ctx, &adagrad_rule, settings, 5))
        return NULL;
    const weft_optimizer like = {.opts.adagrad = *a, .lr = a->lr};
    return wf_optimizer_create(ctx, &adagrad_rule, m, &like);
}
