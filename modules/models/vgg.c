/* The VGG networks: torchvision's vgg.py (Simonyan and Zisserman 2014), with and without BatchNorm.
 * Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"
#include "weft/layers.h"

typedef struct vgg {
    weft_module base;
    weft_module *features, *avgpool, *classifier;
} vgg;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    vgg *self = (vgg *)m;
    x = weft_call(self->avgpool, weft_call(self->features, x));
    return weft_call(self->classifier, weft_flatten(x, 1));
}

static const weft_module_class vgg_class = {
    .name = "VGG", .size = sizeof(vgg), .version = 1, .forward = forward};

typedef struct config {
    bool batch_norm;
    int convs[5]; /* convolutions of each stage; a stage ends in a pooling */
} config;

static weft_module *features_create(weft_context *ctx, const config *c, int in)
{
    static const int channels[5] = {64, 128, 256, 512, 512};
    weft_conv2d_layer_opts same = {.padding = {1, 1}};
    weft_module *features = weft_sequential_create(ctx, 0, NULL);
    for (int stage = 0; features != NULL && stage < 5; stage++) {
        int out = channels[stage];
        for (int i = 0; i < c->convs[stage]; i++) {
            weft_append(features, weft_conv2d_create(ctx, in, out, 3, &same));
            if (c->batch_norm)
                weft_append(features, weft_batch_norm2d_create(ctx, out, NULL));
            weft_append(features, weft_relu_create(ctx));
            in = out;
        }
        weft_append(features, weft_max_pool2d_create(ctx, 2, NULL));
    }
    return weft_module_ok(features);
}

static weft_module *create(weft_context *ctx, const weft_model_opts *opts, const config *c)
{
    double dropout = wf_model_number(ctx, opts, "dropout", 0.5);
    vgg *self = weft_module_create(ctx, &vgg_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    bool was = weft_init_skip_begin(ctx); /* wf_init_conv_and_linear sets every layer's values */
    weft_register_module(m, "features", &self->features,
                         features_create(ctx, c, opts->in_channels));
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 7, 7));
    weft_register_module(m, "classifier", &self->classifier,
                         WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 512 * 7 * 7, 4096, NULL),
                                         weft_relu_create(ctx), weft_dropout_create(ctx, dropout),
                                         weft_linear_create(ctx, 4096, 4096, NULL),
                                         weft_relu_create(ctx), weft_dropout_create(ctx, dropout),
                                         weft_linear_create(ctx, 4096, opts->num_classes, NULL)));
    weft_init_skip_end(ctx, was);
    return wf_model_ok(m, wf_init_conv_and_linear);
}

#define VGG(name, ...)                                                                             \
    weft_module *wf_model_##name(weft_context *ctx, const weft_model_opts *opts)                   \
    {                                                                                              \
        return create(ctx, opts, &(config){false, {__VA_ARGS__}});                                 \
    }                                                                                              \
    weft_module *wf_model_##name##_bn(weft_context *ctx, const weft_model_opts *opts)              \
    {                                                                                              \
        return create(ctx, opts, &(config){true, {__VA_ARGS__}});                                  \
    }

VGG(vgg11, 1, 1, 2, 2, 2)
VGG(vgg13, 2, 2, 2, 2, 2)
VGG(vgg16, 2, 2, 3, 3, 3)
VGG(vgg19, 2, 2, 4, 4, 4)
