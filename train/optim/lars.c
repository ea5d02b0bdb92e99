/* LARS (You et al. 2017), as timm's Lars: SGD whose gradient is multiplied by a trust ratio for
 * each tensor. Threading rule: the context's. */
#include <math.h>

#include "engine/base/error.h"
#include "train/optim/optimizer.h"

static unsigned states(const weft_optimizer *o)
{
    return o->opts.lars.momentum != 0;
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.lars.weight_decay;
}

static double *momentum(weft_optimizer *o)
{
    return &o->opts.lars.momentum;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_lars_opts *s = &o->opts.lars;
    const wf_optim_group *g = &o->groups[p->group];
    const bool buffer = s->momentum != 0;
    const wf_lars_update_opts update = {.lr = g->lr,
                                        .momentum = s->momentum,
                                        .dampening = s->dampening,
                                        .weight_decay = g->weight_decay,
                                        .nesterov = s->nesterov && buffer,
                                        .first = !p->has_state,
                                        .trust_coefficient = s->trust_coefficient,
                                        .eps = s->eps};
    weft_tensor *const state[WF_OPTIM_STATES] = {buffer ? p->state[0] : NULL};
    return wf_record_lars_update(p->tensor, grad, state, &update);
}

static const wf_optim_rule lars_rule = {.name = "LARS",
                                        .state_names = {"momentum_buffer"},
                                        .states = states,
                                        .weight_decay = weight_decay,
                                        .momentum = momentum,
                                        .record = record};

weft_optimizer *weft_lars_create(weft_context *ctx, weft_module *m, const weft_lars_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_lars_create");
        return NULL;
    }
    const weft_lars_opts usual = WEFT_LARS_OPTS_INIT, *s = opts != NULL ? opts : &usual;
    const wf_optim_setting settings[] = {{"learning rate", s->lr, INFINITY},
                                         {"momentum", s->momentum, 1},
                                         {"weight decay", s->weight_decay, INFINITY},
                                         {"trust coefficient", s->trust_coefficient, INFINITY},
                                         {"eps", s->eps, INFINITY}};
    if (!wf_optimizer_in_range(ctx, &lars_rule, settings, 5))
        return NULL;
    if (!isfinite(s->dampening)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "LARS: dampening %g is not finite", s->dampening);
        return NULL;
    }
    if (s->nesterov && (s->momentum == 0 || s->dampening != 0)) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "LARS: nesterov needs a momentum above 0, it is %g, and dampening 0, it is %g",
                s->momentum, s->dampening);
        return NULL;
    }
    if (s->trust_coefficient == 0) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "LARS: the trust coefficient is 0; begin its options with WEFT_LARS_OPTS_INIT");
        return NULL;
    }
    const weft_optimizer like = {.opts.lars = *s, .lr = s->lr};
    return wf_optimizer_create(ctx, &lars_rule, m, &like);
}
