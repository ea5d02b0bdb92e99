/* A small network with everything that makes plans interesting: images of bytes, BatchNorm with
 * running statistics, a residual branch, a concat, pooling, a linear layer, a loss, SGD with
 * momentum. */
#ifndef SMALL_NET_H
#define SMALL_NET_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/tensor/context.h"
#include "engine/plan/plan.h"
#include "engine/graph/ops/internal.h"
#include "weft/weft.h"

enum { NET_N = 5, NET_PARAMS = 12, NET_BUFFERS = 4 };

typedef struct small_net {
    weft_context *ctx;
    weft_tensor *x, *mean, *std, *labels; /* x: bytes */
    weft_tensor *param[NET_PARAMS], *momentum[NET_PARAMS];
    weft_tensor *running[NET_BUFFERS], *batches;
    int steps;
    void (*probe)(struct small_net *net, weft_tensor *t); /* called after every op */
    bool may_fail;                                        /* ops may give NULL */
} small_net;

static inline weft_tensor *net_param(small_net *net, weft_shape shape, float scale)
{
    weft_tensor *t = weft_randn(net->ctx, shape);
    assert_non_null(t);
    float *p = weft_tensor_data(t);
    for (int64_t i = 0; i < weft_shape_count(shape); i++)
        p[i] *= scale;
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    return t;
}

static inline void net_init(small_net *net, const weft_options *options)
{
    static const weft_shape shapes[NET_PARAMS] = {
        {4, {12, 3, 3, 3}},  {1, {12}}, {1, {12}}, /* conv1, bn1 */
        {4, {12, 12, 3, 3}}, {1, {12}}, {1, {12}}, /* conv2, bn2 */
        {4, {12, 12, 1, 1}}, {1, {12}},            /* shortcut with bias */
        {4, {8, 12, 3, 3}},                        /* conv3, concatenated with its input */
        {2, {5, 20}},        {1, {5}},             /* linear */
        {1, {20}},                                 /* scales before the linear */
    };
    weft_error err = WEFT_ERROR_INIT;
    *net = (small_net){0};
    assert_int_equal(weft_context_create(&net->ctx, options, &err), WEFT_OK);
    for (int i = 0; i < NET_PARAMS; i++) {
        net->param[i] = net_param(net, shapes[i], 0.3f);
        net->momentum[i] = weft_tensor_create(net->ctx, WEFT_F32, shapes[i]);
    }
    for (int i = 0; i < NET_BUFFERS; i++)
        net->running[i] = weft_tensor_full(net->ctx, WEFT_F32, WEFT_SHAPE(12), i % 2);
    net->batches = weft_tensor_create(net->ctx, WEFT_I64, WEFT_SCALAR);
    uint8_t pixels[NET_N * 3 * 9 * 9];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 11);
    net->x = weft_tensor_from(net->ctx, WEFT_U8, WEFT_SHAPE(NET_N, 3, 9, 9), pixels);
    net->mean = weft_tensor_from(net->ctx, WEFT_F32, WEFT_SHAPE(3), (float[]){0.4f, 0.5f, 0.6f});
    net->std = weft_tensor_from(net->ctx, WEFT_F32, WEFT_SHAPE(3), (float[]){0.2f, 0.25f, 0.3f});
    int64_t labels[NET_N] = {0, 4, 2, 2, 1};
    net->labels = weft_tensor_from(net->ctx, WEFT_I64, WEFT_SHAPE(NET_N), labels);
    assert_non_null(net->labels);
}

static inline void net_done(small_net *net)
{
    for (int i = 0; i < NET_PARAMS; i++) {
        weft_tensor_unref(net->param[i]);
        weft_tensor_unref(net->momentum[i]);
    }
    for (int i = 0; i < NET_BUFFERS; i++)
        weft_tensor_unref(net->running[i]);
    weft_tensor_unref(net->batches);
    weft_tensor_unref(net->x);
    weft_tensor_unref(net->mean);
    weft_tensor_unref(net->std);
    weft_tensor_unref(net->labels);
    weft_context_destroy(net->ctx);
}

static inline weft_tensor *seen(small_net *net, weft_tensor *t)
{
    if (!t && !net->may_fail)
        fail_msg("%s", weft_error_text(net->ctx));
    if (t && net->probe)
        net->probe(net, t);
    return t;
}

static inline weft_tensor *net_logits(small_net *net, bool training)
{
    weft_tensor **p = net->param, **r = net->running;
    weft_conv2d_opts pad = {.padding = {1, 1}}, half = {.stride = {2, 2}, .padding = {1, 1}};
    weft_batch_norm_opts bn = WEFT_BATCH_NORM_OPTS_INIT;
    bn.training = training;
    weft_pool2d_opts pool = {.kernel = {2, 2}, .padding = {1, 1}};
    weft_tensor *a = seen(net, weft_normalize_images(net->x, net->mean, net->std));
    a = seen(net, weft_conv2d(a, p[0], NULL, &pad));
    a = seen(net, weft_batch_norm(a, p[1], p[2], r[0], r[1], net->batches, &bn));
    a = seen(net, weft_relu(a));
    a = seen(net, weft_max_pool2d(a, &pool));
    weft_tensor *b = seen(net, weft_conv2d(a, p[3], NULL, &pad));
    b = seen(net, weft_batch_norm(b, p[4], p[5], r[2], r[3], NULL, &bn));
    weft_tensor *shortcut = seen(net, weft_conv2d(a, p[6], p[7], NULL));
    b = seen(net, weft_relu(seen(net, weft_add(b, shortcut))));
    weft_tensor *c = seen(net, weft_conv2d(b, p[8], NULL, &half));
    weft_pool2d_opts ceiled = {.kernel = {2, 2}, .ceil_mode = true};
    weft_tensor *both[2] = {seen(net, weft_avg_pool2d(b, &ceiled)), c};
    weft_tensor *d = seen(net, weft_concat(both, 2, 1));
    d = seen(net, weft_flatten(seen(net, weft_adaptive_avg_pool2d(d, 1, 1)), 1));
    d = seen(net, weft_dropout(d, 0.25, training));
    d = seen(net, weft_mul(d, p[11]));
    return seen(net, weft_linear(d, p[9], p[10]));
}

static inline weft_tensor *net_loss(small_net *net)
{
    return seen(net, weft_cross_entropy(net_logits(net, true), net->labels, NULL));
}

static inline void net_update(small_net *net)
{
    for (int i = 0; i < NET_PARAMS; i++) {
        wf_sgd_update_opts o = {.lr = 0.05 / (1 + net->steps),
                                .momentum = 0.9,
                                .weight_decay = 1e-3,
                                .first = net->steps == 0};
        weft_tensor *grad = weft_grad(net->param[i]);
        assert_non_null(grad);
        assert_int_equal(wf_record_sgd_update(net->param[i], grad, net->momentum[i], &o), WEFT_OK);
    }
    net->steps++;
}

/* One whole training step; returns the loss. */
static inline double net_step(small_net *net)
{
    for (int i = 0; i < NET_PARAMS; i++)
        weft_zero_grad(net->param[i]);
    weft_tensor *loss = net_loss(net);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    net_update(net);
    if (weft_sync(net->ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(net->ctx));
    double value = weft_item(loss);
    if (weft_error_status(net->ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(net->ctx));
    return value;
}

enum { NET_STATE = 2 * NET_PARAMS + NET_BUFFERS + 1 };

/* Parameters, momentum, running statistics. */
static inline void net_list_state(small_net *net, weft_tensor *all[NET_STATE])
{
    int n = 0;
    for (int i = 0; i < NET_PARAMS; i++) {
        all[n++] = net->param[i];
        all[n++] = net->momentum[i];
    }
    for (int i = 0; i < NET_BUFFERS; i++)
        all[n++] = net->running[i];
    all[n++] = net->batches;
}

/* All state as bytes. Freed by the caller. */
static inline char *net_state(small_net *net, size_t *size)
{
    weft_tensor *all[NET_STATE];
    net_list_state(net, all);
    *size = 0;
    for (int i = 0; i < NET_STATE; i++)
        *size += wf_type_bytes(all[i]->type);
    char *state = malloc(*size), *at = state;
    for (int i = 0; i < NET_STATE; i++) {
        size_t bytes = wf_type_bytes(all[i]->type);
        assert_int_equal(weft_read(all[i], at, bytes), WEFT_OK);
        at += bytes;
    }
    return state;
}

static inline void net_restore(small_net *net, const char *state)
{
    weft_tensor *all[NET_STATE];
    net_list_state(net, all);
    for (int i = 0; i < NET_STATE; i++) {
        size_t bytes = wf_type_bytes(all[i]->type);
        assert_int_equal(weft_write(all[i], state, bytes), WEFT_OK);
        state += bytes;
    }
}

/* The state after `steps` steps under these options. */
static inline char *net_train(const weft_options *options, int steps, size_t *size,
                              void (*probe)(small_net *, weft_tensor *))
{
    small_net net;
    net_init(&net, options);
    net.probe = probe;
    for (int i = 0; i < steps; i++)
        net_step(&net);
    char *state = net_state(&net, size);
    net_done(&net);
    return state;
}

#endif
