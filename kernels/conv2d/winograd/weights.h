/* What weights*.c share, private to them. weights.c plans backward-weights, has one order and adds up partial
 * sums; weights_rows.c has the other order; weights_product.c multiplies in registers. */
#ifndef WF_CONV2D_WINOGRAD_WEIGHTS_H
#define WF_CONV2D_WINOGRAD_WEIGHTS_H

#include "kernels/conv2d/winograd/winograd.h"

enum {
    WINO_SUMS = WINO_CHANNELS_BLOCK_SIZE * WINO_PAIR *
                L /* floats of a point, a block of channels and a pair of output blocks */
};

typedef struct wino_weights_plan {
    wino_patches cut;
    int C, blocks; /* padded channels; output blocks */
    int capacity;  /* patches that V and D hold */
    int part_channels, part_blocks;
    int c_parts, o_parts;
    /* All patches of a split are taken at once; then the sums of one block of channels and pair exist
     * at a time. */
    bool once;
    bool by_rows;   /* `once`, and a row of points after the other: weights_rows.c */
    int sum_blocks; /* blocks of channels by pairs whose sums exist at a time */
    size_t v_point, v_channels_block, d_point, d_pair, s_point;
} wino_weights_plan;

/* A part. more: sums exist of earlier patches; last: these patches are the last. */
typedef struct wino_weights_part {
    int channel, channels, block, blocks;
    bool more, last;
} wino_weights_part;

/* Channels of a part's block of channels, and output blocks of its pair. */
static inline int wino_part_channels(const wino_weights_part *a, int channels_block)
{
    const int left = a->channels - channels_block * WINO_CHANNELS_BLOCK_SIZE;
    return left < WINO_CHANNELS_BLOCK_SIZE ? left : WINO_CHANNELS_BLOCK_SIZE;
}
static inline int wino_part_blocks(const wino_weights_part *a, int pair)
{
    const int left = a->blocks - pair * WINO_PAIR;
    return left < WINO_PAIR ? left : WINO_PAIR;
}

/* Adds up one point of a block of channels and a pair of output blocks:
 * s[c][b] (+)= sum over patches of v[t][c] * z[t][b]. more: s holds the sum over earlier patches. */
void WF_ISA_FN(wf_wino_accumulate)(int patches, int channels, int blocks, bool more, const float *v,
                                   const float *z, float *sums);

/* by_rows: a part of a split of n images. */
void WF_ISA_FN(wf_wino_weights_by_rows)(const wf_conv2d_desc *d, const wino_weights_plan *p,
                                        const wino_weights_part *a, const wf_conv2d_gradient_io *io,
                                        int n, float *partial_sum, float *scratch);
/* Floats of scratch that it needs. */
size_t WF_ISA_FN(wf_wino_weights_rows_scratch)(const wino_weights_plan *p);

#define wino_accumulate WF_ISA_FN(wf_wino_accumulate)
#define wino_weights_by_rows WF_ISA_FN(wf_wino_weights_by_rows)
#define wino_weights_rows_scratch WF_ISA_FN(wf_wino_weights_rows_scratch)

#endif
