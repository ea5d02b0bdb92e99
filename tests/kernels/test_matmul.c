/* Every matrix product against the formula in double: all transpositions, sizes around the tiles',
 * with and without bias, added to what is there, and nothing to sum; and batches: every way in which
 * operands can be shared. Integers must come out to the bit, random numbers within
 * (K + 2) * eps * sum |a*b|. Outputs and scratch start as NaN; guards around the output stay. */
#include "guarded.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "kernels/matmul/batch.h"

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
    for (size_t i = 0; d->add && i < count; i++)
        test_set(d->type, c, i, (double)(i % 7));
    for (int64_t i = wf_matmul_tiles(k, d) - 1; i >= 0; i--)
        assert_int_equal(
            wf_matmul_run(k, d, i, a.data, b.data, with_bias ? bias.data : NULL, c, scratch),
            WEFT_OK);
    for (int64_t m = 0; m < d->M; m++)
        for (int64_t n = 0; n < d->N; n++) {
            double want = d->add      ? (double)((m * d->N + n) % 7)
                          : with_bias ? bias.value[n]
                                      : 0,
                   sum_abs = fabs(want);
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

/* Whether it rounds operands to bf16: test_matmul_bf16.c has its numbers, here it takes integers. */
static bool rounds(const wf_matmul_impl *k)
{
    return strstr(k->name, "bf16");
}

static void check_impl(const wf_matmul_impl *k, weft_dtype type)
{
    static const int sizes[][3] = {{1, 1, 1},       {1, 10, 7},     {7, 1, 300},    {6, 16, 256},
                                   {48, 64, 33},    {49, 65, 257},  {100, 10, 5},   {13, 129, 64},
                                   {5, 31, 513},    {50, 17, 9},    {9, 24, 40},    {3, 30, 1027},
                                   {31, 70, 2050},  {260, 140, 70}, {140, 400, 40}, {98, 49, 1030},
                                   {100, 1024, 20}, {300, 197, 65}, {5, 9, 0}};
    int ran = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int bits = 0; bits < 16; bits++) {
            wf_matmul_desc d = {sizes[i][0], sizes[i][1],   sizes[i][2],
                                bits & 1,    bits >> 1 & 1, type};
            char why[80];
            if (!wf_matmul_fits(k, &d, k->isa, why, sizeof why))
                continue;
            check(k, &d, bits & 4, bits & 8);
            d.add = 1;
            check(k, &d, false, bits & 8);
            ran++;
        }
    assert_true(ran >= (int)(sizeof sizes / sizeof *sizes) * 2);
}

static void every_kernel_matches_the_formula(void **unused)
{
    int ran = 0;
    for (int i = 0; i < wf_matmul_n_impls; i++)
        if (wf_matmul_impls[i]->isa <= wf_cpu_isa() && !rounds(wf_matmul_impls[i])) {
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

/* ---- batches ---- */

/* Operands along each of three dimensions: both there, a shared, b shared, and c there or summed. */
enum { A_THERE = 1, B_THERE = 2, C_THERE = 4 };

static void check_batch(const wf_matmul_impl *k, const wf_matmul_desc *d, const int64_t size[3],
                        const int there[3], int *folded, int *split_up)
{
    const size_t element = weft_dtype_size(d->type);
    int64_t step[3] = {d->M * d->K, d->K * d->N, d->M * d->N};
    wf_matmul_dim dim[3];
    wf_matmul_batch p;
    char why[80];
    for (int i = 2; i >= 0; i--) {
        int64_t at[3];
        for (int o = 0; o < 3; o++) {
            at[o] = there[i] >> o & 1 ? step[o] : 0;
            step[o] *= there[i] >> o & 1 ? size[i] : 1;
        }
        dim[i] = (wf_matmul_dim){size[i], at[0], at[1], at[2]};
    }
    wf_matmul_batch_init(&p, d, 3, dim, false);
    if (!wf_matmul_fits(k, &p.desc, wf_cpu_isa(), why, sizeof why))
        return;
    const int64_t splits = wf_matmul_batch_splits(k, &p), items = size[0] * size[1] * size[2];
    const size_t count = (size_t)step[2];
    *folded += p.items * p.terms < items;
    *split_up += splits > 1;
    array a = array_create((size_t)step[0], d->type, true),
          b = array_create((size_t)step[1], d->type, true);
    char *scratch = aligned_alloc(64, (k->scratch_bytes + 127) / 64 * 64);
    double *want = calloc(count + 1, sizeof *want);
    char *c = malloc((size_t)splits * count * element + 1);
    assert_true(scratch && want && c);
    memset(c, 0xff, (size_t)splits * count * element);
    for (int64_t i = wf_matmul_batch_tiles(k, &p) - 1; i >= 0; i--)
        assert_int_equal(wf_matmul_batch_run(k, &p, i, a.data, b.data, NULL, c, scratch), WEFT_OK);
    for (int64_t i = 0; i < items; i++) {
        const int64_t at[3] = {i / size[2] / size[1], i / size[2] % size[1], i % size[2]};
        int64_t o[3] = {0, 0, 0};
        for (int j = 0; j < 3; j++) {
            o[0] += at[j] * dim[j].a;
            o[1] += at[j] * dim[j].b;
            o[2] += at[j] * dim[j].c;
        }
        for (int64_t m = 0; m < d->M; m++)
            for (int64_t n = 0; n < d->N; n++)
                for (int64_t x = 0; x < d->K; x++)
                    want[o[2] + m * d->N + n] +=
                        a.value[o[0] + (d->transpose_a ? x * d->M + m : m * d->K + x)] *
                        b.value[o[1] + (d->transpose_b ? n * d->K + x : x * d->N + n)];
    }
    for (size_t i = 0; i < count; i++) {
        double got = 0;
        for (int64_t s = 0; s < splits; s++)
            got += test_get(d->type, c, (size_t)s * count + i);
        if (got != want[i])
            fail_msg("%s m%dn%dk%d ta%d tb%d, %d %d %d of %d %d %d, [%d]: %g instead of %g",
                     k->name, (int)d->M, (int)d->N, (int)d->K, d->transpose_a, d->transpose_b,
                     there[0], there[1], there[2], (int)size[0], (int)size[1], (int)size[2], (int)i,
                     got, want[i]);
    }
    array_destroy(a);
    array_destroy(b);
    free(scratch);
    free(want);
    free(c);
}

static void batches_share_operands_in_every_way(void **unused)
{
    static const int ways[] = {A_THERE | B_THERE | C_THERE, A_THERE | C_THERE, B_THERE | C_THERE,
                               A_THERE | B_THERE,           A_THERE,           B_THERE};
    static const int64_t sizes[][3] = {{5, 7, 3}, {1, 7, 6}, {6, 1, 5},  {1, 1, 1}, {4, 5, 0},
                                       {0, 5, 4}, {5, 0, 4}, {17, 1, 1}, {1, 17, 1}};
    static const int64_t batch[][3] = {{2, 3, 2}, {3, 1, 4}, {2, 0, 3}};
    int folded = 0, split_up = 0;
    for (int i = 0; i < wf_matmul_n_impls; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t n = 0; n < 3; n++)
                for (int way = 0; way < 6 * 6 * 6 * 4; way++) {
                    const int there[3] = {ways[way / 4 % 6], ways[way / 24 % 6], ways[way / 144]};
                    const wf_matmul_desc d = {sizes[s][0],
                                              sizes[s][1],
                                              sizes[s][2],
                                              way & 1,
                                              way >> 1 & 1,
                                              WEFT_F32,
                                              .bf16 = rounds(wf_matmul_impls[i])};
                    check_batch(wf_matmul_impls[i], &d, batch[n], there, &folded, &split_up);
                }
    assert_true(folded > 1000);
}

static void many_terms_are_summed_in_splits(void **unused)
{
    const int64_t size[3] = {1, 1, 150};
    int folded = 0, split_up = 0;
    for (int i = 0; i < wf_matmul_n_impls; i++)
        for (int bits = 0; bits < 4; bits++) {
            const wf_matmul_desc d = {
                40, 30, 50, bits & 1, bits >> 1, WEFT_F32, .bf16 = rounds(wf_matmul_impls[i])};
            check_batch(wf_matmul_impls[i], &d, size, (const int[]){7, 7, A_THERE | B_THERE},
                        &folded, &split_up);
        }
    const int kernels = 1 + (int)wf_cpu_isa() + (int)wf_cpu_bf16();
    assert_int_equal(split_up, 3 * kernels); /* aT b: one longer K */
    assert_int_equal(folded, kernels);
}

/* What is one product is run as one. */
static void batches_become_larger_products(void **unused)
{
    const wf_matmul_desc rows = {49, 70, 30, 0, 1, WEFT_F32},
                         weights = {30, 70, 49, 1, 0, WEFT_F32},
                         column = {49, 1, 30, 0, 0, WEFT_F32};
    const wf_matmul_dim shared = {16, 49 * 30, 0, 49 * 70}, summed = {16, 30 * 49, 49 * 70, 0},
                        vector = {16, 49 * 30, 0, 49};
    wf_matmul_batch p;
    wf_matmul_batch_init(&p, &rows, 1, &shared, false);
    assert_true(p.items == 1 && p.terms == 1 && p.desc.M == 16 * 49 && p.desc.K == 30);
    wf_matmul_batch_init(&p, &weights, 1, &summed, false);
    assert_true(p.items == 1 && p.terms == 1 && p.desc.K == 16 * 49 && p.desc.M == 30);
    wf_matmul_batch_init(&p, &column, 1, &vector, false);
    assert_true(p.items == 1 && p.swapped && p.desc.M == 1 && p.desc.N == 16 * 49);
    assert_true(!p.desc.transpose_a && p.desc.transpose_b); /* rows of A are dot products' */
}

static void batches_are_told_apart(void **unused)
{
    const wf_matmul_desc one = {49, 70, 30, 0, 1, WEFT_F32},
                         many = {49, 70, 30, 0, 1, WEFT_F32, .batch = 96};
    char text[WF_MATMUL_TEXT];
    assert_string_equal(wf_matmul_describe(&one, text, sizeof text), "m49n70k30 bt f32");
    assert_string_equal(wf_matmul_describe(&many, text, sizeof text), "b96 m49n70k30 bt f32");
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
        cmocka_unit_test(batches_share_operands_in_every_way),
        cmocka_unit_test(many_terms_are_summed_in_splits),
        cmocka_unit_test(batches_become_larger_products),
        cmocka_unit_test(batches_are_told_apart),
        cmocka_unit_test(few_rows_have_kernels_of_their_own),
        cmocka_unit_test(the_choice_respects_type_and_isa),
    };
    return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
