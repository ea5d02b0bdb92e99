/* squeezenet1_1: torchvision's squeezenet.py (Iandola et al. 2016, with the changes of version
 * 1.1). Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"
#include "weft/layers.h"

/* ---- Fire: squeezed to few channels, then expanded by 1x1 and 3x3 side by side ---- */

typedef struct fire {
    weft_module base;
    weft_module *squeeze, *squeeze_relu, *one, *one_relu, *three, *three_relu;
} fire;

static weft_tensor *fire_forward(weft_module *m, weft_tensor *x)
{
    fire *self = (fire *)m;
    x = weft_call(self->squeeze_relu, weft_call(self->squeeze, x));
    weft_tensor *sides[] = {weft_call(self->one_relu, weft_call(self->one, x)),
                            weft_call(self->three_relu, weft_call(self->three, x))};
    return weft_concat(sides, 2, 1);
}

static const weft_module_class fire_class = {
    .name = "Fire", .size = sizeof(fire), .version = 1, .forward = fire_forward};

/* From (N, in, H, W) to (N, 2*expand, H, W). */
static weft_module *fire_create(weft_context *ctx, int in, int squeeze, int expand)
{
    fire *self = weft_module_create(ctx, &fire_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_conv2d_layer_opts same = {.padding = {1, 1}};
    weft_register_module(m, "squeeze", &self->squeeze,
                         weft_conv2d_create(ctx, in, squeeze, 1, NULL));
    weft_register_module(m, "squeeze_activation", &self->squeeze_relu, weft_relu_create(ctx));
    weft_register_module(m, "expand1x1", &self->one,
                         weft_conv2d_create(ctx, squeeze, expand, 1, NULL));
    weft_register_module(m, "expand1x1_activation", &self->one_relu, weft_relu_create(ctx));
    weft_register_module(m, "expand3x3", &self->three,
                         weft_conv2d_create(ctx, squeeze, expand, 3, &same));
    weft_register_module(m, "expand3x3_activation", &self->three_relu, weft_relu_create(ctx));
    return weft_module_ok(m);
}

/* ---- the network ---- */

typedef struct squeezenet {
    weft_module base;
    weft_module *features, *classifier;
} squeezenet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    squeezenet *self = (squeezenet *)m;
    return weft_flatten(weft_call(self->classifier, weft_call(self->features, x)), 1);
}

static const weft_module_class squeezenet_class = {
    .name = "SqueezeNet", .size = sizeof(squeezenet), .version = 1, .forward = forward};

static weft_module *pool(weft_context *ctx)
{
    return weft_max_pool2d_create(ctx, 3, &(weft_pool2d_opts){.stride = {2, 2}, .ceil_mode = true});
}

/* Children come before their parent, so the network is last. */
static weft_status init(weft_module *m, void *user)
{
    if (m->cls == &squeezenet_class)
        return weft_init_normal(weft_get_parameter(m, "classifier.1.weight"), 0, 0.01);
    if (!wf_is_layer(m, "Conv2d"))
        return WEFT_OK;
    WF_TRY(
        weft_init_kaiming_uniform(weft_get_parameter(m, "weight"), 0, WEFT_FAN_IN, WEFT_GAIN_RELU));
    return weft_init_constant(weft_get_parameter(m, "bias"), 0);
}

weft_module *wf_model_squeezenet1_1(weft_context *ctx, const weft_model_opts *opts)
{
    double dropout = wf_model_number(ctx, opts, "dropout", 0.5);
    squeezenet *self = weft_module_create(ctx, &squeezenet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_conv2d_layer_opts halving = {.stride = {2, 2}};
    weft_register_module(
        m, "features", &self->features,
        WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, opts->in_channels, 64, 3, &halving),
                        weft_relu_create(ctx), pool(ctx), fire_create(ctx, 64, 16, 64),
                        fire_create(ctx, 128, 16, 64), pool(ctx), fire_create(ctx, 128, 32, 128),
                        fire_create(ctx, 256, 32, 128), pool(ctx), fire_create(ctx, 256, 48, 192),
                        fire_create(ctx, 384, 48, 192), fire_create(ctx, 384, 64, 256),
                        fire_create(ctx, 512, 64, 256)));
    weft_register_module(m, "classifier", &self->classifier,
                         WEFT_SEQUENTIAL(ctx, weft_dropout_create(ctx, dropout),
                                         weft_conv2d_create(ctx, 512, opts->num_classes, 1, NULL),
                                         weft_relu_create(ctx),
                                         weft_adaptive_avg_pool2d_create(ctx, 1, 1)));
    return wf_model_ok(m, init);
}
