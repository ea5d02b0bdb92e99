/* Winograd F(4x4, 3x3), forward and backward-data: the products at one point, in registers. Pure. */
#include "kernels/conv2d/winograd/forward.h"

/* PATCHES and BLOCKS are constants at every call, so that the sums stay in registers. */
WF_INLINE void multiply(const int PATCHES, const int BLOCKS, const wino_operands *a, const float *v,
                        const float *ahead, float *m)
{
    const float *u = a->u;
    wf_vf sum[WINO_MAX_SUMS][WINO_PAIR];
    WF_UNROLL
    for (int t = 0; t < PATCHES; t++)
        for (int b = 0; b < BLOCKS; b++)
            sum[t][b] = a->more ? wf_vload(m + (t * WINO_PAIR + b) * L) : wf_vzero();
    for (int left = a->channels; left > 0;
         left -= WINO_CHANNELS_BLOCK_SIZE, v += a->v_channels_block) {
        const int n = left < WINO_CHANNELS_BLOCK_SIZE ? left : WINO_CHANNELS_BLOCK_SIZE;
        const float *x = v;
        for (int c = 0; c < n; c++, u += L, ahead += L, x++) {
            wf_vf w[WINO_PAIR];
            __builtin_prefetch(ahead, 0, 2);
            for (int b = 0; b < BLOCKS; b++)
                w[b] = wf_vload(u + (size_t)b * a->u_block);
            WF_UNROLL
            for (int t = 0; t < PATCHES; t++) {
                wf_vf y = wf_vset1(x[t * WINO_CHANNELS_BLOCK_SIZE]);
                for (int b = 0; b < BLOCKS; b++)
                    sum[t][b] = wf_vfma(y, w[b], sum[t][b]);
            }
        }
    }
    WF_UNROLL
    for (int t = 0; t < PATCHES; t++)
        for (int b = 0; b < BLOCKS; b++)
            wf_vstore(m + (t * WINO_PAIR + b) * L, sum[t][b]);
}

WF_INLINE void multiply_rows(const int BLOCKS, int patches, const wino_operands *a, const float *v,
                             const float *ahead, float *m)
{
#define CASE(N)                                                                                    \
    case N: multiply(N, BLOCKS, a, v, ahead, m); break;
    switch (patches) {
        WINO_CASES(CASE)
    }
#undef CASE
}

/* The patches go in subblocks of at most WINO_MAX_SUMS, all about equal. The first two prefetch a block of the
 * next filter each. */
void wino_multiply(int patches, int blocks, const wino_operands *a, float *m)
{
    const int groups = (patches + WINO_MAX_SUMS - 1) / WINO_MAX_SUMS;
    for (int i = 0; i < groups; i++) {
        const int first = patches * i / groups, n = patches * (i + 1) / groups - first;
        const float *v = a->v + (size_t)first * WINO_CHANNELS_BLOCK_SIZE;
        const float *ahead = i < blocks && a->ahead[i] ? a->ahead[i] : a->u;
        float *y = m + (size_t)first * WINO_PAIR * L;
        if (blocks == 1)
            multiply_rows(1, n, a, v, ahead, y);
        else
            multiply_rows(2, n, a, v, ahead, y);
    }
}
