/* The ResNets of torchvision's resnet.py (He et al. 2015, with the stride on the 3x3 convolution),
 * with their wide (Zagoruyko and Komodakis 2016) and grouped (Xie et al. 2016) variants; and
 * ResNets for small images, whose stem is one 3x3 convolution. Threading rule: the context's. */
#include <stdio.h>

#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/layers.h"

/* ---- blocks: conv1, bn1, relu, conv2, bn2, [conv3, bn3], [downsample] ---- */

typedef struct block {
    weft_module base;
    weft_module *conv1, *bn1, *conv2, *bn2, *conv3, *bn3, *relu, *downsample;
} block;

static weft_tensor *conv_bn(weft_module *conv, weft_module *bn, weft_tensor *x)
{
    return weft_call(bn, weft_call(conv, x));
}

static weft_tensor *block_forward(weft_module *m, weft_tensor *x)
{
    block *self = (block *)m;
    weft_tensor *y = weft_call(self->relu, conv_bn(self->conv1, self->bn1, x));
    y = conv_bn(self->conv2, self->bn2, y);
    if (self->conv3 != NULL)
        y = conv_bn(self->conv3, self->bn3, weft_call(self->relu, y));
    weft_tensor *shortcut = self->downsample != NULL ? weft_call(self->downsample, x) : x;
    return weft_call(self->relu, weft_add(y, shortcut));
}

static const weft_module_class basic_block_class = {
    .name = "BasicBlock", .size = sizeof(block), .version = 1, .forward = block_forward};
static const weft_module_class bottleneck_class = {
    .name = "Bottleneck", .size = sizeof(block), .version = 1, .forward = block_forward};

static void add_conv(weft_module *m, int number, weft_module **conv, weft_module **bn, int in,
                     int out, int kernel, int stride, int groups)
{
    char name[16];
    int pad = kernel / 2;
    weft_conv2d_layer_opts opts = {
        .stride = {stride, stride}, .padding = {pad, pad}, .groups = groups, .no_bias = true};
    snprintf(name, sizeof(name), "conv%d", number);
    weft_register_module(m, name, conv, weft_conv2d_create(m->ctx, in, out, kernel, &opts));
    snprintf(name, sizeof(name), "bn%d", number);
    weft_register_module(m, name, bn, weft_batch_norm2d_create(m->ctx, out, NULL));
}

/* ---- the network ---- */

/* small: the stem is a 3x3 convolution without pooling; else 7x7 with stride 2 and a pooling.
 * Channels double from stage to stage. */
typedef struct config {
    bool bottleneck, small;
    int channels; /* channels of the stem and the first stage */
    int stages, blocks[4];
    int groups, width_per_group; /* 0 means 1 and 64 */
} config;

static weft_module *block_create(weft_context *ctx, const config *c, int in, int planes, int stride)
{
    int groups = c->groups != 0 ? c->groups : 1;
    int per_group = c->width_per_group != 0 ? c->width_per_group : 64;
    int width = planes * per_group / 64 * groups, out = c->bottleneck ? 4 * planes : planes;
    block *self =
        weft_module_create(ctx, c->bottleneck ? &bottleneck_class : &basic_block_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    if (c->bottleneck) {
        add_conv(m, 1, &self->conv1, &self->bn1, in, width, 1, 1, 1);
        add_conv(m, 2, &self->conv2, &self->bn2, width, width, 3, stride, groups);
        add_conv(m, 3, &self->conv3, &self->bn3, width, out, 1, 1, 1);
    } else {
        add_conv(m, 1, &self->conv1, &self->bn1, in, planes, 3, stride, 1);
        add_conv(m, 2, &self->conv2, &self->bn2, planes, planes, 3, 1, 1);
    }
    weft_register_module(m, "relu", &self->relu, weft_relu_create(ctx));
    if (stride != 1 || in != out) {
        weft_conv2d_layer_opts opts = {.stride = {stride, stride}, .no_bias = true};
        weft_register_module(m, "downsample", &self->downsample,
                             WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, in, out, 1, &opts),
                                             weft_batch_norm2d_create(ctx, out, NULL)));
    }
    return weft_module_ok(m);
}

static weft_module *stage_create(weft_context *ctx, const config *c, int in, int planes, int blocks,
                                 int stride)
{
    weft_module *stage = weft_sequential_create(ctx, 0, NULL);
    for (int i = 0; stage != NULL && i < blocks; i++) {
        weft_append(stage, block_create(ctx, c, in, planes, i == 0 ? stride : 1));
        in = c->bottleneck ? 4 * planes : planes;
    }
    return weft_module_ok(stage);
}

typedef struct resnet {
    weft_module base;
    weft_module *conv1, *bn1, *relu, *maxpool, *layer[4], *avgpool, *fc;
} resnet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    resnet *self = (resnet *)m;
    x = weft_call(self->relu, conv_bn(self->conv1, self->bn1, x));
    if (self->maxpool != NULL)
        x = weft_call(self->maxpool, x);
    for (int i = 0; i < 4 && self->layer[i] != NULL; i++)
        x = weft_call(self->layer[i], x);
    return weft_call(self->fc, weft_flatten(weft_call(self->avgpool, x), 1));
}

static const weft_module_class resnet_class = {
    .name = "ResNet", .size = sizeof(resnet), .version = 1, .forward = forward};

static weft_module *create(weft_context *ctx, const weft_model_opts *opts, const config *c)
{
    resnet *self = weft_module_create(ctx, &resnet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    int in = c->channels;
    add_conv(m, 1, &self->conv1, &self->bn1, opts->in_channels, in, c->small ? 3 : 7,
             c->small ? 1 : 2, 1);
    weft_register_module(m, "relu", &self->relu, weft_relu_create(ctx));
    if (!c->small)
        weft_register_module(m, "maxpool", &self->maxpool,
                             weft_max_pool2d_create(
                                 ctx, 3, &(weft_pool2d_opts){.stride = {2, 2}, .padding = {1, 1}}));
    for (int i = 0; i < c->stages; i++) {
        char name[16];
        int planes = c->channels << i;
        snprintf(name, sizeof(name), "layer%d", i + 1);
        weft_register_module(m, name, &self->layer[i],
                             stage_create(ctx, c, in, planes, c->blocks[i], i == 0 ? 1 : 2));
        in = c->bottleneck ? 4 * planes : planes;
    }
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 1, 1));
    weft_register_module(m, "fc", &self->fc, weft_linear_create(ctx, in, opts->num_classes, NULL));
    return wf_model_ok(m, wf_init_conv_fan_out);
}

#define RESNET(name, ...)                                                                          \
    weft_module *wf_model_##name(weft_context *ctx, const weft_model_opts *opts)                   \
    {                                                                                              \
        return create(ctx, opts, &(config){__VA_ARGS__});                                          \
    }

RESNET(resnet18, .channels = 64, .stages = 4, .blocks = {2, 2, 2, 2})
RESNET(resnet34, .channels = 64, .stages = 4, .blocks = {3, 4, 6, 3})
RESNET(resnet50, .bottleneck = true, .channels = 64, .stages = 4, .blocks = {3, 4, 6, 3})
RESNET(resnet101, .bottleneck = true, .channels = 64, .stages = 4, .blocks = {3, 4, 23, 3})
RESNET(wide_resnet50_2, .bottleneck = true, .channels = 64, .stages = 4, .blocks = {3, 4, 6, 3},
       .width_per_group = 128)
RESNET(resnext50_32x4d, .bottleneck = true, .channels = 64, .stages = 4, .blocks = {3, 4, 6, 3},
       .groups = 32, .width_per_group = 4)
RESNET(cifar_resnet18, .small = true, .channels = 64, .stages = 4, .blocks = {2, 2, 2, 2})
RESNET(cifar_resnet20, .small = true, .channels = 16, .stages = 3, .blocks = {3, 3, 3})
RESNET(cifar_resnet56, .small = true, .channels = 16, .stages = 3, .blocks = {9, 9, 9})
