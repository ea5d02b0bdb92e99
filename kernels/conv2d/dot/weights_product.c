/* Backward-weights over bf16: the products in registers, Note [Panels of pixel pairs]. Pure. */
#include "kernels/conv2d/dot/weights.h"

/* w[i][b] (+)= sum over pairs of x[i] . ddst[b]. INPUTS and BLOCKS are constants at every call, so that the
 * sums stay in registers. */
WF_INLINE void multiply(const int INPUTS, const int BLOCKS, bool starts_sums, int pairs,
                        const uint16_t *x, const uint16_t *ddst, float *w, size_t w_block_stride,
                        dot_prefetch_lines prefetch)
{
    wf_vf sum[L][DOT_MAX_GRADIENT_BLOCKS];
    WF_UNROLL
    for (int i = 0; i < INPUTS; i++) {
        WF_UNROLL
        for (int b = 0; b < BLOCKS; b++)
            sum[i][b] = starts_sums ? wf_vzero() : wf_vload(w + i * L + (size_t)b * w_block_stride);
    }
    const char *next = prefetch.at;
    for (int p = 0; p < pairs; p++, x += 2 * L, ddst += BLOCKS * 2 * L) {
        wf_vi v[DOT_MAX_GRADIENT_BLOCKS];
        __builtin_prefetch(next, 0, 2);
        next += prefetch.step;
        WF_UNROLL
        for (int b = 0; b < BLOCKS; b++)
            v[b] = wf_vi_load((const int32_t *)(ddst + b * 2 * L));
        WF_UNROLL
        for (int i = 0; i < INPUTS; i++) {
            int32_t pair;
            memcpy(&pair, x + 2 * i, sizeof pair);
            const wf_vi xi = wf_vi_set1(pair);
            WF_UNROLL
            for (int b = 0; b < BLOCKS; b++)
                sum[i][b] = wf_vdot_bf16(sum[i][b], xi, v[b]);
        }
    }
    WF_UNROLL
    for (int i = 0; i < INPUTS; i++) {
        WF_UNROLL
        for (int b = 0; b < BLOCKS; b++)
            wf_vstore(w + i * L + (size_t)b * w_block_stride, sum[i][b]);
    }
}

void dot_weights_product(int blocks, bool starts_sums, int pairs, const uint16_t *x,
                         const uint16_t *ddst, float *w, size_t w_block_stride,
                         const dot_prefetch_lines prefetch[2])
{
    if (blocks == 1) {
        multiply(L, 1, starts_sums, pairs, x, ddst, w, w_block_stride, prefetch[0]);
        return;
    }
    for (int i = 0; i < L; i += DOT_HALF_INPUTS)
        if (blocks == 2)
            multiply(DOT_HALF_INPUTS, 2, starts_sums, pairs, x + 2 * i, ddst, w + i * L,
                     w_block_stride, prefetch[i > 0]);
        else
            multiply(DOT_HALF_INPUTS, 3, starts_sums, pairs, x + 2 * i, ddst, w + i * L,
                     w_block_stride, prefetch[i > 0]);
}
