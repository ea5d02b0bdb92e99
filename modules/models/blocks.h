/* Building blocks of the mobile networks: torchvision's ops.misc, and the inverted residual block
 * (Sandler et al. 2018). Every function returns a new module, or NULL with the error set. */
#ifndef WF_MODELS_BLOCKS_H
#define WF_MODELS_BLOCKS_H

#include "weft/layers.h"

typedef weft_module *(*wf_layer_fn)(weft_context *ctx); /* weft_relu_create, ... */

/* Conv2dNormActivation: a convolution without bias whose padding keeps the size, BatchNorm, and an
 * activation; children "0", "1" and "2". */
typedef struct wf_conv_norm {
    int in, out, kernel;
    int stride, groups;                 /* 0 means 1 */
    const weft_batch_norm2d_opts *norm; /* may be NULL */
    wf_layer_fn activation;             /* NULL: none */
} wf_conv_norm;
weft_module *wf_conv_norm_create(weft_context *ctx, const wf_conv_norm *c);

/* The inverted residual block: a 1x1 convolution to `expanded` channels, if that is more than `in`;
 * a depthwise convolution; optional squeeze and excitation; a 1x1 convolution to `out` channels
 * without activation. If stride is 1 and in == out, the input is added. */
typedef struct wf_inverted {
    int in, expanded, out, kernel, stride;
    wf_layer_fn activation;
    const weft_batch_norm2d_opts *norm;            /* may be NULL */
    int squeezed;                                  /* channels; 0: no squeeze and excitation */
    wf_layer_fn squeeze_activation, squeeze_scale; /* activations of squeeze and excitation */
    bool v2;         /* MobileNetV2's names: "conv", whose last part is not nested */
    bool stochastic; /* MBConv: the block is dropped with probability `drop` in training */
    double drop;
} wf_inverted;
weft_module *wf_inverted_residual_create(weft_context *ctx, const wf_inverted *c);

/* The multiple of 8 nearest to `channels`, but at least 8 and at least nine tenths of
 * `channels`. */
int wf_divisible_by_8(double channels);

#endif
