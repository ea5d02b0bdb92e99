/* LAMB (You et al. 2020), as timm's Lamb without its clipping. Threading rule: the
 * context's. */
#include "train/optim/adam_family.h"

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

static const wf_optim_rule lamb_rule = {.name = "LAMB", .record = record, WF_ADAM_RULE};

weft_optimizer *weft_lamb_create(weft_context *ctx, weft_module *m, const weft_lamb_opts *opts)
{
    const weft_lamb_opts usual = WEFT_LAMB_OPTS_INIT;
    if (ctx != NULL && opts != NULL && opts->amsgrad) {
        wf_fail(ctx, WEFT_ERR_INVALID, "LAMB: there is no amsgrad");
        return NULL;
    }
    return wf_adam_family_create(ctx, &lamb_rule, m, opts, &usual, "WEFT_LAMB_OPTS_INIT");
}
