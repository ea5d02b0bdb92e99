/* Functions of two and three operands: every implementation against plain C for odd lengths, over
 * each operand in place, with equal operands, zeros, NaN and infinities; equal bits in float on
 * every ISA. */
#include "guarded.h"

#include <math.h>

#include "kernels/eltwise/pointwise.h"

extern const wf_pointwise_table wf_pointwise_f32_emul, wf_pointwise_f32_scalar,
    wf_pointwise_bf16_emul, wf_pointwise_bf16_scalar;

enum { N = 1003 };

/* The first implementation from i on that this machine may run; NULL behind the last. */
static const wf_pointwise_table *impl_at(int *i)
{
    for (;; (*i)++) {
        const wf_pointwise_table *k = wf_pointwise_list[*i];
        if (!k || k->isa <= wf_cpu_isa())
            return k;
    }
}

static double value(wf_pointwise f, weft_dtype dtype, double a, double b, double c)
{
    switch (f) {
    case WF_PW_sub: return a - b;
    case WF_PW_div: return dtype == WEFT_F64 ? a / b : (double)((float)a / (float)b);
    case WF_PW_maximum: return isnan(a) || isnan(b) ? NAN : fmax(a, b);
    case WF_PW_minimum: return isnan(a) || isnan(b) ? NAN : fmin(a, b);
    case WF_PW_maximum_share: return a < b ? 0 : a == b ? c / 2 : c;
    case WF_PW_minimum_share: return a > b ? 0 : a == b ? c / 2 : c;
    case WF_PW_pow: return pow(a, b);
    case WF_PW_pow_base:
        if (dtype != WEFT_F64) /* b - 1 is rounded; what overflows on the way stays infinite */
            return b == 0 ? 0
                          : (double)((float)c * ((float)b * (float)pow(a, (double)((float)b - 1))));
        return b == 0 ? 0 : c * (b * pow(a, b - 1));
    case WF_PW_pow_log: return a == 0 && b >= 0 ? 0 : c * log(a);
    case WF_PW_eq: return a == b;
    case WF_PW_ne: return a != b;
    case WF_PW_lt: return a < b;
    case WF_PW_le: return a <= b;
    case WF_PW_gt: return a > b;
    case WF_PW_ge: return a >= b;
    case WF_PW_where: return a != 0 ? b : c;
    case WF_PW_where_true: return a != 0 ? b : 0;
    case WF_PW_where_false: return a != 0 ? 0 : b;
    case WF_N_POINTWISE: break;
    }
    return NAN;
}

/* The relative error that results may have; powers are within 3 ulp, logarithms within 2, and
 * products behind them. In bf16 such an error may decide how a result is rounded. */
static double within(weft_dtype dtype, wf_pointwise f)
{
    const bool powers = f == WF_PW_pow || f == WF_PW_pow_base || f == WF_PW_pow_log;
    return !powers || dtype == WEFT_F64 ? 0 : dtype == WEFT_F32 ? 4 * 0x1p-23 : 0x1p-7;
}

/* Small whole numbers, so that operands are often equal or 0, and now and then what is special. */
static void fill(weft_dtype dtype, void *x, size_t n, uint64_t seed)
{
    static const double special[] = {NAN, INFINITY, -INFINITY, -0.0, 0.1, 1e30};
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = test_bits(seed, i);
        test_set(dtype, x, i, bits % 16 < 6 ? special[bits % 16] : (double)(bits >> 8 & 3) - 1);
    }
}

/* aliased: the operand that is the output, too; -1: none. */
static void check(const wf_pointwise_table *k, wf_pointwise f, size_t n, int aliased)
{
    const size_t size = weft_dtype_size(k->dtype);
    guarded in[3], y = guarded_new(n * size, size);
    for (int i = 0; i < 3; i++) {
        in[i] = guarded_new(n * size, size);
        fill(k->dtype, in[i].data, n, 11 + (uint64_t)i);
    }
    const void *use[3] = {in[0].data, in[1].data, in[2].data};
    if (aliased >= 0) {
        memcpy(y.data, in[aliased].data, n * size);
        use[aliased] = y.data;
    }
    k->fn[f](n, use[0], use[1], use[2], y.data);
    for (size_t i = 0; i < n; i++) {
        const double a = test_get(k->dtype, in[0].data, i), b = test_get(k->dtype, in[1].data, i);
        const double want = value(f, k->dtype, a, b, test_get(k->dtype, in[2].data, i));
        const double got = test_get(k->dtype, y.data, i);
        const double rounded = test_rounded(k->dtype, want);
        if (!(got == rounded || (isnan(got) && isnan(rounded)) ||
              fabs(got - rounded) <= within(k->dtype, f) * fabs(rounded)))
            fail_msg("%s %s(%g, %g) [%zu of %zu]: %.9g, expected %.9g", k->name,
                     wf_pointwise_name(f), a, b, i, n, got, rounded);
    }
    for (int i = 0; i < 3; i++)
        guarded_free(&in[i]);
    guarded_free(&y);
}

static void every_implementation_matches_plain_c(void **state)
{
    static const size_t lengths[] = {0, 1, 7, 8, 15, 17, 33, N};
    const wf_pointwise_table *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_POINTWISE; f++)
            for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++)
                for (int aliased = -1; aliased < wf_pointwise_operands((wf_pointwise)f); aliased++)
                    check(k, (wf_pointwise)f, lengths[l], aliased);
}

static void functions_of_two_operands_do_not_read_a_third(void **state)
{
    const wf_pointwise_table *k;
    double a[20] = {0}, y[20];
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_POINTWISE; f++)
            if (wf_pointwise_operands((wf_pointwise)f) == 2)
                k->fn[f](20, a, a, NULL, y);
}

static void zeros_give_zero_where_the_list_says_so(void **state)
{
    const wf_pointwise_table *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_POINTWISE; f++) {
            double zero[1] = {0}, y[1];
            k->fn[f](1, zero, zero, zero, y);
            assert_int_equal(test_get(k->dtype, y, 0) == 0,
                             wf_pointwise_keeps_zero((wf_pointwise)f));
        }
}

static void float_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    static float in[3][N], y[3][N];
    for (int i = 0; i < 3; i++)
        fill(WEFT_F32, in[i], N, 5 + (uint64_t)i);
    const wf_pointwise_table *k[] = {&wf_pointwise_f32_scalar, &wf_pointwise_f32_emul,
                                     wf_pointwise_get(WEFT_F32, wf_cpu_isa())};
    for (int f = 0; f < WF_N_POINTWISE; f++)
        for (int i = 0; i < 3; i++) {
            k[i]->fn[f](N, in[0], in[1], in[2], y[i]);
            for (int j = 0; j < N; j++) /* which NaN an operation gives is its own affair */
                if (isnan(y[i][j]))
                    y[i][j] = NAN;
            assert_memory_equal(y[0], y[i], sizeof(y[0]));
        }
}

static void bf16_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    static uint16_t in[3][N], y[3][N];
    for (int i = 0; i < 3; i++)
        fill(WEFT_BF16, in[i], N, 5 + (uint64_t)i);
    const wf_pointwise_table *k[] = {&wf_pointwise_bf16_scalar, &wf_pointwise_bf16_emul,
                                     wf_pointwise_get(WEFT_BF16, wf_cpu_isa())};
    for (int f = 0; f < WF_N_POINTWISE; f++)
        for (int i = 0; i < 3; i++) {
            k[i]->fn[f](N, in[0], in[1], in[2], y[i]);
            for (int j = 0; j < N; j++)
                if ((y[i][j] & 0x7fff) > 0x7f80)
                    y[i][j] = 0x7fc0;
            assert_memory_equal(y[0], y[i], sizeof(y[0]));
        }
}

static void dispatch_prefers_the_best_that_runs(void **state)
{
    for (weft_isa isa = WEFT_ISA_SCALAR; isa <= WEFT_ISA_AVX512; isa++) {
        assert_non_null(strstr(wf_pointwise_get(WEFT_F32, isa)->name, weft_isa_name(isa)));
        assert_string_equal(wf_pointwise_get(WEFT_F64, isa)->name, "pointwise:ref:f64");
        assert_non_null(strstr(wf_pointwise_get(WEFT_BF16, isa)->name, weft_isa_name(isa)));
    }
    assert_null(wf_pointwise_get(WEFT_U8, WEFT_ISA_AVX512));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_implementation_matches_plain_c),
        cmocka_unit_test(functions_of_two_operands_do_not_read_a_third),
        cmocka_unit_test(zeros_give_zero_where_the_list_says_so),
        cmocka_unit_test(float_has_the_same_bits_on_every_isa),
        cmocka_unit_test(bf16_has_the_same_bits_on_every_isa),
        cmocka_unit_test(dispatch_prefers_the_best_that_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
