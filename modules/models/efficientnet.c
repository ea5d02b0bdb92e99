/* EfficientNet: torchvision's efficientnet.py (Tan and Le 2019). Threading rule: the context's. */
#include <math.h>

#include "modules/internal.h"
#include "modules/models/blocks.h"
#include "modules/models/models.h"
#include "weft/init.h"

/* A row of the paper's table 1: expansion, kernel, stride of the first block, channels in and out,
 * blocks. */
typedef struct stage {
    int expansion, kernel, stride, in, out, blocks;
} stage;
static const stage b0[] = {{1, 3, 1, 32, 16, 1},  {6, 3, 2, 16, 24, 2},  {6, 5, 2, 24, 40, 2},
                           {6, 3, 2, 40, 80, 3},  {6, 5, 1, 80, 112, 3}, {6, 5, 2, 112, 192, 4},
                           {6, 3, 1, 192, 320, 1}};
enum { STAGES = sizeof(b0) / sizeof(b0[0]) };

/* The probability of stochastic depth rises from 0 in equal steps towards `depth`. */
static weft_module *stage_create(weft_context *ctx, const stage *s, int first, int total,
                                 double depth)
{
    weft_module *m = weft_sequential_create(ctx, 0, NULL);
    for (int i = 0; m != NULL && i < s->blocks; i++) {
        int in = i == 0 ? s->in : s->out;
        wf_inverted block = {.in = in,
                             .expanded = wf_divisible_by_8(in * s->expansion),
                             .out = s->out,
                             .kernel = s->kernel,
                             .stride = i == 0 ? s->stride : 1,
                             .activation = weft_silu_create,
                             .squeezed = in / 4 > 0 ? in / 4 : 1,
                             .squeeze_activation = weft_silu_create,
                             .squeeze_scale = weft_sigmoid_create,
                             .stochastic = true,
                             .drop = depth * (first + i) / total};
        weft_append(m, wf_inverted_residual_create(ctx, &block));
    }
    return weft_module_ok(m);
}

static weft_module *features_create(weft_context *ctx, int in_channels, double depth)
{
    weft_module *m = weft_sequential_create(ctx, 0, NULL);
    if (m == NULL)
        return NULL;
    wf_conv_norm stem = {in_channels, b0[0].in, 3, .stride = 2, .activation = weft_silu_create};
    weft_append(m, wf_conv_norm_create(ctx, &stem));
    int total = 0, first = 0, last = b0[STAGES - 1].out;
    for (int i = 0; i < STAGES; i++)
        total += b0[i].blocks;
    for (int i = 0; i < STAGES; first += b0[i++].blocks)
        weft_append(m, stage_create(ctx, &b0[i], first, total, depth));
    wf_conv_norm head = {last, 4 * last, 1, .activation = weft_silu_create};
    weft_append(m, wf_conv_norm_create(ctx, &head));
    return weft_module_ok(m);
}

typedef struct efficientnet {
    weft_module base;
    weft_module *features, *avgpool, *classifier;
} efficientnet;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    efficientnet *self = (efficientnet *)m;
    x = weft_call(self->avgpool, weft_call(self->features, x));
    return weft_call(self->classifier, weft_flatten(x, 1));
}

static const weft_module_class efficientnet_class = {
    .name = "EfficientNet", .size = sizeof(efficientnet), .version = 1, .forward = forward};

static weft_status init(weft_module *m, void *user)
{
    if (!wf_is_layer(m, "Linear"))
        return wf_init_conv_fan_out(m, user);
    weft_tensor *weight = weft_get_parameter(m, "weight");
    double range = 1 / sqrt((double)weft_tensor_shape(weight).dim[0]);
    WF_TRY(weft_init_uniform(weight, -range, range));
    return weft_init_constant(weft_get_parameter(m, "bias"), 0);
}

weft_module *wf_model_efficientnet_b0(weft_context *ctx, const weft_model_opts *opts)
{
    efficientnet *self = weft_module_create(ctx, &efficientnet_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    double depth = wf_model_number(ctx, opts, "stochastic_depth_prob", 0.2);
    weft_register_module(m, "features", &self->features,
                         features_create(ctx, opts->in_channels, depth));
    weft_register_module(m, "avgpool", &self->avgpool, weft_adaptive_avg_pool2d_create(ctx, 1, 1));
    weft_register_module(
        m, "classifier", &self->classifier,
        WEFT_SEQUENTIAL(ctx, weft_dropout_create(ctx, wf_model_number(ctx, opts, "dropout", 0.2)),
                        weft_linear_create(ctx, 4 * b0[STAGES - 1].out, opts->num_classes, NULL)));
    return wf_model_ok(m, init);
}
