/* What weights*.c share, private to them: weights.c has the plan, the slots and their sum;
 * weights_run.c the loops, weights_product.c the products in registers.
 *
 * Note [Panels of pixel pairs]. A *chunk* is some rows of some images of a slot. Its output pixels are
 * counted row by row, within a row image by image, so that the rows which a tap does not meet come first or
 * last. Pixels 2i and 2i + 1 are a pair. A panel has for each pair 16 channels of two pixels, interleaved:
 *
 *     ddst, for each group of up to DOT_NB output blocks:  [pair][block][16 outputs][2]
 *     src, for an input block and a tap:                   [pair][16 inputs][2]
 *
 * with zeros where the tap meets padding. One panel of src is multiplied with all of ddst's. */
#ifndef WF_CONV2D_DOT_WEIGHTS_H
#define WF_CONV2D_DOT_WEIGHTS_H

#include "kernels/conv2d/dot/dot.h"

typedef struct dot_weights {
    int IG, OG;          /* channels of a group */
    int vectors, blocks; /* input and output blocks of a group */
    int units;           /* of up to DOT_NB output blocks, in a group */
    int rows, images;    /* of a chunk, at most */
    int pairs;           /* room for those of a chunk */
    int vector_parts, unit_parts;
    int ranges;                   /* of chunks, of a slot: each is a sum of its own, */
    size_t range;                 /* so many floats */
    int row_chunks;               /* of an image */
    size_t src_bytes, ddst_bytes; /* of scratch: panels; then places */
} dot_weights;

static inline int dot_weights_unit(const dot_weights *s, int unit)
{
    return (int)((int64_t)unit * s->blocks / s->units);
}

/* Floats of a slot for one output block: input blocks, taps, inputs, outputs. */
static inline size_t dot_partial_sum_block(const wf_conv2d_desc *d, const dot_weights *s)
{
    return (size_t)s->vectors * (size_t)d->R * (size_t)d->S * DOT_SQUARE;
}

/* Lines that a product brings into the second-level cache meanwhile, one with each pair, for a later one; in
 * both halves of its inputs, where it is done in two. */
typedef struct dot_stretch {
    const char *at;
    size_t step; /* 0: none */
} dot_stretch;

/* w[i][b] += sum over pairs of x[i] . dy[b] for 16 inputs and NB output blocks w_block floats apart, or
 * `first`: = that. */
void WF_ISA_FN(wf_dot_weights_product)(int NB, bool first, int pairs, const uint16_t *x,
                                       const uint16_t *dy, float *w, size_t w_block,
                                       const dot_stretch ahead[2]);

weft_status WF_ISA_FN(wf_dot_weights_run)(const wf_conv2d *k, int worker,
                                          const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                          int part, void *scratch);

#define dot_weights_product WF_ISA_FN(wf_dot_weights_product)
#define dot_weights_run WF_ISA_FN(wf_dot_weights_run)

#endif
