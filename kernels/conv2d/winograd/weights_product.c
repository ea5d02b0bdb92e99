/* Winograd F(4x4, 3x3), backward-weights: the products at one point, in registers. Pure. */
#include "kernels/conv2d/winograd/weights.h"

/* CHANNELS and BLOCKS are constants at every call, so that the sums stay in registers. */
WF_INLINE void accumulate(const int CHANNELS, const int BLOCKS, bool more, int patches,
                          const float *v, const float *d, float *s)
{
    wf_vf sum[WINO_MAX_SUMS][WINO_PAIR];
    WF_UNROLL
    for (int c = 0; c < CHANNELS; c++)
        for (int b = 0; b < BLOCKS; b++)
            sum[c][b] = more ? wf_vload(s + (c * WINO_PAIR + b) * L) : wf_vzero();
    for (int t = 0; t < patches; t++, v += WINO_CHANNELS_BLOCK_SIZE, d += WINO_PAIR * L) {
        wf_vf y[WINO_PAIR];
        for (int b = 0; b < BLOCKS; b++)
            y[b] = wf_vload(d + b * L);
        WF_UNROLL
        for (int c = 0; c < CHANNELS; c++) {
            wf_vf x = wf_vset1(v[c]);
            for (int b = 0; b < BLOCKS; b++)
                sum[c][b] = wf_vfma(x, y[b], sum[c][b]);
        }
    }
    WF_UNROLL
    for (int c = 0; c < CHANNELS; c++)
        for (int b = 0; b < BLOCKS; b++)
            wf_vstore(s + (c * WINO_PAIR + b) * L, sum[c][b]);
}

WF_INLINE void accumulate_rows(const int BLOCKS, int channels, bool more, int patches,
                               const float *v, const float *d, float *s)
{
#define CASE(N)                                                                                    \
    case N: accumulate(N, BLOCKS, more, patches, v, d, s); break;
    switch (channels) {
        WINO_CASES(CASE)
    }
#undef CASE
}

/* The channels go in subblocks of at most WINO_MAX_SUMS, all about equal. */
void wino_accumulate(int patches, int channels, int blocks, bool more, const float *v,
                     const float *z, float *sums)
{
    const int groups = (channels + WINO_MAX_SUMS - 1) / WINO_MAX_SUMS;
    for (int g = 0; g < groups; g++) {
        int c = channels * g / groups, n = channels * (g + 1) / groups - c;
        float *s = sums + (size_t)c * WINO_PAIR * L;
        if (more) /* the sums of the next channels, or of the next point */
            for (int i = 0; i < n * WINO_PAIR * L; i += 16)
                __builtin_prefetch(s + n * WINO_PAIR * L + i, 1, 2);
        if (blocks == 1)
            accumulate_rows(1, n, more, patches, v + c, z, s);
        else
            accumulate_rows(2, n, more, patches, v + c, z, s);
    }
}
