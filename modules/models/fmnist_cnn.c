/* fmnist_cnn: the default network for Fashion-MNIST, 104,426 parameters at 28x28. Part names as in
 * bench/torch_models/. Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/layers.h"

typedef struct fmnist_cnn {
    weft_module base;
    weft_module *conv1, *bn1, *conv2, *bn2, *conv3, *bn3, *relu, *maxpool, *fc;
} fmnist_cnn;

/* Convolution, BatchNorm, ReLU, 2x2 pooling: (N, C, H, W) to (N, K, H/2, W/2). */
static weft_tensor *stage(fmnist_cnn *self, weft_module *conv, weft_module *bn, weft_tensor *x)
{
    x = weft_call(bn, weft_call(conv, x));
    return weft_call(self->maxpool, weft_call(self->relu, x));
}

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    fmnist_cnn *self = (fmnist_cnn *)m;
    x = stage(self, self->conv1, self->bn1, x);
    x = stage(self, self->conv2, self->bn2, x);
    x = stage(self, self->conv3, self->bn3, x);
    return weft_call(self->fc, weft_flatten(x, 1));
}

static const weft_module_class fmnist_cnn_class = {
    .name = "FashionMnistCnn", .size = sizeof(fmnist_cnn), .version = 1, .forward = forward};

weft_module *wf_model_fmnist_cnn(weft_context *ctx, const weft_model_opts *opts)
{
    int h = opts->height / 2 / 2 / 2, w = opts->width / 2 / 2 / 2;
    fmnist_cnn *self = weft_module_create(ctx, &fmnist_cnn_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_conv2d_layer_opts conv = {.padding = {1, 1}, .no_bias = true};
    int c = opts->in_channels;
    weft_register_module(m, "conv1", &self->conv1, weft_conv2d_create(ctx, c, 32, 3, &conv));
    weft_register_module(m, "bn1", &self->bn1, weft_batch_norm2d_create(ctx, 32, NULL));
    weft_register_module(m, "conv2", &self->conv2, weft_conv2d_create(ctx, 32, 64, 3, &conv));
    weft_register_module(m, "bn2", &self->bn2, weft_batch_norm2d_create(ctx, 64, NULL));
    weft_register_module(m, "conv3", &self->conv3, weft_conv2d_create(ctx, 64, 128, 3, &conv));
    weft_register_module(m, "bn3", &self->bn3, weft_batch_norm2d_create(ctx, 128, NULL));
    weft_register_module(m, "relu", &self->relu, weft_relu_create(ctx));
    weft_register_module(m, "maxpool", &self->maxpool, weft_max_pool2d_create(ctx, 2, NULL));
    weft_register_module(m, "fc", &self->fc,
                         weft_linear_create(ctx, 128 * h * w, opts->num_classes, NULL));
    return weft_module_ok(m);
}
