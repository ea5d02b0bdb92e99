/* The built-in modules. Arguments, defaults, names of parts and initial values are torch.nn's.
 *
 * Every constructor returns a new module with one reference, or NULL with the context's error set.
 * opts may be NULL: the defaults. A 0 in options means 0; where 0 would be an error the member says
 * what it reads as. Shape letters as in weft/ops.h. */
#ifndef WEFT_LAYERS_H
#define WEFT_LAYERS_H

#include "weft/module.h"
#include "weft/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Options of weft_linear_create. */
typedef struct weft_linear_opts {
    bool no_bias; /* the layer has no bias */
} weft_linear_opts;
#define WEFT_LINEAR_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* nn.Linear: (..., in) to (..., out), x times weight (out, in) transposed, plus bias (out). Both
 * start uniform in +-1/sqrt(in). in and out may be 0: the weight is empty then, which gives a
 * warning, as in torch, and bias is 0. Other layers need sizes of at least 1, also where torch
 * takes 0 (LayerNorm, GroupNorm, PReLU). */
weft_module *weft_linear_create(weft_context *ctx, int in, int out, const weft_linear_opts *opts);

/* Options of weft_conv2d_create. Pairs are height, width. */
typedef struct weft_conv2d_layer_opts {
    int kernel_w;    /* width of the filter; 0: square. `kernel` is its height */
    int stride[2];   /* 0 reads as 1 */
    int padding[2];  /* zeros on both sides */
    int dilation[2]; /* 0 reads as 1 */
    int groups;      /* 0 reads as 1 */
    bool no_bias;    /* the layer has no bias */
} weft_conv2d_layer_opts;
#define WEFT_CONV2D_LAYER_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* nn.Conv2d: weight (out, in/groups, R, S), bias (out). Both start uniform in
 * +-1/sqrt(in/groups * R * S). */
weft_module *weft_conv2d_create(weft_context *ctx, int in, int out, int kernel,
                                const weft_conv2d_layer_opts *opts);

/* Options of weft_conv_transpose2d_create. Pairs are height, width. */
typedef struct weft_conv_transpose2d_layer_opts {
    int kernel_w;          /* width of the filter; 0: square. `kernel` is its height */
    int stride[2];         /* 0 reads as 1 */
    int padding[2];        /* by which the output is smaller, on both sides */
    int output_padding[2]; /* by which the output is larger, on the far side */
    int dilation[2];       /* 0 reads as 1 */
    int groups;            /* 0 reads as 1 */
    bool no_bias;          /* the layer has no bias */
} weft_conv_transpose2d_layer_opts;
#define WEFT_CONV_TRANSPOSE2D_LAYER_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* nn.ConvTranspose2d: weight (in, out/groups, R, S), bias (out). Both start uniform in
 * +-1/sqrt(out/groups * R * S), as torch counts the inputs of such a weight. */
weft_module *weft_conv_transpose2d_create(weft_context *ctx, int in, int out, int kernel,
                                          const weft_conv_transpose2d_layer_opts *opts);

/* Options of weft_batch_norm2d_create; begin with WEFT_BATCH_NORM2D_OPTS_INIT. */
typedef struct weft_batch_norm2d_opts {
    double eps;      /* above 0 in training, as torch's; in evaluation also 0 */
    double momentum; /* 0: the running statistics stay; < 0: cumulative average */
    bool no_affine;  /* no weight and bias */
    bool no_running; /* no running statistics: those of the batch are used always */
} weft_batch_norm2d_opts;
/* torch's defaults, to begin options with. eps and momentum that are both 0 are refused. */
#define WEFT_BATCH_NORM2D_OPTS_INIT                                                                \
    WEFT_INIT(weft_batch_norm2d_opts, WEFT_SET(eps, 1e-5), WEFT_SET(momentum, 0.1))
/* nn.BatchNorm2d: weight (ones) and bias (zeros); the buffers running_mean, running_var and
 * num_batches_tracked. */
weft_module *weft_batch_norm2d_create(weft_context *ctx, int channels,
                                      const weft_batch_norm2d_opts *opts);

/* Options of weft_group_norm_create; begin with WEFT_GROUP_NORM_OPTS_INIT. */
typedef struct weft_group_norm_opts {
    double eps;     /* above 0 */
    bool no_affine; /* no weight and bias */
} weft_group_norm_opts;
#define WEFT_GROUP_NORM_OPTS_INIT                                                                  \
    WEFT_INIT(weft_group_norm_opts,                                                                \
              WEFT_SET(eps, 1e-5)) /* torch's default, to begin options with */
/* nn.GroupNorm: weight (ones) and bias (zeros), both (channels). */
weft_module *weft_group_norm_create(weft_context *ctx, int groups, int channels,
                                    const weft_group_norm_opts *opts);

/* Options of weft_layer_norm_create; begin with WEFT_LAYER_NORM_OPTS_INIT. */
typedef struct weft_layer_norm_opts {
    double eps;     /* above 0 */
    bool no_affine; /* no weight and bias */
    bool no_bias;   /* a weight, but no bias */
} weft_layer_norm_opts;
#define WEFT_LAYER_NORM_OPTS_INIT                                                                  \
    WEFT_INIT(weft_layer_norm_opts,                                                                \
              WEFT_SET(eps, 1e-5)) /* torch's default, to begin options with */
/* nn.LayerNorm over the last dimensions of the input, which have the sizes `shape`: WEFT_SHAPE(96).
 * weight (ones) and bias (zeros), both of that shape. */
weft_module *weft_layer_norm_create(weft_context *ctx, weft_shape shape,
                                    const weft_layer_norm_opts *opts);

/* Activations without options, torch.nn's of the same names: weft_relu and its like of
 * weft/ops.h. */
weft_module *weft_relu_create(weft_context *ctx);
weft_module *weft_relu6_create(weft_context *ctx);
weft_module *weft_silu_create(weft_context *ctx);
weft_module *weft_hardsigmoid_create(weft_context *ctx);
weft_module *weft_hardswish_create(weft_context *ctx);
weft_module *weft_sigmoid_create(weft_context *ctx);
weft_module *weft_tanh_create(weft_context *ctx);
weft_module *weft_leaky_relu_create(weft_context *ctx, double negative_slope); /* torch's: 0.01 */
weft_module *weft_elu_create(weft_context *ctx, double alpha);                 /* torch's: 1 */
/* nn.Mish. */
weft_module *weft_mish_create(weft_context *ctx);
weft_module *weft_softplus_create(weft_context *ctx, double beta, double threshold); /* 1, 20 */
/* nn.PReLU: weight (parameters), filled with `init`. One parameter for all channels, or one for
 * each. torch's defaults: 1, 0.25. */
weft_module *weft_prelu_create(weft_context *ctx, int parameters, double init);
weft_module *weft_gelu_create(weft_context *ctx, bool approximate); /* true: approximate='tanh' */
/* nn.MaxPool2d and nn.AvgPool2d. A `kernel` above 0 is used in place of opts->kernel. */
weft_module *weft_max_pool2d_create(weft_context *ctx, int kernel, const weft_pool2d_opts *opts);
weft_module *weft_avg_pool2d_create(weft_context *ctx, int kernel, const weft_pool2d_opts *opts);
/* nn.AdaptiveAvgPool2d: outputs of this size. */
weft_module *weft_adaptive_avg_pool2d_create(weft_context *ctx, int out_h, int out_w);
/* nn.Dropout and nn.AlphaDropout: p in 0 .. 1. */
weft_module *weft_dropout_create(weft_context *ctx, double p);       /* 0 <= p <= 1 */
weft_module *weft_alpha_dropout_create(weft_context *ctx, double p); /* 0 <= p <= 1 */
/* torchvision.ops.StochasticDepth(p, mode="row"): drops whole images. */
weft_module *weft_stochastic_depth_create(weft_context *ctx, double p);
/* nn.ChannelShuffle. */
weft_module *weft_channel_shuffle_create(weft_context *ctx, int groups);
weft_module *weft_flatten_create(weft_context *ctx);  /* dimensions 1 and after become one */
weft_module *weft_identity_create(weft_context *ctx); /* nn.Identity: gives its input */
weft_module *weft_softmax_create(weft_context *ctx, int dim); /* dim may be negative */

/* ---- containers -----------------------------------------------------------------------------
 *
 * A container takes over the caller's reference to each module, on failure, too. Children are
 * named by their position, as in torch: "0.weight". Negative positions count from the end. */

/* nn.Sequential: calls its children in order. A NULL among the n modules is an error. */
weft_module *weft_sequential_create(weft_context *ctx, int n, weft_module *const *modules);
/* WEFT_SEQUENTIAL(ctx, a, b, c): the same with the modules written in place. */
#ifndef __cplusplus
#define WEFT_SEQUENTIAL(ctx, ...)                                                                  \
    weft_sequential_create(ctx,                                                                    \
                           (int)(sizeof((weft_module *[]){__VA_ARGS__}) / sizeof(weft_module *)),  \
                           (weft_module *[]){__VA_ARGS__})
#else
extern "C++" {
template <typename... T> inline weft_module *weft_sequential_of(weft_context *ctx, T... module)
{
    weft_module *const all[] = {static_cast<weft_module *>(module)...};
    return weft_sequential_create(ctx, static_cast<int>(sizeof...(module)), all);
}
}
#define WEFT_SEQUENTIAL(ctx, ...) weft_sequential_of(ctx, __VA_ARGS__)
#endif
/* nn.ModuleList: it has no forward; call its children yourself. */
weft_module *weft_module_list_create(weft_context *ctx, int n, weft_module *const *modules);

/* Adds a child at the end of a Sequential or ModuleList. */
weft_status weft_append(weft_module *list, weft_module *child);
/* Adds a child at `index`, in [-length, length]; those from there on move up by one. */
weft_status weft_insert(weft_module *list, int index, weft_module *child);
/* Removes a child; those behind it move down by one. */
weft_status weft_remove(weft_module *list, int index);
/* The child at `index`, which stays the list's. NULL, with an error, where there is none. */
weft_module *weft_at(weft_module *list, int index);
int weft_length(const weft_module *list); /* how many children any container has */

/* nn.ModuleDict: children under names, without a forward. weft_register_module() adds one. */
weft_module *weft_module_dict_create(weft_context *ctx);
/* Removes a child; WEFT_ERR_NOT_FOUND where there is none of that name. */
weft_status weft_dict_remove(weft_module *dict, const char *name);

#ifdef __cplusplus
}
#endif
#endif
