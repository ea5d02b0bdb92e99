/* Helpers that the layers share, and the layers without parts: ReLU, Dropout, AlphaDropout,
 * StochasticDepth, Flatten, Identity, Softmax, ChannelShuffle. Threading rule: the context's. */
#include <stdio.h>
#include <string.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

void wf_register_optional(weft_module *m, const char *name, weft_tensor **field, bool wanted,
                          weft_shape shape, double value)
{
    if (wanted)
        weft_register_parameter(m, name, field, weft_tensor_full(m->ctx, WEFT_F32, shape, value));
    else
        wf_register_empty(m, name, field);
}

wf_pair_text wf_tuple(const int pair[2])
{
    wf_pair_text t;
    snprintf(t.text, sizeof(t.text), "(%d, %d)", pair[0], pair[1]);
    return t;
}

wf_pair_text wf_pair(const int pair[2])
{
    wf_pair_text t;
    if (pair[0] != pair[1])
        return wf_tuple(pair);
    snprintf(t.text, sizeof(t.text), "%d", pair[0]);
    return t;
}

wf_pair_text wf_float(double number)
{
    wf_pair_text t;
    const int n = snprintf(t.text, sizeof(t.text), "%.12g", number);
    if (strspn(t.text, "-0123456789") == (size_t)n)
        snprintf(t.text + n, sizeof(t.text) - (size_t)n, ".0");
    return t;
}

/* ---- ReLU, Flatten, Identity ---- */

static weft_tensor *relu_forward(weft_module *m, weft_tensor *x)
{
    return weft_relu(x);
}

static weft_tensor *flatten_forward(weft_module *m, weft_tensor *x)
{
    return weft_flatten(x, 1);
}

static void flatten_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "start_dim=1, end_dim=-1");
}

static weft_tensor *identity_forward(weft_module *m, weft_tensor *x)
{
    return x;
}

static const weft_module_class relu_class = {
    .name = "ReLU", .size = sizeof(weft_module), .version = 1, .forward = relu_forward};
static const weft_module_class flatten_class = {.name = "Flatten",
                                                .size = sizeof(weft_module),
                                                .version = 1,
                                                .forward = flatten_forward,
                                                .extra_repr = flatten_repr};
static const weft_module_class identity_class = {
    .name = "Identity", .size = sizeof(weft_module), .version = 1, .forward = identity_forward};

weft_module *weft_relu_create(weft_context *ctx)
{
    return weft_module_create(ctx, &relu_class, NULL);
}

weft_module *weft_flatten_create(weft_context *ctx)
{
    return weft_module_create(ctx, &flatten_class, NULL);
}

weft_module *weft_identity_create(weft_context *ctx)
{
    return weft_module_create(ctx, &identity_class, NULL);
}

/* ---- Dropout, StochasticDepth ---- */

typedef struct dropout {
    weft_module base;
    double p;
} dropout;

static weft_module *dropout_create(weft_context *ctx, const weft_module_class *cls, double p)
{
    if (ctx != NULL && !(p >= 0.0 && p <= 1.0)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "%s: the probability %g is not in [0, 1]", cls->name, p);
        return NULL;
    }
    dropout *self = weft_module_create(ctx, cls, NULL);
    if (self == NULL)
        return NULL;
    self->p = p;
    return &self->base;
}

static weft_tensor *dropout_forward(weft_module *m, weft_tensor *x)
{
    return weft_dropout(x, ((dropout *)m)->p, m->training);
}

static void dropout_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "p=%s, inplace=False", wf_float(((const dropout *)m)->p).text);
}

static const weft_module_class dropout_class = {.name = "Dropout",
                                                .size = sizeof(dropout),
                                                .version = 1,
                                                .forward = dropout_forward,
                                                .extra_repr = dropout_repr};

weft_module *weft_dropout_create(weft_context *ctx, double p)
{
    return dropout_create(ctx, &dropout_class, p);
}

static weft_tensor *alpha_forward(weft_module *m, weft_tensor *x)
{
    return weft_alpha_dropout(x, ((dropout *)m)->p, m->training);
}

static const weft_module_class alpha_class = {.name = "AlphaDropout",
                                              .size = sizeof(dropout),
                                              .version = 1,
                                              .forward = alpha_forward,
                                              .extra_repr = dropout_repr};

weft_module *weft_alpha_dropout_create(weft_context *ctx, double p)
{
    return dropout_create(ctx, &alpha_class, p);
}

static weft_tensor *depth_forward(weft_module *m, weft_tensor *x)
{
    return weft_stochastic_depth(x, ((dropout *)m)->p, m->training);
}

static void depth_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "p=%.12g, mode=row", ((const dropout *)m)->p);
}

static const weft_module_class depth_class = {.name = "StochasticDepth",
                                              .size = sizeof(dropout),
                                              .version = 1,
                                              .forward = depth_forward,
                                              .extra_repr = depth_repr};

weft_module *weft_stochastic_depth_create(weft_context *ctx, double p)
{
    return dropout_create(ctx, &depth_class, p);
}

/* ---- Softmax ---- */

typedef struct softmax {
    weft_module base;
    int dim;
} softmax;

static weft_tensor *softmax_forward(weft_module *m, weft_tensor *x)
{
    return weft_softmax(x, WEFT_DIMS(((softmax *)m)->dim));
}

static void softmax_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "dim=%d", ((const softmax *)m)->dim);
}

static const weft_module_class softmax_class = {.name = "Softmax",
                                                .size = sizeof(softmax),
                                                .version = 1,
                                                .forward = softmax_forward,
                                                .extra_repr = softmax_repr};

weft_module *weft_softmax_create(weft_context *ctx, int dim)
{
    softmax *self = weft_module_create(ctx, &softmax_class, NULL);
    if (self == NULL)
        return NULL;
    self->dim = dim;
    return &self->base;
}

/* ---- ChannelShuffle ---- */

typedef struct channel_shuffle {
    weft_module base;
    int groups;
} channel_shuffle;

static weft_tensor *shuffle_forward(weft_module *m, weft_tensor *x)
{
    return weft_channel_shuffle(x, ((channel_shuffle *)m)->groups);
}

static void shuffle_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "groups=%d", ((const channel_shuffle *)m)->groups);
}

static const weft_module_class shuffle_class = {.name = "ChannelShuffle",
                                                .size = sizeof(channel_shuffle),
                                                .version = 1,
                                                .forward = shuffle_forward,
                                                .extra_repr = shuffle_repr};

weft_module *weft_channel_shuffle_create(weft_context *ctx, int groups)
{
    if (ctx != NULL && groups < 1) {
        wf_fail(ctx, WEFT_ERR_INVALID, "ChannelShuffle: %d groups: must be at least 1", groups);
        return NULL;
    }
    channel_shuffle *self = weft_module_create(ctx, &shuffle_class, NULL);
    if (self == NULL)
        return NULL;
    self->groups = groups;
    return &self->base;
}
