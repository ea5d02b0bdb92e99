/* What forward*.c share, private to them. forward.c plans, forward_pack.c packs the weights, forward_run.c
 * has the loops, forward_fill.c copies the input, forward_product.c multiplies a subblock in registers.
 *
 * Note [Terms]. A term is an input block and a tap. An output adds its products term by term, the input
 * blocks outermost, and within a term pair by pair. All of that happens in one go, in a register. So a bf16
 * output is rounded once, and its bits do not depend on how pixels and outputs are cut into subblocks.
 * A subblock of pixels reads its terms in one of three places:
 *   DIRECT        One tap, no stride, no padding: in the image. A subblock may go on in the next row.
 *   PACKED_INPUT  Neighbouring outputs read neighbouring inputs: in a copy of some rows of the image with
 *                 zeros around, made once for all taps and outputs. A subblock lies in one row, and leaves
 *                 out taps that meet no row of the image.
 *   PANEL         All other shapes, and short rows: in a copy of just what the subblock meets, term by term,
 *                 DOT_MAX_PIXELS pixels each, made once for all outputs. A subblock may go on in the next
 *                 row. */
#ifndef WF_CONV2D_DOT_FORWARD_H
#define WF_CONV2D_DOT_FORWARD_H

#include "kernels/conv2d/dot/dot.h"
#include "kernels/conv2d/square.h"

typedef enum dot_how { DOT_DIRECT, DOT_PACKED_INPUT, DOT_PANEL } dot_how;

typedef struct dot_residue_class {
    const dot_axis *h, *w;
    int taps;
    size_t weights; /* where its packed weights start within those of an output block */
    dot_how how;
    int block_size; /* subblocks of pixels, or rows of the packed input, that scratch holds at once */
    int32_t *row,
        *column;  /* PANEL: the place of tap t of output i, at [t * outputs + i]; or DOT_OUTSIDE */
    int32_t *tap; /* where the terms of an input block are, behind the first pixel's place */
    size_t block_stride; /* elements from input block to input block of what is read */
    /* PACKED_INPUT: the least offsets of taps, rows beyond those of the outputs, elements from row to row */
    int row_origin, column_origin, extra_rows;
    size_t row_stride;
} dot_residue_class;

typedef struct dot_forward {
    wf_act in, out;
    bool out_f32; /* else it is bf16 */
    int groups, group_inputs, group_outputs;
    int output_blocks, input_blocks; /* of 16 channels, in a group */
    int output_subblocks;            /* of up to DOT_MAX_OUTPUT_BLOCKS output blocks, in a group */
    dot_axis *rows, *columns;
    dot_residue_class *classes;
    int32_t *places;
    int n_classes;
    bool parts_are_pixels; /* a part of an image is a range of pixels; else of output subblocks */
    size_t packed_block_elements; /* of an output block's packed weights */
    wf_dot_place *tap;            /* by r * S + s */
    size_t x_bytes,
        index_bytes; /* scratch: packed input or panels; places of inputs; then those of outputs */
} dot_forward;

static inline int dot_subblock_begin(const dot_forward *s, int subblock)
{
    return (int)((int64_t)subblock * s->output_blocks / s->output_subblocks);
}

/* The tiles that pack a group's weights. */
static inline int dot_pack_tiles(const dot_forward *s, wf_conv2d_pass pass)
{
    return pass == WF_CONV2D_FORWARD ? s->output_subblocks : s->input_blocks;
}

/* What a subblock is summed from. Strides are in elements. */
typedef struct dot_product {
    const uint16_t
        *x; /* input block v, tap t, pixel i is at x + v * block_stride + tap[t] + i * L */
    size_t block_stride;
    const int32_t *tap;
    int input_blocks, taps, tap_begin, tap_end; /* it adds taps [tap_begin, tap_end) only */
    const uint16_t *w;            /* [input block][tap][pair][output block][L outputs][2 inputs] */
    const float *bias;            /* what the sums start with: a vector for each output block */
    void *y;                      /* of f32 or bf16, as out_f32 says */
    const int32_t *output_offset; /* of each pixel */
    size_t output_block_stride;
    bool out_f32;
    /* What it prefetches into L2 with each term: some lines of the input, whose next input block is
     * prefetch_block_stride bytes further; and some lines of the packed weights. */
    const char *prefetch_input, *prefetch_weights;
    size_t prefetch_block_stride;
    int prefetch_input_lines, prefetch_weights_lines;
} dot_product;

/* y = product p, for up to DOT_MAX_PIXELS pixels by up to DOT_MAX_OUTPUT_BLOCKS output blocks. There is at
 * least one term. */
void WF_ISA_FN(wf_dot_product)(int pixels, int output_blocks, const dot_product *p);

/* Fills the panel of n pixels from `first` on, with all input blocks from x on. `at` is memory for places. */
void WF_ISA_FN(wf_dot_fill_panel)(const dot_forward *s, const dot_residue_class *c,
                                  const uint16_t *x, int first, int n, int32_t *at,
                                  uint16_t *panel);
/* Fills a row of the packed input from row `row` of the image; with zeros, if the image has no such row. */
void WF_ISA_FN(wf_dot_fill_row)(const dot_forward *s, const dot_residue_class *c, const uint16_t *x,
                                int row, uint16_t *packed);

weft_status WF_ISA_FN(wf_dot_pack)(const wf_conv2d *k, int worker, const void *weights,
                                   void *packed, int tile);
weft_status WF_ISA_FN(wf_dot_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                  int part, void *scratch);

#define dot_product_of WF_ISA_FN(wf_dot_product)
#define dot_fill_panel WF_ISA_FN(wf_dot_fill_panel)
#define dot_fill_row WF_ISA_FN(wf_dot_fill_row)
#define dot_pack WF_ISA_FN(wf_dot_pack)
#define dot_pack_square WF_ISA_FN(wf_dot_pack_square)
#define dot_run WF_ISA_FN(wf_dot_run)

#endif
