/* What forward*.c share, private to them. forward.c plans a pass, transforms the filter and has two orders;
 * forward_rows.c has the third, Note [Rows of points]; forward_product.c multiplies in registers;
 * forward_output.c transforms products back. */
#ifndef WF_CONV2D_WINOGRAD_FORWARD_H
#define WF_CONV2D_WINOGRAD_FORWARD_H

#include "kernels/conv2d/winograd/winograd.h"

/* A pass as a forward convolution. */
typedef struct wino_geometry {
    int I, O, H, W, P, Q, padding[2];
} wino_geometry;

typedef struct wino_forward_plan {
    wino_geometry g;
    wino_patches cut;
    int I, blocks;          /* padded input channels; output blocks */
    bool in_bf16, out_bf16; /* images of bf16, not f32 */
    bool packed;  /* the filter is transformed once, by tasks of its own: Note [Large filters] */
    bool by_rows; /* Note [Rows of points] */
    int capacity; /* patches taken at once */
    int group;    /* output blocks multiplied before they are transformed back */
    int images, parts; /* of a tile; ranges of output channels */
    int row_parts;     /* ranges of an image's rows of patches; 1 unless a tile is one image */
    size_t v_point, v_channels_block, m_point, m_pair;
    size_t half_value, half_pair; /* by_rows: of the values that wait for the other rows */
    size_t u_point, u_block; /* of the packed filter, or of what is transformed of the plain one */
} wino_forward_plan;

/* Channels of V and of the filter to multiply. */
typedef struct wino_operands {
    const float *v, *u;
    size_t v_channels_block, u_block;
    int channels;
    bool more;
    /* The filter that is wanted next, by output block: the products prefetch it. NULL: they need not. */
    const float *ahead[WINO_PAIR];
} wino_operands;

/* m[t][b] (+)= sum over channels of v[t][c] * u[b][c], for some patches t and one or two output blocks b.
 * more: m holds the sum over earlier channels. */
void WF_ISA_FN(wf_wino_multiply)(int patches, int blocks, const wino_operands *a, float *m);

/* Transforms n output blocks from `block` on back, for all rows of patches from `at` on that were taken
 * together, adds the bias and stores the outputs. by_rows: m holds what wino_half_output made. */
void WF_ISA_FN(wf_wino_output)(const wino_forward_plan *p, const wf_conv2d_io *io, wino_rows at,
                               int patches, int block, int n, const float *m);

/* by_rows: transforms the products of a row of points along the row: 6 numbers become 4. m has the 6 points
 * of a pair of output blocks, m_point floats apart; half takes 4 values, half_value floats apart. */
void WF_ISA_FN(wf_wino_half_output)(const wino_forward_plan *p, int patches, const float *m,
                                    float *half);

/* The batch function of by_rows: part `part` of the outputs of n images. */
void WF_ISA_FN(wf_wino_run_by_rows)(const wino_forward_plan *p, const wf_conv2d_io *io, int n,
                                    int begin, int end, float *scratch);
/* Floats of scratch that it needs. */
size_t WF_ISA_FN(wf_wino_rows_scratch)(const wino_forward_plan *p);

#define wino_multiply WF_ISA_FN(wf_wino_multiply)
#define wino_output_blocks WF_ISA_FN(wf_wino_output)
#define wino_half_output WF_ISA_FN(wf_wino_half_output)
#define wino_run_by_rows WF_ISA_FN(wf_wino_run_by_rows)
#define wino_rows_scratch WF_ISA_FN(wf_wino_rows_scratch)

#endif
