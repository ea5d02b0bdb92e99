/* The built-in modules. Arguments, defaults, part names and initial values are torch.nn's.
 *
 * Every constructor returns a new module with one reference, or NULL with the context's error
 * set. opts may be NULL everywhere: the defaults. In options a 0 is a 0, except where 0 would be an
 * error and the field says what it reads as. Shape letters as in ops.h. */
#ifndef WEFT_LAYERS_H
#define WEFT_LAYERS_H

#include "weft/module.h"
#include "weft/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_linear_opts {
    bool no_bias;
} weft_linear_opts;
/* (..., in) to (..., out): x times weight (out, in) transposed, plus bias (out). Both start uniform
 * in +-1/sqrt(in). in and out may be 0 (the weight is empty then, which is told as torch does; bias 0).
 * Other layers need sizes of at least 1, also where torch takes 0 (LayerNorm, GroupNorm, PReLU). */
weft_module *weft_linear_create(weft_context *ctx, int in, int out, const weft_linear_opts *opts);

typedef struct weft_conv2d_layer_opts {
    int kernel_w;  /* 0 reads as `kernel`, which else is the height only */
    int stride[2]; /* height, width; 0 reads as 1 */
    int padding[2];
    int dilation[2]; /* 0 reads as 1 */
    int groups;      /* 0 reads as 1 */
    bool no_bias;
} weft_conv2d_layer_opts;
/* weight (out, in/groups, R, S), bias (out); both start uniform in +-1/sqrt(in/groups * R * S). */
weft_module *weft_conv2d_create(weft_context *ctx, int in, int out, int kernel,
                                const weft_conv2d_layer_opts *opts);

typedef struct weft_conv_transpose2d_layer_opts {
    int kernel_w;  /* 0 reads as `kernel`, which else is the height only */
    int stride[2]; /* height, width; 0 reads as 1 */
    int padding[2];
    int output_padding[2];
    int dilation[2]; /* 0 reads as 1 */
    int groups;      /* 0 reads as 1 */
    bool no_bias;
} weft_conv_transpose2d_layer_opts;
/* weight (in, out/groups, R, S), bias (out); both start uniform in +-1/sqrt(out/groups * R * S),
 * torch's fan of such a weight. */
weft_module *weft_conv_transpose2d_create(weft_context *ctx, int in, int out, int kernel,
                                          const weft_conv_transpose2d_layer_opts *opts);

typedef struct weft_batch_norm2d_opts {
    double eps;      /* above 0 in training, as torch's; in evaluation also 0 */
    double momentum; /* 0: the running statistics stay; < 0: cumulative average */
    bool no_affine;  /* no weight and bias */
    bool no_running; /* no running statistics: always the batch's */
} weft_batch_norm2d_opts;
/* torch's defaults, to begin options with; eps and momentum both 0 are refused. */
#define WEFT_BATCH_NORM2D_OPTS_INIT                                                                \
    {                                                                                              \
        .eps = 1e-5, .momentum = 0.1                                                               \
    }
/* weight (ones), bias (zeros); running_mean, running_var, num_batches_tracked. */
weft_module *weft_batch_norm2d_create(weft_context *ctx, int channels,
                                      const weft_batch_norm2d_opts *opts);

typedef struct weft_group_norm_opts {
    double eps;     /* above 0 */
    bool no_affine; /* no weight and bias */
} weft_group_norm_opts;
#define WEFT_GROUP_NORM_OPTS_INIT                                                                  \
    {                                                                                              \
        .eps = 1e-5                                                                                \
    } /* torch's default, to begin options with */
/* weight (ones), bias (zeros). */
weft_module *weft_group_norm_create(weft_context *ctx, int groups, int channels,
                                    const weft_group_norm_opts *opts);

typedef struct weft_layer_norm_opts {
    double eps;     /* above 0 */
    bool no_affine; /* no weight and bias */
    bool no_bias;
} weft_layer_norm_opts;
#define WEFT_LAYER_NORM_OPTS_INIT                                                                  \
    {                                                                                              \
        .eps = 1e-5                                                                                \
    } /* torch's default, to begin options with */
/* Over the last dimensions of the input, which are `shape`: WEFT_SHAPE(96). weight (ones), bias
 * (zeros), both of that shape. */
weft_module *weft_layer_norm_create(weft_context *ctx, weft_shape shape,
                                    const weft_layer_norm_opts *opts);

weft_module *weft_relu_create(weft_context *ctx);
weft_module *weft_relu6_create(weft_context *ctx);
weft_module *weft_silu_create(weft_context *ctx);
weft_module *weft_hardsigmoid_create(weft_context *ctx);
weft_module *weft_hardswish_create(weft_context *ctx);
weft_module *weft_sigmoid_create(weft_context *ctx);
weft_module *weft_tanh_create(weft_context *ctx);
weft_module *weft_leaky_relu_create(weft_context *ctx, double negative_slope); /* torch's: 0.01 */
weft_module *weft_elu_create(weft_context *ctx, double alpha);                 /* torch's: 1 */
weft_module *weft_mish_create(weft_context *ctx);
weft_module *weft_softplus_create(weft_context *ctx, double beta, double threshold); /* 1, 20 */
/* weight (parameters), each `init` (torch's: 1, 0.25): one for all, or one a channel. */
weft_module *weft_prelu_create(weft_context *ctx, int parameters, double init);
weft_module *weft_gelu_create(weft_context *ctx, bool approximate); /* true: approximate='tanh' */
/* opts->kernel is overruled by `kernel` where kernel > 0. */
weft_module *weft_max_pool2d_create(weft_context *ctx, int kernel, const weft_pool2d_opts *opts);
weft_module *weft_avg_pool2d_create(weft_context *ctx, int kernel, const weft_pool2d_opts *opts);
weft_module *weft_adaptive_avg_pool2d_create(weft_context *ctx, int out_h, int out_w);
weft_module *weft_dropout_create(weft_context *ctx, double p); /* 0 <= p <= 1 */
weft_module *weft_alpha_dropout_create(weft_context *ctx, double p);
/* torchvision.ops.StochasticDepth(p, mode="row"): drops whole images. */
weft_module *weft_stochastic_depth_create(weft_context *ctx, double p);
weft_module *weft_channel_shuffle_create(weft_context *ctx, int groups);
weft_module *weft_flatten_create(weft_context *ctx); /* dimensions 1 and after */
weft_module *weft_identity_create(weft_context *ctx);
weft_module *weft_softmax_create(weft_context *ctx, int dim); /* may be negative */

/* ---- containers -----------------------------------------------------------------------------
 *
 * They take over the caller's reference to each module, on failure too. Children are named by
 * their position, so part names are torch's: "0.weight". Negative positions count from the end. */

/* Calls its children in order. A NULL among `modules` fails. */
weft_module *weft_sequential_create(weft_context *ctx, int n, weft_module *const *modules);
/* WEFT_SEQUENTIAL(ctx, a, b, c) */
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
/* A list without a forward: call its children yourself. */
weft_module *weft_module_list_create(weft_context *ctx, int n, weft_module *const *modules);

/* Of a Sequential or a ModuleList. */
weft_status weft_append(weft_module *list, weft_module *child);
/* The children from `index` on move up by one. index in [-length, length]. */
weft_status weft_insert(weft_module *list, int index, weft_module *child);
/* The children behind `index` move down by one. */
weft_status weft_remove(weft_module *list, int index);
/* Borrowed; NULL, with an error, out of range. */
weft_module *weft_at(weft_module *list, int index);
int weft_length(const weft_module *list); /* children of any container */

/* Children under names of the caller's, without a forward: weft_register_module() sets one. */
weft_module *weft_module_dict_create(weft_context *ctx);
/* Forgets a child; WEFT_ERR_NOT_FOUND when there is none. */
weft_status weft_dict_remove(weft_module *dict, const char *name);

#ifdef __cplusplus
}
#endif
#endif
