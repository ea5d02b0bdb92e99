/* Every op with NULL for each pointer, with tensors of types that it does not take, and with other
 * arguments that cannot be meant. */
#include "tests/train/arguments.h"

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

static weft_tensor *power(weft_tensor *t)
{
    return weft_pow(t, 1.5);
}
static weft_tensor *clamp(weft_tensor *t)
{
    return weft_clamp(t, -1, 1);
}
static weft_tensor *elu(weft_tensor *t)
{
    return weft_elu(t, 1);
}
static weft_tensor *plus(weft_tensor *t)
{
    return weft_add_scalar(t, 1);
}
static weft_tensor *permute(weft_tensor *t)
{
    return weft_permute(t, WEFT_DIMS(3, 2, 1, 0));
}
static weft_tensor *transpose(weft_tensor *t)
{
    return weft_transpose(t, 0, -1);
}
static weft_tensor *slice(weft_tensor *t)
{
    return weft_slice(t, 0, 0, 2, 2);
}
static weft_tensor *upsample(weft_tensor *t)
{
    return weft_upsample2d(t, 8, 8, WEFT_UPSAMPLE_BILINEAR, false);
}
static weft_tensor *norm(weft_tensor *t)
{
    return weft_layer_norm(t, 1, NULL, NULL, 1e-5);
}
static weft_tensor *norms(weft_tensor *t)
{
    return weft_group_norm(t, 1, NULL, NULL, 1e-5);
}
static weft_tensor *batch(weft_tensor *t)
{
    return weft_batch_norm(t, NULL, NULL, NULL, NULL, NULL, NULL);
}
#define OVER_ALL(f)                                                                                \
    static weft_tensor *f##_of(weft_tensor *t)                                                     \
    {                                                                                              \
        return weft_##f(t, WEFT_ALL_DIMS, false);                                                  \
    }
OVER_ALL(max)
OVER_ALL(min)
OVER_ALL(argmax)
OVER_ALL(argmin)

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

/* Each op under the name that its errors begin with. */
static const struct {
    const char *name;
    weft_tensor *(*f)(weft_tensor *t);
    bool any_type; /* moves elements of any type */
} unary[] = {
    {"relu", weft_relu},
    {"relu6", weft_relu6},
    {"leaky_relu", leaky},
    {"sigmoid", weft_sigmoid},
    {"tanh", weft_tanh},
    {"silu", weft_silu},
    {"gelu", weft_gelu},
    {"gelu_tanh", weft_gelu_tanh},
    {"hardsigmoid", weft_hardsigmoid},
    {"hardswish", weft_hardswish},
    {"elu", elu},
    {"mish", weft_mish},
    {"softplus", softplus},
    {"neg", weft_neg},
    {"abs", weft_abs},
    {"exp", weft_exp},
    {"log", weft_log},
    {"sqrt", weft_sqrt},
    {"rsqrt", weft_rsqrt},
    {"reciprocal", weft_reciprocal},
    {"pow", power},
    {"clamp", clamp},
    {"scale", scale},
    {"add_scalar", plus},
    {"dropout", drop},
    {"stochastic_depth", depth},
    {"alpha_dropout", alpha_drop},
    {"softmax", soft},
    {"log_softmax", log_soft},
    {"sum", sum},
    {"mean", mean},
    {"max", max_of},
    {"min", min_of},
    {"argmax", argmax_of},
    {"argmin", argmin_of},
    {"max_pool2d", max_pool},
    {"avg_pool2d", avg_pool},
    {"adaptive_avg_pool2d", adaptive},
    {"upsample2d", upsample},
    {"layer_norm", norm},
    {"group_norm", norms},
    {"batch_norm", batch},
    {"check_finite", weft_check_finite},
    {"detach", weft_detach, true},
    {"channel_shuffle", shuffle, true},
    {"flatten", flatten, true},
    {"narrow", narrow, true},
    {"reshape", reshape, true},
    {"expand", expand, true},
    {"permute", permute, true},
    {"transpose", transpose, true},
    {"slice", slice, true},
};
static const struct {
    const char *name;
    weft_tensor *(*f)(weft_tensor *a, weft_tensor *b);
} binary[] = {
    {"add", weft_add},
    {"sub", weft_sub},
    {"mul", weft_mul},
    {"div", weft_div},
    {"maximum", weft_maximum},
    {"minimum", weft_minimum},
    {"pow_tensor", weft_pow_tensor},
    {"eq", weft_eq},
    {"ne", weft_ne},
    {"lt", weft_lt},
    {"le", weft_le},
    {"gt", weft_gt},
    {"ge", weft_ge},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* y is NULL, the step has failed, and the error is "name: rest". */
static void expect(weft_tensor *y, const char *name, const char *rest)
{
    char text[200];
    snprintf(text, sizeof(text), "%s: %s", name, rest);
    if (y)
        fail_msg("%s gave something", name);
    assert_string_equal(weft_error_text(ctx), text);
    assert_int_not_equal(weft_error_status(ctx), WEFT_OK);
    assert_null(weft_relu(x)); /* nothing more is recorded */
    weft_discard(ctx);
    weft_error_clear(ctx);
}

static void ops_of_one_tensor(void **state)
{
    weft_tensor *longs = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *bytes = weft_tensor_create(ctx, WEFT_U8, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *halves = weft_tensor_create(ctx, WEFT_BF16, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *stale = weft_relu(images);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    for (size_t i = 0; i < COUNT(unary); i++) {
        NOTHING_QUIETLY(unary[i].f(NULL));
        assert_int_equal(weft_error_status(ctx), WEFT_OK);
        GIVES_NOTHING(unary[i].f(stale));
        if (unary[i].any_type)
            continue;
        expect(unary[i].f(longs), unary[i].name, "input 0 is i64, expected f32 or f64");
        expect(unary[i].f(bytes), unary[i].name, "input 0 is u8, expected f32 or f64");
        assert_int_not_equal(weft_tensor_dtype(unary[i].f(halves)), WEFT_BF16); /* taken as f32 */
        assert_int_equal(weft_error_status(ctx), WEFT_OK);
        weft_discard(ctx);
    }
    weft_tensor_unref(longs);
    weft_tensor_unref(bytes);
    weft_tensor_unref(halves);
}

static void ops_of_two_tensors(void **state)
{
    weft_tensor *longs = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2, 3));
    weft_tensor *doubles = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(3));
    weft_tensor *four = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4));
    for (size_t i = 0; i < COUNT(binary); i++) {
        const char *name = binary[i].name;
        NOTHING_QUIETLY(binary[i].f(NULL, NULL));
        const bool power = binary[i].f == weft_pow_tensor; /* it has other names for its operands */
        expect(binary[i].f(x, NULL), name, power ? "exponent is NULL" : "b is NULL");
        expect(binary[i].f(NULL, x), name, power ? "x is NULL" : "a is NULL");
        expect(binary[i].f(longs, longs), name, "input 0 is i64, expected f32 or f64");
        expect(binary[i].f(x, longs), name, "input 1 is i64, input 0 is f32");
        expect(binary[i].f(x, doubles), name, "input 1 is f64, input 0 is f32");
        expect(binary[i].f(x, four), name, "[2, 3] and [4] do not broadcast (3 and 4)");
    }
    weft_tensor_unref(longs);
    weft_tensor_unref(doubles);
    weft_tensor_unref(four);
}

static void ops_of_several(void **state)
{
    NOTHING_QUIETLY(weft_bias(NULL, NULL));
    NOTHING_QUIETLY(weft_bias(x, NULL));
    NOTHING_QUIETLY(weft_bias(NULL, x));
    NOTHING_QUIETLY(weft_where(NULL, x, x));
    NOTHING_QUIETLY(weft_where(x, NULL, x));
    NOTHING_QUIETLY(weft_where(x, x, NULL));
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
    FAILS_QUIETLY(weft_split_with_sizes(NULL, 1, (const int64_t[]){1}, 0, parts));
    FAILS(weft_split_with_sizes(x, 1, NULL, 0, parts));
    FAILS(weft_split_with_sizes(x, 1, (const int64_t[]){1}, 0, NULL));
    FAILS(weft_split_with_sizes(x, 2, (const int64_t[]){INT64_MAX, 1}, 0, parts));
    NOTHING_QUIETLY(weft_stack(NULL, 2, 0));
    NOTHING_QUIETLY(weft_one_hot(NULL, 2, WEFT_F32));
    NOTHING_QUIETLY(weft_stack((weft_tensor *[]){x, NULL}, 2, 0));
    GIVES_NOTHING(weft_stack((weft_tensor *[]){x, x}, 2, INT32_MIN));
    NOTHING_QUIETLY(weft_slice(NULL, 0, 0, 1, 1));
    GIVES_NOTHING(weft_slice(x, 0, INT64_MIN, INT64_MIN, INT64_MIN));
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

/* A number that means nothing fails the step, as a wrong tensor does. */
static void numbers_that_mean_nothing(void **state)
{
    expect(weft_leaky_relu(x, INFINITY), "leaky_relu", "the slope must be finite, is inf");
    expect(weft_elu(x, (double)NAN), "elu", "alpha must be finite, is nan");
    expect(weft_pow(x, INFINITY), "pow", "exponent inf is not finite");
    expect(weft_clamp(x, (double)NAN, 1), "clamp", "bounds nan and 1, neither may be NaN");
    expect(weft_softplus(x, 0, 20), "softplus",
           "beta 0, threshold 20: beta must be above 0 and finite");
    expect(weft_dropout(x, 2, true), "dropout", "probability 2 is outside [0, 1]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH_PARTS(ops_of_one_tensor),
        TEST_WITH_PARTS(ops_of_two_tensors),
        TEST_WITH_PARTS(ops_of_several),
        TEST_WITH_PARTS(numbers_that_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
