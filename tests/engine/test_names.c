/* Note [Names that the user wrote] in engine/graph/op.h: errors and messages about what a function
 * records, when it is recorded and when it runs, name the function. */
#include "tests/engine/values.h"

static char heard[2048];

static void hear(void *user, const char *text)
{
    snprintf(heard, sizeof(heard), "%s", text);
}

static weft_context *ctx;
static weft_tensor *f32, *f64, *ints, *cube, *labels;

static int set_up(void **state)
{
    weft_options options = {.threads = 1, .seed = 2, .lint = WEFT_LINT_WARN};
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    weft_set_message_handler(ctx, hear, NULL);
    heard[0] = '\0';
    f32 = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    f64 = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(2, 3));
    ints = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2, 3));
    cube = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2, 3, 4));
    labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), (const int64_t[]){1, 7});
    return 0;
}

static int tear_down(void **state)
{
    weft_tensor *all[] = {f32, f64, ints, cube, labels};
    for (int i = 0; i < 5; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
    return 0;
}

static void expect(weft_tensor *y, const char *text)
{
    assert_null(y);
    assert_string_equal(weft_error_text(ctx), text);
    weft_discard(ctx);
    weft_error_clear(ctx);
}

#define FLOATS "input 0 is i64, expected f32 or f64"
static void recording(void **state)
{
    weft_pool2d_opts two = {.kernel = {2, 2}};
    weft_tensor *w = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(5, 4));
    expect(weft_neg(ints), "neg: " FLOATS);
    expect(weft_linear(f32, w, NULL), "linear: input has 3 features, weight expects 4");
    expect(weft_transpose(f32, 0, 2),
           "transpose: 0 and 2 are not both dimensions of a tensor of rank 2");
    expect(weft_flatten(f32, 3), "flatten: dimension 3 is out of range for a tensor of rank 2");
    expect(weft_softmax(ints, WEFT_DIMS(0)), "softmax: " FLOATS);
    expect(weft_log_softmax(cube, WEFT_DIMS(0, 2)), "log_softmax: " FLOATS);
    expect(weft_max(cube, WEFT_DIMS(0, 2), false), "max: " FLOATS);
    expect(weft_add(f32, f64), "add: input 1 is f64, input 0 is f32");
    expect(weft_mul(ints, f32), "mul: " FLOATS);
    expect(weft_where(f32, f64, f32), "where: input 1 is f64, input 0 is f32");
    expect(weft_mse_loss(ints, ints, WEFT_MEAN), "mse_loss: " FLOATS);
    expect(weft_l1_loss(f32, f64, WEFT_SUM), "l1_loss: input 1 is f64, input 0 is f32");
    expect(weft_bce_with_logits(ints, ints, NULL), "bce_with_logits: " FLOATS);
    expect(weft_bce_with_logits(f32, f32, &(weft_bce_opts){.weight = w}),
           "bce_with_logits: [2, 3] and [5, 4] do not broadcast (3 and 4)");
    expect(weft_batch_norm(ints, NULL, NULL, NULL, NULL, NULL, NULL), "batch_norm: " FLOATS);
    expect(weft_layer_norm(ints, 1, NULL, NULL, 1e-5), "layer_norm: " FLOATS);
    expect(weft_max_pool2d(cube, &two), "max_pool2d: " FLOATS);
    expect(weft_avg_pool2d(cube, &two), "avg_pool2d: " FLOATS);
    expect(weft_adaptive_avg_pool2d(cube, 2, 2), "adaptive_avg_pool2d: " FLOATS);
    weft_tensor_unref(w);
}

static void null_operands(void **state)
{
    expect(weft_linear(f32, NULL, NULL), "linear: weight is NULL");
    expect(weft_mse_loss(f32, NULL, WEFT_MEAN), "mse_loss: target is NULL");
    expect(weft_mul(NULL, f32), "mul: a is NULL");
    expect(weft_conv2d(NULL, f32, NULL, NULL), "conv2d: x is NULL");
    expect(weft_sub(f32, NULL), "sub: b is NULL");
}

/* The name ends with the function, with one that failed as well. */
static void what_comes_next_has_its_own_name(void **state)
{
    assert_non_null(weft_linear(f32, f32, NULL));
    expect(weft_relu(ints), "relu: " FLOATS);
    expect(weft_linear(f32, f64, NULL),
           "linear: the second factor is f64, the first factor is f32");
    expect(weft_relu(ints), "relu: " FLOATS);
}

static void running(void **state)
{
    weft_tensor *loss = weft_nll_loss(weft_log_softmax(f32, WEFT_DIMS(1)), labels, NULL);
    assert_true(isnan(weft_item(loss)));
    assert_string_equal(weft_error_text(ctx), "nll_loss: label 7 at row 1 is outside [0, 3)");
    weft_discard(ctx);
    weft_error_clear(ctx);
    /* The first infinity is the product's, within the loss. */
    weft_tensor *large = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1e30);
    bool was = weft_anomaly_begin(ctx);
    loss = weft_mse_loss(large, f32, WEFT_MEAN);
    weft_anomaly_end(ctx, was);
    assert_true(isnan(weft_item(loss)));
    assert_string_equal(weft_error_text(ctx),
                        "anomaly: mse_loss (forward) gave infinity, output of shape [2, 3]");
    weft_discard(ctx);
    weft_error_clear(ctx);
    weft_tensor_unref(large);
}

static void messages(void **state)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 2, 2), 1);
    weft_module *bn = weft_batch_norm2d_create(ctx, 3, NULL);
    weft_tensor *b = weft_call(bn, x), *a = weft_call(bn, x);
    assert_non_null(weft_mse_loss(a, b, WEFT_MEAN));
    if (strncmp(heard, "mse_loss: a module was called", 29) != 0)
        fail_msg("%s", heard);
    weft_discard(ctx);

    /* A tensor that no optimizer has enters where it is broadcast. */
    weft_tensor *p = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    weft_tensor *forgotten = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 1);
    weft_set_requires_grad(p, true);
    weft_set_requires_grad(forgotten, true);
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT;
    weft_tensor_list_add(&params, "p", p);
    weft_optimizer *o = weft_sgd_create(ctx, NULL, &(weft_sgd_opts){.lr = 0.1});
    assert_int_equal(weft_optimizer_add_group(o, &params, (double)NAN, (double)NAN), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(weft_div(p, forgotten), WEFT_ALL_DIMS, false)),
                     WEFT_OK);
    assert_int_equal(weft_optimizer_step(o), WEFT_OK);
    if (!strstr(heard, "div") || strstr(heard, "expand"))
        fail_msg("%s", heard);
    weft_tensor_list_done(&params);
    weft_optimizer_destroy(o);
    weft_tensor_unref(p);
    weft_tensor_unref(forgotten);
    weft_module_unref(bn);
    weft_tensor_unref(x);
}

int main(void)
{
    unsetenv("WEFT_LINT");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(recording, set_up, tear_down),
        cmocka_unit_test_setup_teardown(null_operands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_next_has_its_own_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(running, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
