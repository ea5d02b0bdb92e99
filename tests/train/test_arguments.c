/* Every public function of contexts, tensors, gradients and ops, with NULL for each pointer and
 * other arguments that cannot be meant. Those of modules and training: test_arguments_modules.c. */
#include "tests/train/arguments.h"

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
    const weft_shape bad[] = {WEFT_SHAPE(0, -2),
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
        TEST_WITH_PARTS(numeric_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
