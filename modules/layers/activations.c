/* Activation modules: ReLU6, SiLU, Hardsigmoid, Hardswish, Sigmoid, Tanh, LeakyReLU, GELU.
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

weft_module *weft_relu6_create(weft_context *ctx)
{
    return weft_module_create(ctx, &relu6_class);
}
weft_module *weft_silu_create(weft_context *ctx)
{
    return weft_module_create(ctx, &silu_class);
}
weft_module *weft_hardsigmoid_create(weft_context *ctx)
{
    return weft_module_create(ctx, &hardsigmoid_class);
}
weft_module *weft_hardswish_create(weft_context *ctx)
{
    return weft_module_create(ctx, &hardswish_class);
}
weft_module *weft_sigmoid_create(weft_context *ctx)
{
    return weft_module_create(ctx, &sigmoid_class);
}
weft_module *weft_tanh_create(weft_context *ctx)
{
    return weft_module_create(ctx, &tanh_class);
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
        wf_fail(ctx, WEFT_ERR_INVALID, "LeakyReLU: the slope is %g", negative_slope);
        return NULL;
    }
    leaky_relu *self = weft_module_create(ctx, &leaky_relu_class);
    if (self == NULL)
        return NULL;
    self->negative_slope = negative_slope;
    return &self->base;
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
    gelu *self = weft_module_create(ctx, &gelu_class);
    if (self == NULL)
        return NULL;
    self->approximate = approximate;
    return &self->base;
}
