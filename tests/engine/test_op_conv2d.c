/* conv2d, matmul and linear as ops: f32 in blocks against f64 in the plain layout through a small
 * network, the same bits from every executor and number of threads,
 * and the messages of mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/op.h"
#include "engine/graph/ops/internal.h"
#include "weft/weft.h"

static weft_context *context(int threads, weft_executor executor)
{
    weft_options options = {.threads = threads, .executor = executor, .schedule_seed = 7};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    return ctx;
}

static weft_tensor *filled(weft_context *ctx, weft_dtype dtype, weft_shape shape, unsigned seed)
{
    int64_t n = weft_shape_count(shape);
    double *d = malloc((size_t)n * sizeof *d);
    float *f = malloc((size_t)n * sizeof *f);
    assert_true(d && f);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        f[i] = (float)(int32_t)seed * 0x1p-31f;
        d[i] = f[i];
    }
    weft_tensor *t = weft_tensor_from(ctx, dtype, shape, dtype == WEFT_F64 ? (void *)d : f);
    assert_non_null(t);
    free(d);
    free(f);
    return t;
}

/* Two convolutions (one over a plain input, one between blocked activations), an odd number of
 * channels, and a linear layer; backward through all of it. */
enum { N_PARAMS = 6 };

typedef struct outcome {
    double *value[1 + N_PARAMS]; /* the logits, then the gradients */
    size_t count[1 + N_PARAMS];
} outcome;

static void take(weft_tensor *t, double **value, size_t *count)
{
    assert_non_null(t);
    *count = (size_t)weft_shape_count(weft_tensor_shape(t));
    *value = malloc(*count * sizeof(double));
    if (weft_tensor_dtype(t) == WEFT_F64) {
        assert_int_equal(weft_read(t, *value, *count * sizeof(double)), WEFT_OK);
        return;
    }
    float *f = malloc(*count * sizeof *f);
    assert_int_equal(weft_read(t, f, *count * sizeof *f), WEFT_OK);
    for (size_t i = 0; i < *count; i++)
        (*value)[i] = f[i];
    free(f);
}

static outcome network(weft_dtype dtype, int threads, weft_executor executor)
{
    weft_context *ctx = context(threads, executor);
    const weft_shape shapes[N_PARAMS] = {{4, {20, 3, 3, 3}}, {1, {20}},       {4, {40, 10, 3, 3}},
                                         {1, {40}},          {2, {10, 1000}}, {1, {10}}};
    const weft_conv2d_opts first = {.padding = {1, 1}};
    const weft_conv2d_opts second = {.stride = {2, 2}, .padding = {1, 1}, .groups = 2};
    weft_tensor *p[N_PARAMS], *x = filled(ctx, dtype, WEFT_SHAPE(5, 3, 10, 10), 99);
    outcome o;
    for (int i = 0; i < N_PARAMS; i++) {
        p[i] = filled(ctx, dtype, shapes[i], (unsigned)i);
        assert_int_equal(weft_set_requires_grad(p[i], true), WEFT_OK);
    }
    weft_tensor *y = weft_relu(weft_conv2d(x, p[0], p[1], &first));
    y = weft_relu(weft_conv2d(y, p[2], p[3], &second));
    y = weft_linear(weft_flatten(y, 1), p[4], p[5]);
    weft_tensor *kept = weft_keep(y);
    if (!y)
        fail_msg("%s", weft_error_text(ctx));
    if (weft_backward(weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false)) || weft_sync(ctx))
        fail_msg("%s", weft_error_text(ctx));
    take(kept, &o.value[0], &o.count[0]);
    for (int i = 0; i < N_PARAMS; i++) {
        take(weft_grad(p[i]), &o.value[1 + i], &o.count[1 + i]);
        weft_tensor_unref(p[i]);
    }
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
    return o;
}

static void outcome_free(outcome *o)
{
    for (int i = 0; i <= N_PARAMS; i++)
        free(o->value[i]);
}

static void single_precision_follows_double(void **unused)
{
    outcome want = network(WEFT_F64, 1, WEFT_EXECUTOR_INTERPRETER);
    outcome got = network(WEFT_F32, 2, WEFT_EXECUTOR_PARALLEL);
    for (int t = 0; t <= N_PARAMS; t++) {
        double scale = 0;
        assert_int_equal(got.count[t], want.count[t]);
        for (size_t i = 0; i < want.count[t]; i++)
            scale = fmax(scale, fabs(want.value[t][i]));
        assert_true(scale > 0);
        /* the longest chain is some 1000 + 90 + 27 roundings, and 500 pixels backward, of terms
         * that at worst are all as large as the largest result */
        for (size_t i = 0; i < want.count[t]; i++)
            if (!(fabs(got.value[t][i] - want.value[t][i]) <= 1700 * 0x1p-24 * scale))
                fail_msg("tensor %d element %zu: %.9g instead of %.9g", t, i, got.value[t][i],
                         want.value[t][i]);
    }
    outcome_free(&want);
    outcome_free(&got);
}

static void bits_do_not_depend_on_threads_or_executor(void **unused)
{
    static const struct {
        int threads;
        weft_executor executor;
    } ways[] = {{1, WEFT_EXECUTOR_PARALLEL},
                {2, WEFT_EXECUTOR_PARALLEL},
                {3, WEFT_EXECUTOR_PARALLEL},
                {7, WEFT_EXECUTOR_PARALLEL},
                {2, WEFT_EXECUTOR_RANDOM}};
    outcome want = network(WEFT_F32, 1, WEFT_EXECUTOR_INTERPRETER);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        outcome got = network(WEFT_F32, ways[w].threads, ways[w].executor);
        for (int t = 0; t <= N_PARAMS; t++)
            if (memcmp(got.value[t], want.value[t], want.count[t] * sizeof(double)) != 0)
                fail_msg("tensor %d differs with %d threads, executor %d", t, ways[w].threads,
                         (int)ways[w].executor);
        outcome_free(&got);
    }
    outcome_free(&want);
}

static void mistakes_are_named(void **unused)
{
    static const struct {
        weft_shape x, w, bias;
        weft_conv2d_opts opts;
        weft_status status;
        const char *text;
    } cases[] = {
        {{4, {1, 128, 8, 8}},
         {4, {8, 64, 3, 3}},
         {1, {8}},
         {.stride = {1, 1}},
         WEFT_ERR_SHAPE,
         "conv2d: input has 128 channels, weight expects 64"},
        {{2, {8, 8}},
         {4, {8, 8, 3, 3}},
         {1, {8}},
         {.stride = {1, 1}},
         WEFT_ERR_SHAPE,
         "conv2d: input is [8, 8], expected (N, C, H, W) or (C, H, W)"},
        {{4, {1, 8, 8, 8}},
         {2, {8, 8}},
         {1, {8}},
         {.stride = {1, 1}},
         WEFT_ERR_SHAPE,
         "weight must have 4 dimensions"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 8, 3, 3}},
         {1, {7}},
         {.stride = {1, 1}},
         WEFT_ERR_SHAPE,
         "bias has shape [7], the output 8 channels"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 8, 3, 3}},
         {1, {8}},
         {.stride = {-1, 1}},
         WEFT_ERR_INVALID,
         "stride -1 and dilation 1 must be at least 1"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 8, 3, 3}},
         {1, {8}},
         {.padding = {0, -1}},
         WEFT_ERR_INVALID,
         "padding -1"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 4, 3, 3}},
         {1, {8}},
         {.groups = 3},
         WEFT_ERR_SHAPE,
         "3 groups do not divide 8 input and 8 output channels"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 4, 3, 3}},
         {1, {8}},
         {.groups = -2},
         WEFT_ERR_INVALID,
         "groups must be at least 1, is -2"},
        {{4, {1, 8, 4, 8}},
         {4, {8, 8, 7, 3}},
         {1, {8}},
         {.padding = {1, 1}},
         WEFT_ERR_SHAPE,
         "the output is empty: height 4 with padding 1 is smaller than the kernel's 7"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 8, 3, 3}},
         {1, {8}},
         {.dilation = {4, 1}},
         WEFT_ERR_SHAPE,
         "smaller than the kernel's 9"},
        {{4, {1, 8, 8, 8}},
         {4, {8, 8, 3, 3}},
         {1, {8}},
         {.padding = {2000000000, 1}},
         WEFT_ERR_SHAPE,
         "is too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_context *ctx = context(1, WEFT_EXECUTOR_PARALLEL);
        weft_tensor *x = filled(ctx, WEFT_F32, cases[i].x, 1),
                    *w = filled(ctx, WEFT_F32, cases[i].w, 2);
        weft_tensor *b = filled(ctx, WEFT_F32, cases[i].bias, 3);
        assert_null(weft_conv2d(x, w, b, &cases[i].opts));
        if (!strstr(weft_error_text(ctx), cases[i].text))
            fail_msg("\"%s\" lacks \"%s\"", weft_error_text(ctx), cases[i].text);
        assert_int_equal(weft_error_status(ctx), cases[i].status);
        weft_tensor_unref(x);
        weft_tensor_unref(w);
        weft_tensor_unref(b);
        weft_context_destroy(ctx);
    }
}

/* Nothing as large could be stored, but it can be recorded. */
static void sizes_that_would_overflow_are_named(void **unused)
{
    static const struct {
        weft_shape x, w;
        weft_conv2d_opts opts;
        const char *text;
    } cases[] = {
        {{4, {1, 1, 40000, 40000}},
         {4, {1, 1, 3, 3}},
         {.padding = {1, 1}},
         "the padded image of 40002 x 40002 pixels is too large"},
        {{4, {1, 1, 8, 8}},
         {4, {1, 1, 3, 3}},
         {.padding = {40000, 40000}},
         "the padded image of 80008 x 80008 pixels is too large"},
        {{4, {1 << 29, 1, 8, 8}},
         {4, {1 << 29, 1, 1, 1}},
         {.stride = {1, 1}},
         "output [536870912, 536870912, 8, 8] is too large"},
        {{4, {1 << 28, 1, 8, 8}},
         {4, {1 << 28, 1, 1, 1}},
         {.stride = {1, 1}},
         "output [268435456, 268435456, 8, 8] is too large"},
        {{4, {1, 1, 8, 8}}, {4, {1, 1, 3, 3}}, {.dilation = {2000000000, 1}}, "is too large"},
        {{4, {1, 1, 8, 8}}, {4, {1, 1, 3, 3}}, {.stride = {2000000000, 1}}, "is too large"},
        {{4, {((int64_t)1 << 30) + 1, 1, 8, 8}},
         {4, {1, 1, 3, 3}},
         {.stride = {1, 1}},
         "cannot have 1073741825 images, 1 input and 1 output channels"},
    };
    weft_context *ctx = context(1, WEFT_EXECUTOR_PARALLEL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_tensor *x = wf_record_fill(ctx, WEFT_F32, cases[i].x, 1);
        weft_tensor *w = wf_record_fill(ctx, WEFT_F32, cases[i].w, 1);
        assert_non_null(w);
        assert_null(weft_conv2d(x, w, NULL, &cases[i].opts));
        if (!strstr(weft_error_text(ctx), cases[i].text))
            fail_msg("\"%s\" lacks \"%s\"", weft_error_text(ctx), cases[i].text);
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_SHAPE);
        weft_error_clear(ctx);
        weft_discard(ctx);
    }
    weft_tensor *a = wf_record_fill(ctx, WEFT_F32, WEFT_SHAPE((int64_t)1 << 40, 1), 1);
    assert_null(weft_matmul(a, a, false, true));
    assert_non_null(strstr(weft_error_text(ctx), "is too large"));
    weft_error_clear(ctx);
    weft_discard(ctx);
    weft_context_destroy(ctx);
}

static void no_images_are_convolved_but_no_empty_ones(void **unused)
{
    weft_context *ctx = context(1, WEFT_EXECUTOR_PARALLEL);
    weft_tensor *w = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(8, 8, 3, 3));
    for (int i = 0; i < 4; i++) {
        weft_shape s = WEFT_SHAPE(1, 8, 4, 4);
        s.dim[i] = 0;
        weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, s);
        weft_tensor *y = weft_conv2d(t, w, NULL, NULL);
        assert_int_equal(y != NULL, i == 0);
        assert_int_equal(weft_error_status(ctx), i == 0 ? WEFT_OK : WEFT_ERR_SHAPE);
        weft_discard(ctx);
        weft_error_clear(ctx);
        weft_tensor_unref(t);
    }
    weft_tensor_unref(w);
    weft_context_destroy(ctx);
}

static void mistakes_of_products_are_named(void **unused)
{
    weft_context *ctx = context(1, WEFT_EXECUTOR_PARALLEL);
    weft_tensor *a = filled(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    weft_tensor *b = filled(ctx, WEFT_F32, WEFT_SHAPE(2, 4), 2);
    weft_tensor *bias = filled(ctx, WEFT_F32, WEFT_SHAPE(3), 2);
    weft_tensor *d = filled(ctx, WEFT_F64, WEFT_SHAPE(3, 2), 2);
    static const char *const texts[] = {
        "matmul: cannot multiply [2, 3] by [2, 4]: 3 is not 2",
        "linear: input has 3 features, weight expects 4",
        "linear: bias has shape [3], the output 2 columns",
        "matmul: the second factor is f64, the first factor is f32",
    };
    for (int i = 0; i < 4; i++) {
        weft_error_clear(ctx);
        weft_tensor *y = i == 0   ? weft_matmul(a, b, false, false)
                         : i == 1 ? weft_linear(a, b, NULL)
                         : i == 2 ? weft_linear(a, a, bias)
                                  : weft_matmul(a, d, false, false);
        assert_null(y);
        if (!strstr(weft_error_text(ctx), texts[i]))
            fail_msg("\"%s\" lacks \"%s\"", weft_error_text(ctx), texts[i]);
    }
    weft_tensor *all[] = {a, b, bias, d};
    for (int i = 0; i < 4; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_precision_follows_double),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_executor),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(sizes_that_would_overflow_are_named),
        cmocka_unit_test(no_images_are_convolved_but_no_empty_ones),
        cmocka_unit_test(mistakes_of_products_are_named),
    };
    return cmocka_run_group_tests_name("op_conv2d", tests, NULL, NULL);
}
