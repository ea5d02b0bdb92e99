/* RMSprop, as torch.optim.RMSprop, or as TensorFlow's. Threading rule: the context's. */
#include <math.h>

#include "engine/base/error.h"
#include "kernels/optim/optim.h"
#include "train/optim/optimizer.h"

enum { SQUARE = 1, BUFFER = 2, MEAN = 4 };

static unsigned states(const weft_optimizer *o)
{
    const weft_rmsprop_opts *r = &o->opts.rmsprop;
    return SQUARE | (r->momentum != 0 ? BUFFER : 0) | (r->centered ? MEAN : 0);
}

static double weight_decay(const weft_optimizer *o)
{
    return o->opts.rmsprop.weight_decay;
}

static double *momentum(weft_optimizer *o)
{
    return &o->opts.rmsprop.momentum;
}

static weft_status record(const weft_optimizer *o, const wf_optim_param *p, weft_tensor *grad)
{
    const weft_rmsprop_opts *r = &o->opts.rmsprop;
    const wf_optim_group *g = &o->groups[p->group];
    const wf_rmsprop update = {.lr = g->lr,
                               .alpha = r->alpha,
                               .eps = r->eps,
                               .weight_decay = g->weight_decay,
                               .momentum = r->momentum,
                               .inside = r->tensorflow,
                               .first = !p->has_state};
    weft_tensor *state[WF_OPTIM_STATES];
    for (int i = 0; i < WF_OPTIM_STATES; i++)
        state[i] = states(o) >> i & 1 ? p->state[i] : NULL;
    return wf_record_rmsprop_update(p->tensor, grad, state, &update);
}

static const wf_optim_rule rmsprop_rule = {
    .name = "RMSprop",
    .state_names = {"square_avg", "momentum_buffer", "grad_avg"},
    .states = states,
    .weight_decay = weight_decay,
    .momentum = momentum,
    .record = record};

weft_optimizer *weft_rmsprop_create(weft_context *ctx, weft_module *m,
                                    const weft_rmsprop_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_rmsprop_create");
        return NULL;
    }
    const weft_rmsprop_opts usual = WEFT_RMSPROP_OPTS_INIT, *r = opts != NULL ? opts : &usual;
    const wf_optim_setting settings[] = {{"learning rate", r->lr, INFINITY},
                                         {"alpha", r->alpha, 1},
                                         {"eps", r->eps, INFINITY},
                                         {"weight decay", r->weight_decay, INFINITY},
                                         {"momentum", r->momentum, 1}};
    if (!wf_optimizer_in_range(ctx, &rmsprop_rule, settings, 5))
        return NULL;
    if (r->alpha == 0 && r->eps == 0) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "RMSprop: alpha and eps are both 0; begin its options with WEFT_RMSPROP_OPTS_INIT");
        return NULL;
    }
    const weft_optimizer like = {.opts.rmsprop = *r, .lr = r->lr};
    return wf_optimizer_create(ctx, &rmsprop_rule, m, &like);
}
