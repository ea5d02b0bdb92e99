/* What Adam, AdamW and LAMB share. See adam_family.h. Threading rule: the context's. */
#include "train/optim/adam_family.h"

unsigned wf_adam_states(const weft_optimizer *o)
{
    return o->opts.adam.amsgrad ? 7 : 3;
}

double wf_adam_weight_decay(const weft_optimizer *o)
{
    return o->opts.adam.weight_decay;
}

double *wf_adam_momentum(weft_optimizer *o)
{
    return &o->opts.adam.beta1;
}

static bool in_range(weft_context *ctx, const wf_optim_rule *rule, const weft_adam_opts *a,
                     const char *init)
{
    const wf_optim_setting settings[] = {{"learning rate", a->lr, INFINITY},
                                         {"beta1", a->beta1, 1},
                                         {"beta2", a->beta2, 1},
                                         {"eps", a->eps, INFINITY},
                                         {"weight decay", a->weight_decay, INFINITY}};
    if (!wf_optimizer_in_range(ctx, rule, settings, 5))
        return false;
    if (a->beta2 != 0 || a->eps != 0)
        return true;
    wf_fail(ctx, WEFT_ERR_INVALID, "%s: beta2 and eps are both 0; begin its options with %s",
            rule->name, init);
    return false;
}

weft_optimizer *wf_adam_family_create(weft_context *ctx, const wf_optim_rule *rule, weft_module *m,
                                      const weft_adam_opts *opts, const weft_adam_opts *usual,
                                      const char *init)
{
    if (ctx == NULL) {
        wf_no_context(rule->name);
        return NULL;
    }
    const weft_adam_opts *a = opts != NULL ? opts : usual;
    if (!in_range(ctx, rule, a, init))
        return NULL;
    const weft_optimizer like = {.opts.adam = *a, .lr = a->lr};
    return wf_optimizer_create(ctx, rule, m, &like);
}
