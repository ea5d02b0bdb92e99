/* Makes an optimizer from the object that optimizer_cases.py wrote. Options that are left out have
 * the library's defaults, which are PyTorch's or timm's. */
#include "optimizers.h"

#include <string.h>

static void take(const json_t *c, const char *key, double *value)
{
    const json_t *v = json_object_get(c, key);
    if (json_is_number(v))
        *value = json_number_value(v);
}

static bool truth(const json_t *c, const char *key)
{
    return json_is_true(json_object_get(c, key));
}

static weft_optimizer *sgd(weft_context *ctx, const json_t *c)
{
    weft_sgd_opts o = WEFT_SGD_OPTS_INIT;
    take(c, "lr", &o.lr);
    take(c, "momentum", &o.momentum);
    take(c, "dampening", &o.dampening);
    take(c, "weight_decay", &o.weight_decay);
    o.nesterov = truth(c, "nesterov");
    return weft_sgd_create(ctx, NULL, &o);
}

static void take_adam(const json_t *c, weft_adam_opts *o)
{
    take(c, "lr", &o->lr);
    take(c, "beta1", &o->beta1);
    take(c, "beta2", &o->beta2);
    take(c, "eps", &o->eps);
    take(c, "weight_decay", &o->weight_decay);
    o->amsgrad = truth(c, "amsgrad");
}

static weft_optimizer *adam(weft_context *ctx, const json_t *c)
{
    weft_adam_opts o = WEFT_ADAM_OPTS_INIT;
    take_adam(c, &o);
    return weft_adam_create(ctx, NULL, &o);
}

static weft_optimizer *adamw(weft_context *ctx, const json_t *c)
{
    weft_adamw_opts o = WEFT_ADAMW_OPTS_INIT;
    take_adam(c, &o);
    return weft_adamw_create(ctx, NULL, &o);
}

static weft_optimizer *lamb(weft_context *ctx, const json_t *c)
{
    weft_lamb_opts o = WEFT_LAMB_OPTS_INIT;
    take_adam(c, &o);
    return weft_lamb_create(ctx, NULL, &o);
}

static weft_optimizer *rmsprop(weft_context *ctx, const json_t *c)
{
    weft_rmsprop_opts o = WEFT_RMSPROP_OPTS_INIT;
    take(c, "lr", &o.lr);
    take(c, "alpha", &o.alpha);
    take(c, "eps", &o.eps);
    take(c, "weight_decay", &o.weight_decay);
    take(c, "momentum", &o.momentum);
    o.centered = truth(c, "centered");
    o.tensorflow = strcmp(json_string_value(json_object_get(c, "call")), "RMSpropTF") == 0;
    return weft_rmsprop_create(ctx, NULL, &o);
}

static weft_optimizer *adagrad(weft_context *ctx, const json_t *c)
{
    weft_adagrad_opts o = WEFT_ADAGRAD_OPTS_INIT;
    take(c, "lr", &o.lr);
    take(c, "lr_decay", &o.lr_decay);
    take(c, "eps", &o.eps);
    take(c, "weight_decay", &o.weight_decay);
    take(c, "initial_accumulator_value", &o.initial_accumulator_value);
    return weft_adagrad_create(ctx, NULL, &o);
}

static weft_optimizer *lars(weft_context *ctx, const json_t *c)
{
    weft_lars_opts o = WEFT_LARS_OPTS_INIT;
    take(c, "lr", &o.lr);
    take(c, "momentum", &o.momentum);
    take(c, "dampening", &o.dampening);
    take(c, "weight_decay", &o.weight_decay);
    take(c, "trust_coefficient", &o.trust_coefficient);
    take(c, "eps", &o.eps);
    o.nesterov = truth(c, "nesterov");
    return weft_lars_create(ctx, NULL, &o);
}

static weft_optimizer *lion(weft_context *ctx, const json_t *c)
{
    weft_lion_opts o = WEFT_LION_OPTS_INIT;
    take(c, "lr", &o.lr);
    take(c, "beta1", &o.beta1);
    take(c, "beta2", &o.beta2);
    take(c, "weight_decay", &o.weight_decay);
    return weft_lion_create(ctx, NULL, &o);
}

weft_optimizer *parity_optimizer(weft_context *ctx, const json_t *c)
{
    static const struct {
        const char *call;
        weft_optimizer *(*make)(weft_context *ctx, const json_t *c);
    } calls[] = {{"SGD", sgd},         {"Adam", adam},         {"AdamW", adamw},
                 {"RMSprop", rmsprop}, {"RMSpropTF", rmsprop}, {"Adagrad", adagrad},
                 {"Lamb", lamb},       {"Lars", lars},         {"Lion", lion}};
    const char *call = json_string_value(json_object_get(c, "call"));
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strcmp(call, calls[i].call) == 0)
            return calls[i].make(ctx, c);
    return NULL;
}
