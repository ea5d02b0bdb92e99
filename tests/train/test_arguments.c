/* Every public function, with NULL for each pointer and other arguments that cannot be meant: an
 * error that says so, never a crash. Also runs under the address sanitizer. */
#include <math.h>
#include <stdlib.h>

#include "tests/modules/fixture.h"
#include "tests/scratch.h"

/* The call fails, and the context says why. */
#define FAILS(call)                                                                                \
    do {                                                                                           \
        if ((call) == WEFT_OK)                                                                     \
            fail_msg("%s succeeded", #call);                                                       \
        says_why(#call);                                                                           \
    } while (0)
/* It returns NULL or 0, and the context says why. */
#define GIVES_NOTHING(call)                                                                        \
    do {                                                                                           \
        if (call)                                                                                  \
            fail_msg("%s gave something", #call);                                                  \
        says_why(#call);                                                                           \
    } while (0)
/* Where no context can be told: it fails, or gives nothing, or has no effect. */
#define FAILS_QUIETLY(call)                                                                        \
    do {                                                                                           \
        assert_int_not_equal((call), WEFT_OK);                                                     \
        weft_discard(ctx);                                                                         \
        weft_error_clear(ctx);                                                                     \
    } while (0)
#define NOTHING_QUIETLY(call)                                                                      \
    do {                                                                                           \
        assert_false(call);                                                                        \
        weft_discard(ctx);                                                                         \
        weft_error_clear(ctx);                                                                     \
    } while (0)
/* It fails, and the error record says why. */
#define ERR_SAYS(call)                                                                             \
    do {                                                                                           \
        err = (weft_error)WEFT_ERROR_INIT;                                                         \
        if ((call) == WEFT_OK || err.status == WEFT_OK || err.text[0] == '\0')                     \
            fail_msg("%s: status %d, text \"%s\"", #call, err.status, err.text);                   \
    } while (0)

static weft_error err;

static void says_why(const char *call)
{
    if (weft_error_status(ctx) == WEFT_OK || weft_error_text(ctx)[0] == '\0')
        fail_msg("%s left no error", call);
    weft_discard(ctx);
    weft_error_clear(ctx);
}

static weft_tensor *x, *images, *w, *labels, *logits;
static weft_module *net;

static int make(void **state)
{
    if (setup(state) != 0)
        return -1;
    int64_t zeros[2] = {0, 1};
    x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    logits = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    images = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4), 1);
    w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3, 3, 1, 1), 1);
    labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), zeros);
    net = weft_linear_create(ctx, 3, 3, NULL);
    return labels != NULL && net != NULL ? 0 : -1;
}

static int unmake(void **state)
{
    weft_tensor_unref(x);
    weft_tensor_unref(logits);
    weft_tensor_unref(images);
    weft_tensor_unref(w);
    weft_tensor_unref(labels);
    weft_module_unref(net);
    return teardown(state);
}

#define TEST_WITH_PARTS(fn) cmocka_unit_test_setup_teardown(fn, make, unmake)

static void statuses_have_texts(void **state)
{
    const weft_status all[] = {
#define X(name, text) WEFT_##name,
        WEFT_STATUS_LIST(X)
#undef X
    };
    int n = sizeof(all) / sizeof(all[0]);
    for (int i = 0; i < n; i++) {
        const char *text = weft_status_string(all[i]);
        assert_true(text[0] != '\0');
        assert_string_not_equal(text, "unknown status");
        for (int k = 0; k < i; k++)
            assert_string_not_equal(text, weft_status_string(all[k]));
    }
    assert_string_equal(weft_status_string((weft_status)1000), "unknown status");
    assert_string_equal(weft_status_string((weft_status)-1), "unknown status");
}

static void context_functions(void **state)
{
    char text[8] = "unset";
    ERR_SAYS(weft_context_create(NULL, NULL, &err));
    FAILS_QUIETLY(weft_context_create(NULL, NULL, NULL));
    weft_context_destroy(NULL);
    assert_int_equal(weft_threads(NULL), 0);
    assert_int_equal(weft_context_isa(NULL), WEFT_ISA_SCALAR);
    assert_string_equal(weft_context_machine(NULL), "");
    assert_int_equal(weft_error_status(NULL), WEFT_ERR_INVALID);
    assert_string_equal(weft_error_text(NULL), "there is no context");
    weft_error_clear(NULL);
    assert_int_equal(weft_print_error(NULL, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_print_error(ctx, NULL), WEFT_OK);
    weft_print_shape(NULL, stdout);
    weft_print_shape(x, NULL);
    FAILS_QUIETLY(weft_sync(NULL));
    weft_discard(NULL);
    NOTHING_QUIETLY(weft_no_grad_begin(NULL));
    weft_no_grad_end(NULL, false);
    NOTHING_QUIETLY(weft_grad_enabled(NULL));
    NOTHING_QUIETLY(weft_anomaly_begin(NULL));
    weft_anomaly_end(NULL, false);
    weft_set_message_handler(NULL, NULL, NULL);
    FAILS_QUIETLY(weft_info(NULL, stdout));
    FAILS(weft_info(ctx, NULL));
    FAILS_QUIETLY(weft_explain(NULL, stdout));
    FAILS(weft_explain(ctx, NULL));
    assert_non_null(weft_isa_name((weft_isa)77));
    FAILS_QUIETLY(weft_tune(NULL, NULL, NULL));
    FAILS_QUIETLY(weft_wisdom_save(NULL, "x"));
    weft_wisdom_info info;
    FAILS_QUIETLY(weft_wisdom_get_info(NULL, &info));
    FAILS(weft_wisdom_get_info(ctx, NULL));
    assert_null(weft_shape_format(WEFT_SHAPE(1), NULL, 8));
    assert_string_equal(weft_shape_format(WEFT_SHAPE(1), text, 0), "unset");
}

static void tensor_functions(void **state)
{
    float data[6];
    const weft_shape shape = WEFT_SHAPE(2, 3);
    NOTHING_QUIETLY(weft_tensor_create(NULL, WEFT_F32, shape));
    NOTHING_QUIETLY(weft_tensor_from(NULL, WEFT_F32, shape, data));
    GIVES_NOTHING(weft_tensor_from(ctx, WEFT_F32, shape, NULL));
    NOTHING_QUIETLY(weft_tensor_full(NULL, WEFT_F32, shape, 1));
    NOTHING_QUIETLY(weft_randn(NULL, shape));
    const weft_shape bad[] = {WEFT_SHAPE(0),
                              WEFT_SHAPE(-1),
                              {.rank = -1},
                              {.rank = 1 << 20},
                              WEFT_SHAPE(INT64_MAX, INT64_MAX),
                              WEFT_SHAPE(INT64_MAX)};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        GIVES_NOTHING(weft_tensor_create(ctx, WEFT_F32, bad[i]));
        GIVES_NOTHING(weft_tensor_full(ctx, WEFT_F32, bad[i], 1));
        GIVES_NOTHING(weft_randn(ctx, bad[i]));
        GIVES_NOTHING(
            weft_reshape(x, bad[i].rank == 1 && bad[i].dim[0] == -1 ? WEFT_SHAPE(-1, -1) : bad[i]));
        GIVES_NOTHING(weft_expand(x, bad[i]));
    }
    GIVES_NOTHING(weft_tensor_create(ctx, (weft_dtype)99, shape));
    NOTHING_QUIETLY(weft_tensor_ref(NULL));
    weft_tensor_unref(NULL);
    NOTHING_QUIETLY(weft_tensor_context(NULL));
    assert_int_equal(weft_tensor_shape(NULL).rank, 0);
    assert_int_equal(weft_tensor_dtype(NULL), WEFT_F32);
    NOTHING_QUIETLY(weft_tensor_is_stored(NULL));
    FAILS_QUIETLY(weft_read(NULL, data, sizeof(data)));
    FAILS(weft_read(x, NULL, sizeof(data)));
    FAILS(weft_read(x, data, 0));
    FAILS_QUIETLY(weft_write(NULL, data, sizeof(data)));
    FAILS(weft_write(x, NULL, sizeof(data)));
    FAILS(weft_write(x, data, SIZE_MAX));
    assert_true(isnan(weft_item(NULL)));
    NOTHING_QUIETLY(weft_tensor_data(NULL));
    NOTHING_QUIETLY(weft_keep(NULL));
    FAILS_QUIETLY(weft_set_requires_grad(NULL, true));
    NOTHING_QUIETLY(weft_requires_grad(NULL));
    FAILS_QUIETLY(weft_init_constant(NULL, 1));
    FAILS_QUIETLY(weft_init_uniform(NULL, 0, 1));
    FAILS_QUIETLY(weft_init_normal(NULL, 0, 1));
    FAILS_QUIETLY(weft_init_trunc_normal(NULL, 0, 1, -2, 2));
    FAILS_QUIETLY(weft_init_kaiming_uniform(NULL, 0, WEFT_FAN_IN, WEFT_GAIN_RELU));
    FAILS_QUIETLY(weft_init_kaiming_normal(NULL, 0, WEFT_FAN_IN, WEFT_GAIN_RELU));
    FAILS_QUIETLY(weft_init_xavier_uniform(NULL, 1));
    FAILS_QUIETLY(weft_init_xavier_normal(NULL, 1));
    NOTHING_QUIETLY(weft_init_skip_begin(NULL));
    weft_init_skip_end(NULL, false);
}

static weft_tensor *nothing(void *user, weft_tensor *const *inputs, int n)
{
    return NULL;
}

static weft_tensor *f64(void)
{
    weft_tensor *t = weft_tensor_full(ctx, WEFT_F64, WEFT_SHAPE(2), 1);
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    return t;
}

static weft_tensor *squares(void *user, weft_tensor *const *inputs, int n)
{
    return weft_mul(inputs[0], inputs[0]);
}

static void gradient_functions(void **state)
{
    weft_tensor *t = f64(), *none = NULL;
    FAILS_QUIETLY(weft_backward(NULL));
    FAILS_QUIETLY(weft_backward_with(NULL, NULL, false));
    NOTHING_QUIETLY(weft_grad(NULL));
    weft_zero_grad(NULL);
    NOTHING_QUIETLY(weft_register_grad_hook(NULL, NULL, NULL));
    GIVES_NOTHING(weft_register_grad_hook(t, NULL, NULL));
    weft_grad_hook_remove(NULL, 1);
    weft_grad_hook_remove(t, 77);
    FAILS_QUIETLY(weft_gradcheck(NULL, nothing, NULL, &t, 1, NULL));
    FAILS(weft_gradcheck(ctx, NULL, NULL, &t, 1, NULL));
    FAILS(weft_gradcheck(ctx, nothing, NULL, &t, 1, NULL));
    FAILS(weft_gradcheck(ctx, squares, NULL, NULL, 1, NULL));
    FAILS(weft_gradcheck(ctx, squares, NULL, &t, -1, NULL));
    FAILS(weft_gradcheck(ctx, nothing, NULL, &none, 1, NULL));
    FAILS(weft_gradcheck(ctx, squares, NULL, &t, 1, &(weft_gradcheck_opts){.eps = NAN}));
    FAILS(weft_gradcheck(ctx, squares, NULL, &t, 1, &(weft_gradcheck_opts){.atol = INFINITY}));
    FAILS(weft_gradcheck(ctx, squares, NULL, &t, 1, &(weft_gradcheck_opts){.rtol = NAN}));
    weft_tensor *recorded = weft_scale(t, 2);
    FAILS(weft_gradcheck(ctx, squares, NULL, &recorded, 1, NULL));
    weft_tensor_unref(t);
}

/* Ops that take one tensor. */
static weft_tensor *scale(weft_tensor *t)
{
    return weft_scale(t, 2);
}
static weft_tensor *leaky(weft_tensor *t)
{
    return weft_leaky_relu(t, 0.1);
}
static weft_tensor *drop(weft_tensor *t)
{
    return weft_dropout(t, 0.5, true);
}
static weft_tensor *depth(weft_tensor *t)
{
    return weft_stochastic_depth(t, 0.5, true);
}
static weft_tensor *soft(weft_tensor *t)
{
    return weft_softmax(t, WEFT_DIMS(0));
}
static weft_tensor *log_soft(weft_tensor *t)
{
    return weft_log_softmax(t, WEFT_DIMS(0));
}
static weft_tensor *shuffle(weft_tensor *t)
{
    return weft_channel_shuffle(t, 1);
}
static weft_tensor *flatten(weft_tensor *t)
{
    return weft_flatten(t, 0);
}
static weft_tensor *narrow(weft_tensor *t)
{
    return weft_narrow(t, 0, 0, 1);
}
static weft_tensor *reshape(weft_tensor *t)
{
    return weft_reshape(t, WEFT_SHAPE(6));
}
static weft_tensor *expand(weft_tensor *t)
{
    return weft_expand(t, WEFT_SHAPE(2, 3));
}
static weft_tensor *sum(weft_tensor *t)
{
    return weft_sum(t, WEFT_ALL_DIMS, false);
}
static weft_tensor *mean(weft_tensor *t)
{
    return weft_mean(t, WEFT_ALL_DIMS, false);
}
static weft_tensor *max_pool(weft_tensor *t)
{
    return weft_max_pool2d(t, &(weft_pool2d_opts){.kernel = {2, 2}});
}
static weft_tensor *avg_pool(weft_tensor *t)
{
    return weft_avg_pool2d(t, &(weft_pool2d_opts){.kernel = {2, 2}});
}
static weft_tensor *adaptive(weft_tensor *t)
{
    return weft_adaptive_avg_pool2d(t, 1, 1);
}

static weft_status fine(const weft_custom_call *c)
{
    return WEFT_OK;
}

static weft_tensor *softplus(weft_tensor *t)
{
    return weft_softplus(t, 1, 20);
}
static weft_tensor *alpha_drop(weft_tensor *t)
{
    return weft_alpha_dropout(t, 0.5, true);
}

static void ops(void **state)
{
    weft_tensor *(*const unary[])(weft_tensor *) = {
        weft_relu, alpha_drop, weft_relu6,       weft_sigmoid,   weft_tanh,   weft_silu,
        weft_gelu, weft_abs,   weft_gelu_tanh,   weft_hardswish, weft_detach, scale,
        leaky,     drop,       weft_hardsigmoid, softplus,       depth,       soft,
        log_soft,  shuffle,    flatten,          narrow,         reshape,     expand,
        sum,       mean,       max_pool,         avg_pool,       adaptive,    weft_check_finite};
    for (size_t i = 0; i < sizeof(unary) / sizeof(unary[0]); i++)
        NOTHING_QUIETLY(unary[i](NULL));
    weft_tensor *(*const binary[])(weft_tensor *, weft_tensor *) = {weft_add, weft_mul, weft_bias};
    for (size_t i = 0; i < sizeof(binary) / sizeof(binary[0]); i++) {
        NOTHING_QUIETLY(binary[i](NULL, NULL));
        NOTHING_QUIETLY(binary[i](x, NULL));
        NOTHING_QUIETLY(binary[i](NULL, x));
    }
    NOTHING_QUIETLY(weft_count_correct(logits, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_count_correct(NULL, labels, NULL, NULL));
    NOTHING_QUIETLY(weft_matmul(x, NULL, false, false));
    NOTHING_QUIETLY(weft_matmul(NULL, x, false, false));
    NOTHING_QUIETLY(weft_linear(NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_linear(x, NULL, NULL));
    NOTHING_QUIETLY(weft_linear(NULL, x, NULL));
    NOTHING_QUIETLY(weft_prelu(images, NULL));
    NOTHING_QUIETLY(weft_prelu(NULL, w));
    NOTHING_QUIETLY(weft_conv2d(images, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_conv2d(NULL, w, NULL, NULL));
    NOTHING_QUIETLY(weft_conv_transpose2d(images, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_conv_transpose2d(NULL, w, NULL, NULL));
    GIVES_NOTHING(weft_batch_norm(images, NULL, NULL, x, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_batch_norm(NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_group_norm(NULL, 1, NULL, NULL, 1e-5));
    NOTHING_QUIETLY(weft_layer_norm(NULL, 1, NULL, NULL, 1e-5));
    GIVES_NOTHING(weft_max_pool2d(images, NULL));
    GIVES_NOTHING(weft_avg_pool2d(images, NULL));
    NOTHING_QUIETLY(weft_concat(NULL, 2, 0));
    NOTHING_QUIETLY(weft_concat(NULL, 0, 0));
    NOTHING_QUIETLY(weft_concat((weft_tensor *[]){x, NULL}, 2, 0));
    NOTHING_QUIETLY(weft_concat((weft_tensor *[]){NULL, x}, 2, 0));
    NOTHING_QUIETLY(weft_concat((weft_tensor *[]){x, x}, -1, 0));
    GIVES_NOTHING(weft_concat((weft_tensor *[]){x, x}, 2, 7));
    weft_tensor *parts[4];
    FAILS_QUIETLY(weft_chunk(NULL, 1, 0, parts));
    FAILS(weft_chunk(x, 1, 0, NULL));
    FAILS(weft_chunk(x, -1, 0, parts));
    FAILS(weft_chunk(x, INT32_MAX, 0, parts));
    FAILS_QUIETLY(weft_split_with_sizes(NULL, 1, (const int64_t[]){1}, 0, parts));
    FAILS(weft_split_with_sizes(x, 1, NULL, 0, parts));
    FAILS(weft_split_with_sizes(x, 1, (const int64_t[]){1}, 0, NULL));
    FAILS(weft_split_with_sizes(x, 2, (const int64_t[]){INT64_MAX, 1}, 0, parts));
    NOTHING_QUIETLY(weft_stack(NULL, 2, 0));
    NOTHING_QUIETLY(weft_one_hot(NULL, 2, WEFT_F32));
    NOTHING_QUIETLY(weft_stack((weft_tensor *[]){x, NULL}, 2, 0));
    GIVES_NOTHING(weft_stack((weft_tensor *[]){x, x}, 2, INT32_MIN));
    NOTHING_QUIETLY(weft_slice(NULL, 0, 0, 1, 1));
    GIVES_NOTHING(weft_slice(x, 0, INT64_MIN, INT64_MIN, INT64_MAX));
    NOTHING_QUIETLY(weft_normalize_images(images, NULL, x));
    NOTHING_QUIETLY(weft_normalize_images(images, x, NULL));
    NOTHING_QUIETLY(weft_cross_entropy(logits, NULL, NULL));
    NOTHING_QUIETLY(weft_cross_entropy(NULL, labels, NULL));
    NOTHING_QUIETLY(weft_cross_entropy(NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_nll_loss(logits, NULL, NULL));
    NOTHING_QUIETLY(weft_nll_loss(NULL, labels, NULL));
    NOTHING_QUIETLY(weft_mse_loss(x, NULL, WEFT_MEAN));
    NOTHING_QUIETLY(weft_mse_loss(NULL, x, WEFT_MEAN));
    NOTHING_QUIETLY(weft_l1_loss(x, NULL, WEFT_MEAN));
    NOTHING_QUIETLY(weft_bce_with_logits(x, NULL, NULL));
    NOTHING_QUIETLY(weft_bce_with_logits(NULL, x, NULL));
    GIVES_NOTHING(weft_mse_loss(x, x, (weft_reduction)9));
    GIVES_NOTHING(weft_narrow(x, 0, -1, 1));
    GIVES_NOTHING(weft_narrow(x, 0, INT64_MAX, INT64_MAX));
    GIVES_NOTHING(weft_narrow(x, 5, 0, 1));
    GIVES_NOTHING(weft_adaptive_avg_pool2d(images, 0, -1));
    GIVES_NOTHING(weft_channel_shuffle(images, 0));
    GIVES_NOTHING(weft_softmax(x, WEFT_DIMS(5)));
    GIVES_NOTHING(weft_flatten(x, 5));
    GIVES_NOTHING(weft_group_norm(images, 0, NULL, NULL, 1e-5));
    const weft_custom_op op = {.name = "op", .n_in = 1, .n_out = 1, .forward = fine};
    weft_custom_op without_forward = op, huge = op;
    without_forward.forward = NULL;
    huge.attr_size = SIZE_MAX;
    NOTHING_QUIETLY(weft_custom(&op, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_custom(NULL, NULL, NULL, NULL));
    GIVES_NOTHING(weft_custom(NULL, NULL, &x, NULL));
    GIVES_NOTHING(weft_custom(&without_forward, NULL, &x, NULL));
    GIVES_NOTHING(weft_custom(&huge, NULL, &x, NULL));
}

static weft_status pre_hook(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return WEFT_OK;
}

static void module_functions(void **state)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT;
    weft_module raw;
    NOTHING_QUIETLY(weft_module_create(NULL, &bare_class, NULL));
    GIVES_NOTHING(weft_module_create(ctx, NULL, NULL));
    FAILS_QUIETLY(weft_module_init(&raw, NULL, &bare_class));
    FAILS(weft_module_init(NULL, ctx, &bare_class));
    FAILS(weft_module_init(&raw, ctx, NULL));
    NOTHING_QUIETLY(weft_module_ref(NULL));
    weft_module_unref(NULL);
    NOTHING_QUIETLY(weft_module_clone(NULL));
    NOTHING_QUIETLY(weft_module_ok(NULL));
    FAILS(weft_register_parameter(NULL, "p", NULL, tensor(1)));
    FAILS(weft_register_parameter(net, NULL, NULL, tensor(1)));
    FAILS(weft_register_buffer(NULL, "p", NULL, tensor(1), true));
    FAILS(weft_register_buffer(net, NULL, NULL, tensor(1), true));
    FAILS(weft_register_module(NULL, "p", NULL, bare()));
    FAILS(weft_register_module(net, NULL, NULL, bare()));
    FAILS_QUIETLY(weft_register_parameter(NULL, NULL, NULL, NULL));
    FAILS_QUIETLY(weft_register_module(NULL, NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_get_parameter(NULL, "weight"));
    GIVES_NOTHING(weft_get_parameter(net, NULL));
    NOTHING_QUIETLY(weft_get_buffer(NULL, "x"));
    GIVES_NOTHING(weft_get_buffer(net, NULL));
    NOTHING_QUIETLY(weft_get_module(NULL, ""));
    GIVES_NOTHING(weft_get_module(net, NULL));
    FAILS(weft_tensor_list_add(NULL, "x", x));
    FAILS(weft_tensor_list_add(&list, NULL, x));
    FAILS_QUIETLY(weft_tensor_list_add(&list, "x", NULL));
    NOTHING_QUIETLY(weft_tensor_list_find(NULL, "x"));
    NOTHING_QUIETLY(weft_tensor_list_find(&list, NULL));
    weft_tensor_list_done(NULL);
    weft_named_modules_done(NULL);
    FAILS_QUIETLY(weft_parameters(NULL, 0, &list));
    FAILS(weft_parameters(net, 0, NULL));
    FAILS_QUIETLY(weft_buffers(NULL, 0, &list));
    FAILS(weft_buffers(net, 0, NULL));
    FAILS_QUIETLY(weft_modules(NULL, 0, &modules));
    FAILS(weft_modules(net, 0, NULL));
    FAILS_QUIETLY(weft_children(NULL, &modules));
    FAILS(weft_children(net, NULL));
    FAILS_QUIETLY(weft_module_apply(NULL, NULL, NULL));
    FAILS(weft_module_apply(net, NULL, NULL));
    assert_int_equal(weft_parameter_count(NULL, false), -1);
    weft_module_train(NULL, true);
    weft_module_eval(NULL);
    FAILS_QUIETLY(weft_module_requires_grad(NULL, true));
    FAILS_QUIETLY(weft_module_freeze(NULL, "*", NULL));
    FAILS(weft_module_freeze(net, NULL, NULL));
    weft_module_zero_grad(NULL);
    FAILS_QUIETLY(weft_module_to(NULL, WEFT_F64));
    FAILS(weft_module_to(net, (weft_dtype)99));
    GIVES_NOTHING(weft_call(NULL, x));
    NOTHING_QUIETLY(weft_call(net, NULL));
    int n = 1;
    weft_tensor *out;
    FAILS(weft_call_many(NULL, 1, &x, &n, &out));
    FAILS(weft_call_many(net, 1, NULL, &n, &out));
    FAILS(weft_call_many(net, 1, &x, NULL, &out));
    FAILS(weft_call_many(net, 1, &x, &n, NULL));
    FAILS(weft_call_many(net, -1, &x, &n, &out));
    NOTHING_QUIETLY(weft_register_forward_pre_hook(NULL, pre_hook, NULL, 0));
    GIVES_NOTHING(weft_register_forward_pre_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_forward_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_backward_pre_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_backward_hook(net, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_global_forward_pre_hook(ctx, NULL, NULL));
    GIVES_NOTHING(weft_register_global_forward_hook(ctx, NULL, NULL, 0));
    GIVES_NOTHING(weft_register_global_backward_pre_hook(ctx, NULL, NULL));
    GIVES_NOTHING(weft_register_global_backward_hook(ctx, NULL, NULL));
    NOTHING_QUIETLY(weft_register_global_forward_pre_hook(NULL, pre_hook, NULL));
    NOTHING_QUIETLY(weft_register_global_forward_hook(NULL, NULL, NULL, 0));
    NOTHING_QUIETLY(weft_register_global_backward_pre_hook(NULL, NULL, NULL));
    NOTHING_QUIETLY(weft_register_global_backward_hook(NULL, NULL, NULL));
    weft_hook_remove(NULL, 1);
    weft_hook_remove(net, 0);
    weft_global_hook_remove(NULL, 1);
    weft_global_hook_remove(ctx, UINT64_MAX);
    FAILS_QUIETLY(weft_state_dict(NULL, &list));
    FAILS(weft_state_dict(net, NULL));
    FAILS_QUIETLY(weft_load_state_dict(NULL, &list, true));
    FAILS(weft_load_state_dict(net, NULL, true));
    FAILS_QUIETLY(weft_module_save(NULL, "x"));
    FAILS(weft_module_save(net, NULL));
    FAILS(weft_module_save_with(net, "/nonexistent/x", NULL, 1));
    FAILS(weft_module_save_with(net, "/nonexistent/x", NULL, -5));
    FAILS(weft_module_save_with(net, "/nonexistent/x", &(weft_safetensors_meta){"key", NULL}, 1));
    FAILS_QUIETLY(weft_module_load(NULL, "x", true));
    FAILS(weft_module_load(net, NULL, true));
    FAILS(weft_module_load_with(net, NULL, NULL));
    assert_string_equal(weft_module_name(NULL), "");
    FAILS_QUIETLY(weft_module_print(NULL, stdout));
    FAILS(weft_module_print(net, NULL));
    FAILS_QUIETLY(weft_module_summary(NULL, WEFT_SHAPE(1, 3), stdout));
    FAILS(weft_module_summary(net, WEFT_SHAPE(1, 3), NULL));
    FAILS(weft_module_summary(net, WEFT_SHAPE(0, 3), stdout));
    FAILS(weft_module_totals(net, WEFT_SHAPE(1, 3), NULL));
    weft_totals totals;
    FAILS_QUIETLY(weft_module_totals(NULL, WEFT_SHAPE(1, 3), &totals));
}

static void containers_and_models(void **state)
{
    weft_named_modules heads = WEFT_NAMED_MODULES_INIT;
    NOTHING_QUIETLY(weft_sequential_create(NULL, 0, NULL));
    GIVES_NOTHING(weft_sequential_create(ctx, -1, NULL));
    GIVES_NOTHING(weft_sequential_create(ctx, 2, NULL));
    GIVES_NOTHING(weft_sequential_create(ctx, 1, (weft_module *[]){NULL}));
    GIVES_NOTHING(weft_module_list_create(ctx, -1, NULL));
    GIVES_NOTHING(weft_module_list_create(ctx, 1, NULL));
    NOTHING_QUIETLY(weft_sequential_create(NULL, 1, (weft_module *[]){bare()}));
    NOTHING_QUIETLY(weft_module_dict_create(NULL));
    weft_module *list = weft_sequential_create(ctx, 0, NULL);
    FAILS(weft_append(NULL, bare()));
    FAILS(weft_append(list, NULL));
    FAILS(weft_insert(list, 0, NULL));
    FAILS(weft_insert(NULL, 0, bare()));
    FAILS(weft_remove(list, 0));
    FAILS_QUIETLY(weft_remove(NULL, 0));
    NOTHING_QUIETLY(weft_at(NULL, 0));
    GIVES_NOTHING(weft_at(list, 0));
    GIVES_NOTHING(weft_at(list, INT32_MIN));
    assert_int_equal(weft_length(NULL), 0);
    FAILS_QUIETLY(weft_dict_remove(NULL, "x"));
    FAILS(weft_dict_remove(list, NULL));
    assert_non_null(weft_models(NULL));
    NOTHING_QUIETLY(weft_model_find(NULL));
    NOTHING_QUIETLY(weft_model_create(NULL, "lenet", NULL));
    GIVES_NOTHING(weft_model_create(ctx, NULL, NULL));
    GIVES_NOTHING(weft_model_create(ctx, "lenet", &(weft_model_opts){.num_classes = -1}));
    FAILS_QUIETLY(weft_model_heads(NULL, "lenet", &heads));
    FAILS(weft_model_heads(net, NULL, &heads));
    FAILS(weft_model_heads(net, "lenet", NULL));
    weft_module_unref(list);
}

static void layers_without_a_context(void **state)
{
    NOTHING_QUIETLY(weft_linear_create(NULL, 1, 1, NULL));
    NOTHING_QUIETLY(weft_conv2d_create(NULL, 1, 1, 1, NULL));
    NOTHING_QUIETLY(weft_batch_norm2d_create(NULL, 1, NULL));
    NOTHING_QUIETLY(weft_group_norm_create(NULL, 1, 1, NULL));
    NOTHING_QUIETLY(weft_relu_create(NULL));
    NOTHING_QUIETLY(weft_leaky_relu_create(NULL, 0.1));
    NOTHING_QUIETLY(weft_gelu_create(NULL, true));
    NOTHING_QUIETLY(weft_max_pool2d_create(NULL, 2, NULL));
    NOTHING_QUIETLY(weft_avg_pool2d_create(NULL, 2, NULL));
    NOTHING_QUIETLY(weft_adaptive_avg_pool2d_create(NULL, 1, 1));
    NOTHING_QUIETLY(weft_dropout_create(NULL, 0.5));
    NOTHING_QUIETLY(weft_stochastic_depth_create(NULL, 0.5));
    NOTHING_QUIETLY(weft_channel_shuffle_create(NULL, 1));
    NOTHING_QUIETLY(weft_flatten_create(NULL));
    NOTHING_QUIETLY(weft_identity_create(NULL));
    NOTHING_QUIETLY(weft_softmax_create(NULL, 0));
    GIVES_NOTHING(weft_max_pool2d_create(ctx, 0, NULL));
    GIVES_NOTHING(weft_max_pool2d_create(ctx, -1, NULL));
    GIVES_NOTHING(weft_linear_create(ctx, 0, -1, NULL));
    GIVES_NOTHING(weft_adaptive_avg_pool2d_create(ctx, 0, -3));
    GIVES_NOTHING(weft_channel_shuffle_create(ctx, -1));
    GIVES_NOTHING(weft_group_norm_create(ctx, 0, 4, NULL));
    GIVES_NOTHING(weft_batch_norm2d_create(ctx, -4, NULL));
}

static void training_functions(void **state)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
    NOTHING_QUIETLY(weft_sgd_create(NULL, net, NULL));
    NOTHING_QUIETLY(weft_adamw_create(NULL, net, NULL));
    weft_optimizer_destroy(NULL);
    FAILS_QUIETLY(weft_optimizer_add_group(NULL, &list, 0.1, 0));
    FAILS(weft_optimizer_add_group(o, NULL, 0.1, 0));
    assert_int_equal(weft_optimizer_groups(NULL), 0);
    FAILS_QUIETLY(weft_optimizer_set_lr(NULL, 0, 0.1));
    FAILS(weft_optimizer_set_lr(o, 7, 0.1));
    FAILS(weft_optimizer_set_lr(o, -2, 0.1));
    assert_true(isnan(weft_optimizer_lr(NULL, 0)));
    assert_true(isnan(weft_optimizer_lr(o, 7)));
    FAILS_QUIETLY(weft_optimizer_set_weight_decay(NULL, 0, 0.1));
    assert_true(isnan(weft_optimizer_weight_decay(NULL, 0)));
    FAILS_QUIETLY(weft_optimizer_set_momentum(NULL, 0.1));
    assert_true(isnan(weft_optimizer_momentum(NULL)));
    FAILS_QUIETLY(weft_optimizer_step(NULL));
    FAILS_QUIETLY(weft_optimizer_record(NULL));
    weft_optimizer_zero_grad(NULL);
    assert_int_equal(weft_optimizer_steps(NULL), 0);
    NOTHING_QUIETLY(weft_clip_grad_norm(NULL, 1, true));
    FAILS_QUIETLY(weft_clip_grad_value(NULL, 1));
    FAILS_QUIETLY(weft_optimizer_state(NULL, &list));
    FAILS(weft_optimizer_state(o, NULL));
    FAILS_QUIETLY(weft_optimizer_load_state(NULL, &list));
    FAILS(weft_optimizer_load_state(o, NULL));
    weft_optimizer_destroy(o);
    assert_true(isnan(weft_schedule_lr(NULL, 0)));
    assert_true(isnan(weft_schedule_momentum(NULL, 0)));
    assert_int_equal(weft_schedule_parse(NULL), -1);
    assert_string_equal(weft_schedule_name((weft_schedule_kind)77), "?");
    GIVES_NOTHING(weft_training_loss(NULL, x, labels, NULL, NULL));
    GIVES_NOTHING(weft_training_loss(net, NULL, labels, NULL, NULL));
    GIVES_NOTHING(weft_training_loss(net, x, NULL, NULL, NULL));
    weft_train_opts opts = {0};
    ERR_SAYS(weft_train(NULL, &opts, NULL, &err));
    ERR_SAYS(weft_train(net, NULL, NULL, &err));
    ERR_SAYS(weft_train(net, &opts, NULL, &err));
    weft_eval_result result;
    float *out;
    weft_shape shape;
    ERR_SAYS(weft_evaluate(NULL, NULL, NULL, &result, &err));
    ERR_SAYS(weft_evaluate(net, NULL, NULL, &result, &err));
    ERR_SAYS(weft_predict(NULL, NULL, NULL, &out, &shape, &err));
    ERR_SAYS(weft_predict(net, NULL, NULL, &out, &shape, &err));
    weft_eval_result_done(NULL);
}

static void run_and_report_functions(void **state)
{
    weft_run *run = NULL;
    weft_eval_result result = {0};
    assert_int_equal(scratch_create(state), 0);
    const char *path = in_scratch("run");
    ERR_SAYS(weft_run_create(NULL, &run, &err));
    ERR_SAYS(weft_run_create(&(weft_run_opts){0}, &run, &err));
    ERR_SAYS(weft_run_create(&(weft_run_opts){.path = path}, NULL, &err));
    NOTHING_QUIETLY(weft_run_path(NULL));
    weft_run_destroy(NULL);
    assert_int_equal(weft_run_create(&(weft_run_opts){.path = path}, &run, NULL), WEFT_OK);
    ERR_SAYS(weft_run_write_config(NULL, ctx, NULL, NULL, 0, &err));
    ERR_SAYS(weft_run_write_config(run, NULL, NULL, NULL, 0, &err));
    ERR_SAYS(weft_run_write_config(run, ctx, NULL, NULL, 2, &err));
    ERR_SAYS(weft_run_write_config(run, ctx, NULL, NULL, -1, &err));
    weft_run_destroy(run);
    weft_report_opts opts = {0};
    ERR_SAYS(weft_eval_write_report(NULL, &result, &opts, &err));
    ERR_SAYS(weft_eval_write_report("x", NULL, &opts, &err));
    ERR_SAYS(weft_eval_write_report("x", &result, NULL, &err));
    ERR_SAYS(weft_eval_write_report("x", &result, &opts, &err));
    ERR_SAYS(weft_eval_write_json(NULL, &result, &opts, &err));
    ERR_SAYS(weft_run_write_report(NULL, &err));
    assert_int_equal(scratch_remove(state), 0);
}

static void data_functions(void **state)
{
    weft_dataset *ds = NULL;
    weft_loader *loader = NULL;
    weft_batch batch;
    float one[3];
    ERR_SAYS(weft_dataset_open(NULL, WEFT_SPLIT_TRAIN, &ds, &err));
    ERR_SAYS(weft_dataset_open("synthetic:1x4x4:3:64", WEFT_SPLIT_TRAIN, NULL, &err));
    ERR_SAYS(weft_dataset_from_arrays(NULL, &ds, &err));
    ERR_SAYS(weft_dataset_from_arrays(&(weft_dataset_arrays){0}, &ds, &err));
    ERR_SAYS(weft_dataset_from_arrays(&(weft_dataset_arrays){0}, NULL, &err));
    NOTHING_QUIETLY(weft_dataset_get_info(NULL));
    ERR_SAYS(weft_dataset_get(NULL, 0, NULL, NULL, &err));
    ERR_SAYS(weft_dataset_mean_std(NULL, one, one, &err));
    weft_dataset_destroy(NULL);
    assert_int_equal(weft_dataset_open("synthetic:1x4x4:3:64", WEFT_SPLIT_TRAIN, &ds, NULL),
                     WEFT_OK);
    ERR_SAYS(weft_dataset_get(ds, -1, NULL, NULL, &err));
    ERR_SAYS(weft_dataset_get(ds, INT64_MAX, NULL, NULL, &err));
    assert_int_equal(weft_dataset_get(ds, 0, NULL, NULL, NULL), WEFT_OK);
    ERR_SAYS(weft_dataset_mean_std(ds, NULL, one, &err));
    ERR_SAYS(weft_dataset_mean_std(ds, one, NULL, &err));
    const weft_loader_opts good = {.batch = 8};
    ERR_SAYS(weft_loader_create(NULL, &good, &loader, &err));
    ERR_SAYS(weft_loader_create(ds, NULL, &loader, &err));
    ERR_SAYS(weft_loader_create(ds, &good, NULL, &err));
    ERR_SAYS(weft_loader_create(ds, &(weft_loader_opts){.batch = -1}, &loader, &err));
    weft_loader_destroy(NULL);
    assert_int_equal(weft_loader_batches(NULL), 0);
    NOTHING_QUIETLY(weft_loader_get_dataset(NULL));
    NOTHING_QUIETLY(weft_loader_get_info(NULL));
    const float *mean_values = one, *std_values = one;
    weft_loader_get_normalization(NULL, &mean_values, &std_values);
    assert_null(mean_values);
    ERR_SAYS(weft_loader_start(NULL, 0, 0, &err));
    ERR_SAYS(weft_loader_next(NULL, &batch, &err));
    assert_int_equal(weft_loader_create(ds, &good, &loader, NULL), WEFT_OK);
    weft_loader_get_normalization(loader, NULL, NULL);
    ERR_SAYS(weft_loader_next(loader, NULL, &err));
    ERR_SAYS(weft_loader_start(loader, -1, 0, &err));
    weft_loader_destroy(loader);
    weft_dataset_destroy(ds);
}

static void safetensors_functions(void **state)
{
    weft_safetensors *file = NULL;
    float value = 1;
    const weft_safetensors_entry good = {"x", WEFT_F32, WEFT_SHAPE(1), &value};
    const weft_safetensors_entry nameless = {NULL, WEFT_F32, WEFT_SHAPE(1), &value};
    const weft_safetensors_entry empty = {"x", WEFT_F32, WEFT_SHAPE(1), NULL};
    const weft_safetensors_meta half = {"key", NULL}, keyless = {NULL, "value"};
    ERR_SAYS(weft_safetensors_open(NULL, &file, &err));
    ERR_SAYS(weft_safetensors_open("/nonexistent", NULL, &err));
    weft_safetensors_close(NULL);
    assert_int_equal(weft_safetensors_count(NULL), 0);
    NOTHING_QUIETLY(weft_safetensors_at(NULL, 0));
    NOTHING_QUIETLY(weft_safetensors_find(NULL, "x"));
    assert_int_equal(weft_safetensors_meta_count(NULL), 0);
    NOTHING_QUIETLY(weft_safetensors_meta_at(NULL, 0));
    NOTHING_QUIETLY(weft_safetensors_meta_find(NULL, "x"));
    const char *path = "/nonexistent/x";
    ERR_SAYS(weft_safetensors_write(NULL, &good, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, NULL, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &nameless, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &empty, 1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, -1, NULL, 0, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, 1, NULL, 1, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, 1, &half, 1, &err));
    ERR_SAYS(weft_safetensors_write(path, &good, 1, &keyless, 1, &err));
}

/* ---- numbers that are none ---- */

static void numeric_options(void **state)
{
    const double none[] = {NAN, INFINITY, -INFINITY};
    weft_tensor *bytes = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 2), 1);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_tensor_list_add(&list, "x", bytes);
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
    for (int i = 0; i < 3; i++) {
        const double v = none[i];
        GIVES_NOTHING(weft_dropout(x, v, true));
        GIVES_NOTHING(weft_dropout(x, v, false));
        GIVES_NOTHING(weft_stochastic_depth(x, v, true));
        GIVES_NOTHING(weft_leaky_relu(x, v));
        GIVES_NOTHING(weft_group_norm(images, 1, NULL, NULL, v));
        GIVES_NOTHING(weft_batch_norm(images, NULL, NULL, NULL, NULL, NULL,
                                      &(weft_batch_norm_opts){.training = true, .eps = v}));
        GIVES_NOTHING(
            weft_cross_entropy(logits, labels, &(weft_cross_entropy_opts){.label_smoothing = v}));
        GIVES_NOTHING(weft_dropout_create(ctx, v));
        GIVES_NOTHING(weft_stochastic_depth_create(ctx, v));
        GIVES_NOTHING(weft_leaky_relu_create(ctx, v));
        GIVES_NOTHING(weft_group_norm_create(ctx, 1, 4, &(weft_group_norm_opts){.eps = v}));
        GIVES_NOTHING(weft_batch_norm2d_create(ctx, 4, &(weft_batch_norm2d_opts){.eps = v}));
        GIVES_NOTHING(weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = v}));
        GIVES_NOTHING(weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 1, .momentum = v}));
        GIVES_NOTHING(weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 1, .dampening = v}));
        GIVES_NOTHING(weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 1, .weight_decay = v}));
        GIVES_NOTHING(weft_adamw_create(ctx, net, &(weft_adamw_opts){.lr = v}));
        GIVES_NOTHING(weft_adamw_create(ctx, net, &(weft_adamw_opts){.lr = 1, .beta1 = v}));
        GIVES_NOTHING(weft_adamw_create(ctx, net, &(weft_adamw_opts){.lr = 1, .beta2 = v}));
        GIVES_NOTHING(weft_adamw_create(ctx, net, &(weft_adamw_opts){.lr = 1, .eps = v}));
        FAILS(weft_optimizer_set_lr(o, 0, v));
        FAILS(weft_optimizer_set_weight_decay(o, 0, v));
        FAILS(weft_optimizer_set_momentum(o, v));
        if (!isnan(v)) /* NAN: the optimizer's own */
            FAILS(weft_optimizer_add_group(o, &list, v, 0));
        if (!isnan(v))
            FAILS(weft_optimizer_add_group(o, &list, 0, v));
        FAILS(weft_init_uniform(bytes, v, 1));
        FAILS(weft_init_uniform(bytes, 0, v));
        FAILS(weft_init_normal(bytes, v, 1));
        FAILS(weft_init_normal(bytes, 0, v));
        FAILS(weft_init_trunc_normal(bytes, v, 1, -2, 2));
        FAILS(weft_init_trunc_normal(bytes, 0, v, -2, 2));
        FAILS(weft_init_kaiming_uniform(bytes, v, WEFT_FAN_IN, WEFT_GAIN_LEAKY_RELU));
        FAILS(weft_init_kaiming_normal(bytes, v, WEFT_FAN_IN, WEFT_GAIN_LEAKY_RELU));
        FAILS(weft_init_xavier_uniform(bytes, v));
        FAILS(weft_init_xavier_normal(bytes, v));
    }
    GIVES_NOTHING(weft_batch_norm2d_create(ctx, 4, &(weft_batch_norm2d_opts){.momentum = NAN}));
    GIVES_NOTHING(weft_batch_norm(images, NULL, NULL, NULL, NULL, NULL,
                                  &(weft_batch_norm_opts){.training = true, .momentum = NAN}));
    GIVES_NOTHING(weft_adamw_create(ctx, net, &(weft_adamw_opts){.weight_decay = NAN}));
    GIVES_NOTHING(weft_adamw_create(ctx, net, &(weft_adamw_opts){.weight_decay = INFINITY}));
    FAILS(weft_init_uniform(bytes, 1, 0));
    FAILS(weft_init_normal(bytes, 0, -1));
    FAILS(weft_clip_grad_value(&list, NAN));
    GIVES_NOTHING(weft_clip_grad_norm(&list, NAN, false));
    GIVES_NOTHING(weft_clip_grad_norm(&list, -1, false));
    weft_optimizer_destroy(o);
    weft_tensor_list_done(&list);
    weft_tensor_unref(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_texts),
        TEST_WITH_PARTS(context_functions),
        TEST_WITH_PARTS(tensor_functions),
        TEST_WITH_PARTS(gradient_functions),
        TEST_WITH_PARTS(ops),
        TEST_WITH_PARTS(module_functions),
        TEST_WITH_PARTS(containers_and_models),
        TEST_WITH_PARTS(layers_without_a_context),
        TEST_WITH_PARTS(training_functions),
        TEST_WITH_PARTS(run_and_report_functions),
        TEST_WITH_PARTS(data_functions),
        TEST_WITH_PARTS(safetensors_functions),
        TEST_WITH_PARTS(numeric_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
