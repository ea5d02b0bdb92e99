/* SGD with momentum, as torch.optim.SGD. Threading rule: the context's. */
#include <math.h>

#include "engine/context/error.h"
#include "train/optimizer.h"

static int slots(const weft_optimizer *o)
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
    return wf_record_sgd_update(p->tensor, grad, buffer ? p->slot[0] : NULL, &update);
}

static const wf_optim_rule sgd_rule = {.name = "SGD",
                                       .slot_names = {"momentum_buffer"},
                                       .slots = slots,
                                       .weight_decay = weight_decay,
                                       .momentum = momentum,
                                       .record = record};

weft_optimizer *weft_sgd_create(weft_context *ctx, weft_module *m, const weft_sgd_opts *opts)
{
    if (ctx == NULL)
        return NULL;
    weft_optimizer like = {0};
    if (opts != NULL)
        like.opts.sgd = *opts;
    weft_sgd_opts *s = &like.opts.sgd;
    s->lr = s->lr != 0 ? s->lr : 0.001;
    if (!(s->lr > 0) || !(s->momentum >= 0 && s->momentum < 1) || !(s->weight_decay >= 0) ||
        !isfinite(s->lr) || !isfinite(s->weight_decay) || !isfinite(s->dampening)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "SGD: learning rate %g, momentum %g, weight decay %g", s->lr,
                s->momentum, s->weight_decay);
        return NULL;
    }
    if (s->nesterov && (s->momentum == 0 || s->dampening != 0)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "SGD: nesterov needs momentum and no dampening");
        return NULL;
    }
    like.lr = s->lr;
    return wf_optimizer_create(ctx, &sgd_rule, m, &like);
}
