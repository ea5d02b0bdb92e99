/* Matrix product in registers: MR rows times two vectors of C, from panels packed in the scratch.
 *
 * The panels make every load of the inner loop contiguous and hide which operand is transposed;
 * zeros fill their tails. K is taken in chunks of KC, whose sums are added to C (which starts as
 * the bias) in order, so a sum depends on K alone. After Goto and van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication" (2008), with one tile of C in place of the outer loops:
 * 48 x 256 floats of A and 256 x 64 of B, 112 KiB, live in L2. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/simd/simd.h"

enum {
    MR = 6,
    NR = 2 * WF_LANES,
    TILE_M = 8 * MR,
    TILE_N = 64, /* a multiple of NR on every ISA */
    KC = 256
};

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    if (d->type == WEFT_F32)
        return true;
    snprintf(why, size, "f32 only");
    return false;
}

/* out[k * width + i] = in[i * outer + k * inner] for i < n, 0 for n <= i < width. */
static void pack(float *out, int width, const float *in, int64_t outer, int64_t inner, int n,
                 int kc)
{
    if (n < width)
        memset(out, 0, (size_t)width * (size_t)kc * sizeof *out);
    if (outer == 1) { /* a row of the panel is a row of the matrix */
        for (int k = 0; k < kc; k++)
            memcpy(out + k * width, in + k * inner, (size_t)n * sizeof *out);
        return;
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < kc; k++)
            out[k * width + i] = in[i * outer + k * inner];
}

/* c[MR][NR] = sum over k of a[k][MR] * b[k][NR]. */
static void micro(int kc, const float *a, const float *b, float *c)
{
    wf_vf sum[MR][2];
    for (int i = 0; i < MR; i++)
        sum[i][0] = sum[i][1] = wf_vzero();
    for (int k = 0; k < kc; k++, a += MR, b += NR) {
        wf_vf b0 = wf_vload(b), b1 = wf_vload(b + WF_LANES);
        for (int i = 0; i < MR; i++) {
            wf_vf x = wf_vset1(a[i]);
            sum[i][0] = wf_vfma(x, b0, sum[i][0]);
            sum[i][1] = wf_vfma(x, b1, sum[i][1]);
        }
    }
    for (int i = 0; i < MR; i++) {
        wf_vstore(c + i * NR, sum[i][0]);
        wf_vstore(c + i * NR + WF_LANES, sum[i][1]);
    }
}

/* Adds one MR x NR block to C, where it lies inside. */
static void add(const float *block, float *c, int64_t row, int m, int n)
{
    for (int i = 0; i < m && i < MR; i++)
        for (int j = 0; j < n && j < NR; j++)
            c[i * row + j] += block[i * NR + j];
}

static void run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    const float *a = av, *b = bv;
    int64_t a_row = d->transpose_a ? 1 : d->K, a_col = d->transpose_a ? d->M : 1;
    int64_t b_row = d->transpose_b ? 1 : d->N, b_col = d->transpose_b ? d->K : 1;
    float *a_panel = scratch, *b_panel = a_panel + TILE_M * KC, *c = (float *)cv + m0 * d->N + n0;
    float block[MR * NR];
    int m = (int)(m1 - m0), n = (int)(n1 - n0);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            c[i * d->N + j] = bias ? ((const float *)bias)[n0 + j] : 0;
    for (int64_t k0 = 0; k0 < d->K; k0 += KC) {
        int kc = d->K - k0 < KC ? (int)(d->K - k0) : KC;
        for (int i = 0; i < m; i += MR)
            pack(a_panel + i * KC, MR, a + (m0 + i) * a_row + k0 * a_col, a_row, a_col,
                 m - i < MR ? m - i : MR, kc);
        for (int j = 0; j < n; j += NR)
            pack(b_panel + j * KC, NR, b + (n0 + j) * b_col + k0 * b_row, b_col, b_row,
                 n - j < NR ? n - j : NR, kc);
        for (int j = 0; j < n; j += NR)
            for (int i = 0; i < m; i += MR) {
                micro(kc, a_panel + i * KC, b_panel + j * KC, block);
                add(block, c + i * d->N + j, d->N, m - i, n - j);
            }
    }
}

const wf_matmul_impl WF_ISA_FN(wf_matmul) = {
#if WF_LANES == 16
    .name = "avx512",
    .isa = WEFT_ISA_AVX512,
#else
    .name = "avx2",
    .isa = WEFT_ISA_AVX2,
#endif
    .tile_m = TILE_M,
    .tile_n = TILE_N,
    .scratch_bytes = (size_t)(TILE_M + TILE_N) * KC * sizeof(float),
    .fits = fits,
    .run = run,
};
