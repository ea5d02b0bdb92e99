/* Activation modules: ReLU6, SiLU, Hardsigmoid, Hardswish, Sigmoid, Tanh, Mish, LeakyReLU, ELU,
 * Softplus, PReLU, GELU.
 * Threading rule: the context's. */
#include <math.h>
#include <stdio.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

/* The class <op>_class of a module without parameters, and its forward. */
#define PLAIN_CLASS(op, text)                                                                      \
    static weft_tensor *op##_forward(weft_module *m, weft_tensor *x)                               \
    {                                                                                              \
        return weft_##op(x);                                                                       \
    }                                                                                              \
    static const weft_module_class op##_class = {                                                  \
        .name = text, .size = sizeof(weft_module), .version = 1, .forward = op##_forward};

PLAIN_CLASS(relu6, "ReLU6")
PLAIN_CLASS(silu, "SiLU")
PLAIN_CLASS(hardsigmoid, "Hardsigmoid")
PLAIN_CLASS(hardswish, "Hardswish")
PLAIN_CLASS(sigmoid, "Sigmoid")
PLAIN_CLASS(tanh, "Tanh")
PLAIN_CLASS(mish, "Mish")

weft_module *weft_relu6_create(weft_context *ctx)
{
    return weft_module_create(ctx, &relu6_class, NULL);
}
weft_module *weft_silu_create(weft_context *ctx)
{
    return weft_module_create(ctx, &silu_class, NULL);
}
weft_module *weft_hardsigmoid_create(weft_context *ctx)
{
    return weft_module_create(ctx, &hardsigmoid_class, NULL);
}
weft_module *weft_hardswish_create(weft_context *ctx)
{
    return weft_module_create(ctx, &hardswish_class, NULL);
}
weft_module *weft_sigmoid_create(weft_context *ctx)
{
    return weft_module_create(ctx, &sigmoid_class, NULL);
}
weft_module *weft_tanh_create(weft_context *ctx)
{
    return weft_module_create(ctx, &tanh_class, NULL);
}

weft_module *weft_mish_create(weft_context *ctx)
{
    return weft_module_create(ctx, &mish_class, NULL);
}

/* ---- LeakyReLU ---- */

typedef struct leaky_relu {
    weft_module base;
    double negative_slope;
} leaky_relu;

static weft_tensor *leaky_relu_forward(weft_module *m, weft_tensor *x)
{
    return weft_leaky_relu(x, ((leaky_relu *)m)->negative_slope);
}

static void leaky_relu_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "negative_slope=%.12g", ((const leaky_relu *)m)->negative_slope);
}

static const weft_module_class leaky_relu_class = {.name = "LeakyReLU",
                                                   .size = sizeof(leaky_relu),
                                                   .version = 1,
                                                   .forward = leaky_relu_forward,
                                                   .extra_repr = leaky_relu_repr};

weft_module *weft_leaky_relu_create(weft_context *ctx, double negative_slope)
{
    if (ctx != NULL && !isfinite(negative_slope)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "LeakyReLU: the slope must be finite, is %g",
                negative_slope);
        return NULL;
    }
    leaky_relu *self = weft_module_create(ctx, &leaky_relu_class, NULL);
    if (self == NULL)
        return NULL;
    self->negative_slope = negative_slope;
    return &self->base;
}

/* ---- ELU ---- */

typedef struct elu {
    weft_module base;
    double alpha;
} elu;

static weft_tensor *elu_forward(weft_module *m, weft_tensor *x)
{
    return weft_elu(x, ((elu *)m)->alpha);
}

static void elu_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "alpha=%s", wf_float(((const elu *)m)->alpha).text);
}

static const weft_module_class elu_class = {.name = "ELU",
                                            .size = sizeof(elu),
                                            .version = 1,
                                            .forward = elu_forward,
                                            .extra_repr = elu_repr};

weft_module *weft_elu_create(weft_context *ctx, double alpha)
{
    if (ctx != NULL && !isfinite(alpha)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "ELU: alpha must be finite, is %g", alpha);
        return NULL;
    }
    elu *self = weft_module_create(ctx, &elu_class, NULL);
    if (self == NULL)
        return NULL;
    self->alpha = alpha;
    return &self->base;
}

/* ---- Softplus ---- */

typedef struct softplus {
    weft_module base;
    double beta, threshold;
} softplus;

static weft_tensor *softplus_forward(weft_module *m, weft_tensor *x)
{
    return weft_softplus(x, ((softplus *)m)->beta, ((softplus *)m)->threshold);
}

static void softplus_repr(const weft_module *m, char *text, size_t size)
{
    const softplus *self = (const softplus *)m;
    snprintf(text, size, "beta=%s, threshold=%s", wf_float(self->beta).text,
             wf_float(self->threshold).text);
}

static const weft_module_class softplus_class = {.name = "Softplus",
                                                 .size = sizeof(softplus),
                                                 .version = 1,
                                                 .forward = softplus_forward,
                                                 .extra_repr = softplus_repr};

weft_module *weft_softplus_create(weft_context *ctx, double beta, double threshold)
{
    if (ctx != NULL && (!(beta > 0 && isfinite(beta)) || isnan(threshold))) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "Softplus: beta %g, threshold %g: beta must be above 0 and finite", beta,
                threshold);
        return NULL;
    }
    softplus *self = weft_module_create(ctx, &softplus_class, NULL);
    if (self == NULL)
        return NULL;
    self->beta = beta;
    self->threshold = threshold;
    return &self->base;
}

/* ---- PReLU ---- */

typedef struct prelu {
    weft_module base;
    weft_tensor *weight; /* (1) or (C) */
    int parameters;
} prelu;

static weft_tensor *prelu_forward(weft_module *m, weft_tensor *x)
{
    return weft_prelu(x, ((prelu *)m)->weight);
}

static void prelu_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "num_parameters=%d", ((const prelu *)m)->parameters);
}

static const weft_module_class prelu_class = {.name = "PReLU",
                                              .size = sizeof(prelu),
                                              .version = 1,
                                              .forward = prelu_forward,
                                              .extra_repr = prelu_repr};

weft_module *weft_prelu_create(weft_context *ctx, int parameters, double init)
{
    if (ctx == NULL) {
        wf_no_context("weft_prelu_create");
        return NULL;
    }
    if (parameters < 1 || !isfinite(init)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "PReLU(%d, %g): there must be parameters, finite ones",
                parameters, init);
        return NULL;
    }
    prelu *self = weft_module_create(ctx, &prelu_class, NULL);
    if (self == NULL)
        return NULL;
    self->parameters = parameters;
    weft_register_parameter(&self->base, "weight", &self->weight,
                            weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(parameters), init));
    return weft_module_ok(&self->base);
}

/* ---- GELU ---- */

typedef struct gelu {
    weft_module base;
    bool approximate;
} gelu;

static weft_tensor *gelu_forward(weft_module *m, weft_tensor *x)
{
    return ((gelu *)m)->approximate ? weft_gelu_tanh(x) : weft_gelu(x);
}

static void gelu_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "approximate='%s'", ((const gelu *)m)->approximate ? "tanh" : "none");
}

static const weft_module_class gelu_class = {.name = "GELU",
                                             .size = sizeof(gelu),
                                             .version = 1,
                                             .forward = gelu_forward,
                                             .extra_repr = gelu_repr};

weft_module *weft_gelu_create(weft_context *ctx, bool approximate)
{
    gelu *self = weft_module_create(ctx, &gelu_class, NULL);
    if (self == NULL)
        return NULL;
    self->approximate = approximate;
    return &self->base;
}
