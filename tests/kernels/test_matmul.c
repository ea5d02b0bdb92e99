/* Every matrix product against the formula in double: all transpositions, sizes around the tiles',
 * with and without bias. Integers must come out to the bit, random numbers within
 * (K + 2) * eps * sum |a*b|. Outputs and scratch start as NaN; guards around the output stay. */
#include "guarded.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "kernels/matmul/matmul.h"

/* 16 lanes in plain C */
extern const wf_matmul_impl wf_matmul_axpy_emul, wf_matmul_dot_emul, wf_matmul_gemm_emul;

static uint64_t random_state;
static double uniform(void) /* splitmix64: -1 .. 1 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)(int64_t)(z ^ z >> 31) * 0x1p-63;
}

typedef struct array {
    double *value;
    void *data; /* the same in the kernel's type */
} array;

static array array_create(size_t n, weft_dtype type, bool integers)
{
    array a = {malloc((n + 1) * sizeof(double)), malloc((n + 1) * weft_dtype_size(type))};
    assert_true(a.value && a.data);
    for (size_t i = 0; i < n; i++) {
        a.value[i] = integers ? floor(uniform() * 3.5 + 0.5) : (double)(float)uniform();
        test_set(type, a.data, i, a.value[i]);
    }
    return a;
}

static void array_destroy(array a)
{
    free(a.value);
    free(a.data);
}

static void check(const wf_matmul_impl *k, const wf_matmul_desc *d, bool with_bias, bool integers)
{
    size_t size = weft_dtype_size(d->type), count = (size_t)(d->M * d->N);
    array a = array_create((size_t)(d->M * d->K), d->type, integers);
    array b = array_create((size_t)(d->K * d->N), d->type, integers);
    array bias = array_create((size_t)d->N, d->type, integers);
    size_t scratch_bytes = (k->scratch_bytes + 64 + 63) / 64 * 64;
    char *scratch = aligned_alloc(64, scratch_bytes);
    char *raw = malloc((count + 2 * GUARD) * size), *c = raw + GUARD * size;
    assert_true(scratch && raw);
    memset(scratch, 0xff, scratch_bytes);
    memset(raw, 0xff, (count + 2 * GUARD) * size);
    for (int64_t i = wf_matmul_tiles(k, d) - 1; i >= 0; i--)
        assert_int_equal(
            wf_matmul_run(k, d, i, a.data, b.data, with_bias ? bias.data : NULL, c, scratch),
            WEFT_OK);
    for (int64_t m = 0; m < d->M; m++)
        for (int64_t n = 0; n < d->N; n++) {
            double want = with_bias ? bias.value[n] : 0, sum_abs = fabs(want);
            for (int64_t i = 0; i < d->K; i++) {
                double x = a.value[d->transpose_a ? i * d->M + m : m * d->K + i];
                double y = b.value[d->transpose_b ? n * d->K + i : i * d->N + n];
                want += x * y;
                sum_abs += fabs(x * y);
            }
            double eps = d->type == WEFT_F64 ? DBL_EPSILON : FLT_EPSILON;
            double bound = integers ? 0 : (double)(d->K + 2) * eps * sum_abs;
            double got = test_get(d->type, c, (size_t)(m * d->N + n));
            if (!(fabs(got - want) <= bound))
                fail_msg("%s m%dn%dk%d ta%d tb%d (%d, %d): %.9g instead of %.9g", k->name,
                         (int)d->M, (int)d->N, (int)d->K, d->transpose_a, d->transpose_b, (int)m,
                         (int)n, got, want);
        }
    for (size_t i = 0; i < GUARD * size; i++)
        assert_true((raw[i] & c[count * size + i]) == (char)0xff);
    for (size_t i = k->scratch_bytes; i < scratch_bytes; i++)
        assert_true(scratch[i] == (char)0xff);
    array_destroy(a);
    array_destroy(b);
    array_destroy(bias);
    free(scratch);
    free(raw);
}

static void check_impl(const wf_matmul_impl *k, weft_dtype type)
{
    static const int sizes[][3] = {{1, 1, 1},      {1, 10, 7},     {7, 1, 300},   {6, 16, 256},
                                   {48, 64, 33},   {49, 65, 257},  {100, 10, 5},  {13, 129, 64},
                                   {5, 31, 513},   {50, 17, 9},    {9, 24, 40},   {3, 30, 1027},
                                   {31, 70, 2050}, {260, 140, 70}, {140, 400, 40}};
    int ran = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int bits = 0; bits < 16; bits++) {
            wf_matmul_desc d = {sizes[i][0], sizes[i][1],   sizes[i][2],
                                bits & 1,    bits >> 1 & 1, type};
            char why[80];
            if (!k->fits(&d, why, sizeof why))
                continue;
            check(k, &d, bits & 4, bits & 8);
            ran++;
        }
    assert_true(ran >= (int)(sizeof sizes / sizeof *sizes) * 2);
}

static void every_kernel_matches_the_formula(void **unused)
{
    int ran = 0;
    for (int i = 0; i < wf_matmul_n_impls; i++)
        if (wf_matmul_impls[i]->isa <= wf_cpu_isa()) {
            check_impl(wf_matmul_impls[i], WEFT_F32);
            ran++;
        }
    assert_int_equal(ran, 1 + 3 * (int)wf_cpu_isa());
    check_impl(wf_matmul_impls[wf_matmul_n_impls - 1], WEFT_F64);
}

static void sixteen_lanes_match_the_formula(void **unused)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    check_impl(&wf_matmul_gemm_emul, WEFT_F32);
    check_impl(&wf_matmul_dot_emul, WEFT_F32);
    check_impl(&wf_matmul_axpy_emul, WEFT_F32);
}

static void few_rows_have_kernels_of_their_own(void **unused)
{
    wf_matmul_desc few = {1, 4096, 4096, 0, 1, WEFT_F32}, many = {64, 4096, 4096, 0, 1, WEFT_F32};
    assert_string_equal(wf_matmul_select(&few, WEFT_ISA_AVX2, NULL)->name, "dot:avx2");
    assert_string_equal(wf_matmul_select(&many, WEFT_ISA_AVX2, NULL)->name, "gemm:avx2");
    few.transpose_b = 0;
    assert_string_equal(wf_matmul_select(&few, WEFT_ISA_AVX2, NULL)->name, "axpy:avx2");
}

static void the_choice_respects_type_and_isa(void **unused)
{
    wf_matmul_desc d = {64, 64, 64, 0, 0, WEFT_F32};
    assert_string_equal(wf_matmul_select(&d, WEFT_ISA_AVX512, NULL)->name, "gemm:avx512");
    assert_string_equal(wf_matmul_select(&d, WEFT_ISA_AVX2, NULL)->name, "gemm:avx2");
    assert_string_equal(wf_matmul_select(&d, WEFT_ISA_SCALAR, NULL)->name, "ref");
    d.type = WEFT_F64;
    assert_string_equal(wf_matmul_select(&d, WEFT_ISA_AVX512, NULL)->name, "ref");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_matches_the_formula),
        cmocka_unit_test(sixteen_lanes_match_the_formula),
        cmocka_unit_test(few_rows_have_kernels_of_their_own),
        cmocka_unit_test(the_choice_respects_type_and_isa),
    };
    return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
