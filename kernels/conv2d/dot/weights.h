/* What weights*.c share, private to them: weights.c plans and adds up partial sums, weights_run.c has the
 * loops, weights_product.c the products in registers.
 *
 * Note [Panels of pixel pairs]. A pixel block is some rows of some images of a split. Its output pixels are
 * counted row by row, and within a row image by image. So the rows that a tap does not meet come first or
 * last, and the product leaves them out. Pixels 2i and 2i + 1 are a pair. The kernel copies a pixel block
 * into panels, which hold for each pair 16 channels of its two pixels, interleaved, and zeros for padding:
 *
 *     ddst, for each output subblock:      [pair][output block][16 outputs][2]
 *     src, for an input block and a tap:   [pair][16 inputs][2]
 *
 * It multiplies one panel of src by all panels of ddst, then fills the next one of src. */
#ifndef WF_CONV2D_DOT_WEIGHTS_H
#define WF_CONV2D_DOT_WEIGHTS_H

#include "kernels/conv2d/dot/dot.h"

typedef struct dot_weights {
    int group_inputs, group_outputs; /* channels of a group */
    int input_blocks, output_blocks; /* of 16 channels, in a group */
    int output_subblocks; /* of up to DOT_MAX_GRADIENT_BLOCKS output blocks, in a group */
    /* Blocking: what is taken at once. */
    int rows_block_size, images_block_size; /* of a pixel block */
    int max_pairs;                          /* of pixels of a pixel block */
    int blocks_of_image;                    /* pixel blocks */
    /* How the work on a split is cut into parts. */
    int input_parts, output_parts; /* ranges of input blocks; of output subblocks */
    int subsplits;     /* ranges of the split's pixel blocks, each with a partial sum of its own */
    size_t sum_floats; /* of such a partial sum */
    /* Scratch: a panel of src, panels of ddst; then pointers to pixels. */
    size_t src_bytes, ddst_bytes;
} dot_weights;

static inline int dot_weights_subblock_begin(const dot_weights *s, int subblock)
{
    return (int)((int64_t)subblock * s->output_blocks / s->output_subblocks);
}

/* Floats of a partial sum for one output block: [input block][tap][16 inputs][16 outputs]. */
static inline size_t dot_sum_block_floats(const wf_conv2d_desc *d, const dot_weights *s)
{
    return (size_t)s->input_blocks * (size_t)d->R * (size_t)d->S * DOT_SQUARE;
}

/* Lines that a product prefetches into L2 for a later one, one with each pair. */
typedef struct dot_prefetch_lines {
    const char *at;
    size_t step; /* 0: none */
} dot_prefetch_lines;

/* w[i][b] += sum over pairs of src[i] . ddst[b], for 16 inputs i and up to DOT_MAX_GRADIENT_BLOCKS output
 * blocks b, w_block_stride floats apart; starts_sums: = instead of +=. A product of two blocks and more
 * runs in two halves of the inputs, each with its prefetch. */
void WF_ISA_FN(wf_dot_weights_product)(int blocks, bool starts_sums, int pairs, const uint16_t *x,
                                       const uint16_t *ddst, float *w, size_t w_block_stride,
                                       const dot_prefetch_lines prefetch[2]);

weft_status WF_ISA_FN(wf_dot_weights_run)(const wf_conv2d *k, int worker,
                                          const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                          int part, void *scratch);

#define dot_weights_product WF_ISA_FN(wf_dot_weights_product)
#define dot_weights_run WF_ISA_FN(wf_dot_weights_run)

#endif
