/* Note [Empty tensors] in engine/graph/op.h: tensors without elements through recording, gradients, a
 * training step and files, by every executor; and what is refused. Every op against PyTorch:
 * tests/parity/sweep_empty.py. */
#include "tests/engine/values.h"

static weft_tensor *none(weft_context *ctx, weft_shape shape)
{
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, shape);
    if (!t)
        fail_msg("%s", weft_error_text(ctx));
    return t;
}

static void reading_and_writing(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = none(ctx, WEFT_SHAPE(2, 0, 3));
    float y = 5;
    assert_int_equal(weft_write(x, &y, 0), WEFT_OK);
    assert_int_equal(weft_read(x, &y, 0), WEFT_OK);
    assert_int_equal(weft_read(x, &y, sizeof(y)), WEFT_ERR_INVALID);
    weft_error_clear(ctx);
    assert_true(isnan(weft_item(x)));
    assert_int_not_equal(weft_error_status(ctx), WEFT_OK);
    weft_error_clear(ctx);
    assert_non_null(weft_tensor_const_data(x));
    weft_tensor *kept = weft_keep(weft_relu(x));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(kept, &y, 0), WEFT_OK);
    assert_int_equal(weft_shape_count(weft_tensor_shape(kept)), 0);
    assert_null(weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, -1)));
    assert_string_equal(weft_error_text(ctx), "tensor: dimension 1 of [2, -1] is negative");
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void reductions_of_nothing(void **state)
{
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        weft_tensor *x = none(ctx, WEFT_SHAPE(0, 3));
        double y[3];
        assert_true(weft_item(weft_sum(x, WEFT_ALL_DIMS, false)) == 0);
        weft_discard(ctx);
        assert_true(isnan(weft_item(weft_mean(x, WEFT_ALL_DIMS, false))));
        weft_discard(ctx);
        read_all(ctx, weft_add_scalar(weft_sum(x, WEFT_DIMS(0), false), 2), y);
        assert_true(y[0] == 2 && y[1] == 2 && y[2] == 2);
        weft_discard(ctx);
        assert_int_equal(weft_tensor_shape(weft_max(x, WEFT_DIMS(1), false)).dim[0], 0);
        assert_null(weft_max(x, WEFT_ALL_DIMS, false));
        assert_string_equal(weft_error_text(ctx), "max: [0] has nothing along dimension 0");
        weft_tensor_unref(x);
        weft_context_destroy(ctx);
    }
}

/* A network sees no images: its loss is a sum of nothing, and nothing but decay moves its weights. */
static void a_step_of_no_images(void **state)
{
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        weft_module *net =
            WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 20, 3, NULL), weft_relu_create(ctx),
                            weft_max_pool2d_create(ctx, 2, NULL), weft_flatten_create(ctx),
                            weft_linear_create(ctx, 20 * 9, 4, NULL));
        weft_optimizer *o =
            weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.5, .weight_decay = 0.5});
        weft_tensor *w = weft_get_parameter(net, "0.weight"),
                    *x = none(ctx, WEFT_SHAPE(0, 3, 8, 8));
        static double before[540], after[540], grad[540];
        read_all(ctx, w, before);
        weft_tensor *y = weft_call(net, x);
        if (!y)
            fail_msg("%s", weft_error_text(ctx));
        assert_true(weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(0, 4)));
        weft_tensor *loss = weft_sum(weft_mul(y, y), WEFT_ALL_DIMS, false);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        if (weft_optimizer_step(o) != WEFT_OK)
            fail_msg("%s", weft_error_text(ctx));
        assert_true(weft_item(loss) == 0);
        read_all(ctx, w, after);
        read_all(ctx, weft_grad(w), grad);
        for (int i = 0; i < 540; i++) {
            assert_true(grad[i] == 0);
            assert_true(after[i] == (double)((float)before[i] - 0.5f * (0.5f * (float)before[i])));
        }
        weft_optimizer_destroy(o);
        weft_tensor_unref(x);
        weft_module_unref(net);
        weft_context_destroy(ctx);
    }
}

/* The empty parts of a concatenation do not count, and get empty gradients. */
static void concatenation(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double numbers[12], y[12];
    make_input(1, WEFT_SHAPE(2, 6), numbers);
    weft_tensor *a = none(ctx, WEFT_SHAPE(2, 0)),
                *b = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 6), numbers);
    weft_set_requires_grad(a, true);
    weft_set_requires_grad(b, true);
    weft_tensor *joined = weft_concat((weft_tensor *[]){a, b, a}, 3, 1), *kept = weft_keep(joined);
    assert_int_equal(weft_backward(weft_sum(joined, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    read_all(ctx, kept, y);
    assert_memory_equal(y, numbers, sizeof(y));
    assert_int_equal(weft_shape_count(weft_tensor_shape(weft_grad(a))), 0);
    read_all(ctx, weft_grad(b), y);
    for (int i = 0; i < 12; i++)
        assert_true(y[i] == 1);
    weft_tensor_unref(kept);
    weft_tensor_unref(a);
    weft_tensor_unref(b);
    weft_context_destroy(ctx);
}

static void what_is_not_defined_is_refused(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = none(ctx, WEFT_SHAPE(0, 3)), *mean = none(ctx, WEFT_SHAPE(3));
    weft_tensor *labels = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(0));
    for (int i = 0; i < 4; i++) {
        static const char *const texts[] = {
            "cross_entropy: input 0 is [0, 3], which is empty",
            "batch_norm: input 0 is [0, 3], which is empty",
            "argmax: [0] has nothing along dimension 0",
            "reshape: [0, 3] has 0 elements, which do not fit [-1, 0]",
        };
        weft_tensor *y =
            i == 0   ? weft_cross_entropy(x, labels, NULL)
            : i == 1 ? weft_batch_norm(
                           x, NULL, NULL, mean, mean, NULL,
                           &(weft_batch_norm_opts){.training = true, .eps = 1e-5, .momentum = 0.1})
            : i == 2 ? weft_argmax(x, WEFT_ALL_DIMS, false)
                     : weft_reshape(x, WEFT_SHAPE(-1, 0));
        assert_null(y);
        assert_string_equal(weft_error_text(ctx), texts[i]);
        weft_discard(ctx);
        weft_error_clear(ctx);
    }
    weft_tensor_unref(labels);
    weft_tensor_unref(mean);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_and_writing),
        cmocka_unit_test(reductions_of_nothing),
        cmocka_unit_test(a_step_of_no_images),
        cmocka_unit_test(concatenation),
        cmocka_unit_test(what_is_not_defined_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
