/* ShuffleNet V2: torchvision's shufflenetv2.py (Ma et al. 2018). Threading rule: the context's. */
#include <stdio.h>

#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/layers.h"

/* ---- a unit: half of the channels pass, or branch1 with stride 2; the rest through branch2 --- */

typedef struct unit {
    weft_module base;
    weft_module *branch1, *branch2;
    bool halves;
} unit;

static weft_tensor *unit_forward(weft_module *m, weft_tensor *x)
{
    unit *self = (unit *)m;
    weft_tensor *both[2] = {x, x};
    if (self->halves && weft_chunk(x, 2, 1, both) != WEFT_OK)
        return NULL;
    if (!self->halves)
        both[0] = weft_call(self->branch1, both[0]);
    both[1] = weft_call(self->branch2, both[1]);
    return weft_channel_shuffle(weft_concat(both, 2, 1), 2);
}

static const weft_module_class unit_class = {
    .name = "InvertedResidual", .size = sizeof(unit), .version = 1, .forward = unit_forward};

static void add_conv_norm(weft_module *list, int in, int out, int kernel, int stride, bool relu)
{
    weft_context *ctx = list->ctx;
    int pad = kernel / 2;
    weft_conv2d_layer_opts opts = {.stride = {stride, stride},
                                   .padding = {pad, pad},
                                   .groups = kernel > 1 ? in : 1, /* 3x3: depthwise */
                                   .no_bias = true};
    weft_append(list, weft_conv2d_create(ctx, in, out, kernel, &opts));
    weft_append(list, weft_batch_norm2d_create(ctx, out, NULL));
    if (relu)
        weft_append(list, weft_relu_create(ctx));
}

static weft_module *unit_create(weft_context *ctx, int in, int out, int stride)
{
    unit *self = weft_module_create(ctx, &unit_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base, *list[2];
    int half = out / 2;
    self->halves = stride == 1;
    for (int i = 0; i < 2; i++)
        list[i] = weft_sequential_create(ctx, 0, NULL);
    if (list[0] != NULL && !self->halves) {
        add_conv_norm(list[0], in, in, 3, stride, false);
        add_conv_norm(list[0], in, half, 1, 1, true);
    }
    if (list[1] != NULL) {
        add_conv_norm(list[1], self->halves ? half : in, half, 1, 1, true);
        add_conv_norm(list[1], half, half, 3, stride, false);
        add_conv_norm(list[1], half, half, 1, 1, true);
    }
    weft_register_module(m, "branch1", &self->branch1, weft_module_ok(list[0]));
    weft_register_module(m, "branch2", &self->branch2, weft_module_ok(list[1]));
    return weft_module_ok(m);
}

/* ---- the network ---- */

typedef struct shufflenet {
    weft_module base;
    weft_module *conv1, *maxpool, *stage[3], *conv5, *fc;
} shufflenet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    shufflenet *self = (shufflenet *)m;
    x = weft_call(self->maxpool, weft_call(self->conv1, x));
    for (int i = 0; i < 3; i++)
        x = weft_call(self->stage[i], x);
    x = weft_flatten(weft_adaptive_avg_pool2d(weft_call(self->conv5, x), 1, 1), 1);
    return weft_call(self->fc, x);
}

static const weft_module_class shufflenet_class = {
    .name = "ShuffleNetV2", .size = sizeof(shufflenet), .version = 1, .forward = forward};

static weft_module *conv_create(weft_context *ctx, int in, int out, int kernel, int stride)
{
    int pad = kernel / 2;
    weft_conv2d_layer_opts opts = {
        .stride = {stride, stride}, .padding = {pad, pad}, .no_bias = true};
    return WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, in, out, kernel, &opts),
                           weft_batch_norm2d_create(ctx, out, NULL), weft_relu_create(ctx));
}

weft_module *wf_model_shufflenet_v2_x1_0(weft_context *ctx, const weft_model_opts *opts)
{
    static const int units[3] = {4, 8, 4}, channels[3] = {116, 232, 464};
    enum { FIRST = 24, LAST = 1024 };
    shufflenet *self = weft_module_create(ctx, &shufflenet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_pool2d_opts pool = {.stride = {2, 2}, .padding = {1, 1}};
    weft_register_module(m, "conv1", &self->conv1,
                         conv_create(ctx, opts->in_channels, FIRST, 3, 2));
    weft_register_module(m, "maxpool", &self->maxpool, weft_max_pool2d_create(ctx, 3, &pool));
    for (int i = 0, in = FIRST; i < 3; in = channels[i++]) {
        weft_module *stage = weft_sequential_create(ctx, 0, NULL);
        for (int n = 0; stage != NULL && n < units[i]; n++)
            weft_append(stage,
                        unit_create(ctx, n == 0 ? in : channels[i], channels[i], n == 0 ? 2 : 1));
        char name[16];
        snprintf(name, sizeof(name), "stage%d", i + 2);
        weft_register_module(m, name, &self->stage[i], weft_module_ok(stage));
    }
    weft_register_module(m, "conv5", &self->conv5, conv_create(ctx, channels[2], LAST, 1, 1));
    weft_register_module(m, "fc", &self->fc,
                         weft_linear_create(ctx, LAST, opts->num_classes, NULL));
    return wf_model_ok(m, NULL);
}
