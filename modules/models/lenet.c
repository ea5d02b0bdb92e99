/* lenet: LeNet-5 (LeCun et al. 1998) as it is taught today, with ReLU and max pooling; the first
 * convolution pads by 2, so that 28x28 images give the original's shapes. Threading rule: the
 * context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/layers.h"

typedef struct lenet {
    weft_module base;
    weft_module *conv1, *conv2, *relu, *maxpool, *fc1, *fc2, *fc3;
} lenet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    lenet *self = (lenet *)m;
    x = weft_call(self->maxpool, weft_call(self->relu, weft_call(self->conv1, x)));
    x = weft_call(self->maxpool, weft_call(self->relu, weft_call(self->conv2, x)));
    x = weft_call(self->relu, weft_call(self->fc1, weft_flatten(x, 1)));
    x = weft_call(self->relu, weft_call(self->fc2, x));
    return weft_call(self->fc3, x);
}

static const weft_module_class lenet_class = {
    .name = "LeNet", .size = sizeof(lenet), .version = 1, .forward = forward};

weft_module *wf_model_lenet(weft_context *ctx, const weft_model_opts *opts)
{
    int h = (opts->height / 2 - 4) / 2, w = (opts->width / 2 - 4) / 2;
    lenet *self = weft_module_create(ctx, &lenet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_conv2d_layer_opts same = {.padding = {2, 2}};
    int c = opts->in_channels;
    weft_register_module(m, "conv1", &self->conv1, weft_conv2d_create(ctx, c, 6, 5, &same));
    weft_register_module(m, "conv2", &self->conv2, weft_conv2d_create(ctx, 6, 16, 5, NULL));
    weft_register_module(m, "relu", &self->relu, weft_relu_create(ctx));
    weft_register_module(m, "maxpool", &self->maxpool, weft_max_pool2d_create(ctx, 2, NULL));
    weft_register_module(m, "fc1", &self->fc1, weft_linear_create(ctx, 16 * h * w, 120, NULL));
    weft_register_module(m, "fc2", &self->fc2, weft_linear_create(ctx, 120, 84, NULL));
    weft_register_module(m, "fc3", &self->fc3,
                         weft_linear_create(ctx, 84, opts->num_classes, NULL));
    return weft_module_ok(m);
}
