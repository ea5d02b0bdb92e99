/* Matrix product of a few rows of A and a B that is not transposed: the input's gradient of a
 * linear layer with a batch of a few samples.
 *
 * The kernel reads B, a layer's weights, once, as it lies: four rows at a time, in pieces of 4 to 16 KiB. It
 * multiplies them by four numbers of each row of A and adds to sums that stay in a cache, those of one row in
 * L1, those of six in L2. It takes K in blocks of KC and adds the sums of each to C, in order; the first one
 * to the bias. So a sum depends on K alone. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/simd.h"

enum {
    L = WF_LANES,
    MAX_M = 6,
    MAX_N = 4096, /* columns of a tile */
    MIN_N = 1024,
    ENOUGH_TILES = 16,
    ROWS_AT_ONCE = 4, /* rows of B */
    KC = 256,
};

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    const char *reason = d->type != WEFT_F32 ? "f32 only"
                         : d->transpose_b    ? "B as it is only"
                         : d->M > MAX_M      ? "at most 6 rows of A"
                                             : NULL;
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    return wf_matmul_expect(d, WF_ISA, wf_machine_class_of(WF_CLASS_ISA)->cost->matmul_axpy);
}

static void tile(const wf_matmul_desc *d, int *m, int *n)
{
    *m = MAX_M;
    *n = wf_matmul_piece(d->N, MAX_N, L);
    while (wf_matmul_count(d, *m, *n) < ENOUGH_TILES && *n > MIN_N)
        *n = wf_matmul_piece(d->N, *n / 2 < MIN_N ? MIN_N : wf_round_up(*n / 2, L), L);
}

/* sum[i][j] += the sum over S rows of B of a[i][s] * b[s][j], for m rows of sums, MAX_N floats apart. S is a
 * constant at every call. */
WF_INLINE void add_rows(const int S, int m, int n, const float *a, int64_t a_i, int64_t a_k,
                        const float *b, int64_t N, bool prefetch, float *sum)
{
    for (int j = 0; j < n; j += L) {
        wf_vf y[ROWS_AT_ONCE];
        for (int s = 0; prefetch && s < S;
             s++) /* a piece is too short for the hardware prefetcher */
            __builtin_prefetch(b + (S + s) * N + j);
        for (int s = 0; s < S; s++)
            y[s] = n - j < L ? wf_vload_n(b + s * N + j, n - j) : wf_vload(b + s * N + j);
        for (int i = 0; i < m; i++) {
            float *to = sum + i * MAX_N + j;
            wf_vf x = wf_vload(to);
            for (int s = 0; s < S; s++)
                x = wf_vfma(wf_vset1(a[i * a_i + s * a_k]), y[s], x);
            wf_vstore(to, x);
        }
    }
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    const int64_t a_i = d->transpose_a ? 1 : d->K, a_k = d->transpose_a ? d->M : 1;
    const float *a = (const float *)av + m0 * a_i, *b = (const float *)bv + n0;
    const int m = (int)(m1 - m0), n = (int)(n1 - n0);
    float *c = (float *)cv + m0 * d->N + n0, *sum = scratch;
    for (int64_t k0 = 0; k0 < d->K; k0 += KC) {
        int64_t end = d->K - k0 < KC ? d->K : k0 + KC, k = k0;
        memset(sum, 0, (size_t)(m * MAX_N) * sizeof *sum);
        for (; k + ROWS_AT_ONCE <= end; k += ROWS_AT_ONCE)
            add_rows(ROWS_AT_ONCE, m, n, a + k * a_k, a_i, a_k, b + k * d->N, d->N,
                     k + 2 * ROWS_AT_ONCE <= d->K, sum);
        for (; k < end; k++)
            add_rows(1, m, n, a + k * a_k, a_i, a_k, b + k * d->N, d->N, false, sum);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++)
                c[i * d->N + j] = (k0 || d->add ? c[i * d->N + j]
                                   : bias       ? ((const float *)bias)[n0 + j]
                                                : 0) +
                                  sum[i * MAX_N + j];
    }
    return WEFT_OK;
}

const wf_matmul_impl WF_ISA_FN(wf_matmul_axpy) = {
    .name = "axpy:" WF_ISA_NAME,
    .isa = WF_ISA,
    .tile = tile,
    .scratch_bytes = MAX_M * MAX_N * sizeof(float),
    .fits = fits,
    .expect = expect,
    .run = run,
};
