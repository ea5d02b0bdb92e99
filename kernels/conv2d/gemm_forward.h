/* What gemm_forward*.c share, private to them: the plan of a pass over phases (gemm.h), and the products
 * in registers that it comes down to. gemm_forward.c has the plan and the packed weights,
 * gemm_forward_run.c the loops, gemm_forward_product.c the products. */
#ifndef WF_CONV2D_GEMM_FORWARD_H
#define WF_CONV2D_GEMM_FORWARD_H

#include "kernels/conv2d/gemm.h"

typedef struct gemm_phase {
    const gemm_axis *h, *w;
    size_t weights;    /* where its weights start within those of an output vector */
    bool direct, flat; /* the input is the frame; rows follow on each other as pixels do */
    size_t *offset;    /* of each tap and vector of a chunk, in the order of the weights */
} gemm_phase;

typedef struct gemm_forward {
    gemm_plan *plan;
    gemm_phase *phases;
    size_t *offsets; /* of all phases */
    int n_phases;
    int rows;                    /* of each phase at once */
    bool by_rows;                /* parts of an image are rows, not outputs */
    int32_t rotation[GEMM_J][L]; /* ROTATE: where lanes come from, by j */
} gemm_forward;

static inline size_t gemm_phase_taps(const gemm_phase *f)
{
    return (size_t)f->h->taps * (size_t)f->w->taps;
}

/* Groups of output vectors of a set. */
static inline int gemm_units(const gemm_plan *p)
{
    return (p->blocks + p->NV - 1) / p->NV;
}

/* Floats of an output vector's packed weights. */
static inline size_t gemm_packed_block(const wf_conv2d *k)
{
    return k->packed_bytes / sizeof(float) / (size_t)k->pack_tiles;
}

/* What a group of pixels and its vectors of outputs are summed from; steps in floats. */
typedef struct gemm_product {
    const size_t *offset; /* of x for each of n terms */
    size_t n;
    const float *w; /* n * depth * L */
    size_t w_block;
    const float *bias; /* what the sums start with: GEMM_NV vectors; NULL: with y */
    size_t y_pixel, y_block;
    const int32_t (*rotation)[L]; /* ROTATE: where lanes come from, by j */
} gemm_product;

/* What is brought into the second-level cache meanwhile: the lines at x + offset[t] and w + t * depth
 * * L for each of the terms. */
typedef struct gemm_ahead {
    const float *x, *w;
} gemm_ahead;

/* y += product p of x, for n pixels in a row, gemm_groups' at most. */
typedef void gemm_product_fn(int n, const gemm_product *p, gemm_ahead next, const float *x,
                             float *y);
/* The one for `vectors` of outputs, or of rotations, of each pixel. */
gemm_product_fn *WF_ISA_FN(wf_gemm_product_of)(gemm_kind kind, int vectors);

/* wf_conv2d_impl.batch. */
void WF_ISA_FN(wf_gemm_forward_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                    int part, void *scratch);

#define gemm_product_of WF_ISA_FN(wf_gemm_product_of)
#define gemm_forward_run WF_ISA_FN(wf_gemm_forward_run)

#endif
