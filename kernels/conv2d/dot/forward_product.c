/* Forward and backward-data over bf16: the products in registers, Note [Pairs] in dot.h. Pure. */
#include "kernels/conv2d/dot/forward.h"
#include "kernels/simd/cases.h"

/* Stands before each loop over sums. gcc keeps the sums in registers only if it is told to unroll these
 * loops; clang does so by itself, but not if it is told. */
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

/* PIXELS and OUTPUT_BLOCKS are constants at every call, so that the sums stay in registers. */
WF_INLINE void multiply(const int PIXELS, const int OUTPUT_BLOCKS, const dot_product *p)
{
    wf_vf sum[DOT_MAX_PIXELS][DOT_MAX_OUTPUT_BLOCKS];
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++) {
        UNROLL_SUMS
        for (int b = 0; b < OUTPUT_BLOCKS; b++)
            sum[i][b] = wf_vload(p->bias + b * L);
    }
    const uint16_t *xv = p->x, *wv = p->w + (size_t)p->tap_begin * OUTPUT_BLOCKS * DOT_SQUARE;
    const char *prefetch_input = p->prefetch_input, *prefetch_weights = p->prefetch_weights;
    for (int v = 0; v < p->input_blocks; v++) {
        const uint16_t *w = wv;
        const char *x_line = prefetch_input;
        UNROLL_SUMS
        for (int i = 0; i < PIXELS; i += 2) /* the same pixels of the next input block */
            __builtin_prefetch(xv + p->block_stride + i * L, 0, 3);
        for (int t = p->tap_begin; t < p->tap_end; t++) {
            const uint16_t *x = xv + p->tap[t];
            for (int i = 0; i < p->prefetch_input_lines; i++, x_line += LINE)
                __builtin_prefetch(x_line, 0, 2);
            for (int i = 0; i < p->prefetch_weights_lines; i++, prefetch_weights += LINE)
                __builtin_prefetch(prefetch_weights, 0, 2);
#pragma GCC unroll 4
            for (int c = 0; c < DOT_PAIRS; c++, w += OUTPUT_BLOCKS * 2 * L) {
                wf_vi b[DOT_MAX_OUTPUT_BLOCKS];
                for (int j = 0; j < OUTPUT_BLOCKS; j++)
                    b[j] = wf_vi_load((const int32_t *)(w + j * 2 * L));
                UNROLL_SUMS
                for (int i = 0; i < PIXELS; i++) {
                    const wf_vi a = repeat(x + i * L + 2 * c);
                    UNROLL_SUMS
                    for (int j = 0; j < OUTPUT_BLOCKS; j++)
                        sum[i][j] = wf_vdot_bf16(sum[i][j], a, b[j]);
                }
            }
        }
        xv += p->block_stride;
        wv += (size_t)p->taps * OUTPUT_BLOCKS * DOT_SQUARE;
        prefetch_input += p->prefetch_block_stride;
    }
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++) {
        const size_t at = (size_t)p->output_offset[i];
        UNROLL_SUMS
        for (int b = 0; b < OUTPUT_BLOCKS; b++)
            if (p->out_f32)
                wf_vstore((float *)p->y + at + (size_t)b * p->output_block_stride, sum[i][b]);
            else
                dot_store((uint16_t *)p->y + at + (size_t)b * p->output_block_stride, sum[i][b]);
    }
}

WF_INLINE void multiply_n(const int OUTPUT_BLOCKS, int n, const dot_product *p)
{
#define CASE(PIXELS)                                                                               \
    case PIXELS: multiply(PIXELS, OUTPUT_BLOCKS, p); break;
    switch (n) {
        WF_CASES_14(CASE)
    }
#undef CASE
}

void dot_product_of(int n, int output_blocks, const dot_product *p)
{
    if (output_blocks == 1)
        multiply_n(1, n, p);
    else
        multiply_n(2, n, p);
}
