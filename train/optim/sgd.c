/* SGD with momentum, as torch.optim.SGD. Threading rule: the context's. */
#include <math.h>

#include "engine/base/error.h"
#include "train/optim/optimizer.h"

static unsigned states(const weft_optimizer *o)
{
    return o->opts.sgd.momentum != 0;
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.sgd.weight_decay;
}

static double *momentum(weft_optimizer *o)
{
    return &o->opts.sgd.momentum;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_sgd_opts *s = &o->opts.sgd;
    const wf_optim_group *g = &o->groups[p->group];
    bool buffer = s->momentum != 0;
    wf_sgd_update_opts update = {.lr = g->lr,
                                 .momentum = s->momentum,
                                 .dampening = s->dampening,
                                 .weight_decay = g->weight_decay,
                                 .nesterov = s->nesterov && buffer,
                                 .first = !p->has_state};
    return wf_record_sgd_update(p->tensor, grad, buffer ? p->state[0] : NULL, &update);
}

static const wf_optim_rule sgd_rule = {.name = "SGD",
                                       .state_names = {"momentum_buffer"},
                                       .states = states,
                                       .weight_decay = weight_decay,
                                       .momentum = momentum,
                                       .record = record};

weft_optimizer *weft_sgd_create(weft_context *ctx, weft_module *m, const weft_sgd_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_sgd_create");
        return NULL;
    }
    const weft_sgd_opts usual = WEFT_SGD_OPTS_INIT, *s = opts != NULL ? opts : &usual;
    const wf_optim_setting settings[] = {{"learning rate", s->lr, INFINITY},
                                         {"momentum", s->momentum, 1},
                                         {"weight decay", s->weight_decay, INFINITY}};
    if (!wf_optimizer_in_range(ctx, &sgd_rule, settings, 3))
        return NULL;
    if (!isfinite(s->dampening)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "SGD: dampening %g is not finite", s->dampening);
        return NULL;
    }
    if (s->nesterov && (s->momentum == 0 || s->dampening != 0)) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "SGD: nesterov needs a momentum above 0, it is %g, and dampening 0, it is %g",
                s->momentum, s->dampening);
        return NULL;
    }
    const weft_optimizer like = {.opts.sgd = *s, .lr = s->lr};
    return wf_optimizer_create(ctx, &sgd_rule, m, &like);
}
