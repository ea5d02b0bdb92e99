/* The MobileNets: torchvision's mobilenetv2.py (Sandler et al. 2018) and mobilenetv3.py (Howard et
 * al. 2019). Threading rule: the context's. */
#include "modules/internal.h"
#include "modules/models/blocks.h"
#include "modules/models/models.h"

/* ---- what both are: features, [avgpool], classifier ---- */

typedef struct mobilenet {
    weft_module base;
    weft_module *features, *avgpool, *classifier; /* avgpool: only in V3; V2 calls the function */
} mobilenet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    mobilenet *self = (mobilenet *)m;
    x = weft_call(self->features, x);
    x = self->avgpool != NULL ? weft_call(self->avgpool, x) : weft_adaptive_avg_pool2d(x, 1, 1);
    return weft_call(self->classifier, weft_flatten(x, 1));
}

/* ---- MobileNetV2 ---- */

static const weft_module_class v2_class = {
    .name = "MobileNetV2", .size = sizeof(mobilenet), .version = 1, .forward = forward};

/* Rows of the paper's table 2: expansion t, output channels c, number of blocks n, stride s of the
 * first block. */
static const struct {
    int t, c, n, s;
} v2_stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                 {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

static weft_module *v2_features(weft_context *ctx, int in_channels, double width, int last)
{
    weft_module *features = weft_sequential_create(ctx, 0, NULL);
    if (features == NULL)
        return NULL;
    int in = wf_divisible_by_8(32 * width);
    wf_conv_norm stem = {in_channels, in, 3, .stride = 2, .activation = weft_relu6_create};
    weft_append(features, wf_conv_norm_create(ctx, &stem));
    for (size_t i = 0; i < sizeof(v2_stages) / sizeof(v2_stages[0]); i++) {
        int out = wf_divisible_by_8(v2_stages[i].c * width);
        for (int n = 0; n < v2_stages[i].n; n++, in = out) {
            wf_inverted block = {.in = in,
                                 .expanded = in * v2_stages[i].t,
                                 .out = out,
                                 .kernel = 3,
                                 .stride = n == 0 ? v2_stages[i].s : 1,
                                 .activation = weft_relu6_create,
                                 .v2 = true};
            weft_append(features, wf_inverted_residual_create(ctx, &block));
        }
    }
    wf_conv_norm head = {in, last, 1, .activation = weft_relu6_create};
    weft_append(features, wf_conv_norm_create(ctx, &head));
    return weft_module_ok(features);
}

weft_module *wf_model_mobilenet_v2(weft_context *ctx, const weft_model_opts *opts)
{
    double width = wf_model_positive(ctx, opts, "width_mult", 1.0);
    int last = wf_divisible_by_8(1280 * (width > 1 ? width : 1));
    mobilenet *self = weft_module_create(ctx, &v2_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_register_module(m, "features", &self->features,
                         v2_features(ctx, opts->in_channels, width, last));
    weft_register_module(
        m, "classifier", &self->classifier,
        WEFT_SEQUENTIAL(ctx, weft_dropout_create(ctx, wf_model_number(ctx, opts, "dropout", 0.2)),
                        weft_linear_create(ctx, last, opts->num_classes, NULL)));
    return wf_model_ok(m, wf_init_conv_and_linear);
}

/* ---- MobileNetV3 ---- */

static const weft_module_class v3_class = {
    .name = "MobileNetV3", .size = sizeof(mobilenet), .version = 1, .forward = forward};
static const weft_batch_norm2d_opts v3_norm = {.eps = 0.001, .momentum = 0.01};

/* Rows of the paper's tables 1 and 2: in, kernel, expanded, out, squeeze and excitation, hardswish
 * (else ReLU), stride. */
typedef struct v3_block {
    int in, kernel, expanded, out;
    bool se, hs;
    int stride;
} v3_block;
static const v3_block large[] = {
    {16, 3, 16, 16, 0, 0, 1},    {16, 3, 64, 24, 0, 0, 2},    {24, 3, 72, 24, 0, 0, 1},
    {24, 5, 72, 40, 1, 0, 2},    {40, 5, 120, 40, 1, 0, 1},   {40, 5, 120, 40, 1, 0, 1},
    {40, 3, 240, 80, 0, 1, 2},   {80, 3, 200, 80, 0, 1, 1},   {80, 3, 184, 80, 0, 1, 1},
    {80, 3, 184, 80, 0, 1, 1},   {80, 3, 480, 112, 1, 1, 1},  {112, 3, 672, 112, 1, 1, 1},
    {112, 5, 672, 160, 1, 1, 2}, {160, 5, 960, 160, 1, 1, 1}, {160, 5, 960, 160, 1, 1, 1},
};
static const v3_block small[] = {
    {16, 3, 16, 16, 1, 0, 2},  {16, 3, 72, 24, 0, 0, 2},  {24, 3, 88, 24, 0, 0, 1},
    {24, 5, 96, 40, 1, 1, 2},  {40, 5, 240, 40, 1, 1, 1}, {40, 5, 240, 40, 1, 1, 1},
    {40, 5, 120, 48, 1, 1, 1}, {48, 5, 144, 48, 1, 1, 1}, {48, 5, 288, 96, 1, 1, 2},
    {96, 5, 576, 96, 1, 1, 1}, {96, 5, 576, 96, 1, 1, 1},
};

static weft_module *v3_features(weft_context *ctx, int in_channels, const v3_block *blocks, int n)
{
    weft_module *features = weft_sequential_create(ctx, 0, NULL);
    if (features == NULL)
        return NULL;
    wf_conv_norm stem = {in_channels, blocks[0].in, 3, 2, 1, &v3_norm, weft_hardswish_create};
    weft_append(features, wf_conv_norm_create(ctx, &stem));
    for (int i = 0; i < n; i++) {
        const v3_block *b = &blocks[i];
        wf_inverted block = {.in = b->in,
                             .expanded = b->expanded,
                             .out = b->out,
                             .kernel = b->kernel,
                             .stride = b->stride,
                             .activation = b->hs ? weft_hardswish_create : weft_relu_create,
                             .norm = &v3_norm,
                             .squeezed = b->se ? wf_divisible_by_8(b->expanded / 4) : 0,
                             .squeeze_activation = weft_relu_create,
                             .squeeze_scale = weft_hardsigmoid_create};
        weft_append(features, wf_inverted_residual_create(ctx, &block));
    }
    int last = blocks[n - 1].out;
    wf_conv_norm head = {last, 6 * last, 1, 1, 1, &v3_norm, weft_hardswish_create};
    weft_append(features, wf_conv_norm_create(ctx, &head));
    return weft_module_ok(features);
}

static weft_module *v3_create(weft_context *ctx, const weft_model_opts *opts,
                              const v3_block *blocks, int n, int hidden)
{
    mobilenet *self = weft_module_create(ctx, &v3_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_register_module(m, "features", &self->features,
                         v3_features(ctx, opts->in_channels, blocks, n));
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 1, 1));
    weft_register_module(
        m, "classifier", &self->classifier,
        WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 6 * blocks[n - 1].out, hidden, NULL),
                        weft_hardswish_create(ctx),
                        weft_dropout_create(ctx, wf_model_number(ctx, opts, "dropout", 0.2)),
                        weft_linear_create(ctx, hidden, opts->num_classes, NULL)));
    return wf_model_ok(m, wf_init_conv_and_linear);
}

weft_module *wf_model_mobilenet_v3_large(weft_context *ctx, const weft_model_opts *opts)
{
    return v3_create(ctx, opts, large, sizeof(large) / sizeof(large[0]), 1280);
}

weft_module *wf_model_mobilenet_v3_small(weft_context *ctx, const weft_model_opts *opts)
{
    return v3_create(ctx, opts, small, sizeof(small) / sizeof(small[0]), 1024);
}
