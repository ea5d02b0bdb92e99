/* What forward*.c share, private to them: forward.c has the plan, forward_pack.c the
 * packed weights, forward_run.c the loops, forward_fill.c what they copy first,
 * forward_product.c the products in registers.
 *
 * Note [Terms]. A term is a block of input channels and a tap. An output adds its products term by term,
 * blocks outermost, and within a term pair by pair, all in one go in a register: a bf16 output is rounded
 * once, and the bits do not depend on how pixels and outputs are cut. Where a group of pixels reads them:
 *   DIRECT  one tap, no stride, no padding: where the image has them. Pixels are counted through the
 *           rows.
 *   FRAME   outputs that are neighbours read neighbours: some rows of the image with zeros around, copied
 *           once for all taps and outputs. A group is in one row; taps that meet no row of the image
 *           are left out.
 *   PANEL   else, and where rows are short: what the group meets is copied term by term, DOT_N pixels each,
 *           once for all outputs. Pixels are counted through the rows. */
#ifndef WF_CONV2D_DOT_FORWARD_H
#define WF_CONV2D_DOT_FORWARD_H

#include "kernels/conv2d/dot/dot.h"

typedef enum dot_how { DOT_DIRECT, DOT_FRAME, DOT_PANEL } dot_how;

typedef struct dot_phase {
    const dot_axis *h, *w;
    int taps;
    size_t weights; /* where its packed weights start within those of an output block */
    dot_how how;
    int at_once;           /* groups of pixels, or rows of a frame, that are there at once */
    int32_t *row, *column; /* where tap t of output i is, at [t * n + i]; or DOT_OUTSIDE */
    int32_t *tap;          /* where terms of an input block are, from the first pixel's place on */
    size_t vector;         /* elements from input block to input block */
    /* frames: the least offsets of taps, the span of them, elements from row to row */
    int first_row, first_column, row_span;
    size_t pitch;
} dot_phase;

/* Where the packed weights of a tap are, for block v of inputs at start + v * step; start < 0: none. */
typedef struct dot_place {
    int64_t start, step;
} dot_place;

typedef struct dot_forward {
    wf_act in, out;
    bool wide; /* the output is f32 */
    int groups, IG, OG;
    int blocks, vectors; /* of 16 outputs, inputs, in a group */
    int units;           /* of up to DOT_NV output blocks, in a group */
    dot_axis *rows, *columns;
    dot_phase *phases;
    int32_t *places;
    int n_phases;
    bool by_pixels;              /* parts of an image are pixels, not units */
    size_t packed_block;         /* elements of an output block's packed weights */
    dot_place *tap;              /* by r * S + s */
    size_t x_bytes, index_bytes; /* of scratch: frame or panels; places; then outputs' places */
} dot_forward;

static inline int dot_unit_first(const dot_forward *s, int unit)
{
    return (int)((int64_t)unit * s->blocks / s->units);
}

/* Tiles of packing, of a group. */
static inline int dot_pack_tiles(const dot_forward *s, wf_conv2d_pass pass)
{
    return pass == WF_CONV2D_FORWARD ? s->units : s->vectors;
}

/* What a group of pixels is summed from; steps in elements. */
typedef struct dot_product {
    const uint16_t *x; /* of input block v, tap t, pixel i at x + v * vector + tap[t] + i * L */
    size_t vector;
    const int32_t *tap;
    int vectors, taps, t0, t1; /* taps [t0, t1) of all */
    const uint16_t *w;         /* input blocks, taps, pairs, vectors, L outputs, 2 inputs */
    const float *bias;         /* what the sums start with: DOT_NV vectors */
    void *y;                   /* of f32 where it is wide, else of bf16 */
    const int32_t *y_at;       /* of each pixel */
    size_t y_block;
    bool wide;
    /* What is brought into the second-level cache meanwhile, with each term: lines from next_x on,
     * which for the next input block are next_vector bytes further; and of the packed weights. */
    const char *next_x, *next_w;
    size_t next_vector;
    int next_x_lines, next_w_lines;
} dot_product;

/* y = product p, for n pixels, at most DOT_N, and NV vectors of outputs, at most DOT_NV. There is at least one
 * term. */
void WF_ISA_FN(wf_dot_product)(int n, int NV, const dot_product *p);

/* The panel of n pixels from `first` on, for the input blocks that start at x; at: scratch for places. */
void WF_ISA_FN(wf_dot_fill_panel)(const dot_forward *s, const dot_phase *f, const uint16_t *x,
                                  int first, int n, int32_t *at, uint16_t *panel);
/* Row `row` of the image, or of zeros around it, into that of a frame. */
void WF_ISA_FN(wf_dot_fill_row)(const dot_forward *s, const dot_phase *f, const uint16_t *x,
                                int row, uint16_t *frame);

weft_status WF_ISA_FN(wf_dot_pack)(const wf_conv2d *k, int worker, const void *weights,
                                   void *packed, int tile);
weft_status WF_ISA_FN(wf_dot_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                  int part, void *scratch);

#define dot_product_of WF_ISA_FN(wf_dot_product)
#define dot_fill_panel WF_ISA_FN(wf_dot_fill_panel)
#define dot_fill_row WF_ISA_FN(wf_dot_fill_row)
#define dot_pack WF_ISA_FN(wf_dot_pack)
#define dot_run WF_ISA_FN(wf_dot_run)

#endif
