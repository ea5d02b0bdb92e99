/* Forward and backward-data over bf16: the products in registers, Note [Pairs] in dot.h. Pure. */
#include "kernels/conv2d/dot_forward.h"

/* Before the loops over sums: gcc keeps them in registers from the first to the last only if told to unroll
 * those; clang does by itself, and does not if told. */
#if defined(__clang__) || defined(WF_SIMD_EMULATE)
#define UNROLL_SUMS
#else
#define UNROLL_SUMS _Pragma("GCC unroll 16")
#endif

WF_INLINE wf_vi repeat(const uint16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return wf_vi_set1(both);
}

/* N pixels and NV vectors are constants where this is called, so that the sums stay in registers. */
WF_INLINE void multiply(const int N, const int NV, const dot_product *p)
{
    wf_vf sum[DOT_N][DOT_NV];
    UNROLL_SUMS
    for (int i = 0; i < N; i++) {
        UNROLL_SUMS
        for (int b = 0; b < NV; b++)
            sum[i][b] = wf_vload(p->bias + b * L);
    }
    const uint16_t *x = p->x, *w = p->w;
    for (size_t t = 0; t < p->terms; t++, x += p->x_step) {
#pragma GCC unroll 4
        for (int c = 0; c < DOT_PAIRS; c++, w += NV * 2 * L) {
            wf_vi v[DOT_NV];
            for (int b = 0; b < NV; b++)
                v[b] = wf_vi_load((const int32_t *)(w + b * 2 * L));
            UNROLL_SUMS
            for (int i = 0; i < N; i++) {
                const wf_vi xi = repeat(x + i * L + 2 * c);
                UNROLL_SUMS
                for (int b = 0; b < NV; b++)
                    sum[i][b] = wf_vdot_bf16(sum[i][b], xi, v[b]);
            }
        }
    }
    UNROLL_SUMS
    for (int i = 0; i < N; i++) {
        const size_t at = (size_t)p->y_at[i];
        UNROLL_SUMS
        for (int b = 0; b < NV; b++)
            if (p->wide)
                wf_vstore((float *)p->y + at + (size_t)b * p->y_block, sum[i][b]);
            else
                dot_store((uint16_t *)p->y + at + (size_t)b * p->y_block, sum[i][b]);
    }
}

WF_INLINE void multiply_n(const int NV, int n, const dot_product *p)
{
#define CASE(N)                                                                                    \
    case N: multiply(N, NV, p); break;
    switch (n) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
        CASE(13)
        CASE(14)
    }
#undef CASE
}

void dot_product_of(int n, int vectors, const dot_product *p)
{
    if (vectors == 1)
        multiply_n(1, n, p);
    else
        multiply_n(2, n, p);
}
