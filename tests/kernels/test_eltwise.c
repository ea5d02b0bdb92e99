/* Element-by-element kernels: every implementation against plain expectations, odd lengths, guard
 * bytes; conversions; broadcast; dropout's bits. */
#include "guarded.h"

#include <math.h>
#include <stdio.h>

#include <Random123/philox.h>

#include "kernels/eltwise/cast.h"
#include "kernels/eltwise/eltwise.h"

extern const wf_eltwise wf_eltwise_f32_emul, wf_eltwise_bf16_emul;
extern const wf_casts wf_casts_emul;

enum { EMULATED = 2 };

/* Implementation i that this machine may run; the emulated ones come last. */
static bool impl_at(int i, wf_eltwise_impl *impl)
{
    if (i < wf_n_eltwise_impls)
        *impl = wf_eltwise_impls[i];
    else if (i == wf_n_eltwise_impls)
        *impl = (wf_eltwise_impl){&wf_eltwise_f32_emul, WEFT_ISA_AVX2, WEFT_F32};
    else
        *impl = (wf_eltwise_impl){&wf_eltwise_bf16_emul, WEFT_ISA_AVX2, WEFT_BF16};
    return impl->isa <= wf_cpu_isa();
}

enum { ADD, SCALE, ADD_SCALAR, RELU, RELU_BACKWARD, FILL, N_OPS };
static const char *const op_name[] = {"add",  "scale",         "add_scalar",
                                      "relu", "relu_backward", "fill"};

static double expected(int op, double a, double b)
{
    switch (op) {
    case ADD: return a + b;
    case SCALE: return a * 0.75;
    case ADD_SCALAR: return a + 0.75;
    case RELU: return a > 0 ? a : 0;
    case RELU_BACKWARD: return a > 0 ? b : 0;
    default: return 2.5;
    }
}

static void apply(const wf_eltwise *k, int op, size_t n, const void *a, const void *b, void *y)
{
    switch (op) {
    case ADD: k->add(n, a, b, y); break;
    case SCALE: k->scale(n, a, 0.75, y); break;
    case ADD_SCALAR: k->add_scalar(n, a, 0.75, y); break;
    case RELU: k->relu(n, a, y); break;
    case RELU_BACKWARD: k->relu_backward(n, a, b, y); break;
    default: k->fill(n, 2.5, y); break;
    }
}

static void every_length_and_in_place(void **state)
{
    static const size_t lengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 1000, 1003};
    wf_eltwise_impl impl;
    for (int i = 0; i < wf_n_eltwise_impls + EMULATED; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++)
            for (int op = 0; op < N_OPS; op++)
                for (int in_place = 0; in_place < 2; in_place++) {
                    size_t n = lengths[l], size = weft_dtype_size(impl.dtype);
                    guarded a = test_random(impl.dtype, n, 1), b = test_random(impl.dtype, n, 2);
                    guarded y = guarded_new(n * size, size);
                    if (in_place)
                        memcpy(y.data, a.data, n * size);
                    apply(impl.kernels, op, n, in_place ? y.data : a.data, b.data, y.data);
                    for (size_t j = 0; j < n; j++) {
                        double want = expected(op, test_get(impl.dtype, a.data, j),
                                               test_get(impl.dtype, b.data, j));
                        double got = test_get(impl.dtype, y.data, j);
                        /* one rounding of a result below 2 */
                        double bound = impl.dtype == WEFT_F64 ? 0.0 : 2 * test_epsilon(impl.dtype);
                        if (!(fabs(got - want) <= bound))
                            fail_msg("%s %s n=%zu [%zu]: %g, expected %g", impl.kernels->name,
                                     op_name[op], n, j, got, want);
                    }
                    guarded_free(&a);
                    guarded_free(&b);
                    guarded_free(&y);
                }
    }
}

static void relu_and_its_gradient_pass_at_nan(void **state)
{
    wf_eltwise_impl impl;
    for (int i = 0; i < wf_n_eltwise_impls + EMULATED; i++) {
        if (!impl_at(i, &impl))
            continue;
        double x[17], y[17];
        for (int j = 0; j < 17; j++)
            test_set(impl.dtype, x, (size_t)j, j % 2 ? (double)NAN : -1.0);
        double dy[17];
        for (int j = 0; j < 17; j++)
            test_set(impl.dtype, dy, (size_t)j, 0.5);
        impl.kernels->relu(17, x, y);
        for (size_t j = 0; j < 17; j++)
            assert_true(j % 2 ? isnan(test_get(impl.dtype, y, j))
                              : test_get(impl.dtype, y, j) == 0.0);
        impl.kernels->relu_backward(17, y, dy, y); /* as PyTorch's */
        for (size_t j = 0; j < 17; j++)
            assert_true(test_get(impl.dtype, y, j) == (j % 2 ? 0.5 : 0.0));
    }
}

/* Per channel: y = x + b where b has the real channels only, y = x *
 * s where s has the padding's. */
static void bias_and_mul_channels_work_per_channel_and_clear_the_padding(void **state)
{
    static const wf_act cases[] = {{1, 1, 1, 1},   {3, 5, 7, 1},  {10, 1, 1, 1},
                                   {8, 3, 3, 8},   {13, 3, 3, 8}, {5, 4, 2, 16},
                                   {24, 2, 3, 16}, {3, 2, 2, 4},  {19, 1, 5, 16}};
    wf_eltwise_impl impl;
    for (int i = 0; i < wf_n_eltwise_impls + EMULATED; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
            wf_act a = cases[k];
            size_t n = wf_act_count(a), size = weft_dtype_size(impl.dtype);
            guarded x = test_random(impl.dtype, n, 3);
            const weft_dtype real = test_arithmetic(impl.dtype);
            guarded b = test_random(real, (size_t)a.C, 4), y = guarded_new(n * size, size);
            guarded s = test_random(real, (size_t)wf_round_up(a.C, a.block), 5);
            guarded z = guarded_new(n * size, size);
            for (int c = a.C; c < wf_round_up(a.C, a.block); c++)
                for (int p = 0; p < a.H * a.W; p++)
                    test_set(impl.dtype, x.data, wf_act_index(a, c, p / a.W, p % a.W), 0);
            impl.kernels->bias(a, x.data, b.data, y.data);
            impl.kernels->mul_channels(a, x.data, s.data, z.data);
            for (int c = 0; c < wf_round_up(a.C, a.block); c++)
                for (int p = 0; p < a.H * a.W; p++) {
                    size_t at = wf_act_index(a, c, p / a.W, p % a.W);
                    double got = test_get(impl.dtype, y.data, at), want = 0;
                    if (c < a.C)
                        want = test_get(impl.dtype, x.data, at) + test_get(real, b.data, (size_t)c);
                    if (!(fabs(got - want) <= 2 * test_epsilon(impl.dtype)))
                        fail_msg("%s C=%d block %d c=%d p=%d: %g, expected %g", impl.kernels->name,
                                 a.C, a.block, c, p, got, want);
                    got = test_get(impl.dtype, z.data, at);
                    want = test_get(impl.dtype, x.data, at) * test_get(real, s.data, (size_t)c);
                    if (!(fabs(got - want) <= test_epsilon(impl.dtype)))
                        fail_msg("%s mul_channels C=%d block %d c=%d p=%d: %g, expected %g",
                                 impl.kernels->name, a.C, a.block, c, p, got, want);
                }
            guarded_free(&s);
            guarded_free(&z);
            guarded_free(&x);
            guarded_free(&b);
            guarded_free(&y);
        }
    }
}

static void dispatch_prefers_the_best_that_runs(void **state)
{
    for (weft_isa isa = WEFT_ISA_SCALAR; isa <= WEFT_ISA_AVX512; isa++) {
        assert_non_null(strstr(wf_eltwise_get(WEFT_F32, isa)->name,
                               isa == WEFT_ISA_SCALAR ? "ref" : weft_isa_name(isa)));
        assert_string_equal(wf_eltwise_get(WEFT_F64, isa)->name, "eltwise:ref:f64");
        assert_non_null(strstr(wf_eltwise_get(WEFT_BF16, isa)->name, weft_isa_name(isa)));
    }
    assert_null(wf_eltwise_get(WEFT_U8, WEFT_ISA_AVX512));
}

static void casts_round_to_nearest_even(void **state)
{
    static const struct {
        double x;
        uint16_t bf16;
    } cases[] = {
        {0.0, 0x0000},        {-0.0, 0x8000},       {1.0, 0x3f80},
        {-2.5, 0xc020},       {1.00390625, 0x3f80}, /* 1 + 2^-8: a tie, down to even */
        {1.01171875, 0x3f82},                       /* 1 + 3 * 2^-8: a tie, up to even */
        {1.0039064, 0x3f81},  {3.5e38, 0x7f80},     {INFINITY, 0x7f80},
        {-INFINITY, 0xff80},  {1.5, 0x3fc0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        float f = (float)cases[i].x, back;
        double d, back64;
        uint16_t h = 0;
        wf_cast_get(WEFT_F64, WEFT_BF16)(1, &cases[i].x, &h);
        assert_int_equal(h, cases[i].bf16);
        wf_cast_get(WEFT_F32, WEFT_BF16)(1, &f, &h);
        assert_int_equal(h, cases[i].bf16);
        wf_cast_get(WEFT_F32, WEFT_F64)(1, &f, &d);
        assert_true(d == (double)f);
        wf_cast_get(WEFT_F64, WEFT_F32)(1, &d, &back);
        assert_true(back == f);
        wf_cast_get(WEFT_BF16, WEFT_F32)(1, &h, &back);
        wf_cast_get(WEFT_BF16, WEFT_F64)(1, &h, &back64);
        assert_true((double)back == back64);
    }
    /* 1 + 2^-8 + 2^-40 is above the tie, which rounding by way of f32 would lose. */
    double above = 1.0 + 0x1p-8 + 0x1p-40;
    uint16_t h;
    wf_cast_get(WEFT_F64, WEFT_BF16)(1, &above, &h);
    assert_int_equal(h, 0x3f81);
    double below = -(1.0 + 3 * 0x1p-8 - 0x1p-40);
    wf_cast_get(WEFT_F64, WEFT_BF16)(1, &below, &h);
    assert_int_equal(h, 0xbf81);
    double nan = NAN;
    wf_cast_get(WEFT_F64, WEFT_BF16)(1, &nan, &h);
    assert_true((h & 0x7f80) == 0x7f80 && (h & 0x7f) != 0);
    assert_null(wf_cast_get(WEFT_U8, WEFT_F32));
}

/* Every bf16, and f32 on both sides of every boundary of rounding, in arrays of every length of a
 * vector's rest; f64's conversion, which rounds by itself, agrees. */
static void casts_of_every_bf16_agree_on_every_isa(void **state)
{
    enum { N = 0x10000 };
    static const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    static float x[N], back[N];
    static uint16_t h[N];
    const wf_casts *all[] = {&wf_casts_scalar, &wf_casts_avx2, &wf_casts_emul, &wf_casts_avx512};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (all[i]->isa > wf_cpu_isa())
            continue;
        for (size_t k = 0; k < sizeof(low) / sizeof(*low); k++) {
            for (uint32_t u = 0; u < N; u++)
                x[u] = wf_float_of(u << 16 | low[k]);
            all[i]->f32_bf16(N, x, h);
            all[i]->bf16_f32(N, h, back);
            for (uint32_t u = 0; u < N; u++) {
                const bool nan = (u & 0x7fff) > 0x7f80 || ((u & 0x7fff) == 0x7f80 && low[k]);
                const bool up = low[k] > 0x8000 || (low[k] == 0x8000 && u & 1);
                assert_int_equal(h[u], nan ? u | 0x40 : u + up);
                assert_int_equal(wf_bits_of(back[u]), (uint32_t)h[u] << 16);
                const double d = (double)x[u];
                uint16_t from_double;
                wf_cast_get(WEFT_F64, WEFT_BF16)(1, &d, &from_double);
                assert_int_equal(from_double, h[u]);
            }
        }
        for (size_t n = 0; n < 40; n++) {
            guarded f = test_random(WEFT_F32, n, 5), b = guarded_new(2 * n, 2);
            guarded f2 = guarded_new(4 * n, 4);
            all[i]->f32_bf16(n, f.data, b.data);
            all[i]->bf16_f32(n, b.data, f2.data);
            for (size_t j = 0; j < n; j++)
                assert_true(test_get(WEFT_F32, f2.data, j) ==
                            test_rounded(WEFT_BF16, test_get(WEFT_F32, f.data, j)));
            guarded_free(&f);
            guarded_free(&b);
            guarded_free(&f2);
        }
    }
}

static void broadcast_repeats_where_the_stride_is_zero(void **state)
{
    float x[6] = {1, 2, 3, 4, 5, 6}, y[24];
    /* (2, 1, 3) to (2, 4, 3) */
    wf_broadcast(4, 3, (int64_t[]){2, 4, 3}, (int64_t[]){3, 0, 1}, x, y);
    for (int i = 0; i < 24; i++)
        assert_true(y[i] == x[i / 12 * 3 + i % 3]);
    /* (3, 2) transposed */
    wf_broadcast(4, 2, (int64_t[]){2, 3}, (int64_t[]){1, 2}, x, y);
    for (int i = 0; i < 6; i++)
        assert_true(y[i] == x[i % 3 * 2 + i / 3]);
    wf_broadcast(4, 2, (int64_t[]){3, 2}, (int64_t[]){0, 0}, x + 2, y);
    for (int i = 0; i < 6; i++)
        assert_true(y[i] == 3.0f);
    uint8_t b = 7, all[5];
    wf_broadcast(1, 1, (int64_t[]){5}, (int64_t[]){0}, &b, all);
    for (int i = 0; i < 5; i++)
        assert_int_equal(all[i], 7);
    wf_broadcast(4, 0, NULL, NULL, x, y);
    assert_true(y[0] == 1.0f);
}

static void dropout_bits_depend_on_the_logical_element_only(void **state)
{
    static const wf_act cases[] = {{3, 5, 7, 1},  {3, 5, 7, 8}, {13, 3, 3, 16},
                                   {13, 3, 3, 1}, {1, 1, 1, 1}, {2, 20, 31, 8}};
    wf_dropout d = {.seed = 0x123456789abcdefu, .draw = 7, .op = 3, .p = 0.3};
    philox4x32_key_t key = {{0x89abcdefu, 0x01234567u}};
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++)
        for (weft_dtype dtype = WEFT_F32; dtype <= WEFT_BF16; dtype++) {
            wf_act a = cases[k];
            size_t n = wf_act_count(a);
            /* an image far on crosses 2^34 elements, where the counter's low word wraps */
            int64_t logical = (int64_t)a.C * a.H * a.W,
                    image = k % 2 ? 5 : ((int64_t)1 << 34) / logical;
            guarded x = test_random(dtype, n, 9);
            guarded y = guarded_new(n * weft_dtype_size(dtype), weft_dtype_size(dtype));
            wf_dropout_get(dtype, wf_cpu_isa())(&d, a, image * logical, x.data, y.data);
            int64_t kept = 0;
            for (int c = 0; c < wf_round_up(a.C, a.block); c++)
                for (int p = 0; p < a.H * a.W; p++) {
                    size_t at = wf_act_index(a, c, p / a.W, p % a.W);
                    uint64_t e = (uint64_t)(image * logical + (int64_t)c * a.H * a.W + p);
                    philox4x32_ctr_t counter = {{(uint32_t)(e / 4), (uint32_t)(e >> 34), 7, 3}};
                    bool keep = philox4x32(counter, key).v[e % 4] >= 0.3 * 4294967296.0;
                    double want = c < a.C && keep ? test_get(dtype, x.data, at) / 0.7 : 0.0;
                    kept += c < a.C && keep;
                    /* the factor and the product are rounded: twice half an ulp of at most 2 */
                    const double bound = 4 * test_epsilon(test_arithmetic(dtype)) +
                                         1.01 * test_storing(dtype) * fabs(want);
                    if (!(fabs(test_get(dtype, y.data, at) - want) <= bound))
                        fail_msg("C=%d block %d c=%d p=%d: %g, expected %g", a.C, a.block, c, p,
                                 test_get(dtype, y.data, at), want);
                }
            if (logical > 1000) /* 5 standard deviations */
                assert_true(fabs((double)kept - 0.7 * (double)logical) <
                            5 * sqrt(0.21 * (double)logical));
            guarded_free(&x);
            guarded_free(&y);
        }
}

/* Against the formula, in every layout, rows of channels included, to the bit; dx in dy's place. */
static void prelu_works_per_channel_and_keeps_the_padding(void **state)
{
    static const wf_act cases[] = {{1, 1, 1, 1},   {3, 5, 7, 1},   {1, 99, 1, 1},
                                   {8, 3, 3, 8},   {13, 3, 3, 8},  {24, 2, 3, 16},
                                   {19, 1, 5, 16}, {21, 4, 1, 21}, {3, 6, 1, 3}};
    wf_eltwise_impl impl;
    for (int i = 0; i < wf_n_eltwise_impls + EMULATED; i++)
        for (size_t k = 0; impl_at(i, &impl) && k < sizeof(cases) / sizeof(*cases); k++) {
            const wf_act a = cases[k];
            const weft_dtype t = impl.dtype;
            const size_t n = wf_act_count(a), size = weft_dtype_size(t);
            guarded x = test_random(t, n, 3), w = test_random(test_arithmetic(t), (size_t)a.C, 4);
            guarded dy = test_random(t, n, 5), y = guarded_new(n * size, size);
            guarded dx = guarded_new(n * size, size), products = guarded_new(n * size, size);
            for (int c = a.C; c < wf_round_up(a.C, a.block); c++)
                for (int p = 0; p < a.H * a.W; p++) {
                    test_set(t, x.data, wf_act_index(a, c, p / a.W, p % a.W), 0);
                    test_set(t, dy.data, wf_act_index(a, c, p / a.W, p % a.W), 0);
                }
            memcpy(dx.data, dy.data, n * size);
            impl.kernels->prelu(a, x.data, w.data, y.data);
            impl.kernels->prelu_backward(a, x.data, w.data, dx.data, dx.data, products.data);
            for (int c = 0; c < wf_round_up(a.C, a.block); c++)
                for (int p = 0; p < a.H * a.W; p++) {
                    const size_t at = wf_act_index(a, c, p / a.W, p % a.W);
                    const double v = test_get(t, x.data, at), d = test_get(t, dy.data, at);
                    const double s = c < a.C ? test_get(test_arithmetic(t), w.data, (size_t)c) : 0;
                    const double want[3] = {v > 0 ? v : s * v, v > 0 ? d : s * d,
                                            v > 0 ? 0 : v * d};
                    const guarded *got[3] = {&y, &dx, &products};
                    for (int o = 0; o < 3; o++) {
                        const double rounded = test_rounded(t, want[o]);
                        if (test_get(t, got[o]->data, at) != rounded)
                            fail_msg("%s prelu, output %d, C=%d block %d c=%d p=%d: %g for %g",
                                     impl.kernels->name, o, a.C, a.block, c, p,
                                     test_get(t, got[o]->data, at), rounded);
                    }
                }
            guarded *all[] = {&x, &w, &dy, &y, &dx, &products};
            for (size_t o = 0; o < sizeof(all) / sizeof(*all); o++) {
                guarded_check(all[o]);
                guarded_free(all[o]);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_in_place),
        cmocka_unit_test(relu_and_its_gradient_pass_at_nan),
        cmocka_unit_test(bias_and_mul_channels_work_per_channel_and_clear_the_padding),
        cmocka_unit_test(prelu_works_per_channel_and_keeps_the_padding),
        cmocka_unit_test(dispatch_prefers_the_best_that_runs),
        cmocka_unit_test(casts_round_to_nearest_even),
        cmocka_unit_test(casts_of_every_bf16_agree_on_every_isa),
        cmocka_unit_test(broadcast_repeats_where_the_stride_is_zero),
        cmocka_unit_test(dropout_bits_depend_on_the_logical_element_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
