/* The DenseNets: torchvision's densenet.py (Huang et al. 2017). Threading rule: the context's.
 *
 * A layer's input is the block's input and the outputs of all earlier layers, concatenated. Each
 * layer appends its output, x = concat(x, new). That gives the same channels as torchvision, which
 * concatenates the whole list for each layer, with one concat a layer. */
#include <stdio.h>
#include <string.h>

#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"
#include "weft/layers.h"

enum { GROWTH = 32, BOTTLENECK = 4 * GROWTH, FIRST = 64, BLOCKS = 4 };

/* ---- a layer: its new channels ---- */

typedef struct dense_layer {
    weft_module base;
    weft_module *norm1, *relu1, *conv1, *norm2, *relu2, *conv2;
    double drop_rate;
} dense_layer;

static weft_tensor *layer_forward(weft_module *m, weft_tensor *x)
{
    dense_layer *self = (dense_layer *)m;
    x = weft_call(self->conv1, weft_call(self->relu1, weft_call(self->norm1, x)));
    x = weft_call(self->conv2, weft_call(self->relu2, weft_call(self->norm2, x)));
    return self->drop_rate > 0 ? weft_dropout(x, self->drop_rate, m->training) : x;
}

/* torchvision's published files have the names "norm.1" for norm1 and "conv.2" for conv2. Its
 * densenet.py renames them too (pattern in _load_state_dict), except counters, which those files do
 * not have. */
static bool layer_old_name(const weft_module *m, const char *name, char *now, size_t size)
{
    static const char *const parts[] = {"norm", "relu", "conv"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strncmp(name, parts[i], 4) == 0 && name[4] == '.' &&
            (name[5] == '1' || name[5] == '2') && name[6] == '.')
            return snprintf(now, size, "%s%s", parts[i], name + 5) < (int)size;
    }
    return false;
}

static const weft_module_class layer_class = {.name = "_DenseLayer",
                                              .size = sizeof(dense_layer),
                                              .version = 1,
                                              .forward = layer_forward,
                                              .old_name = layer_old_name};

static weft_module *layer_create(weft_context *ctx, int in, double drop_rate)
{
    dense_layer *self = weft_module_create(ctx, &layer_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_conv2d_layer_opts one = {.no_bias = true}, three = {.padding = {1, 1}, .no_bias = true};
    self->drop_rate = drop_rate;
    weft_register_module(m, "norm1", &self->norm1, weft_batch_norm2d_create(ctx, in, NULL));
    weft_register_module(m, "relu1", &self->relu1, weft_relu_create(ctx));
    weft_register_module(m, "conv1", &self->conv1,
                         weft_conv2d_create(ctx, in, BOTTLENECK, 1, &one));
    weft_register_module(m, "norm2", &self->norm2, weft_batch_norm2d_create(ctx, BOTTLENECK, NULL));
    weft_register_module(m, "relu2", &self->relu2, weft_relu_create(ctx));
    weft_register_module(m, "conv2", &self->conv2,
                         weft_conv2d_create(ctx, BOTTLENECK, GROWTH, 3, &three));
    return weft_module_ok(m);
}

/* ---- a block: denselayer1, denselayer2, ... ---- */

static weft_tensor *block_forward(weft_module *m, weft_tensor *x)
{
    for (int i = 0; i < wf_child_count(m); i++) {
        weft_tensor *new = weft_call(wf_part_module(wf_part_child(m, i)), x);
        x = weft_concat((weft_tensor *[]){x, new}, 2, 1);
    }
    return x;
}

static const weft_module_class block_class = {
    .name = "_DenseBlock", .size = sizeof(weft_module), .version = 1, .forward = block_forward};

static weft_module *block_create(weft_context *ctx, int in, int layers, double drop_rate)
{
    weft_module *m = weft_module_create(ctx, &block_class, NULL);
    for (int i = 0; m != NULL && i < layers; i++) {
        char name[24];
        snprintf(name, sizeof(name), "denselayer%d", i + 1);
        weft_register_module(m, name, NULL, layer_create(ctx, in + i * GROWTH, drop_rate));
    }
    return weft_module_ok(m);
}

/* ---- between blocks: half the channels, half the size ---- */

static const weft_module_class transition_class = {.name = "_Transition",
                                                   .size = sizeof(weft_module),
                                                   .version = 1,
                                                   .forward = wf_sequential_forward};

static weft_module *transition_create(weft_context *ctx, int in)
{
    weft_module *m = wf_sequential_as(ctx, &transition_class, 0, NULL);
    if (m == NULL)
        return NULL;
    weft_conv2d_layer_opts one = {.no_bias = true};
    weft_register_module(m, "norm", NULL, weft_batch_norm2d_create(ctx, in, NULL));
    weft_register_module(m, "relu", NULL, weft_relu_create(ctx));
    weft_register_module(m, "conv", NULL, weft_conv2d_create(ctx, in, in / 2, 1, &one));
    weft_register_module(m, "pool", NULL, weft_avg_pool2d_create(ctx, 2, NULL));
    return weft_module_ok(m);
}

/* ---- the network ---- */

typedef struct densenet {
    weft_module base;
    weft_module *features, *classifier;
} densenet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    densenet *self = (densenet *)m;
    x = weft_relu(weft_call(self->features, x));
    x = weft_flatten(weft_adaptive_avg_pool2d(x, 1, 1), 1);
    return weft_call(self->classifier, x);
}

static const weft_module_class densenet_class = {
    .name = "DenseNet", .size = sizeof(densenet), .version = 1, .forward = forward};

static weft_status init(weft_module *m, void *user)
{
    if (wf_is_layer(m, "Conv2d"))
        return weft_init_kaiming_normal(weft_get_parameter(m, "weight"), 0, WEFT_FAN_IN,
                                        WEFT_GAIN_RELU);
    if (wf_is_layer(m, "Linear"))
        return weft_init_constant(weft_get_parameter(m, "bias"), 0);
    return WEFT_OK;
}

/* Sets *channels to the number of output channels. */
static weft_module *features_create(weft_context *ctx, int in_channels, const int *layers,
                                    double drop_rate, int *channels)
{
    weft_module *m = weft_sequential_create(ctx, 0, NULL);
    if (m == NULL)
        return NULL;
    weft_conv2d_layer_opts stem = {.stride = {2, 2}, .padding = {3, 3}, .no_bias = true};
    weft_pool2d_opts pool = {.stride = {2, 2}, .padding = {1, 1}};
    char name[16];
    int in = FIRST;
    weft_register_module(m, "conv0", NULL, weft_conv2d_create(ctx, in_channels, in, 7, &stem));
    weft_register_module(m, "norm0", NULL, weft_batch_norm2d_create(ctx, in, NULL));
    weft_register_module(m, "relu0", NULL, weft_relu_create(ctx));
    weft_register_module(m, "pool0", NULL, weft_max_pool2d_create(ctx, 3, &pool));
    for (int i = 0; i < BLOCKS; i++) {
        snprintf(name, sizeof(name), "denseblock%d", i + 1);
        weft_register_module(m, name, NULL, block_create(ctx, in, layers[i], drop_rate));
        in += layers[i] * GROWTH;
        if (i == BLOCKS - 1)
            break;
        snprintf(name, sizeof(name), "transition%d", i + 1);
        weft_register_module(m, name, NULL, transition_create(ctx, in));
        in /= 2;
    }
    weft_register_module(m, "norm5", NULL, weft_batch_norm2d_create(ctx, in, NULL));
    *channels = in;
    return weft_module_ok(m);
}

static weft_module *create(weft_context *ctx, const weft_model_opts *opts, const int layers[BLOCKS])
{
    densenet *self = weft_module_create(ctx, &densenet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    int channels = 0;
    double drop_rate = wf_model_number(ctx, opts, "drop_rate", 0);
    weft_register_module(m, "features", &self->features,
                         features_create(ctx, opts->in_channels, layers, drop_rate, &channels));
    weft_register_module(m, "classifier", &self->classifier,
                         weft_linear_create(ctx, channels, opts->num_classes, NULL));
    return wf_model_ok(m, init);
}

weft_module *wf_model_densenet121(weft_context *ctx, const weft_model_opts *opts)
{
    return create(ctx, opts, (int[]){6, 12, 24, 16});
}

weft_module *wf_model_densenet169(weft_context *ctx, const weft_model_opts *opts)
{
    return create(ctx, opts, (int[]){6, 12, 32, 32});
}
