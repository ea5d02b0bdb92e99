/* What gemm_weights*.c share, private to them: the plan of backward-weights, and the products in registers
 * that it comes down to. gemm_weights.c has the plan, the slots and their sum, gemm_weights_run.c the
 * loops, gemm_weights_product.c the products. */
#ifndef WF_CONV2D_GEMM_WEIGHTS_H
#define WF_CONV2D_GEMM_WEIGHTS_H

#include "kernels/conv2d/gemm.h"

enum { GEMM_TERMS = 9 /* taps at once, at most: a pointer each */ };

typedef struct gemm_weights_tap {
    int row, column; /* its offsets, gemm_axis */
    size_t place;    /* among all R * S */
    size_t frame;    /* where it meets the first pixel in a frame */
} gemm_weights_tap;

typedef struct gemm_weights {
    gemm_plan *plan;
    bool in_place;    /* src needs no frame: where a tap meets no pixel, it is not asked */
    int rows, images; /* of a chunk */
    int frame_rows;   /* of a frame, a multiple */
    int NB;           /* output vectors of a group, at most */
    int groups;       /* of a set */
    int vector_parts, group_parts;
    int taps; /* that meet the image, in the order of the weights */
    gemm_weights_tap *tap;
    int32_t rotation[GEMM_J][L]; /* ROTATE: where ddst's lanes come from, by j */
} gemm_weights;

/* Floats of a slot for one output vector. */
static inline size_t gemm_slot_block(const wf_conv2d_desc *d, const gemm_plan *p)
{
    return (size_t)p->vectors * (size_t)d->R * (size_t)d->S * (size_t)p->depth * L;
}

/* The first output vector of group g, of a set's; of g = groups the end. */
static inline int gemm_group_begin(const gemm_weights *s, int g)
{
    return (int)((int64_t)s->plan->blocks * g / s->groups);
}

/* What a part has of n that is cut evenly, into as few parts as may have `most`. */
static inline int gemm_even(int n, int most)
{
    int parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

/* The pixels of a chunk as a frame and ddst have them; steps in floats. */
typedef struct gemm_pixels {
    int images, rows, columns;
    size_t x_image, x_row, dy_image, dy_row, dy_block;
    size_t x_column; /* DENSE; of the others it follows from their kind */
    bool first;      /* DENSE: sums start with zero, not with what is there */
} gemm_pixels;

/* w[i][b] += sum over pixels of x[i] * dy[b], for the channels of an input vector and NB vectors of
 * outputs. */
void WF_ISA_FN(wf_gemm_channels_product)(int NB, const gemm_pixels *p, const float *x,
                                         const float *dy, float *w, size_t w_block);
/* The same for n taps, whose src is at x[i], and the ways of meeting other than DENSE: PLAIN for NB vectors
 * of outputs, LANES for one, ROTATE for one in NB rotations, w[i][j]. */
void WF_ISA_FN(wf_gemm_taps_product)(gemm_kind kind, int NB, int n, const gemm_pixels *p,
                                     const float *const *x, const float *dy,
                                     const int32_t (*rotation)[L], float *w, size_t w_block);

/* wf_conv2d_impl.backward_weights. */
void WF_ISA_FN(wf_gemm_weights_run)(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *slot, int part, void *scratch);

#define gemm_channels_product WF_ISA_FN(wf_gemm_channels_product)
#define gemm_taps_product WF_ISA_FN(wf_gemm_taps_product)
#define gemm_weights_run WF_ISA_FN(wf_gemm_weights_run)

#endif
