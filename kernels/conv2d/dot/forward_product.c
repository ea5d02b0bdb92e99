/* Forward and backward-data over bf16: the products in registers, Note [Pairs] in dot.h. Pure. */
#include "kernels/conv2d/dot/forward.h"

/* Before the loops over sums: gcc keeps them in registers from the first to the last only if told to unroll
 * those; clang does by itself, and does not if told. */
#if defined(__clang__) || defined(WF_SIMD_EMULATE)
#define UNROLL_SUMS
#else
#define UNROLL_SUMS _Pragma("GCC unroll 16")
#endif

enum { LINE = 64 /* bytes */ };

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
    const uint16_t *xv = p->x, *wv = p->w + (size_t)p->t0 * NV * DOT_SQUARE;
    const char *next_x = p->next_x, *next_w = p->next_w;
    for (int v = 0; v < p->vectors; v++) {
        const uint16_t *w = wv;
        const char *x_line = next_x;
        UNROLL_SUMS
        for (int i = 0; i < N; i += 2) /* the next block's first pixels */
            __builtin_prefetch(xv + p->vector + i * L, 0, 3);
        for (int t = p->t0; t < p->t1; t++) {
            const uint16_t *x = xv + p->tap[t];
            for (int i = 0; i < p->next_x_lines; i++, x_line += LINE)
                __builtin_prefetch(x_line, 0, 2);
            for (int i = 0; i < p->next_w_lines; i++, next_w += LINE)
                __builtin_prefetch(next_w, 0, 2);
#pragma GCC unroll 4
            for (int c = 0; c < DOT_PAIRS; c++, w += NV * 2 * L) {
                wf_vi b[DOT_NV];
                for (int j = 0; j < NV; j++)
                    b[j] = wf_vi_load((const int32_t *)(w + j * 2 * L));
                UNROLL_SUMS
                for (int i = 0; i < N; i++) {
                    const wf_vi a = repeat(x + i * L + 2 * c);
                    UNROLL_SUMS
                    for (int j = 0; j < NV; j++)
                        sum[i][j] = wf_vdot_bf16(sum[i][j], a, b[j]);
                }
            }
        }
        xv += p->vector;
        wv += (size_t)p->taps * NV * DOT_SQUARE;
        next_x += p->next_vector;
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

void dot_product_of(int n, int NV, const dot_product *p)
{
    if (NV == 1)
        multiply_n(1, n, p);
    else
        multiply_n(2, n, p);
}
