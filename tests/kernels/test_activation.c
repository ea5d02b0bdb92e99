/* Activations and their derivatives: every implementation against the formulas in double, for odd
 * lengths, in place, at the kinks and far out; equal bits in float on every ISA. */
#include "guarded.h"

#include <math.h>

#include "kernels/eltwise/activation.h"

extern const wf_activations wf_activations_f32_emul, wf_activations_f32_scalar,
    wf_activations_bf16_emul, wf_activations_bf16_scalar;

enum { N = 1003 };

/* The parameters that the tests give function f. */
static double a_of(wf_activation f)
{
    return f == WF_ACT_pow ? -0.75 : 0.25;
}
static double b_of(wf_activation f)
{
    return f == WF_ACT_pow ? -1.75 : 2;
}

/* x in f's domain, where f is near nothing infinite. */
static double argument(wf_activation f, double x)
{
    switch (f) {
    case WF_ACT_log:
    case WF_ACT_sqrt:
    case WF_ACT_rsqrt:
    case WF_ACT_pow: return fabs(x) + 0.125;
    case WF_ACT_reciprocal: return x < 0 ? x - 0.125 : x + 0.125;
    default: return x;
    }
}

/* The first implementation from i on that this machine may run; NULL behind the last. */
static const wf_activations *impl_at(int *i)
{
    for (;; (*i)++) {
        const wf_activations *k = wf_activation_list[*i];
        if (!k)
            return NULL;
        if (k->isa <= wf_cpu_isa())
            return k;
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double normal(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

static double value(wf_activation f, double x)
{
    const double a = a_of(f), b = b_of(f);
    switch (f) {
    case WF_ACT_sigmoid: return sigmoid(x);
    case WF_ACT_tanh: return tanh(x);
    case WF_ACT_silu: return x * sigmoid(x);
    case WF_ACT_gelu: return x * normal(x);
    case WF_ACT_gelu_tanh: return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case WF_ACT_hardsigmoid: return fmin(fmax(x + 3, 0), 6) / 6;
    case WF_ACT_hardswish: return x * fmin(fmax(x + 3, 0), 6) / 6;
    case WF_ACT_relu6: return fmin(fmax(x, 0), 6);
    case WF_ACT_leaky_relu: return x > 0 ? x : a * x;
    case WF_ACT_abs: return fabs(x);
    case WF_ACT_softplus: return a * x > b ? x : (log1p(exp(-fabs(a * x))) + fmax(a * x, 0)) / a;
    case WF_ACT_elu: return x > 0 ? x : a * expm1(x);
    case WF_ACT_mish: return x * tanh(log1p(exp(-fabs(x))) + fmax(x, 0));
    case WF_ACT_clamp: return fmin(fmax(x, a), b);
    case WF_ACT_exp: return exp(x);
    case WF_ACT_log: return log(x);
    case WF_ACT_sqrt: return sqrt(x);
    case WF_ACT_rsqrt: return 1 / sqrt(x);
    case WF_ACT_reciprocal: return 1 / x;
    case WF_ACT_pow: return pow(x, a);
    case WF_N_ACTIVATIONS: break;
    }
    return NAN;
}

/* The derivative; at kinks PyTorch's choice. */
static double slope(wf_activation f, double x)
{
    const double a = a_of(f), b = b_of(f);
    double s = sigmoid(x), u = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    switch (f) {
    case WF_ACT_sigmoid: return s * (1 - s);
    case WF_ACT_tanh: return 1 - tanh(x) * tanh(x);
    case WF_ACT_silu: return s + x * s * (1 - s);
    case WF_ACT_gelu: return normal(x) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
    case WF_ACT_gelu_tanh:
        return (1 + u) / 2 + x / 2 * (1 - u * u) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    case WF_ACT_hardsigmoid: return x > -3 && x < 3 ? 1.0 / 6 : 0;
    case WF_ACT_hardswish: return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
    case WF_ACT_relu6: return x > 0 && x < 6;
    case WF_ACT_leaky_relu: return x > 0 ? 1 : a;
    case WF_ACT_abs: return (x > 0) - (x < 0);
    case WF_ACT_softplus: return a * x > b ? 1 : sigmoid(a * x);
    case WF_ACT_elu: return x > 0 ? 1 : a * exp(x);
    case WF_ACT_mish: u = tanh(log1p(exp(-fabs(x))) + fmax(x, 0)); return u + x * s * (1 - u * u);
    case WF_ACT_clamp: return x >= a && x <= b;
    case WF_ACT_exp: return exp(x);
    case WF_ACT_log: return 1 / x;
    case WF_ACT_sqrt: return 0.5 / sqrt(x);
    case WF_ACT_rsqrt: return -0.5 / (x * sqrt(x));
    case WF_ACT_reciprocal: return -1 / (x * x);
    case WF_ACT_pow: return a * pow(x, b);
    case WF_N_ACTIVATIONS: break;
    }
    return NAN;
}

/* Random numbers in +-9, the kinks, and the far ends. */
static void fill(wf_activation f, weft_dtype dtype, void *x, size_t n)
{
    static const double special[] = {0, -0.0, 3, -3, 6, 1e-8, -1e-8, 30, -30, 80, -80, 1e-3};
    for (size_t i = 0; i < n; i++)
        test_set(dtype, x, i, argument(f, i < 12 ? special[i] : 9 * test_uniform(3, i)));
}

/* Roundings of a result of size max(1, |x|): exp turns an argument off by eps x into a value off
 * by x times as much, but where x is large the value is flat: |x| exp(-|x|) < 1. The formulas have
 * at most 12 operations behind that. */
static double bound(weft_dtype dtype, double x, double want)
{
    return 16 * test_epsilon(test_arithmetic(dtype)) * fmax(1, fabs(x)) * fmax(1, fabs(want)) +
           1.01 * test_storing(dtype) * fabs(want);
}

static void check(const wf_activations *k, wf_activation f, size_t n, bool in_place)
{
    size_t size = weft_dtype_size(k->dtype);
    guarded x = guarded_new(n * size, size), y = guarded_new(n * size, size);
    guarded dy = test_random(k->dtype, n, 5), dx = guarded_new(n * size, size);
    fill(f, k->dtype, x.data, n);
    memcpy(y.data, x.data, n * size);
    memcpy(dx.data, dy.data, n * size);
    k->fn[f].forward(n, a_of(f), b_of(f), in_place ? y.data : x.data, y.data);
    k->fn[f].backward(n, a_of(f), b_of(f), wf_activation_saves_output(f) ? y.data : x.data,
                      in_place ? dx.data : dy.data, dx.data);
    for (size_t i = 0; i < n; i++) {
        double at = test_get(k->dtype, x.data, i), d = test_get(k->dtype, dy.data, i);
        double got = test_get(k->dtype, y.data, i), want = value(f, at);
        if (!(fabs(got - want) <= bound(k->dtype, at, want)))
            fail_msg("%s %s(%g): %.17g, expected %.17g", k->name, wf_activation_name(f), at, got,
                     want);
        got = test_get(k->dtype, dx.data, i);
        want = d * slope(f, at);
        /* A saved output is off by its own rounding to bf16; bf16_is_float_rounded_once has those. */
        if (k->dtype == WEFT_BF16 && wf_activation_saves_output(f))
            continue;
        if (!(fabs(got - want) <= bound(k->dtype, at, want)))
            fail_msg("%s %s'(%g): %.17g, expected %.17g", k->name, wf_activation_name(f), at, got,
                     want);
    }
    guarded_free(&x);
    guarded_free(&y);
    guarded_free(&dy);
    guarded_free(&dx);
}

static void every_implementation_matches_the_formula(void **state)
{
    static const size_t lengths[] = {0, 1, 7, 8, 15, 17, 33, N};
    const wf_activations *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_ACTIVATIONS; f++)
            for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++)
                for (int in_place = 0; in_place < 2; in_place++)
                    check(k, (wf_activation)f, lengths[l], in_place);
}

/* Those that are made of wf_lane_eighths, from where it gives 0 to where it gives infinity. Bounds in units of
 * 2^-23 max(1, |x|, |f|). The exponential e is off by 2 units of itself, or by |x|/8 units more where its
 * argument is rounded. What follows flattens it: of 1 / (1 + e) and of log(1 + e), e in [0, 1], it moves a quarter
 * and a half of that, of x e x/8 at most 0.07; the operations behind it, 4 of them or fewer, move 0.5 units each. The
 * slopes of silu and mish have x times a difference from 1 in them: as much again for each of |x|. */
static void exponentials_by_eighths_are_close(void **state)
{
    static const wf_activation all[] = {WF_ACT_sigmoid, WF_ACT_silu,     WF_ACT_gelu_tanh,
                                        WF_ACT_mish,    WF_ACT_softplus, WF_ACT_elu};
    static float x[N], dy[N], y[N], dx[N];
    const wf_activations *k;
    for (int i = 0; i < N; i++)
        dy[i] = 1;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (size_t l = 0; l < sizeof(all) / sizeof(*all) && k->dtype == WEFT_F32; l++)
            for (int round = 0; round < 12; round++) {
                const wf_activation f = all[l];
                for (int j = 0; j < N; j++)
                    x[j] = (float)((round % 3 == 0   ? 3
                                    : round % 3 == 1 ? 20
                                                     : 105) *
                                   test_uniform(40 + (uint64_t)round, (uint64_t)j));
                k->fn[f].forward(N, a_of(f), b_of(f), x, y);
                if (f != WF_ACT_sigmoid)
                    k->fn[f].backward(N, a_of(f), b_of(f), x, dy, dx);
                for (int j = 0; j < N; j++) {
                    const double at = (double)x[j], want = value(f, at);
                    const double unit = 0x1p-23 * fmax(fmax(1, fabs(at)), fabs(want));
                    if (!(fabs((double)y[j] - want) <= 2.5 * unit))
                        fail_msg("%s %s(%a): %a, expected %a", k->name, wf_activation_name(f), at,
                                 (double)y[j], want);
                    if (f != WF_ACT_sigmoid && !(fabs((double)dx[j] - slope(f, at)) <= 4 * unit))
                        fail_msg("%s %s'(%a): %a, expected %a", k->name, wf_activation_name(f), at,
                                 (double)dx[j], slope(f, at));
                }
            }
}

/* GELU keeps its relative precision down to where f32 ends: Note [The normal distribution's tail]. What is below the
 * least normal number may be 0, and so may what the tail is multiplied by. */
static void gelu_is_close_to_itself(void **state)
{
    static float x[N], dy[N], y[N], dx[N];
    const wf_activations *k;
    for (int i = 0; i < N; i++)
        dy[i] = 1;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int round = 0; round < 24 && k->dtype == WEFT_F32; round++) {
            const double reach = round % 3 == 0 ? 1 : round % 3 == 1 ? 5 : 13.5;
            for (int j = 0; j < N; j++) /* 1, 3, 5 and so on, where polynomials meet, among them */
                x[j] = j < 32 ? (float)(j - 16)
                              : (float)(reach * test_uniform(70 + (uint64_t)round, (uint64_t)j));
            k->fn[WF_ACT_gelu].forward(N, 0, 0, x, y);
            k->fn[WF_ACT_gelu].backward(N, 0, 0, x, dy, dx);
            for (int j = 0; j < N; j++) {
                const double at = (double)x[j], tail = erfc(-at / sqrt(2)) / 2;
                const double part = at * exp(-at * at / 2) / sqrt(2 * M_PI);
                const double unit = 0x1p-24 * (1 + at * at), tiny = 0x1p-126 * (2 + fabs(at));
                if (!(fabs((double)y[j] - at * tail) <= 8 * unit * fabs(at * tail) + tiny))
                    fail_msg("%s gelu(%a): %a, expected %a", k->name, at, (double)y[j], at * tail);
                if (!(fabs((double)dx[j] - tail - part) <= 8 * unit * (tail + fabs(part)) + tiny))
                    fail_msg("%s gelu'(%a): %a, expected %a", k->name, at, (double)dx[j],
                             tail + part);
            }
        }
}

/* At the ends of float nothing is NaN that is not in PyTorch: f and its slope are their limits. */
static void the_ends_of_float_are_limits(void **state)
{
    static const wf_activation all[] = {WF_ACT_sigmoid,   WF_ACT_silu, WF_ACT_gelu,
                                        WF_ACT_gelu_tanh, WF_ACT_mish, WF_ACT_softplus,
                                        WF_ACT_elu};
    const float x[4] = {3e38f, -3e38f, 1e30f, -1e30f}, dy[4] = {1, 1, 1, 1};
    const wf_activations *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (size_t l = 0; l < sizeof(all) / sizeof(*all) && k->dtype == WEFT_F32; l++) {
            const wf_activation f = all[l];
            float y[4], dx[4];
            k->fn[f].forward(4, a_of(f), b_of(f), x, y);
            k->fn[f].backward(4, a_of(f), b_of(f), wf_activation_saves_output(f) ? y : x, dy, dx);
            for (int j = 0; j < 4; j++) {
                const float low = f == WF_ACT_elu ? -(float)a_of(f) : 0;
                const float high = f == WF_ACT_sigmoid ? 1 : x[j];
                if (y[j] != (x[j] > 0 ? high : low) ||
                    dx[j] != (x[j] > 0 && f != WF_ACT_sigmoid ? 1 : 0))
                    fail_msg("%s %s(%g): %g, slope %g", k->name, wf_activation_name(f),
                             (double)x[j], (double)y[j], (double)dx[j]);
            }
        }
}

static void nan_stays_nan_and_zero_stays_zero_where_it_should(void **state)
{
    const wf_activations *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_ACTIVATIONS; f++) {
            double x[3], y[3];
            test_set(k->dtype, x, 0, (double)NAN);
            test_set(k->dtype, x, 1, 0);
            test_set(k->dtype, x, 2, 1);
            k->fn[f].forward(3, a_of((wf_activation)f), b_of((wf_activation)f), x, y);
            if (!isnan(test_get(k->dtype, y, 0)))
                fail_msg("%s %s(NaN) is %g", k->name, wf_activation_name((wf_activation)f),
                         test_get(k->dtype, y, 0));
            assert_int_equal(test_get(k->dtype, y, 1) == 0,
                             wf_activation_keeps_zero((wf_activation)f));
        }
}

static void float_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    static float x[N], dy[N], y[3][N], dx[3][N];
    for (size_t i = 0; i < N; i++)
        dy[i] = (float)test_uniform(8, i);
    const wf_activations *k[] = {&wf_activations_f32_scalar, &wf_activations_f32_emul,
                                 wf_activation_get(WEFT_F32, wf_cpu_isa())};
    for (int n = 0; n < WF_N_ACTIVATIONS; n++) {
        const wf_activation f = (wf_activation)n;
        fill(f, WEFT_F32, x, N);
        for (int i = 0; i < 3; i++) {
            k[i]->fn[f].forward(N, a_of(f), b_of(f), x, y[i]);
            k[i]->fn[f].backward(N, a_of(f), b_of(f), wf_activation_saves_output(f) ? y[i] : x, dy,
                                 dx[i]);
            assert_memory_equal(y[0], y[i], sizeof(y[0]));
            assert_memory_equal(dx[0], dx[i], sizeof(dx[0]));
        }
    }
}

static void bf16_is_float_rounded_once(void **state)
{
    static float x[N], dy[N], y[N], dx[N];
    static uint16_t hx[N], hdy[N], hy[N], hdx[N];
    const wf_activations *all[] = {&wf_activations_bf16_scalar,
                                   wf_activation_get(WEFT_BF16, wf_cpu_isa()),
                                   &wf_activations_bf16_emul};
    for (int n = 0; n < WF_N_ACTIVATIONS; n++)
        for (int i = 0; i < (wf_cpu_isa() >= WEFT_ISA_AVX2 ? 3 : 2); i++) {
            const wf_activation f = (wf_activation)n;
            const bool out = wf_activation_saves_output(f);
            fill(f, WEFT_BF16, hx, N);
            for (int j = 0; j < N; j++) {
                x[j] = wf_from_bf16(hx[j]);
                hdy[j] = wf_to_bf16((float)test_uniform(8, (uint64_t)j));
                dy[j] = wf_from_bf16(hdy[j]);
            }
            all[i]->fn[f].forward(N, a_of(f), b_of(f), hx, hy);
            wf_activations_f32_scalar.fn[f].forward(N, a_of(f), b_of(f), x, y);
            for (int j = 0; j < N; j++) {
                assert_int_equal(hy[j], wf_to_bf16(y[j]));
                y[j] = wf_from_bf16(hy[j]);
            }
            all[i]->fn[f].backward(N, a_of(f), b_of(f), out ? hy : hx, hdy, hdx);
            wf_activations_f32_scalar.fn[f].backward(N, a_of(f), b_of(f), out ? y : x, dy, dx);
            for (int j = 0; j < N; j++)
                assert_int_equal(hdx[j], wf_to_bf16(dx[j]));
        }
}

/* C's pow, but for powers 1/2 and -1/2, which are PyTorch's. */
static double power(double x, double a)
{
    return a == 0.5 ? sqrt(x) : a == -0.5 ? 1 / sqrt(x) : pow(x, a);
}

/* Zeros, infinities, negative numbers, both ends of the range, and powers that multiplying gives. */
static void logarithms_and_powers_are_c_s(void **state)
{
    static const float x[] = {0.0f,   -0.0f,    1.0f,      -1.0f,   2.0f,  -2.0f, 0.5f,  -0.5f,
                              1e30f,  -1e30f,   1e-30f,    -1e-30f, 3.25f, 0.1f,  1e38f, 1.5e-38f,
                              0.999f, INFINITY, -INFINITY, 1.0001f, 7.0f,  NAN};
    static const double powers[] = {0, 1, 2,   3,       -1,       0.5,   -0.5, 2.5, -2,   -3,
                                    4, 5, 0.1, 1.0 / 3, 16777216, -1e10, 30,   -31, 100.5};
    enum { X = sizeof(x) / sizeof(*x), P = sizeof(powers) / sizeof(*powers) };
    const wf_activations *k;
    float y[X];
    for (int i = 0; (k = impl_at(&i)); i++) {
        if (k->dtype != WEFT_F32)
            continue;
        for (int p = -1; p < P; p++) {
            const float a = p < 0 ? 0 : (float)powers[p];
            k->fn[p < 0 ? WF_ACT_log : WF_ACT_pow].forward(X, (double)a, (double)a - 1, x, y);
            for (int j = 0; j < X; j++) {
                const double exact = p < 0 ? log((double)x[j]) : power((double)x[j], (double)a);
                const float want = (float)exact;
                /* within 3 ulp; what is below the least normal number may be 0 */
                const double ulp = fabs(exact) * 0x1p-23, tiny = 0x1p-126;
                const bool good = isnan(want)   ? isnan(y[j])
                                  : isinf(want) ? y[j] == want || fabs(exact) < 0x1.00001p128
                                                : fabs((double)y[j] - exact) <=
                                                      3 * ulp + (fabs(exact) < tiny ? tiny : 0);
                if (!good || (want != 0 && !isnan(want) && signbit(y[j]) != signbit(want)))
                    fail_msg("%s: %g to the power %g (or its logarithm): %.9g, expected %.9g",
                             k->name, (double)x[j], (double)a, (double)y[j], exact);
            }
        }
    }
}

static void padding_is_cleared_and_nothing_else(void **state)
{
    wf_act a = {5, 2, 3, 8};
    float y[48];
    for (int i = 0; i < 48; i++)
        y[i] = 1;
    wf_clear_padding(a, sizeof(*y), y);
    for (int i = 0; i < 48; i++)
        assert_true(y[i] == (i % 8 < 5 ? 1 : 0));
    wf_clear_padding((wf_act){8, 2, 3, 8}, sizeof(*y), y);
    assert_true(y[4] == 1);
}

static void dispatch_prefers_the_best_that_runs(void **state)
{
    for (weft_isa isa = WEFT_ISA_SCALAR; isa <= WEFT_ISA_AVX512; isa++) {
        assert_non_null(strstr(wf_activation_get(WEFT_F32, isa)->name, weft_isa_name(isa)));
        assert_string_equal(wf_activation_get(WEFT_F64, isa)->name, "activation:ref:f64");
        assert_non_null(strstr(wf_activation_get(WEFT_BF16, isa)->name, weft_isa_name(isa)));
    }
    assert_null(wf_activation_get(WEFT_U8, WEFT_ISA_AVX512));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_implementation_matches_the_formula),
        cmocka_unit_test(exponentials_by_eighths_are_close),
        cmocka_unit_test(gelu_is_close_to_itself),
        cmocka_unit_test(the_ends_of_float_are_limits),
        cmocka_unit_test(nan_stays_nan_and_zero_stays_zero_where_it_should),
        cmocka_unit_test(float_has_the_same_bits_on_every_isa),
        cmocka_unit_test(bf16_is_float_rounded_once),
        cmocka_unit_test(logarithms_and_powers_are_c_s),
        cmocka_unit_test(padding_is_cleared_and_nothing_else),
        cmocka_unit_test(dispatch_prefers_the_best_that_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
