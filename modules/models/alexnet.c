/* alexnet: torchvision's alexnet.py, after Krizhevsky 2014, "One weird trick for parallelizing
 * convolutional neural networks". Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/layers.h"

typedef struct alexnet {
    weft_module base;
    weft_module *features, *avgpool, *classifier;
} alexnet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    alexnet *self = (alexnet *)m;
    x = weft_call(self->avgpool, weft_call(self->features, x));
    return weft_call(self->classifier, weft_flatten(x, 1));
}

static const weft_module_class alexnet_class = {
    .name = "AlexNet", .size = sizeof(alexnet), .version = 1, .forward = forward};

static weft_module *conv(weft_context *ctx, int in, int out, int kernel, int stride, int padding)
{
    weft_conv2d_layer_opts opts = {.stride = {stride, stride}, .padding = {padding, padding}};
    return weft_conv2d_create(ctx, in, out, kernel, &opts);
}

static weft_module *pool(weft_context *ctx)
{
    return weft_max_pool2d_create(ctx, 3, &(weft_pool2d_opts){.stride = {2, 2}});
}

weft_module *wf_model_alexnet(weft_context *ctx, const weft_model_opts *opts)
{
    double dropout = wf_model_number(ctx, opts, "dropout", 0.5);
    alexnet *self = weft_module_create(ctx, &alexnet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_register_module(
        m, "features", &self->features,
        WEFT_SEQUENTIAL(ctx, conv(ctx, opts->in_channels, 64, 11, 4, 2), weft_relu_create(ctx),
                        pool(ctx), conv(ctx, 64, 192, 5, 1, 2), weft_relu_create(ctx), pool(ctx),
                        conv(ctx, 192, 384, 3, 1, 1), weft_relu_create(ctx),
                        conv(ctx, 384, 256, 3, 1, 1), weft_relu_create(ctx),
                        conv(ctx, 256, 256, 3, 1, 1), weft_relu_create(ctx), pool(ctx)));
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 6, 6));
    weft_register_module(m, "classifier", &self->classifier,
                         WEFT_SEQUENTIAL(ctx, weft_dropout_create(ctx, dropout),
                                         weft_linear_create(ctx, 256 * 6 * 6, 4096, NULL),
                                         weft_relu_create(ctx), weft_dropout_create(ctx, dropout),
                                         weft_linear_create(ctx, 4096, 4096, NULL),
                                         weft_relu_create(ctx),
                                         weft_linear_create(ctx, 4096, opts->num_classes, NULL)));
    return wf_model_ok(m, NULL);
}
