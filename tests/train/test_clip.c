/* Gradient clipping: the formula, what it is part of, and what it does not touch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "weft/weft.h"

enum { N = 20000, PARAMS = 3 }; /* more than one run of elements */

static weft_context *ctx;
static weft_tensor *param[PARAMS];
static weft_tensor_list list;

static void open_context(weft_dtype dtype, int threads)
{
    weft_options options = {.threads = threads, .seed = 9};
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    const weft_shape shapes[PARAMS] = {WEFT_SHAPE(N), WEFT_SHAPE(3, 5), WEFT_SCALAR};
    for (int i = 0; i < PARAMS; i++) {
        param[i] = weft_tensor_full(ctx, dtype, shapes[i], 1);
        assert_int_equal(weft_set_requires_grad(param[i], true), WEFT_OK);
        assert_int_equal(weft_tensor_list_add(&list, "p", param[i]), WEFT_OK);
    }
}

static void close_context(void)
{
    weft_tensor_list_done(&list);
    for (int i = 0; i < PARAMS; i++)
        weft_tensor_unref(param[i]);
    weft_context_destroy(ctx);
}

static double value_at(int p, int64_t i)
{
    return 0.25 * (double)((i * 7 + p * 3) % 13 - 6);
}

/* Records gradients value_at, times `scale`, of parameters [0, n). */
static void backward(int n, double scale)
{
    weft_tensor *loss = NULL;
    for (int p = 0; p < n; p++) {
        weft_dtype dtype = weft_tensor_dtype(param[p]);
        weft_tensor *g = weft_tensor_create(ctx, dtype, weft_tensor_shape(param[p]));
        void *data = weft_tensor_data(g);
        for (int64_t i = 0; i < weft_shape_count(weft_tensor_shape(g)); i++) {
            if (dtype == WEFT_F32)
                ((float *)data)[i] = (float)value_at(p, i);
            else
                ((double *)data)[i] = value_at(p, i);
        }
        weft_tensor *part =
            weft_scale(weft_sum(weft_mul(param[p], g), WEFT_ALL_DIMS, false), scale);
        loss = loss ? weft_add(loss, part) : part;
        weft_tensor_unref(g);
    }
    assert_int_equal(weft_backward(loss), WEFT_OK);
}

static double grad_at(int p, int64_t i)
{
    weft_tensor *g = weft_grad(param[p]);
    assert_non_null(g);
    const void *data = weft_tensor_data(g);
    return weft_tensor_dtype(g) == WEFT_F32 ? ((const float *)data)[i] : ((const double *)data)[i];
}

/* Squares are multiples of 1/16 with few bits: exact in double in any order. */
static double norm_of(int n)
{
    double sum = 0;
    for (int p = 0; p < n; p++)
        for (int64_t i = 0; i < weft_shape_count(weft_tensor_shape(param[p])); i++)
            sum += value_at(p, i) * value_at(p, i);
    return sqrt(sum);
}

static void expect_scaled(int n, double factor, double eps)
{
    for (int p = 0; p < n; p++)
        for (int64_t i = 0; i < weft_shape_count(weft_tensor_shape(param[p])); i++) {
            double want = factor * value_at(p, i), got = grad_at(p, i);
            if (!(fabs(got - want) <= 2 * eps * fabs(want))) /* the factor's and the product's */
                fail_msg("gradient %d, element %lld: %.9g, expected %.9g", p, (long long)i, got,
                         want);
        }
}

static void gradients_are_scaled_to_the_norm_of_all_of_them(void **state)
{
    for (int f64 = 0; f64 < 2; f64++) {
        open_context(f64 ? WEFT_F64 : WEFT_F32, 2);
        backward(PARAMS, 1);
        weft_tensor *norm = weft_clip_grad_norm(&list, 1.5, false);
        assert_non_null(norm);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        assert_true(weft_item(norm) == norm_of(PARAMS)); /* still readable */
        expect_scaled(PARAMS, 1.5 / (norm_of(PARAMS) + 1e-6), f64 ? DBL_EPSILON : FLT_EPSILON);
        close_context();
    }
}

static void small_gradients_stay_what_they_are(void **state)
{
    open_context(WEFT_F32, 2);
    backward(PARAMS, 1);
    assert_non_null(weft_clip_grad_norm(&list, 1e6, false));
    expect_scaled(PARAMS, 1, 0);
    close_context();
}

static void tensors_without_a_gradient_are_left_out(void **state)
{
    open_context(WEFT_F32, 1);
    assert_true(weft_item(weft_clip_grad_norm(&list, 1, false)) == 0);
    weft_sync(ctx);
    backward(1, 1);
    assert_true(weft_item(weft_clip_grad_norm(&list, 1, false)) == norm_of(1));
    assert_null(weft_grad(param[1]));
    weft_sync(ctx);
    close_context();
}

static void gradients_that_were_run_and_accumulated_are_clipped_too(void **state)
{
    open_context(WEFT_F32, 1);
    backward(PARAMS, 1);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    backward(PARAMS, 2);
    assert_non_null(weft_clip_grad_norm(&list, 1, false));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    expect_scaled(PARAMS, 3 / (3 * norm_of(PARAMS) + 1e-6), FLT_EPSILON);
    close_context();
}

static void clipping_by_value_limits_every_element(void **state)
{
    for (int f64 = 0; f64 < 2; f64++) {
        open_context(f64 ? WEFT_F64 : WEFT_F32, 1);
        backward(PARAMS, 1);
        assert_int_equal(weft_clip_grad_value(&list, 0.6), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        double limit = f64 ? 0.6 : 0.6f;
        for (int p = 0; p < PARAMS; p++)
            for (int64_t i = 0; i < weft_shape_count(weft_tensor_shape(param[p])); i++) {
                double g = value_at(p, i);
                assert_true(grad_at(p, i) == (g > limit ? limit : g < -limit ? -limit : g));
            }
        close_context();
    }
}

static void the_optimizers_step_takes_the_clipped_gradients(void **state)
{
    open_context(WEFT_F32, 2);
    weft_optimizer *sgd = weft_sgd_create(ctx, NULL, &(weft_sgd_opts){.lr = 1});
    weft_tensor_list one = WEFT_TENSOR_LIST_INIT;
    weft_tensor_list_add(&one, "w", param[1]);
    assert_int_equal(weft_optimizer_add_group(sgd, &one, NAN, NAN), WEFT_OK);
    backward(2, 1);
    assert_int_equal(weft_clip_grad_value(&one, 0.25), WEFT_OK);
    assert_int_equal(weft_optimizer_step(sgd), WEFT_OK);
    const float *w = weft_tensor_data(param[1]);
    for (int i = 0; i < 15; i++) {
        double g = value_at(1, i);
        assert_true(w[i] == 1 - (g > 0.25 ? 0.25 : g < -0.25 ? -0.25 : g));
    }
    weft_tensor_list_done(&one);
    weft_optimizer_destroy(sgd);
    close_context();
}

static void a_norm_that_is_not_finite_fails_the_step_when_asked(void **state)
{
    open_context(WEFT_F32, 1);
    weft_optimizer *sgd = weft_sgd_create(ctx, NULL, &(weft_sgd_opts){.lr = 1});
    ((float *)weft_tensor_data(param[2]))[0] = INFINITY;
    for (int asked = 0; asked < 2; asked++) {
        for (int p = 0; p < PARAMS; p++)
            weft_zero_grad(param[p]);
        assert_int_equal(weft_backward(weft_mul(param[2], param[2])), WEFT_OK);
        assert_non_null(weft_clip_grad_norm(&list, 1, asked));
        assert_int_equal(weft_sync(ctx), asked ? WEFT_ERR_NUMERIC : WEFT_OK);
        if (asked)
            assert_non_null(
                strstr(weft_error_text(ctx), "clip_grad_norm: check_finite: a value is"));
        if (asked)
            assert_null(weft_grad(param[2]));
        else
            assert_true(isnan(grad_at(2, 0))); /* infinity by 0, as in torch */
        weft_error_clear(ctx);
    }
    weft_optimizer_destroy(sgd);
    close_context();
}

static void the_bits_are_those_of_any_number_of_threads(void **state)
{
    static float grads[2][N];
    for (int k = 0; k < 2; k++) {
        open_context(WEFT_F32, k ? 3 : 1);
        weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(N));
        assert_int_equal(weft_backward(weft_sum(weft_mul(x, param[0]), WEFT_ALL_DIMS, false)),
                         WEFT_OK);
        assert_non_null(weft_clip_grad_norm(&list, 0.3, true));
        assert_int_equal(weft_read(weft_grad(param[0]), grads[k], sizeof(grads[k])), WEFT_OK);
        weft_sync(ctx);
        weft_tensor_unref(x);
        close_context();
    }
    assert_memory_equal(grads[0], grads[1], sizeof(grads[0]));
}

static void bad_limits_are_refused(void **state)
{
    open_context(WEFT_F32, 1);
    assert_null(weft_clip_grad_norm(&list, -1, false));
    assert_non_null(
        strstr(weft_error_text(ctx), "clip_grad_norm: the limit must be at least 0, is -1"));
    weft_error_clear(ctx);
    assert_int_equal(weft_clip_grad_value(&list, NAN), WEFT_ERR_INVALID);
    weft_error_clear(ctx);
    assert_int_equal(weft_clip_grad_value(NULL, 1), WEFT_ERR_INVALID);
    close_context();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_scaled_to_the_norm_of_all_of_them),
        cmocka_unit_test(small_gradients_stay_what_they_are),
        cmocka_unit_test(tensors_without_a_gradient_are_left_out),
        cmocka_unit_test(gradients_that_were_run_and_accumulated_are_clipped_too),
        cmocka_unit_test(clipping_by_value_limits_every_element),
        cmocka_unit_test(the_optimizers_step_takes_the_clipped_gradients),
        cmocka_unit_test(a_norm_that_is_not_finite_fails_the_step_when_asked),
        cmocka_unit_test(the_bits_are_those_of_any_number_of_threads),
        cmocka_unit_test(bad_limits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
