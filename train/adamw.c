/* AdamW, as torch.optim.AdamW. Threading rule: the context's. */
#include <math.h>

#include "engine/context/error.h"
#include "train/optimizer.h"

static int slots(const weft_optimizer *o)
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
    return wf_record_adamw_update(p->tensor, grad, p->slot[0], p->slot[1], &update);
}

static const wf_optim_rule adamw_rule = {.name = "AdamW",
                                         .slot_names = {"exp_avg", "exp_avg_sq"},
                                         .slots = slots,
                                         .weight_decay = weight_decay,
                                         .momentum = momentum,
                                         .record = record};

weft_optimizer *weft_adamw_create(weft_context *ctx, weft_module *m, const weft_adamw_opts *opts)
{
    if (ctx == NULL)
        return NULL;
    weft_optimizer like = {0};
    if (opts != NULL)
        like.opts.adamw = *opts;
    weft_adamw_opts *a = &like.opts.adamw;
    a->lr = a->lr != 0 ? a->lr : 0.001;
    a->beta1 = a->beta1 != 0 ? a->beta1 : 0.9;
    a->beta2 = a->beta2 != 0 ? a->beta2 : 0.999;
    a->eps = a->eps != 0 ? a->eps : 1e-8;
    a->weight_decay = a->weight_decay == 0 ? 0.01 : a->weight_decay < 0 ? 0 : a->weight_decay;
    if (!(a->lr > 0) || !(a->beta1 >= 0 && a->beta1 < 1) || !(a->beta2 >= 0 && a->beta2 < 1) ||
        !(a->eps > 0) || !isfinite(a->lr) || !isfinite(a->eps) || !isfinite(a->weight_decay)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "AdamW: learning rate %g, betas %g and %g, eps %g", a->lr,
                a->beta1, a->beta2, a->eps);
        return NULL;
    }
    like.lr = a->lr;
    return wf_optimizer_create(ctx, &adamw_rule, m, &like);
}
