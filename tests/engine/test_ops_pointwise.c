/* sub, div, maximum, minimum, comparisons and where: values against plain C in every layout, by
 * every executor to the same bits; broadcasting; the gradients of ties; NaN. Gradients elsewhere:
 * the ops' samples. */
#include "tests/engine/values.h"

typedef weft_tensor *(*pair_fn)(weft_tensor *a, weft_tensor *b);
typedef struct pair_case {
    const char *name;
    pair_fn apply;
    double (*expect)(double a, double b);
    int ulps; /* of float, that it may be off in f32 */
} pair_case;

#define EXPECT(name, expression)                                                                   \
    static double name##_expect(double a, double b)                                                \
    {                                                                                              \
        return expression;                                                                         \
    }
EXPECT(add, a + b)
EXPECT(sub, a - b)
EXPECT(mul, a *b)
EXPECT(div, a / b)
EXPECT(maximum, isnan(a) || isnan(b) ? NAN : fmax(a, b))
EXPECT(minimum, isnan(a) || isnan(b) ? NAN : fmin(a, b))
EXPECT(pow_tensor, pow(a, b))
EXPECT(eq, a == b)
EXPECT(ne, a != b)
EXPECT(lt, a < b)
EXPECT(le, a <= b)
EXPECT(gt, a > b)
EXPECT(ge, a >= b)

static const pair_case pairs[] = {
    {"add", weft_add, add_expect},
    {"sub", weft_sub, sub_expect},
    {"mul", weft_mul, mul_expect},
    {"div", weft_div, div_expect},
    {"maximum", weft_maximum, maximum_expect},
    {"minimum", weft_minimum, minimum_expect},
    {"pow_tensor", weft_pow_tensor, pow_tensor_expect, 3},
    {"eq", weft_eq, eq_expect},
    {"ne", weft_ne, ne_expect},
    {"lt", weft_lt, lt_expect},
    {"le", weft_le, le_expect},
    {"gt", weft_gt, gt_expect},
    {"ge", weft_ge, ge_expect},
};
enum { N_PAIRS = sizeof(pairs) / sizeof(*pairs), MAX = 1 << 16 };

static double rounded(weft_dtype dtype, double x)
{
    return dtype == WEFT_F32 ? (double)(float)x : x;
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* The index in `from` of element i of `to`, by NumPy's rules. */
static int64_t source(const weft_shape *from, const weft_shape *to, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = to->rank - 1; d >= 0; d--) {
        const int64_t x = i % to->dim[d];
        const int j = d - (to->rank - from->rank);
        i /= to->dim[d];
        if (j >= 0) {
            at += from->dim[j] == 1 ? 0 : x * step;
            step *= from->dim[j];
        }
    }
    return at;
}

/* Whole numbers, so that many pairs are equal and few divisors are 0, and some that are special. */
static void fill(int which, weft_shape shape, double *x)
{
    static const double special[] = {NAN, INFINITY, -INFINITY, 0};
    const int64_t n = weft_shape_count(shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = (i + 1) * (7 + 4 * which) % 23;
        x[i] = k < 4 ? special[k] : (double)(k % 5) - 1.5;
    }
}

static void check_pair(weft_context *ctx, const pair_case *c, weft_shape sa, weft_shape sb,
                       weft_shape sy, weft_dtype dtype, bool block, double *got)
{
    double *a = malloc(MAX * sizeof(*a)), *b = malloc(MAX * sizeof(*b));
    fill(0, sa, a);
    fill(1, sb, b);
    weft_tensor *ta = stored(ctx, dtype, sa, a), *tb = stored(ctx, dtype, sb, b);
    weft_tensor *y = c->apply(block ? blocked(ta) : ta, block ? blocked(tb) : tb);
    if (!y)
        fail_msg("%s: %s", c->name, weft_error_text(ctx));
    assert_true(weft_shape_equal(weft_tensor_shape(y), sy));
    weft_tensor *kept = weft_keep(y);
    read_all(ctx, y, got);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    for (int64_t i = 0; i < weft_shape_count(sy); i++) {
        const double va = a[source(&sa, &sy, i)], vb = b[source(&sb, &sy, i)];
        const double want = rounded(dtype, c->expect(va, vb));
        const double off = dtype == WEFT_F32 ? c->ulps * 0x1p-23 * fabs(want) : 0;
        if (!same(got[i], want) && !(fabs(got[i] - want) <= off))
            fail_msg("%s, %s%s: %s(%g, %g) is %g, expected %g", c->name, weft_dtype_name(dtype),
                     block ? " blocked" : "", c->name, va, vb, got[i], want);
    }
    weft_tensor_unref(kept);
    weft_tensor_unref(ta);
    weft_tensor_unref(tb);
    free(a);
    free(b);
}

static void pairs_match_plain_c_in_every_layout(void **state)
{
    static const weft_shape shapes[][3] = {
        {{4, {2, 21, 3, 2}}, {4, {2, 21, 3, 2}}, {4, {2, 21, 3, 2}}},
        {{4, {2, 21, 3, 2}}, {3, {21, 1, 1}}, {4, {2, 21, 3, 2}}},
        {{4, {2, 1, 3, 1}}, {4, {1, 5, 3, 4}}, {4, {2, 5, 3, 4}}},
        {{1, {40000}}, {1, {40000}}, {1, {40000}}},
        {{0, {0}}, {2, {3, 5}}, {2, {3, 5}}},
        {{0, {0}}, {0, {0}}, {0, {0}}},
        {{6, {2, 1, 2, 3, 1, 2}}, {5, {3, 1, 1, 4, 2}}, {6, {2, 3, 2, 3, 4, 2}}},
    };
    weft_context *ctx[3];
    double *first = malloc(MAX * sizeof(*first)), *got = malloc(MAX * sizeof(*got));
    for (int e = 0; e < 3; e++)
        ctx[e] = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
    for (int p = 0; p < N_PAIRS; p++)
        for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
            for (int k = 0; k < 3; k++) /* f32, f32 blocked, f64 */
                for (int e = 0; e < 3; e++) {
                    const weft_shape *shape = shapes[s];
                    check_pair(ctx[e], &pairs[p], shape[0], shape[1], shape[2],
                               k == 2 ? WEFT_F64 : WEFT_F32, k == 1, e == 0 ? first : got);
                    if (e > 0)
                        assert_memory_equal(first, got,
                                            (size_t)weft_shape_count(shape[2]) * sizeof(*first));
                }
    for (int e = 0; e < 3; e++)
        weft_context_destroy(ctx[e]);
    free(first);
    free(got);
}

/* Five channels in a block of 8 or 16: what 0/0 leaves in the padding would turn the convolution,
 * which reads whole blocks, into NaN. */
static void padding_stays_zero(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double ones[2 * 5 * 4], y[2 * 4];
    for (int i = 0; i < 2 * 5 * 4; i++)
        ones[i] = 1;
    weft_tensor *a = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 5, 2, 2), ones);
    weft_tensor *w = stored(ctx, WEFT_F32, WEFT_SHAPE(1, 5, 1, 1), ones);
    read_all(ctx, weft_conv2d(weft_div(blocked(a), blocked(a)), w, NULL, NULL), y);
    for (int i = 0; i < 2 * 4; i++)
        assert_true(y[i] == 5);
    weft_tensor_unref(a);
    weft_tensor_unref(w);
    weft_context_destroy(ctx);
}

/* log and sqrt have an infinite slope at the 0 that stands in padding channels: times a zero
 * gradient that is NaN, which the convolution below would read. */
static void padding_of_gradients_stays_zero(void **state)
{
    static weft_tensor *(*const f[])(weft_tensor *) = {weft_log, weft_sqrt};
    double ones[5 * 8];
    for (int i = 0; i < 5 * 8; i++)
        ones[i] = 1;
    for (int k = 0; k < 2; k++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *x = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 2, 2, 2), ones);
        weft_tensor *w1 = stored(ctx, WEFT_F32, WEFT_SHAPE(5, 2, 1, 1), ones);
        weft_tensor *w2 = stored(ctx, WEFT_F32, WEFT_SHAPE(3, 5, 1, 1), ones);
        assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
        weft_tensor *y = f[k](weft_conv2d(x, w1, NULL, NULL));
        assert_int_equal(
            weft_backward(weft_sum(weft_conv2d(y, w2, NULL, NULL), WEFT_ALL_DIMS, false)), WEFT_OK);
        double dx[16];
        read_all(ctx, weft_grad(x), dx);
        /* 5 channels of 2, each with slope 1/2 (log) or 1/(2 sqrt(2)), read by 3 outputs */
        for (int i = 0; i < 16; i++)
            assert_true(fabs(dx[i] - (k == 0 ? 7.5 : 15 / (2 * sqrt(2)))) < 1e-5);
        weft_tensor_unref(x);
        weft_tensor_unref(w1);
        weft_tensor_unref(w2);
        weft_context_destroy(ctx);
    }
}

static void where_takes_by_the_condition_and_broadcasts(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    const double condition[3] = {0, -2, NAN}, a[2] = {1, 2}, b[1] = {9};
    weft_tensor *c = stored(ctx, WEFT_F32, WEFT_SHAPE(3, 1), condition);
    weft_tensor *x = stored(ctx, WEFT_F32, WEFT_SHAPE(2), a),
                *z = stored(ctx, WEFT_F32, WEFT_SCALAR, b);
    double y[6];
    read_all(ctx, weft_where(c, x, z), y);
    const double want[6] = {9, 9, 1, 2, 1, 2};
    assert_memory_equal(y, want, sizeof(want));
    weft_tensor_unref(c);
    weft_tensor_unref(x);
    weft_tensor_unref(z);
    weft_context_destroy(ctx);
}

static void equal_operands_share_the_gradient(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    const double a[4] = {1, 2, 3, NAN}, b[4] = {1, 3, 2, 0};
    const pair_fn fn[2] = {weft_maximum, weft_minimum};
    /* as PyTorch: half to each where equal; where one is NaN nothing is masked */
    const double want[2][2][4] = {{{.5, 0, 1, 1}, {.5, 1, 0, 1}}, {{.5, 1, 0, 1}, {.5, 0, 1, 1}}};
    for (int f = 0; f < 2; f++) {
        weft_tensor *t[2] = {stored(ctx, WEFT_F32, WEFT_SHAPE(4), a),
                             stored(ctx, WEFT_F32, WEFT_SHAPE(4), b)};
        for (int i = 0; i < 2; i++)
            assert_int_equal(weft_set_requires_grad(t[i], true), WEFT_OK);
        assert_int_equal(weft_backward(weft_sum(fn[f](t[0], t[1]), WEFT_ALL_DIMS, false)), WEFT_OK);
        for (int i = 0; i < 2; i++) {
            double g[4];
            read_all(ctx, weft_grad(t[i]), g);
            assert_memory_equal(g, want[f][i], sizeof(g));
        }
        for (int i = 0; i < 2; i++)
            weft_tensor_unref(t[i]);
    }
    weft_context_destroy(ctx);
}

static void a_comparison_stops_gradients_and_takes_no_rule(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    const double a[3] = {1, -2, 3}, b[3] = {0, 0, 0};
    weft_tensor *x = stored(ctx, WEFT_F32, WEFT_SHAPE(3), a),
                *z = stored(ctx, WEFT_F32, WEFT_SHAPE(3), b);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(weft_mul(weft_gt(x, z), x), WEFT_ALL_DIMS, false)),
                     WEFT_OK);
    double g[3];
    read_all(ctx, weft_grad(x), g);
    const double want[3] = {1, 0, 1};
    assert_memory_equal(g, want, sizeof(g));
    weft_tensor_unref(x);
    weft_tensor_unref(z);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_match_plain_c_in_every_layout),
        cmocka_unit_test(padding_stays_zero),
        cmocka_unit_test(padding_of_gradients_stays_zero),
        cmocka_unit_test(where_takes_by_the_condition_and_broadcasts),
        cmocka_unit_test(equal_operands_share_the_gradient),
        cmocka_unit_test(a_comparison_stops_gradients_and_takes_no_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
