/* Backward-weights over bf16: the products in registers, Note [Panels of pixel pairs]. Pure. */
#include "kernels/conv2d/dot/weights.h"

/* NX inputs and NB blocks are constants where this is called, so that the sums stay in registers. */
WF_INLINE void multiply(const int NX, const int NB, bool first, int pairs, const uint16_t *x,
                        const uint16_t *dy, float *w, size_t w_block, dot_stretch ahead)
{
    wf_vf sum[L][DOT_NB];
    WF_UNROLL
    for (int i = 0; i < NX; i++) {
        WF_UNROLL
        for (int b = 0; b < NB; b++)
            sum[i][b] = first ? wf_vzero() : wf_vload(w + i * L + (size_t)b * w_block);
    }
    const char *next = ahead.at;
    for (int p = 0; p < pairs; p++, x += 2 * L, dy += NB * 2 * L) {
        wf_vi v[DOT_NB];
        __builtin_prefetch(next, 0, 2);
        next += ahead.step;
        WF_UNROLL
        for (int b = 0; b < NB; b++)
            v[b] = wf_vi_load((const int32_t *)(dy + b * 2 * L));
        WF_UNROLL
        for (int i = 0; i < NX; i++) {
            int32_t pair;
            memcpy(&pair, x + 2 * i, sizeof pair);
            const wf_vi xi = wf_vi_set1(pair);
            WF_UNROLL
            for (int b = 0; b < NB; b++)
                sum[i][b] = wf_vdot_bf16(sum[i][b], xi, v[b]);
        }
    }
    WF_UNROLL
    for (int i = 0; i < NX; i++) {
        WF_UNROLL
        for (int b = 0; b < NB; b++)
            wf_vstore(w + i * L + (size_t)b * w_block, sum[i][b]);
    }
}

void dot_weights_product(int NB, bool first, int pairs, const uint16_t *x, const uint16_t *dy,
                         float *w, size_t w_block, const dot_stretch ahead[2])
{
    if (NB == 1) {
        multiply(L, 1, first, pairs, x, dy, w, w_block, ahead[0]);
        return;
    }
    for (int i = 0; i < L; i += DOT_HALF)
        if (NB == 2)
            multiply(DOT_HALF, 2, first, pairs, x + 2 * i, dy, w + i * L, w_block, ahead[i > 0]);
        else
            multiply(DOT_HALF, 3, first, pairs, x + 2 * i, dy, w + i * L, w_block, ahead[i > 0]);
}
