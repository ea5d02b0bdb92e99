/* What dot_forward*.c share, private to them: dot_forward.c has the plan, dot_forward_pack.c the
 * packed weights, dot_forward_run.c the loops, dot_forward_product.c the products in registers.
 *
 * Note [Terms]. A term is a block of input channels and a tap. An output adds its products term by term,
 * blocks outermost, and within a term pair by pair, all in one go in a register: a bf16 output is rounded
 * once, and the bits do not depend on how pixels and outputs are cut. Where the kernel is 1x1 with stride 1
 * and no padding, the terms of a group of pixels are read where the image has them. Else they are copied into
 * a panel, term after term, once for all outputs: Note [Panels] in gemm_forward.h. */
#ifndef WF_CONV2D_DOT_FORWARD_H
#define WF_CONV2D_DOT_FORWARD_H

#include "kernels/conv2d/dot.h"

typedef struct dot_phase {
    const dot_axis *h, *w;
    int taps;
    size_t weights;        /* where its packed weights start within those of an output block */
    bool direct;           /* terms are read in place */
    int at_once;           /* groups of pixels whose panels are there at once */
    int32_t *row, *column; /* where tap t of output i is, at [t * n + i]; or DOT_OUTSIDE */
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
    bool by_pixels;                  /* parts of an image are pixels, not units */
    size_t packed_block;             /* elements of an output block's packed weights */
    dot_place *tap;                  /* by r * S + s */
    size_t panel_bytes, index_bytes; /* of scratch: panels, then places, then outputs */
} dot_forward;

static inline int dot_unit_first(const dot_forward *s, int unit)
{
    return (int)((int64_t)unit * s->blocks / s->units);
}

/* What a group of pixels is summed from; steps in elements. */
typedef struct dot_product {
    const uint16_t *x; /* of term t, pixel i at x + t * x_step + i * L */
    size_t x_step, terms;
    const uint16_t *w;   /* terms, pairs, vectors, L outputs, 2 inputs */
    const float *bias;   /* what the sums start with: DOT_NV vectors */
    void *y;             /* of f32 where it is wide, else of bf16 */
    const int32_t *y_at; /* of each pixel */
    size_t y_block;
    bool wide;
} dot_product;

/* y = product p, for n pixels, at most DOT_N, and `vectors` of outputs, at most DOT_NV. */
void WF_ISA_FN(wf_dot_product)(int n, int vectors, const dot_product *p);

weft_status WF_ISA_FN(wf_dot_pack)(const wf_conv2d *k, int worker, const void *weights,
                                   void *packed, int tile);
weft_status WF_ISA_FN(wf_dot_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                  int part, void *scratch);

#define dot_product_of WF_ISA_FN(wf_dot_product)
#define dot_pack WF_ISA_FN(wf_dot_pack)
#define dot_run WF_ISA_FN(wf_dot_run)

#endif
