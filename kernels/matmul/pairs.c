/* Matrix product in bf16 by VDPBF16PS: up to 14 rows by two vectors of sums, Note [Packed pairs] in pairs.h.
 *
 * A sum starts at the bias, or at what C holds, and takes the pairs of products in the order of K, each by
 * wf_dot_bf16 of kernels/simd/bf16_emul.h. */
#include "kernels/matmul/pairs.h"
#include "kernels/simd/cases.h"

/* As in kernels/conv2d/dot/forward_product.c: gcc keeps sums in registers only where it unrolls. */
#if defined(__clang__) || defined(WF_SIMD_EMULATE)
#define UNROLL_SUMS
#else
#define UNROLL_SUMS _Pragma("GCC unroll 16")
#endif

enum { MR = 14, VECTORS = PAIRS_NR / PAIRS_L };

WF_INLINE wf_vi repeat(const uint16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return wf_vi_set1(both);
}

/* Rows [0, R) at a and columns [0, V * PAIRS_L) of the panel at b; of the last vector `last` are inside C. R and V
 * are constants at every call. */
WF_INLINE void subblock(const int R, const int V, const pairs_block *p, const uint16_t *a,
                        const uint16_t *b, float *c, const float *bias, int last)
{
    wf_vf sum[MR][VECTORS];
    UNROLL_SUMS
    for (int i = 0; i < R; i++) {
        UNROLL_SUMS
        for (int v = 0; v < V; v++) {
            const float *from = p->first ? bias : c + i * p->row;
            sum[i][v] =
                !from ? wf_vzero() : wf_vload_n(from + v * PAIRS_L, v < V - 1 ? PAIRS_L : last);
        }
    }
    for (int k = 0; k < p->kc; k += 2, b += 2 * PAIRS_NR) {
        wf_vi y[VECTORS];
        UNROLL_SUMS
        for (int v = 0; v < V; v++)
            y[v] = wf_vi_load((const int32_t *)(b + v * 2 * PAIRS_L));
        UNROLL_SUMS
        for (int i = 0; i < R; i++) {
            const wf_vi x = repeat(a + i * PAIRS_PITCH + k);
            UNROLL_SUMS
            for (int v = 0; v < V; v++)
                sum[i][v] = wf_vdot_bf16(sum[i][v], x, y[v]);
        }
    }
    UNROLL_SUMS
    for (int i = 0; i < R; i++) {
        UNROLL_SUMS
        for (int v = 0; v < V; v++)
            wf_vstore_n(c + i * p->row + v * PAIRS_L, sum[i][v], v < V - 1 ? PAIRS_L : last);
    }
}

WF_INLINE void rows_of(const int V, int rows, const pairs_block *p, const uint16_t *a,
                       const uint16_t *b, float *c, const float *bias, int last)
{
#define CASE(R)                                                                                    \
    case R: subblock(R, V, p, a, b, c, bias, last); break;
    switch (rows) {
        WF_CASES_14(CASE)
    }
#undef CASE
}

static void multiply(void *state, const pairs_block *p)
{
    const int groups = (p->m + MR - 1) / MR;
    for (int j = 0; j < p->n; j += PAIRS_NR) {
        const uint16_t *b = p->b + (size_t)(j / PAIRS_NR) * PAIRS_PANEL;
        const float *bias = p->bias ? p->bias + j : NULL;
        const int n = p->n - j < PAIRS_NR ? p->n - j : PAIRS_NR;
        for (int g = 0; g < groups; g++) {
            const int i = p->m * g / groups, rows = p->m * (g + 1) / groups - i;
            const uint16_t *a = p->a + (size_t)i * PAIRS_PITCH;
            float *c = p->c + i * p->row + j;
            if (n > PAIRS_L)
                rows_of(2, rows, p, a, b, c, bias, n - PAIRS_L);
            else
                rows_of(1, rows, p, a, b, c, bias, n);
        }
    }
}

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    return pairs_fits(d, WF_BF16_DOT, why, size);
}

static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    return pairs_expect(d, wf_machine_class_of(WEFT_ISA_AVX512)->cost->dot_matmul);
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    pairs_run(d, m0, m1, n0, n1, a, b, bias, c, scratch, multiply, NULL);
    return WEFT_OK;
}

const wf_matmul_impl WF_ISA_FN(wf_matmul_pairs) = {
    .name = "pairs:" WF_ISA_NAME,
    .isa = WEFT_ISA_AVX512,
    .tile = pairs_tile,
    .scratch_bytes = PAIRS_SCRATCH,
    .fits = fits,
    .expect = expect,
    .run = run,
};
