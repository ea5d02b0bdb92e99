/* What weights*.c share, private to them. weights.c has the plan of backward-weights, the slots
 * and their sum; weights_run.c the loops; weights_prefetch.c what they bring in ahead;
 * weights_product.c the products in registers that it all comes down to. */
#ifndef WF_CONV2D_GEMM_WEIGHTS_H
#define WF_CONV2D_GEMM_WEIGHTS_H

#include "kernels/conv2d/gemm/gemm.h"

enum { GEMM_TERMS = 9 /* taps at once, at most: a pointer each */ };

typedef struct gemm_weights_tap {
    int row, column; /* its offsets, gemm_axis */
    size_t place;    /* among all R * S */
    size_t frame;    /* where it meets the first pixel in a frame */
} gemm_weights_tap;

typedef struct gemm_weights {
    gemm_plan *plan;
    bool in_place;           /* src needs no frame: where a tap meets no pixel, it is not asked */
    int rows, images;        /* of a chunk */
    int frame_rows;          /* of a frame, a multiple */
    int row_steps;           /* frames of an image */
    int row_first, row_last; /* the least and the largest offset of a tap's row */
    int ranges;              /* of pixels, of a slot: each is a sum of its own */
    size_t range;            /* floats of that */
    int NB;                  /* output vectors of a group, at most */
    int groups;              /* of a set */
    int vector_parts, group_parts;
    int taps; /* that meet the image, in the order of the weights */
    gemm_weights_tap *tap;
    int32_t rotation[GEMM_J][L]; /* ROTATE: where ddst's lanes come from, by j */
} gemm_weights;

/* Floats of a slot for one output vector. */
static inline size_t gemm_partial_sum_block(const wf_conv2d_desc *d, const gemm_plan *p)
{
    return (size_t)p->vectors * (size_t)d->R * (size_t)d->S * (size_t)p->depth * L;
}

/* The first output vector of group g, of a set's; of g = groups the end. */
static inline int gemm_group_begin(const gemm_weights *s, int g)
{
    return (int)((int64_t)s->plan->blocks * g / s->groups);
}

/* The parts of at most `most` that n is cut into. */
static inline int gemm_parts(int n, int most)
{
    return (n + most - 1) / most;
}

/* What a part has of n that is cut evenly, into as few parts as may have `most`. */
static inline int gemm_even(int n, int most)
{
    return gemm_parts(n, gemm_parts(n, most));
}

/* Of so many taps and vectors of src those that are taken at once, where channels do not meet densely, for NB
 * vectors of outputs. */
static inline int gemm_taps_at_once(const gemm_weights *s, int NB, int terms)
{
    const int J = s->plan->kind == GEMM_ROTATE ? s->plan->depth : 1, room = GEMM_SUMS / (NB * J);
    return gemm_even(terms, room < GEMM_TERMS ? room : GEMM_TERMS);
}

/* The pixels of a chunk as a frame and ddst have them; steps in floats. */
typedef struct gemm_pixels {
    int images, rows, columns;
    size_t x_image, x_row, dy_image, dy_row, dy_block;
    size_t x_column; /* DENSE; of the others it follows from their kind */
    bool first;      /* DENSE: sums start with zero, not with what is there */
} gemm_pixels;

/* What a product brings into the second-level cache meanwhile, for a later one: a line with each pixel, the
 * first at `at`, then every `step` bytes. */
typedef struct gemm_stretch {
    const char *at;
    size_t step;
} gemm_stretch;

/* w[i][b] += sum over pixels of x[i] * dy[b], for the channels of an input vector and NB vectors of
 * outputs. In two halves, each with its stretch; but where NB is 1 at once, with the first only. NULL: none. */
void WF_ISA_FN(wf_gemm_channels_product)(int NB, const gemm_pixels *p, const gemm_stretch ahead[2],
                                         const float *x, const float *dy, float *w, size_t w_block);
/* The same for n taps, whose src is at x[i], and the ways of meeting other than DENSE: PLAIN for NB vectors
 * of outputs, LANES for one, ROTATE for one in NB rotations, w[i][j], and with both stretches. */
void WF_ISA_FN(wf_gemm_taps_product)(gemm_kind kind, int NB, int n, const gemm_pixels *p,
                                     const gemm_stretch ahead[2], const float *const *x,
                                     const float *dy, const int32_t (*rotation)[L], float *w,
                                     size_t w_block);

/* A part of a slot, and what it is summed over. Its steps are frames, the innermost by vectors. */
typedef struct gemm_tile {
    const wf_conv2d *k;
    const wf_conv2d_gradient_io *io;
    int part, images;         /* of the slot */
    int step_begin, step_end; /* frames of one vector: images, rows */
    int sets, chunks;         /* and steps for each of those: sets, vectors */
    int v_begin, v_end;       /* input vectors */
    int g_begin, g_end;       /* groups, counted through all sets */
    bool cleared;             /* the sums are zero, and not just undefined */
    float *partial_sum, *scratch;
} gemm_tile;

/* Rows of some images, and vectors and groups of a set. */
typedef struct gemm_step {
    const char *src, *ddst; /* of the first image */
    int images, row, rows;
    int set, g0, g1, v0, v1;
    bool first; /* sums start with zero */
} gemm_step;

/* Rows of an operand: what a step reads of it, image by image, vector by vector. */
typedef struct gemm_region {
    const char *at;
    size_t bytes;   /* of a row; which may be several that are neighbours */
    int n[3], i[3]; /* rows, vectors, images; where it is among them */
    size_t stride[3];
    int parts;   /* that a row is brought in by */
    size_t part; /* bytes of one */
    size_t step; /* gemm_stretch */
} gemm_region;

/* What the products of a step bring in for the next one. */
enum { GEMM_SRC, GEMM_DDST, GEMM_REGIONS, GEMM_LINE = 64 /* bytes */ };
typedef struct gemm_ahead {
    gemm_stretch next;
    size_t part; /* bytes from there to the next after it */
    int left;    /* parts of the row */
    int extra;   /* rows that go with a part, all at once: there are more rows than products */
    gemm_region region[GEMM_REGIONS];
    int current, count;
    int taps; /* DENSE: whose products bring something in */
} gemm_ahead;

/* What `next` reads and `now` does not, for the products of `now` to bring in. */
gemm_ahead WF_ISA_FN(wf_gemm_ahead)(const gemm_tile *m, const gemm_step *now,
                                    const gemm_step *next);
void WF_ISA_FN(wf_gemm_next_row)(gemm_ahead *a);
#define gemm_ahead_of WF_ISA_FN(wf_gemm_ahead)
#define gemm_next_row WF_ISA_FN(wf_gemm_next_row)

/* The share of a product, or of half of one; of step 0 when all has been asked for. */
static inline gemm_stretch gemm_next_stretch(gemm_ahead *a)
{
    for (int i = 0; i < a->extra && a->current < a->count; i++) {
        for (size_t j = 0; j < a->region[a->current].bytes; j += GEMM_LINE)
            __builtin_prefetch(a->next.at + j, 0, 2);
        gemm_next_row(a);
    }
    const gemm_stretch next = a->next;
    a->next.at += a->part;
    if (--a->left == 0)
        gemm_next_row(a);
    return next;
}

/* wf_conv2d_impl.backward_weights. */
weft_status WF_ISA_FN(wf_gemm_weights_run)(const wf_conv2d *k, int worker,
                                           const wf_conv2d_gradient_io *io, int n,
                                           void *partial_sum, int part, void *scratch);

#define gemm_channels_product WF_ISA_FN(wf_gemm_channels_product)
#define gemm_taps_product WF_ISA_FN(wf_gemm_taps_product)
#define gemm_weights_run WF_ISA_FN(wf_gemm_weights_run)

#endif
