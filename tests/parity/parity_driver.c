/* Weft's half of the layer parity test: runs a list of cases and writes what came out.
 *
 *     parity_driver CASES.json IN.safetensors OUT.safetensors [bf16]
 *
 * A case is an object: "name", "call" (a layer, loss, optimizer or initialiser), its options, "in"
 * (names of inputs), "grad" (those whose gradients are wanted). Input i of case c is tensor "c/i";
 * a layer's state is "c/state/<key>", the seed of the backward pass "c/dy"; "c/pre" and "c/post", where
 * they are, are weights of convolutions before and behind it. Written are "c/y",
 * gradients "c/d/<input or parameter>", buffers "c/b/<buffer>", and each layer's text as metadata.
 * Everything runs on one thread, in the type of the first input. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "optimizers.h"
#include "weft/weft.h"

enum { MAX_IN = 8, MAX_RESULTS = 4096 };

typedef struct run {
    weft_context *ctx;
    weft_safetensors *inputs;
    const json_t *c; /* the case */
    const char *name;
    int n;
    weft_safetensors_entry result[MAX_RESULTS]; /* names and data are owned */
    int n_meta;
    weft_safetensors_meta meta[MAX_RESULTS];
} run;

static void die(const run *r, const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", r->name ? r->name : "parity_driver", what,
            r->ctx ? weft_error_text(r->ctx) : "");
    exit(1);
}

/* ---- options --------------------------------------------------------------------------------- */

static double number(const run *r, const char *key, double otherwise)
{
    const json_t *v = json_object_get(r->c, key);
    if (json_is_boolean(v))
        return json_is_true(v);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

static int integer(const run *r, const char *key, int otherwise)
{
    return (int)number(r, key, otherwise);
}

static void pair(const run *r, const char *key, int *to)
{
    const json_t *v = json_object_get(r->c, key);
    for (int i = 0; i < 2 && v; i++)
        to[i] = (int)json_integer_value(json_array_get(v, (size_t)i));
}

static bool is(const run *r, const char *call)
{
    return strcmp(json_string_value(json_object_get(r->c, "call")), call) == 0;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static const weft_safetensors_entry *entry(const run *r, const char *part)
{
    char key[256];
    snprintf(key, sizeof(key), "%s/%s", r->name, part);
    return weft_safetensors_find(r->inputs, key);
}

/* A new tensor, or NULL where the file has none. */
static weft_tensor *input(const run *r, const char *part)
{
    const weft_safetensors_entry *e = entry(r, part);
    weft_tensor *t = e ? weft_tensor_from(r->ctx, e->dtype, e->shape, e->data) : NULL;
    if (e && !t)
        die(r, part);
    return t;
}

static void result(run *r, const char *kind, const char *part, weft_tensor *t)
{
    char key[256];
    snprintf(key, sizeof(key), "%s/%s%s", r->name, kind, part);
    if (!t)
        die(r, key);
    weft_shape shape = weft_tensor_shape(t);
    size_t bytes = (size_t)weft_shape_count(shape) * weft_dtype_size(weft_tensor_dtype(t));
    void *data = malloc(bytes);
    if (r->n == MAX_RESULTS || !data || weft_read(t, data, bytes) != WEFT_OK)
        die(r, key);
    r->result[r->n++] = (weft_safetensors_entry){strdup(key), weft_tensor_dtype(t), shape, data};
}

/* ---- layers ---------------------------------------------------------------------------------- */

static weft_module *layer(const run *r)
{
    weft_context *ctx = r->ctx;
    bool no_bias = !integer(r, "bias", 1);
    if (is(r, "Linear"))
        return weft_linear_create(ctx, integer(r, "in_features", 0), integer(r, "out_features", 0),
                                  &(weft_linear_opts){no_bias});
    if (is(r, "Conv2d")) {
        int kernel[2];
        weft_conv2d_layer_opts o = {.groups = integer(r, "groups", 1), .no_bias = no_bias};
        pair(r, "kernel_size", kernel);
        pair(r, "stride", o.stride);
        pair(r, "padding", o.padding);
        pair(r, "dilation", o.dilation);
        o.kernel_w = kernel[1];
        return weft_conv2d_create(ctx, integer(r, "in_channels", 0), integer(r, "out_channels", 0),
                                  kernel[0], &o);
    }
    if (is(r, "ConvTranspose2d")) {
        int kernel[2];
        weft_conv_transpose2d_layer_opts o = {.groups = integer(r, "groups", 1),
                                              .no_bias = no_bias};
        pair(r, "kernel_size", kernel);
        pair(r, "stride", o.stride);
        pair(r, "padding", o.padding);
        pair(r, "output_padding", o.output_padding);
        pair(r, "dilation", o.dilation);
        o.kernel_w = kernel[1];
        return weft_conv_transpose2d_create(ctx, integer(r, "in_channels", 0),
                                            integer(r, "out_channels", 0), kernel[0], &o);
    }
    if (is(r, "BatchNorm2d"))
        return weft_batch_norm2d_create(
            ctx, integer(r, "num_features", 0),
            &(weft_batch_norm2d_opts){.eps = number(r, "eps", 1e-5),
                                      .momentum = number(r, "momentum", 0.1),
                                      .no_affine = !integer(r, "affine", 1),
                                      .no_running = !integer(r, "track_running_stats", 1)});
    if (is(r, "GroupNorm"))
        return weft_group_norm_create(
            ctx, integer(r, "num_groups", 0), integer(r, "num_channels", 0),
            &(weft_group_norm_opts){number(r, "eps", 1e-5), !integer(r, "affine", 1)});
    if (is(r, "LayerNorm")) {
        const json_t *dims = json_object_get(r->c, "normalized_shape");
        weft_shape shape = {.rank = (int)json_array_size(dims)};
        for (int i = 0; i < shape.rank; i++)
            shape.dim[i] = json_integer_value(json_array_get(dims, (size_t)i));
        return weft_layer_norm_create(ctx, shape,
                                      &(weft_layer_norm_opts){
                                          .eps = number(r, "eps", 1e-5),
                                          .no_affine = !integer(r, "elementwise_affine", 1),
                                          .no_bias = no_bias,
                                      });
    }
    if (is(r, "MaxPool2d") || is(r, "AvgPool2d")) {
        weft_pool2d_opts o = {.ceil_mode = integer(r, "ceil_mode", 0),
                              .exclude_padding = !integer(r, "count_include_pad", 1)};
        pair(r, "kernel_size", o.kernel);
        pair(r, "stride", o.stride);
        pair(r, "padding", o.padding);
        pair(r, "dilation", o.dilation);
        return is(r, "MaxPool2d") ? weft_max_pool2d_create(ctx, 0, &o)
                                  : weft_avg_pool2d_create(ctx, 0, &o);
    }
    if (is(r, "AdaptiveAvgPool2d")) {
        int size[2];
        pair(r, "output_size", size);
        return weft_adaptive_avg_pool2d_create(ctx, size[0], size[1]);
    }
    if (is(r, "LeakyReLU"))
        return weft_leaky_relu_create(ctx, number(r, "negative_slope", 0.01));
    if (is(r, "GELU")) {
        const char *how = json_string_value(json_object_get(r->c, "approximate"));
        return weft_gelu_create(ctx, how && strcmp(how, "tanh") == 0);
    }
    if (is(r, "ELU"))
        return weft_elu_create(ctx, number(r, "alpha", 1));
    if (is(r, "Softplus"))
        return weft_softplus_create(ctx, number(r, "beta", 1), number(r, "threshold", 20));
    if (is(r, "PReLU"))
        return weft_prelu_create(ctx, integer(r, "num_parameters", 1), 0.25);
    if (is(r, "AlphaDropout"))
        return weft_alpha_dropout_create(ctx, number(r, "p", 0.5));
    if (is(r, "Dropout"))
        return weft_dropout_create(ctx, number(r, "p", 0.5));
    if (is(r, "ChannelShuffle"))
        return weft_channel_shuffle_create(ctx, integer(r, "groups", 1));
    if (is(r, "Softmax"))
        return weft_softmax_create(ctx, integer(r, "dim", 1));
    static const struct {
        const char *name;
        weft_module *(*create)(weft_context *ctx);
    } plain[] = {{"ReLU", weft_relu_create},
                 {"ReLU6", weft_relu6_create},
                 {"SiLU", weft_silu_create},
                 {"Hardswish", weft_hardswish_create},
                 {"Hardsigmoid", weft_hardsigmoid_create},
                 {"Sigmoid", weft_sigmoid_create},
                 {"Tanh", weft_tanh_create},
                 {"Mish", weft_mish_create},
                 {"Flatten", weft_flatten_create},
                 {"Identity", weft_identity_create}};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (is(r, plain[i].name))
            return plain[i].create(ctx);
    return NULL;
}

/* Gives m the state of the file, strictly, in dtype. */
static void load_state(run *r, weft_module *m, weft_dtype dtype)
{
    weft_tensor_list state = WEFT_TENSOR_LIST_INIT;
    char prefix[200];
    int length = snprintf(prefix, sizeof(prefix), "%s/state/", r->name);
    if (weft_module_to(m, dtype) != WEFT_OK)
        die(r, "weft_module_to");
    for (int64_t i = 0; i < weft_safetensors_count(r->inputs); i++) {
        const weft_safetensors_entry *e = weft_safetensors_at(r->inputs, i);
        if (strncmp(e->name, prefix, (size_t)length) != 0)
            continue;
        weft_tensor *t = weft_tensor_from(r->ctx, e->dtype, e->shape, e->data);
        weft_tensor_list_add(&state, e->name + length, t);
        weft_tensor_unref(t);
    }
    if (weft_load_state_dict(m, &state, true) != WEFT_OK)
        die(r, "weft_load_state_dict");
    weft_tensor_list_done(&state);
}

static void layer_text(run *r, weft_module *m)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f || weft_module_print(m, f) != WEFT_OK)
        die(r, "weft_module_print");
    fclose(f);
    r->meta[r->n_meta++] = (weft_safetensors_meta){strdup(r->name), text};
}

static void layer_results(run *r, weft_module *m)
{
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT, buffers = WEFT_TENSOR_LIST_INIT;
    weft_parameters(m, 0, &params);
    weft_buffers(m, 0, &buffers);
    for (int i = 0; i < params.n; i++)
        result(r, "d/", params.item[i].name, weft_grad(params.item[i].tensor));
    for (int i = 0; i < buffers.n; i++)
        result(r, "b/", buffers.item[i].name, buffers.item[i].tensor);
    weft_tensor_list_done(&params);
    weft_tensor_list_done(&buffers);
}

/* ---- losses ---------------------------------------------------------------------------------- */

static weft_tensor *loss(const run *r, weft_tensor *const *in)
{
    weft_reduction how = (weft_reduction)integer(r, "reduction", WEFT_MEAN);
    int64_t ignore = integer(r, "ignore_index", -100);
    weft_tensor *weight = integer(r, "weighted", 0) ? in[2] : NULL;
    if (is(r, "mse_loss"))
        return weft_mse_loss(in[0], in[1], how);
    if (is(r, "l1_loss"))
        return weft_l1_loss(in[0], in[1], how);
    if (is(r, "binary_cross_entropy_with_logits"))
        return weft_bce_with_logits(
            in[0], in[1],
            &(weft_bce_opts){weight, integer(r, "pos_weighted", 0) ? in[weight ? 3 : 2] : NULL,
                             how});
    if (is(r, "nll_loss"))
        return weft_nll_loss(in[0], in[1], &(weft_nll_opts){how, weight, &ignore});
    if (is(r, "cross_entropy"))
        return weft_cross_entropy(
            in[0], in[1],
            &(weft_cross_entropy_opts){number(r, "label_smoothing", 0), how, weight,
                                       integer(r, "has_ignore_index", 0) ? &ignore : NULL});
    if (is(r, "mul"))
        return weft_mul(in[0], in[1]);
    if (is(r, "softplus"))
        return weft_softplus(in[0], 1, 20);
    if (is(r, "abs"))
        return weft_abs(in[0]);
    if (is(r, "softmax"))
        return weft_softmax(in[0], WEFT_DIMS(integer(r, "dim", 1)));
    if (is(r, "log_softmax"))
        return weft_log_softmax(in[0], WEFT_DIMS(integer(r, "dim", 1)));
    return NULL;
}

static void layer_or_loss(run *r)
{
    const json_t *names = json_object_get(r->c, "in");
    weft_tensor *in[MAX_IN] = {NULL}, *dy = input(r, "dy"), *y = NULL;
    int n = (int)json_array_size(names);
    for (int i = 0; i < n; i++) {
        in[i] = input(r, json_string_value(json_array_get(names, (size_t)i)));
        if (!in[i])
            die(r, "an input is missing");
    }
    const json_t *grads = json_object_get(r->c, "grad");
    for (size_t i = 0; i < json_array_size(grads); i++)
        weft_set_requires_grad(in[json_integer_value(json_array_get(grads, i))], true);
    weft_module *m = layer(r);
    if (m) {
        load_state(r, m, weft_tensor_dtype(in[0]));
        weft_module_train(m, integer(r, "training", 1));
        layer_text(r, m);
    }
    weft_tensor *pre = input(r, "pre"), *post = input(r, "post");
    weft_tensor *x = pre ? weft_conv2d(in[0], pre, NULL, NULL) : in[0];
    y = m ? weft_call(m, x) : loss(r, in);
    if (post)
        y = weft_conv2d(y, post, NULL, NULL);
    if (y == in[0]) /* Identity: a leaf has no gradient of itself */
        y = weft_scale(y, 1);
    weft_tensor *kept = weft_keep(y);
    if (!kept || weft_backward_with(y, dy, false) != WEFT_OK || weft_sync(r->ctx) != WEFT_OK)
        die(r, "forward and backward");
    result(r, "", "y", kept);
    for (size_t i = 0; i < json_array_size(grads); i++) {
        size_t k = (size_t)json_integer_value(json_array_get(grads, i));
        result(r, "d/", json_string_value(json_array_get(names, k)), weft_grad(in[k]));
    }
    if (m)
        layer_results(r, m);
    weft_tensor_unref(kept);
    weft_tensor_unref(dy);
    weft_tensor_unref(pre);
    weft_tensor_unref(post);
    weft_module_unref(m);
    for (int i = 0; i < n; i++)
        weft_tensor_unref(in[i]);
}

/* ---- optimizers and initialisers ------------------------------------------------------------- */

/* Parameter p (n) after a step for each row of g (steps, n): the loss sum(p g) has gradient g. */
static void optimizer(run *r)
{
    weft_tensor *p = input(r, "p"), *g = input(r, "g");
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT;
    weft_optimizer *o = parity_optimizer(r->ctx, r->c);
    weft_set_requires_grad(p, true);
    weft_tensor_list_add(&params, "p", p);
    if (!o || weft_optimizer_add_group(o, &params, NAN, NAN) != WEFT_OK)
        die(r, "the optimizer");
    for (int64_t i = 0; i < weft_tensor_shape(g).dim[0]; i++) {
        weft_optimizer_zero_grad(o);
        weft_tensor *row = weft_narrow(g, 0, i, 1);
        if (weft_backward(weft_sum(weft_mul(p, row), WEFT_ALL_DIMS, false)) != WEFT_OK ||
            weft_optimizer_step(o) != WEFT_OK)
            die(r, "a step");
    }
    result(r, "", "y", p);
    weft_tensor_list_done(&params);
    weft_optimizer_destroy(o);
    weft_tensor_unref(p);
    weft_tensor_unref(g);
}

static void initialiser(run *r)
{
    weft_tensor *t = input(r, "x");
    double a = number(r, "a", 0), b = number(r, "b", 1), gain = number(r, "gain", 1);
    weft_fan fan = integer(r, "fan_out", 0) ? WEFT_FAN_OUT : WEFT_FAN_IN;
    weft_gain of = (weft_gain)integer(r, "nonlinearity", WEFT_GAIN_LEAKY_RELU);
    weft_status status = is(r, "uniform_")           ? weft_init_uniform(t, a, b)
                         : is(r, "normal_")          ? weft_init_normal(t, a, b)
                         : is(r, "constant_")        ? weft_init_constant(t, a)
                         : is(r, "kaiming_uniform_") ? weft_init_kaiming_uniform(t, a, fan, of)
                         : is(r, "kaiming_normal_")  ? weft_init_kaiming_normal(t, a, fan, of)
                         : is(r, "xavier_uniform_")  ? weft_init_xavier_uniform(t, gain)
                         : is(r, "xavier_normal_")   ? weft_init_xavier_normal(t, gain)
                         : is(r, "trunc_normal_")
                             ? weft_init_trunc_normal(t, number(r, "mean", 0), number(r, "std", 1),
                                                      number(r, "a", -2), number(r, "b", 2))
                             : WEFT_ERR_NOT_FOUND;
    if (status != WEFT_OK)
        die(r, "the initialiser");
    result(r, "", "y", t);
    weft_tensor_unref(t);
}

int main(int argc, char **argv)
{
    static run r;
    weft_options options = {.threads = 1, .seed = 11};
    weft_error error;
    json_error_t where;
    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "bf16") != 0))
        die(&r, "usage: parity_driver CASES.json IN.safetensors OUT.safetensors [bf16]");
    options.amp = argc == 5 ? WEFT_AMP_BF16 : WEFT_AMP_OFF;
    json_t *cases = json_load_file(argv[1], 0, &where);
    if (!cases || weft_context_create(&r.ctx, &options, NULL) != WEFT_OK ||
        weft_safetensors_open(argv[2], &r.inputs, &error) != WEFT_OK)
        die(&r, "cannot read the cases");
    size_t i;
    const json_t *c;
    json_array_foreach(cases, i, c)
    {
        r.c = c;
        r.name = json_string_value(json_object_get(c, "name"));
        const char *group = json_string_value(json_object_get(c, "group"));
        if (strcmp(group, "optimizer") == 0)
            optimizer(&r);
        else if (strcmp(group, "initialiser") == 0)
            initialiser(&r);
        else
            layer_or_loss(&r);
    }
    if (weft_safetensors_write(argv[3], r.result, r.n, r.meta, r.n_meta, &error) != WEFT_OK)
        die(&r, "cannot write the results");
    for (int k = 0; k < r.n; k++) {
        free((void *)(uintptr_t)r.result[k].name);
        free((void *)(uintptr_t)r.result[k].data);
    }
    for (int k = 0; k < r.n_meta; k++) {
        free((void *)(uintptr_t)r.meta[k].key);
        free((void *)(uintptr_t)r.meta[k].value);
    }
    weft_safetensors_close(r.inputs);
    weft_context_destroy(r.ctx);
    json_decref(cases);
    return 0;
}
