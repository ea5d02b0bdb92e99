/* Matrix product of a short A and a transposed B: a linear layer with a small batch.
 *
 * Rows of both run along K, so an element of C is the dot product of two rows as they lie. Registers hold the
 * sums of three rows of A by four of B, each a vector along K. The kernel adds up a vector's lanes at the end
 * of a block of KC numbers. It packs nothing, and reads B, a layer's weights, once, at the pace of memory. With
 * more rows of A it would read A from L2 too often, and packing B pays (gemm.c). It adds the sums of each block
 * of K to C, in order; the first one to the bias. So a sum depends on K alone. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/simd.h"

enum {
    L = WF_LANES,
    MR = 3,
    NR = 4,
    KC = 1024,
    MAX_M = 32,
    MAX_N = 64, /* columns of a tile */
    MIN_N = 16,
    ENOUGH_TILES = 64,
    LINE = 16, /* floats of a cache line */
};

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    const char *reason = d->type != WEFT_F32                 ? "f32 only"
                         : d->transpose_a || !d->transpose_b ? "rows of A by rows of B only"
                         : d->M > MAX_M                      ? "at most 32 rows of A"
                                                             : NULL;
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

/* The lanes of each sum are added up once for each block of K. */
static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    const double blocks = (double)((d->K + KC - 1) / KC);
    return wf_matmul_expect(d, WF_ISA, c->matmul_dot) +
           (double)d->M * (double)d->N * blocks * c->matmul_dot_sum;
}

static void tile(const wf_matmul_desc *d, int *m, int *n)
{
    *m = MAX_M;
    *n = wf_matmul_piece(d->N, MAX_N, NR);
    if (wf_matmul_count(d, *m, *n) < ENOUGH_TILES)
        *n = wf_matmul_piece(d->N, MIN_N, NR);
}

/* c[i][j] (+)= the sum over k of a[i][k] * b[j][k], for ROWS x COLUMNS of them, which are constants at every
 * call. prefetch: the next rows of B, too. */
WF_INLINE void dots(const int ROWS, const int COLUMNS, int kc, const float *a, const float *b,
                    int64_t K, bool prefetch, bool first, const float *bias, float *c,
                    int64_t c_row)
{
    wf_vf sum[MR][NR];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            sum[i][j] = wf_vzero();
    for (int k = 0; k < kc; k += L) {
        const int n = kc - k;
        wf_vf x[MR];
        if (prefetch && k % LINE == 0)
            for (int j = 0; j < COLUMNS; j++)
                __builtin_prefetch(b + (COLUMNS + j) * K + k);
        for (int i = 0; i < ROWS; i++)
            x[i] = n < L ? wf_vload_n(a + i * K + k, n) : wf_vload(a + i * K + k);
        for (int j = 0; j < COLUMNS; j++) {
            wf_vf y = n < L ? wf_vload_n(b + j * K + k, n) : wf_vload(b + j * K + k);
            for (int i = 0; i < ROWS; i++)
                sum[i][j] = wf_vfma(x[i], y, sum[i][j]);
        }
    }
    for (int i = 0; i < ROWS; i++, c += c_row)
        for (int j = 0; j < COLUMNS; j++)
            c[j] = (!first ? c[j] : bias ? bias[j] : 0) + wf_vsum(sum[i][j]);
}

/* Multiplies all m rows of A by n of B, at most NR. */
static void strip(const wf_matmul_desc *d, int m, int n, int kc, const float *a, const float *b,
                  bool more, bool first, const float *bias, float *c)
{
    for (int i = 0; i < m; i += MR, a += MR * d->K, c += MR * d->N) {
        const bool prefetch = more && i == 0;
        for (int j = 0; n < NR && j < n; j++) /* a tail */
            for (int r = i; r < m && r < i + MR; r++)
                dots(1, 1, kc, a + (r - i) * d->K, b + j * d->K, d->K, false, first,
                     bias ? bias + j : NULL, c + (r - i) * d->N + j, d->N);
        if (n < NR)
            continue;
        switch (m - i) {
        case 1: dots(1, NR, kc, a, b, d->K, prefetch, first, bias, c, d->N); break;
        case 2: dots(2, NR, kc, a, b, d->K, prefetch, first, bias, c, d->N); break;
        default: dots(3, NR, kc, a, b, d->K, prefetch, first, bias, c, d->N); break;
        }
    }
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    for (int64_t k0 = 0; k0 < d->K; k0 += KC) {
        int kc = d->K - k0 < KC ? (int)(d->K - k0) : KC;
        for (int64_t n = n0; n < n1; n += NR)
            strip(d, (int)(m1 - m0), n1 - n < NR ? (int)(n1 - n) : NR, kc,
                  (const float *)av + m0 * d->K + k0, (const float *)bv + n * d->K + k0,
                  n + 2 * NR <= n1, k0 == 0 && !d->add, bias ? (const float *)bias + n : NULL,
                  (float *)cv + m0 * d->N + n);
    }
    return WEFT_OK;
}

const wf_matmul_impl WF_ISA_FN(wf_matmul_dot) = {
    .name = "dot:" WF_ISA_NAME,
    .isa = WF_ISA,
    .tile = tile,
    .scratch_bytes = 0,
    .fits = fits,
    .expect = expect,
    .run = run,
};
