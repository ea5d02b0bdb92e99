/* conv_transpose2d: values against plain C over strides, paddings, dilations, groups and channels that
 * fill blocks or not, in f32 and f64, plain and blocked, by every executor to the same bits; and that
 * it is the gradient of conv2d's input. Gradients: test_ops_gradcheck.c and test_ops_samples.c. */
#include "tests/engine/values.h"

enum { MAX = 60000 };

typedef struct problem {
    int N, C, H, W, K, R, S;
    bool bias;
    weft_conv_transpose2d_opts o;
} problem;

static int of(int value)
{
    return value ? value : 1;
}

static int size(const problem *p, int i)
{
    const int in = i ? p->W : p->H, kernel = i ? p->S : p->R;
    return (in - 1) * of(p->o.stride[i]) - 2 * p->o.padding[i] +
           of(p->o.dilation[i]) * (kernel - 1) + p->o.output_padding[i] + 1;
}

/* Every input pixel adds its kernel to the output. */
static void expect(const problem *p, const double *x, const double *w, const double *b, double *y)
{
    const int P = size(p, 0), Q = size(p, 1), groups = of(p->o.groups), width = p->K / groups;
    for (int i = 0; i < p->N * p->K * P * Q; i++)
        y[i] = p->bias ? b[i / (P * Q) % p->K] : 0;
    for (int n = 0; n < p->N; n++)
        for (int c = 0; c < p->C; c++)
            for (int at = 0; at < p->H * p->W; at++)
                for (int k = 0; k < width; k++)
                    for (int rs = 0; rs < p->R * p->S; rs++) {
                        const int h = at / p->W * of(p->o.stride[0]) - p->o.padding[0] +
                                      rs / p->S * of(p->o.dilation[0]);
                        const int v = at % p->W * of(p->o.stride[1]) - p->o.padding[1] +
                                      rs % p->S * of(p->o.dilation[1]);
                        const int channel = c / (p->C / groups) * width + k;
                        if (h >= 0 && h < P && v >= 0 && v < Q)
                            y[((n * p->K + channel) * P + h) * Q + v] +=
                                x[(n * p->C + c) * p->H * p->W + at] *
                                w[(c * width + k) * p->R * p->S + rs];
                    }
}

static const problem problems[] = {
    {2, 3, 4, 5, 5, 2, 2, true, {.stride = {2, 2}}},
    {2, 16, 5, 4, 16, 2, 2, true, {.stride = {2, 2}}},
    {1, 32, 3, 3, 16, 3, 3, false, {.stride = {2, 2}, .padding = {1, 1}, .output_padding = {1, 1}}},
    {2, 19, 4, 3, 7, 3, 2, true, {.padding = {1, 0}}},
    {1, 32, 6, 6, 48, 3, 3, true, {.padding = {1, 1}}},
    {2, 8, 3, 4, 12, 3, 3, true, {.stride = {3, 2}, .dilation = {2, 1}, .groups = 4}},
    {1, 16, 5, 5, 16, 4, 4, false, {.stride = {2, 2}, .padding = {1, 1}, .groups = 16}},
    {2, 4, 3, 2, 3, 2, 3, true, {.padding = {1, 0}, .output_padding = {1, 2}, .dilation = {2, 3}}},
    {1, 16, 1, 1, 20, 1, 1, false, {{0}}},
    {1, 2, 5, 1, 1, 1, 3, true, {.stride = {4, 1}, .padding = {0, 1}, .output_padding = {3, 0}}},
};

static int run(weft_context *ctx, const problem *p, weft_dtype dtype, bool block,
               double *const value[3], double *out)
{
    weft_tensor *x = stored(ctx, dtype, WEFT_SHAPE(p->N, p->C, p->H, p->W), value[0]);
    weft_tensor *w =
        stored(ctx, dtype, WEFT_SHAPE(p->C, p->K / of(p->o.groups), p->R, p->S), value[1]);
    weft_tensor *b = stored(ctx, dtype, WEFT_SHAPE(p->K), value[2]);
    weft_tensor *y = weft_conv_transpose2d(block ? blocked(x) : x, w, p->bias ? b : NULL, &p->o);
    read_all(ctx, y, out);
    assert_true(
        weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(p->N, p->K, size(p, 0), size(p, 1))));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
    weft_tensor_unref(b);
    return p->N * p->K * size(p, 0) * size(p, 1);
}

static void values_match_plain_c(void **state)
{
    weft_context *ctx[3];
    double *value[3], *want = malloc(MAX * sizeof *want), *got = malloc(MAX * sizeof *got),
                      *first = malloc(MAX * sizeof *first);
    for (int i = 0; i < 3; i++) {
        value[i] = malloc(MAX * sizeof *value[i]);
        make_input(i, WEFT_SHAPE(MAX), value[i]);
        ctx[i] = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + i));
    }
    for (size_t k = 0; k < 3 * sizeof problems / sizeof *problems; k++) {
        const problem *p = &problems[k / 3];
        const weft_dtype dtype = k % 3 == 2 ? WEFT_F64 : WEFT_F32;
        expect(p, value[0], value[1], value[2], want);
        /* sums of at most C R S + 1 terms of size 4; Winograd's transforms have some 10 roundings of
         * numbers 16 times as large */
        const double bound = 4.0 * (p->C * p->R * p->S + 1 + 160) * (p->C * p->R * p->S + 1) *
                             (dtype == WEFT_F32 ? 0x1p-24 : 0x1p-52);
        for (int e = 0; e < 3; e++) {
            const int n = run(ctx[e], p, dtype, k % 3 == 1, value, got);
            for (int i = 0; i < n; i++)
                if (!(fabs(got[i] - want[i]) <= bound))
                    fail_msg("case %zu, %s, executor %d [%d]: %.9g, expected %.9g", k / 3,
                             weft_dtype_name(dtype), e, i, got[i], want[i]);
            if (e == 0)
                memcpy(first, got, (size_t)n * sizeof *got);
            assert_memory_equal(first, got, (size_t)n * sizeof *got);
        }
    }
    for (int i = 0; i < 3; i++) {
        free(value[i]);
        weft_context_destroy(ctx[i]);
    }
    free(want);
    free(got);
    free(first);
}

/* To the bit: it runs the same kernels on the same numbers. */
static void it_is_the_gradient_of_a_convolutions_input(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    enum { COUNT = 2 * 16 * 4 * 5, OUT = 2 * 24 * 7 * 11 };
    double number[OUT], got[OUT], want[OUT];
    const weft_conv2d_opts forward = {.stride = {2, 2}, .padding = {1, 0}};
    const weft_conv_transpose2d_opts back = {
        .stride = {2, 2}, .padding = {1, 0}, .output_padding = {0, 1}};
    make_input(0, WEFT_SHAPE(OUT), number);
    weft_tensor *x = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 24, 7, 11), number);
    weft_tensor *w = stored(ctx, WEFT_F32, WEFT_SHAPE(16, 24, 3, 2), number);
    weft_tensor *dy = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 16, 4, 5), number);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    assert_int_equal(weft_backward_with(weft_conv2d(x, w, NULL, &forward), dy, false), WEFT_OK);
    read_all(ctx, weft_grad(x), want);
    read_all(ctx, weft_conv_transpose2d(dy, w, NULL, &back), got);
    assert_memory_equal(want, got, sizeof want);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
    weft_tensor_unref(dy);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_plain_c),
        cmocka_unit_test(it_is_the_gradient_of_a_convolutions_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
