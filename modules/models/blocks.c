/* Building blocks of the mobile networks: see blocks.h. Threading rule: the context's. */
#include "modules/models/blocks.h"

#include "modules/internal.h"

int wf_divisible_by_8(double channels)
{
    int nearest = (int)(channels + 4) / 8 * 8;
    nearest = nearest < 8 ? 8 : nearest;
    return nearest < 0.9 * channels ? nearest + 8 : nearest;
}

/* ---- Conv2dNormActivation ---- */

static const weft_module_class conv_norm_class = {.name = "Conv2dNormActivation",
                                                  .size = sizeof(weft_module),
                                                  .version = 1,
                                                  .forward = wf_sequential_forward};

weft_module *wf_conv_norm_create(weft_context *ctx, const wf_conv_norm *c)
{
    int pad = c->kernel / 2;
    weft_conv2d_layer_opts conv = {.stride = {c->stride, c->stride},
                                   .padding = {pad, pad},
                                   .groups = c->groups,
                                   .no_bias = true};
    weft_module *m = wf_sequential_as(ctx, &conv_norm_class, 0, NULL);
    if (m == NULL)
        return NULL;
    weft_append(m, weft_conv2d_create(ctx, c->in, c->out, c->kernel, &conv));
    weft_append(m, weft_batch_norm2d_create(ctx, c->out, c->norm));
    if (c->activation != NULL)
        weft_append(m, c->activation(ctx));
    return weft_module_ok(m);
}

/* ---- SqueezeExcitation (Hu et al. 2018): channels * scale(fc2(activation(fc1(their means)))) - */

typedef struct squeeze_excitation {
    weft_module base;
    weft_module *avgpool, *fc1, *fc2, *activation, *scale_activation;
} squeeze_excitation;

static weft_tensor *excite(weft_module *m, weft_tensor *x)
{
    squeeze_excitation *self = (squeeze_excitation *)m;
    weft_tensor *s = weft_call(self->fc1, weft_call(self->avgpool, x));
    s = weft_call(self->fc2, weft_call(self->activation, s));
    return weft_mul(x, weft_call(self->scale_activation, s)); /* (N, C, H, W) by (N, C, 1, 1) */
}

static const weft_module_class squeeze_excitation_class = {.name = "SqueezeExcitation",
                                                           .size = sizeof(squeeze_excitation),
                                                           .version = 1,
                                                           .forward = excite};

static weft_module *squeeze_excitation_create(weft_context *ctx, int channels, int squeezed,
                                              wf_layer_fn activation, wf_layer_fn scale)
{
    squeeze_excitation *self = weft_module_create(ctx, &squeeze_excitation_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 1, 1));
    weft_register_module(m, "fc1", &self->fc1,
                         weft_conv2d_create(ctx, channels, squeezed, 1, NULL));
    weft_register_module(m, "fc2", &self->fc2,
                         weft_conv2d_create(ctx, squeezed, channels, 1, NULL));
    weft_register_module(m, "activation", &self->activation, activation(ctx));
    weft_register_module(m, "scale_activation", &self->scale_activation, scale(ctx));
    return weft_module_ok(m);
}

/* ---- the inverted residual block ---- */

typedef struct inverted_residual {
    weft_module base;
    weft_module *block;
    weft_module *stochastic_depth; /* only of MBConv */
    bool residual;
} inverted_residual;

static weft_tensor *inverted_forward(weft_module *m, weft_tensor *x)
{
    inverted_residual *self = (inverted_residual *)m;
    weft_tensor *y = weft_call(self->block, x);
    if (!self->residual)
        return y;
    if (self->stochastic_depth != NULL)
        y = weft_call(self->stochastic_depth, y);
    return weft_add(y, x);
}

static const weft_module_class inverted_residual_class = {.name = "InvertedResidual",
                                                          .size = sizeof(inverted_residual),
                                                          .version = 1,
                                                          .forward = inverted_forward};
static const weft_module_class mbconv_class = {
    .name = "MBConv", .size = sizeof(inverted_residual), .version = 1, .forward = inverted_forward};

static weft_module *inverted_block(weft_context *ctx, const wf_inverted *c)
{
    weft_module *block = weft_sequential_create(ctx, 0, NULL);
    if (block == NULL)
        return NULL;
    wf_conv_norm expand = {c->in, c->expanded, 1, .norm = c->norm, .activation = c->activation};
    wf_conv_norm depthwise = {c->expanded, c->expanded, c->kernel,    c->stride,
                              c->expanded, c->norm,     c->activation};
    wf_conv_norm project = {c->expanded, c->out, 1, .norm = c->norm};
    if (c->expanded != c->in)
        weft_append(block, wf_conv_norm_create(ctx, &expand));
    weft_append(block, wf_conv_norm_create(ctx, &depthwise));
    if (c->squeezed != 0)
        weft_append(block, squeeze_excitation_create(ctx, c->expanded, c->squeezed,
                                                     c->squeeze_activation, c->squeeze_scale));
    if (c->v2) {
        weft_append(block, weft_conv2d_create(ctx, c->expanded, c->out, 1,
                                              &(weft_conv2d_layer_opts){.no_bias = true}));
        weft_append(block, weft_batch_norm2d_create(ctx, c->out, c->norm));
    } else {
        weft_append(block, wf_conv_norm_create(ctx, &project));
    }
    return weft_module_ok(block);
}

weft_module *wf_inverted_residual_create(weft_context *ctx, const wf_inverted *c)
{
    inverted_residual *self =
        weft_module_create(ctx, c->stochastic ? &mbconv_class : &inverted_residual_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    self->residual = c->stride == 1 && c->in == c->out;
    weft_register_module(m, c->v2 ? "conv" : "block", &self->block, inverted_block(ctx, c));
    if (c->stochastic)
        weft_register_module(m, "stochastic_depth", &self->stochastic_depth,
                             weft_stochastic_depth_create(ctx, c->drop));
    return weft_module_ok(m);
}
