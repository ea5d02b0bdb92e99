/* Matrix products of operands rounded to bf16: the emulated kernels, and those on the instructions where the CPU has
 * them, against plain C with the same order of sums, to the bit; integers and random numbers against the formula in
 * double. Every number is rounded to bf16 first by wf_to_bf16, which test_simd.c holds.
 *
 * The bound: VDPBF16PS rounds after each product, K times; TDPBF16PS, in a step of 32, 16 times in each of two sums,
 * and twice as it adds them up, fewer than K + K / 16 + 2 in all; each time by 2^-24 of at most the sum of all
 * magnitudes. */
#include "guarded.h"

#include <math.h>
#include <stdio.h>

#include "kernels/matmul/batch.h"

extern const wf_matmul_impl wf_matmul_pairs_emul, wf_matmul_tiles_emul, wf_matmul_tiles_tile_emul;

enum { STEP = 32 };

typedef enum kinds { INTEGERS, NUMBERS, ODD_NUMBERS } kinds;

static float number(kinds kind, uint64_t seed, uint64_t i)
{
    static const float odd[] = {NAN,        INFINITY,         -INFINITY, 0x1p-130f,
                                -0x1p-126f, 0x1.fffffep-127f, 0x1p-70f,  3e38f,
                                -0.0f,      0x1p-149f,        1,         0x1.01p0f};
    const uint32_t bits = test_bits(seed, i);
    if (kind == INTEGERS)
        return (float)((int)(bits % 9) - 4);
    if (kind == ODD_NUMBERS && bits % 16 == 0)
        return odd[bits / 16 % (sizeof odd / sizeof *odd)];
    return ((float)(bits >> 8) - 0x1p23f) * 0x1p-23f;
}

static float *numbers(kinds kind, uint64_t seed, int64_t n, guarded *memory)
{
    *memory = guarded_new((size_t)n * sizeof(float), sizeof(float));
    float *x = (float *)memory->data;
    for (int64_t i = 0; i < n; i++)
        x[i] = number(kind, seed, (uint64_t)i);
    return x;
}

static float rounded(float x)
{
    return wf_from_bf16(wf_to_bf16(x));
}

/* The kernels' orders of sums. */
static float sum_of_pairs(float sum, const float *a, const float *b, int64_t k)
{
    for (int64_t i = 0; i < k; i += 2) {
        const float a1 = i + 1 < k ? a[i + 1] : 0, b1 = i + 1 < k ? b[i + 1] : 0;
        sum = wf_fma_ftz(a1, b1, sum);
        sum = wf_fma_ftz(a[i], b[i], sum);
    }
    return sum;
}

static float sum_of_steps(float sum, const float *a, const float *b, int64_t k)
{
    for (int64_t i = 0; i < k; i += STEP) {
        float part[2] = {0, 0};
        for (int64_t j = i; j < i + STEP; j++)
            part[j % 2] = wf_fma_ftz(j < k ? a[j] : 0, j < k ? b[j] : 0, part[j % 2]);
        const float both = wf_fma_ftz(1, part[0], part[1]);
        sum = wf_fma_ftz(1, sum, both);
    }
    return sum;
}

static void check(const wf_matmul_impl *k, const wf_matmul_desc *d, bool with_bias, kinds kind)
{
    const bool by_tiles = strncmp(k->name, "amx", 3) == 0;
    const int64_t count = d->M * d->N;
    guarded memory[4];
    const float *a = numbers(kind, 1, d->M * d->K, &memory[0]),
                *b = numbers(kind, 2, d->K * d->N, &memory[1]),
                *bias = numbers(kind, 3, d->N, &memory[2]);
    float *c = numbers(kind, 4, count, &memory[3]);
    float *row = malloc((size_t)(d->K + 1) * 2 * sizeof *row), *column = row + d->K;
    char *scratch = aligned_alloc(64, (k->scratch_bytes + 63) / 64 * 64);
    assert_true(row && scratch);
    memset(scratch, 0xff, k->scratch_bytes);
    if (!d->add)
        memset(c, 0xff, (size_t)count * sizeof *c);
    for (int64_t i = wf_matmul_tiles(k, d) - 1; i >= 0; i--)
        assert_int_equal(wf_matmul_run(k, d, i, a, b, with_bias ? bias : NULL, c, scratch),
                         WEFT_OK);
    for (int64_t i = 0; i < count; i++) {
        const int64_t m = i / d->N, n = i % d->N;
        const float start = d->add ? number(kind, 4, (uint64_t)i) : with_bias ? bias[n] : 0;
        double exact = (double)start, size = fabs(exact);
        for (int64_t j = 0; j < d->K; j++) {
            row[j] = rounded(a[d->transpose_a ? j * d->M + m : m * d->K + j]);
            column[j] = rounded(b[d->transpose_b ? n * d->K + j : j * d->N + n]);
            exact += (double)row[j] * (double)column[j];
            size += fabs((double)row[j] * (double)column[j]);
        }
        const float want = (by_tiles ? sum_of_steps : sum_of_pairs)(start, row, column, d->K);
        if (wf_bits_of(c[i]) != wf_bits_of(want) && !(isnan(c[i]) && isnan(want)))
            fail_msg("%s m%dn%dk%d ta%d tb%d (%d, %d): %a, in plain C %a", k->name, (int)d->M,
                     (int)d->N, (int)d->K, d->transpose_a, d->transpose_b, (int)m, (int)n,
                     (double)c[i], (double)want);
        const double bound = kind == INTEGERS ? 0 : ((double)d->K * 17 / 16 + 2) * 0x1p-24 * size;
        if (kind != ODD_NUMBERS && !(fabs((double)c[i] - exact) <= bound))
            fail_msg("%s m%dn%dk%d (%d, %d): %.9g instead of %.9g", k->name, (int)d->M, (int)d->N,
                     (int)d->K, (int)m, (int)n, (double)c[i], exact);
    }
    for (int i = 0; i < 4; i++)
        guarded_free(&memory[i]);
    free(row);
    free(scratch);
}

static const int sizes[][3] = {{1, 1, 1},    {2, 17, 7},    {7, 1, 300},   {16, 32, 64},
                               {14, 33, 31}, {48, 64, 33},  {17, 65, 257}, {32, 48, 512},
                               {5, 31, 513}, {230, 20, 18}, {31, 70, 50},  {3, 260, 40},
                               {17, 16, 2}};

/* With `wider` sizes that take the emulated tiles too long. */
static void check_kernel(const wf_matmul_impl *k, bool wider)
{
    static const int more[][3] = {{100, 300, 700}, {225, 65, 514}, {16, 300, 1024}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int bits = 0; bits < 4; bits++)
            for (kinds kind = INTEGERS; kind <= ODD_NUMBERS; kind++) {
                wf_matmul_desc d = {sizes[i][0],   sizes[i][1], sizes[i][2], bits & 1,
                                    bits >> 1 & 1, WEFT_F32,    .bf16 = 1};
                check(k, &d, (i + (size_t)bits) % 2, kind);
                d.add = 1;
                check(k, &d, false, kind);
            }
    for (size_t i = 0; wider && i < sizeof more / sizeof *more; i++)
        for (int bits = 0; bits < 4; bits++) {
            const wf_matmul_desc d = {more[i][0],    more[i][1], more[i][2], bits & 1,
                                      bits >> 1 & 1, WEFT_F32,   .bf16 = 1};
            check(k, &d, true, NUMBERS);
        }
}

static void emulated_kernels_sum_in_their_order(void **unused)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    check_kernel(&wf_matmul_pairs_emul, false);
    check_kernel(&wf_matmul_tiles_emul, false);
}

static void emulated_tiles_beside_instructions_do(void **unused)
{
    if (wf_cpu_bf16() < WF_BF16_DOT)
        skip();
    check_kernel(&wf_matmul_tiles_tile_emul, false);
}

static void kernels_on_instructions_do(void **unused)
{
    const wf_matmul_desc any = {64, 64, 64, 0, 0, WEFT_F32, .bf16 = 1};
    int ran = 0;
    for (int i = 0; i < wf_matmul_n_impls; i++) {
        const wf_matmul_impl *k = wf_matmul_impls[i];
        char why[80];
        if (strstr(k->name, "avx512_bf16") &&
            wf_matmul_fits(k, &any, wf_cpu_isa(), why, sizeof why)) {
            check_kernel(k, true);
            ran++;
        }
    }
    assert_int_equal(ran, (int)wf_cpu_bf16());
}

static void only_where_rounding_is_allowed(void **unused)
{
    wf_matmul_desc d = {256, 256, 256, 0, 0, WEFT_F32};
    char text[WF_MATMUL_TEXT];
    assert_null(strstr(wf_matmul_select(&d, wf_cpu_isa(), NULL)->name, "bf16"));
    assert_null(strstr(wf_matmul_select(&d, wf_cpu_isa(), "pairs:avx512_bf16")->name, "bf16"));
    d.bf16 = 1;
    assert_string_equal(wf_matmul_describe(&d, text, sizeof text), "m256n256k256 f32 bf16");
    assert_int_equal(strstr(wf_matmul_select(&d, wf_cpu_isa(), NULL)->name, "bf16") != NULL,
                     wf_cpu_bf16() > WF_BF16_STORAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emulated_kernels_sum_in_their_order),
        cmocka_unit_test(emulated_tiles_beside_instructions_do),
        cmocka_unit_test(kernels_on_instructions_do),
        cmocka_unit_test(only_where_rounding_is_allowed),
    };
    return cmocka_run_group_tests_name("matmul_bf16", tests, NULL, NULL);
}
