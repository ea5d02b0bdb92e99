/* Functions of two to four operands: every implementation against plain C for odd lengths, over
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

/* Of n elements side by side. */
static void run(const wf_pointwise_table *k, wf_pointwise f, size_t n, const void *a, const void *b,
                const void *c, const void *d, void *y, void *z)
{
    const wf_pointwise_rows r = wf_pointwise_run(n);
    k->fn[f](&r, (const void *[]){a, b, c, d}, (void *[]){y, z});
}

/* Result `result` of f. */
static double value(wf_pointwise f, int result, weft_dtype dtype, const double *x)
{
    const double a = x[0], b = x[1], c = x[2], d = x[3];
    const bool f64 = dtype == WEFT_F64, second = result == 1;
    switch (f) {
    case WF_PW_add: return f64 ? a + b : (double)((float)a + (float)b);
    case WF_PW_mul: return f64 ? a * b : (double)((float)a * (float)b);
    case WF_PW_mul_both: return value(WF_PW_mul, 0, dtype, (double[4]){c, second ? a : b});
    case WF_PW_div_both:
        if (!second)
            return value(WF_PW_div, 0, dtype, (double[4]){c, b});
        return f64 ? -(c * (a / b)) : (double)-((float)c * ((float)a / (float)b));
    case WF_PW_sub: return a - b;
    case WF_PW_div: return dtype == WEFT_F64 ? a / b : (double)((float)a / (float)b);
    case WF_PW_maximum: return isnan(a) || isnan(b) ? NAN : fmax(a, b);
    case WF_PW_minimum: return isnan(a) || isnan(b) ? NAN : fmin(a, b);
    case WF_PW_maximum_share: return a < b ? 0 : a == b ? c / 2 : c;
    case WF_PW_minimum_share: return a > b ? 0 : a == b ? c / 2 : c;
    case WF_PW_maximum_both:
        return value(WF_PW_maximum_share, 0, dtype,
                     second ? (double[4]){b, a, c} : (double[4]){a, b, c});
    case WF_PW_minimum_both:
        return value(WF_PW_minimum_share, 0, dtype,
                     second ? (double[4]){b, a, c} : (double[4]){a, b, c});
    case WF_PW_pow_both:
        if (!second)
            return value(WF_PW_pow_base, 0, dtype, x);
        return a == 0 && b >= 0 ? c * 0
               : f64            ? c * (d * log(a))
                                : (double)((float)c * ((float)d * (float)log(a)));
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
    case WF_PW_where_both: return value(second ? WF_PW_where_false : WF_PW_where_true, 0, dtype, x);
    case WF_N_POINTWISE: break;
    }
    return NAN;
}

/* The relative error that results may have; powers are within 3 ulp, logarithms within 2, and
 * products behind them. In bf16 such an error may decide how a result is rounded. */
static double within(weft_dtype dtype, wf_pointwise f)
{
    const bool powers =
        f == WF_PW_pow || f == WF_PW_pow_base || f == WF_PW_pow_log || f == WF_PW_pow_both;
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

/* The result that operand `aliased` is, too, is the first; -1: none. */
static void check(const wf_pointwise_table *k, wf_pointwise f, size_t n, int aliased)
{
    enum { IN = WF_PW_OPERANDS, OUT = WF_PW_RESULTS };
    const size_t size = weft_dtype_size(k->dtype);
    guarded in[IN], out[OUT];
    for (int i = 0; i < IN; i++) {
        in[i] = guarded_new(n * size, size);
        fill(k->dtype, in[i].data, n, 11 + (uint64_t)i);
    }
    for (int o = 0; o < OUT; o++)
        out[o] = guarded_new(n * size, size);
    const void *use[IN] = {in[0].data, in[1].data, in[2].data, in[3].data};
    if (aliased >= 0) {
        memcpy(out[0].data, in[aliased].data, n * size);
        use[aliased] = out[0].data;
    }
    run(k, f, n, use[0], use[1], use[2], use[3], out[0].data, out[1].data);
    for (size_t i = 0; i < n * (size_t)wf_pointwise_results(f); i++) {
        const int o = i >= n;
        const size_t at = o ? i - n : i;
        double x[IN];
        for (int j = 0; j < IN; j++)
            x[j] = test_get(k->dtype, in[j].data, at);
        const double want = value(f, o, k->dtype, x), got = test_get(k->dtype, out[o].data, at);
        const double rounded = test_rounded(k->dtype, want);
        if (!(got == rounded || (isnan(got) && isnan(rounded)) ||
              fabs(got - rounded) <= within(k->dtype, f) * fabs(rounded)))
            fail_msg("%s %s(%g, %g, %g), result %d [%zu of %zu]: %.9g, expected %.9g", k->name,
                     wf_pointwise_name(f), x[0], x[1], x[2], o, at, n, got, rounded);
    }
    for (int i = 0; i < IN; i++)
        guarded_free(&in[i]);
    for (int o = 0; o < OUT; o++)
        guarded_free(&out[o]);
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

static void no_more_is_read_or_written_than_the_list_says(void **state)
{
    const wf_pointwise_table *k;
    double a[20] = {0}, y[20], z[20];
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int n = 0; n < WF_N_POINTWISE; n++) {
            const wf_pointwise f = (wf_pointwise)n;
            const int operands = wf_pointwise_operands(f);
            run(k, f, 20, a, a, operands > 2 ? a : NULL, operands > 3 ? a : NULL, y,
                wf_pointwise_results(f) > 1 ? z : NULL);
        }
}

/* Rows apart, the same row again and again, one element for a row: as what is written out gives. */
static void rows_are_as_if_written_out(void **state)
{
    enum { ROWS = 3, MOST = 40 };
    static const size_t lengths[] = {1, 7, 8, 16, 17, MOST};
    static double in[WF_PW_OPERANDS][ROWS * MOST], whole[WF_PW_OPERANDS][ROWS * MOST];
    static double y[2][WF_PW_RESULTS][ROWS * MOST];
    const wf_pointwise_table *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_POINTWISE; f++)
            for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++)
                for (unsigned form = 0; form < 256; form++) { /* two bits an operand */
                    const size_t n = lengths[l], size = weft_dtype_size(k->dtype);
                    wf_pointwise_rows r = {.rows = ROWS, .n = n};
                    const void *from[WF_PW_OPERANDS], *all[WF_PW_OPERANDS];
                    if (form >> 2 * wf_pointwise_operands((wf_pointwise)f))
                        break;
                    for (int o = 0; o < WF_PW_OPERANDS; o++) {
                        const unsigned bits = form >> 2 * o & 3;
                        r.one[o] = bits & 1;
                        r.row[o] = bits & 2 ? 0 : bits & 1 ? 1 : n;
                        fill(k->dtype, in[o], ROWS * n, 3 + (uint64_t)o);
                        for (size_t e = 0; e < ROWS * n; e++)
                            memcpy((char *)whole[o] + e * size,
                                   (char *)in[o] +
                                       (e / n * r.row[o] + (r.one[o] ? 0 : e % n)) * size,
                                   size);
                        from[o] = in[o];
                        all[o] = whole[o];
                    }
                    const wf_pointwise_rows run = wf_pointwise_run(ROWS * n);
                    k->fn[f](&r, from, (void *[]){y[0][0], y[0][1]});
                    k->fn[f](&run, all, (void *[]){y[1][0], y[1][1]});
                    for (int o = 0; o < wf_pointwise_results((wf_pointwise)f); o++)
                        for (size_t e = 0; e < ROWS * n; e++) {
                            const double got = test_get(k->dtype, y[0][o], e),
                                         want = test_get(k->dtype, y[1][o], e);
                            if (got != want && !(isnan(got) && isnan(want)))
                                fail_msg("%s %s, form %u, %zu of %zu: %g, written out %g", k->name,
                                         wf_pointwise_name((wf_pointwise)f), form, e, n, got, want);
                        }
                }
}

static void zeros_give_zero_where_the_list_says_so(void **state)
{
    const wf_pointwise_table *k;
    for (int i = 0; (k = impl_at(&i)); i++)
        for (int f = 0; f < WF_N_POINTWISE; f++) {
            double zero[1] = {0}, y[1], z[1] = {0};
            run(k, (wf_pointwise)f, 1, zero, zero, zero, zero, y, z);
            assert_int_equal(test_get(k->dtype, y, 0) == 0 && test_get(k->dtype, z, 0) == 0,
                             wf_pointwise_keeps_zero((wf_pointwise)f));
        }
}

static void float_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    static float in[4][N], y[3][2 * N];
    for (int i = 0; i < 4; i++)
        fill(WEFT_F32, in[i], N, 5 + (uint64_t)i);
    const wf_pointwise_table *k[] = {&wf_pointwise_f32_scalar, &wf_pointwise_f32_emul,
                                     wf_pointwise_get(WEFT_F32, wf_cpu_isa())};
    for (int f = 0; f < WF_N_POINTWISE; f++)
        for (int i = 0; i < 3; i++) {
            run(k[i], (wf_pointwise)f, N, in[0], in[1], in[2], in[3], y[i], y[i] + N);
            for (int j = 0; j < 2 * N; j++) /* which NaN an operation gives is its own affair */
                if (isnan(y[i][j]))
                    y[i][j] = NAN;
            assert_memory_equal(y[0], y[i], sizeof(y[0]));
        }
}

static void bf16_has_the_same_bits_on_every_isa(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    static uint16_t in[4][N], y[3][2 * N];
    for (int i = 0; i < 4; i++)
        fill(WEFT_BF16, in[i], N, 5 + (uint64_t)i);
    const wf_pointwise_table *k[] = {&wf_pointwise_bf16_scalar, &wf_pointwise_bf16_emul,
                                     wf_pointwise_get(WEFT_BF16, wf_cpu_isa())};
    for (int f = 0; f < WF_N_POINTWISE; f++)
        for (int i = 0; i < 3; i++) {
            run(k[i], (wf_pointwise)f, N, in[0], in[1], in[2], in[3], y[i], y[i] + N);
            for (int j = 0; j < 2 * N; j++)
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
        cmocka_unit_test(no_more_is_read_or_written_than_the_list_says),
        cmocka_unit_test(rows_are_as_if_written_out),
        cmocka_unit_test(zeros_give_zero_where_the_list_says_so),
        cmocka_unit_test(float_has_the_same_bits_on_every_isa),
        cmocka_unit_test(bf16_has_the_same_bits_on_every_isa),
        cmocka_unit_test(dispatch_prefers_the_best_that_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
