/* Anomaly mode: the op that first gave a NaN or an infinity is named, and nothing is committed. */
#include "tests/engine/autograd.h"

/* 1e30 squared is infinite, and infinity times zero a NaN. */
static weft_tensor *step(weft_tensor *w, weft_tensor *zero)
{
    wf_path_push(ctx, "layer1");
    wf_path_push(ctx, "0");
    weft_tensor *y = weft_mul(w, w);
    wf_path_pop(ctx);
    y = weft_relu(weft_mul(y, zero));
    wf_path_pop(ctx);
    return total(y);
}

static void the_first_forward_op_is_named_with_its_path(void **state)
{
    weft_tensor *w = vec(1, 1e30f, 3, true), *zero = vec(0, 0, 0, false);
    bool was = weft_anomaly_begin(ctx);
    assert_int_equal(weft_backward(step(w, zero)), WEFT_OK);
    weft_anomaly_end(ctx, was);
    wf_sgd_update_opts o = {.lr = 1};
    assert_int_equal(wf_record_sgd_update(w, weft_grad(w), NULL, &o), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
    expect_error(WEFT_ERR_NUMERIC,
                 "anomaly: layer1.0: mul (forward) gave infinity, output of shape [3]");
    expect(w, 1, 1e30f, 3); /* nothing was committed */
    assert_null(weft_grad(w));
    weft_tensor_unref(w);
    weft_tensor_unref(zero);
}

/* Values that are fine forwards: 1e25 by 1e10, but the gradient is 1e10 by 1e30. */
static weft_tensor *overflow_backwards(weft_tensor *w)
{
    wf_path_push(ctx, "head");
    weft_tensor *y = weft_scale(weft_scale(weft_scale(w, 1e-30), 1e30), 1);
    wf_path_pop(ctx);
    return weft_scale(total(y), 1e20);
}

static void a_backward_op_is_named_as_such(void **state)
{
    weft_tensor *w = vec(1e-20f, 0, 0, true);
    weft_anomaly_begin(ctx);
    assert_int_equal(weft_backward(overflow_backwards(w)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
    expect_error(WEFT_ERR_NUMERIC, "anomaly: head: scale (backward of scale) gave infinity");
    weft_tensor_unref(w);
}

static void an_input_that_is_bad_already_is_said(void **state)
{
    weft_tensor *x = vec(1, NAN, 3, false);
    weft_anomaly_begin(ctx);
    assert_true(isnan(weft_item(total(weft_scale(x, 2)))));
    expect_error(WEFT_ERR_NUMERIC,
                 "scale (forward) gave NaN, output of shape [3]; its input 0 has");
    weft_tensor_unref(x);
}

static void outside_the_scope_nothing_is_checked(void **state)
{
    weft_tensor *x = vec(1, NAN, 3, false);
    bool was = weft_anomaly_begin(ctx);
    weft_anomaly_end(ctx, was);
    assert_true(isnan(weft_item(total(weft_scale(x, 2)))));
    assert_int_equal(weft_error_status(ctx), WEFT_OK);
    weft_sync(ctx);
    weft_tensor_unref(x);
}

static void a_step_in_anomaly_mode_has_the_bits_of_any_other(void **state)
{
    float bits[2][27 * 4];
    for (int mode = 0; mode < 2; mode++) {
        weft_context *c;
        weft_options options = {.threads = 2, .seed = 5, .anomaly = mode == 1};
        assert_int_equal(weft_context_create(&c, &options, NULL), WEFT_OK);
        weft_tensor *x = weft_randn(c, WEFT_SHAPE(3, 3, 9, 9));
        weft_tensor *k = weft_randn(c, WEFT_SHAPE(4, 3, 3, 3));
        weft_set_requires_grad(k, true);
        weft_tensor *y = weft_relu(weft_conv2d(x, k, NULL, NULL));
        assert_int_equal(weft_backward(weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false)), WEFT_OK);
        assert_int_equal(weft_sync(c), WEFT_OK);
        assert_int_equal(weft_read(weft_grad(k), bits[mode], sizeof bits[mode]), WEFT_OK);
        weft_tensor_unref(x);
        weft_tensor_unref(k);
        weft_context_destroy(c);
    }
    assert_memory_equal(bits[0], bits[1], sizeof bits[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_forward_op_is_named_with_its_path),
        TEST(a_backward_op_is_named_as_such),
        TEST(an_input_that_is_bad_already_is_said),
        TEST(outside_the_scope_nothing_is_checked),
        TEST(a_step_in_anomaly_mode_has_the_bits_of_any_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
