/* Every public function of contexts, tensors and gradients, with NULL for each pointer and other
 * arguments that cannot be meant. Ops: test_arguments_ops.c; modules and training:
 * test_arguments_modules.c. */
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
    assert_string_equal(weft_error_text(NULL),
                        "backward: the loss is NULL, so no context is known");
    assert_null(weft_relu(NULL));
    assert_string_equal(weft_error_text(NULL),
                        "relu: all its tensors are NULL, so no context is known");
    assert_null(weft_add(NULL, NULL));
    assert_non_null(strstr(weft_error_text(NULL), "add: "));
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
        cmocka_unit_test(statuses_have_texts), TEST_WITH_PARTS(context_functions),
        TEST_WITH_PARTS(tensor_functions),     TEST_WITH_PARTS(gradient_functions),
        TEST_WITH_PARTS(numeric_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
