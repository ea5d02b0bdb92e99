/* What forward*.c share, private to them: the plan of a pass over phases (gemm.h), and the products
 * in registers that it comes down to. forward.c has the plan and the packed weights,
 * forward_run.c the loops, forward_panels.c those over panels, forward_product.c the
 * products.
 *
 * Note [Panels]. A product reads its pixels over and over, once for each group of output vectors. Where
 * there are many, what a group of pixels meets is gathered first, for all terms (a vector of inputs and a
 * tap), into a panel: term after term, `most` pixels each, padding as zeros. So the product reads
 * memory in one stream, which the hardware foresees, whatever stride and kernel are, and no two
 * of its lines fight for a set of the first-level cache, as those of planes 2^k apart do. A panel is
 * filled just before the first output vectors meet it. Pixels are counted through the rows. */
#ifndef WF_CONV2D_GEMM_FORWARD_H
#define WF_CONV2D_GEMM_FORWARD_H

#include "kernels/conv2d/gemm/gemm.h"

enum {
    GEMM_TAPS = 32,               /* of a phase with panels, at most */
    GEMM_OUTSIDE = INT32_MIN / 2, /* a place that is none: less than 0 with any other added */
    GEMM_PLANE = 1 << 28          /* floats of a plane with panels, at most */
};

typedef struct gemm_phase {
    const gemm_axis *h, *w;
    size_t weights;        /* where its weights start within those of an output vector */
    int chunk;             /* input vectors at once */
    bool direct, flat;     /* the input is the frame; rows follow on each other as pixels do */
    size_t *offset;        /* of each tap and vector of a chunk, in the order of the weights */
    int32_t *row, *column; /* panels: where tap t of output i is, at [t * n + i]; or GEMM_OUTSIDE */
} gemm_phase;

typedef struct gemm_forward {
    gemm_plan *plan;
    gemm_phase *phases;
    size_t *offsets; /* of all phases */
    int32_t *places; /* panels: rows and columns of all phases */
    int n_phases;
    int rows;                    /* of each phase at once */
    bool by_rows;                /* parts of an image are rows, not outputs */
    int most;                    /* pixels of a group; 0: no panels */
    size_t packed_block;         /* floats of an output vector's packed weights */
    int32_t rotation[GEMM_J][L]; /* ROTATE: where lanes come from, by j */
} gemm_forward;

static inline size_t gemm_phase_taps(const gemm_phase *f)
{
    return (size_t)f->h->taps * (size_t)f->w->taps;
}

/* A unit is a group of NV output vectors of a set, or one less, all about equal. */
static inline int gemm_units(const gemm_plan *p)
{
    return (p->blocks + p->NV - 1) / p->NV;
}
static inline int gemm_unit_first(const gemm_plan *p, int unit)
{
    return (int)((int64_t)unit * p->blocks / gemm_units(p));
}
static inline int gemm_unit_of(const gemm_plan *p, int block)
{
    return (int)((((int64_t)block + 1) * gemm_units(p) - 1) / p->blocks);
}

/* What a group of pixels and its vectors of outputs are summed from; steps in floats. */
typedef struct gemm_product {
    const size_t *offset; /* of x for each of n terms */
    size_t n;
    const float *w;      /* n * depth * vectors * L */
    const float *bias;   /* what the sums start with: GEMM_NV vectors; NULL: with y */
    const int32_t *y_at; /* of each pixel */
    size_t y_block;
    const int32_t (*rotation)[L]; /* ROTATE: where lanes come from, by j */
} gemm_product;

/* What is done meanwhile: the lines at x + t * x_step and w + t * 16 are brought into the second-level
 * cache for each of the terms; and where a panel is to be filled, that of the next group, which has no more
 * pixels. */
typedef struct gemm_ahead {
    const float *x, *w;
    size_t x_step;
    const float *more; /* `lines` from there on, too, before the terms */
    int lines;
    float *panel;      /* NULL: none */
    const float *from; /* the plane of the first vector */
    size_t plane;      /* floats from vector to vector */
    const int32_t *at; /* where its pixels are there, `most` for each tap; negative: zero */
    int taps, most;
} gemm_ahead;

/* y += product p of x, for n pixels, gemm_groups' at most. */
typedef void gemm_product_fn(int n, const gemm_product *p, const gemm_ahead *next, const float *x,
                             float *y);
/* The one for `vectors` of outputs, or of rotations, of each pixel. */
gemm_product_fn *WF_ISA_FN(wf_gemm_product_of)(gemm_kind kind, int vectors);

/* A part of one image. */
typedef struct gemm_image {
    const gemm_forward *s;
    const gemm_plan *p;
    gemm_input in;
    const float *packed, *bias;
    int row, end;       /* of each phase: the part of the tile */
    int unit, unit_end; /* through all sets: the same */
    float *y, *frame;
} gemm_image;

/* Goes over the input of a part, line by line, vector by vector: what is brought into the second-level
 * cache while the part before is multiplied. */
typedef struct gemm_source {
    const float *x;       /* of this vector */
    size_t run, step, at; /* floats of a run of lines, from run to run, in this one */
    size_t plane;
    int row, rows, left; /* the run; of each vector; vectors that are left */
} gemm_source;

/* Of the phase that reads most of it. */
gemm_source WF_ISA_FN(wf_gemm_source)(const gemm_image *m, const gemm_phase *f, gemm_part part);
/* The place of the next n lines; `none` when all have been there. */
const float *WF_ISA_FN(wf_gemm_lines_after)(gemm_source *s, size_t n, const float *none);
/* Calls of that until then, n lines each. */
int64_t WF_ISA_FN(wf_gemm_calls_for)(const gemm_source *s, size_t n);

/* NV vectors of the bias, zero where there is none. */
void WF_ISA_FN(wf_gemm_load_bias)(const gemm_image *m, int channel, int NV, float *bias);
/* The weights of vectors from v on for a unit of a set. */
const float *WF_ISA_FN(wf_gemm_weights_of)(const gemm_image *m, const gemm_phase *f, int set,
                                           int unit, int v);

/* Floats of scratch that panels of a phase take for `rows` rows. */
size_t WF_ISA_FN(wf_gemm_panel_floats)(const gemm_forward *s, const gemm_phase *f, int rows);
/* The products of a part in panels; `next` is the part that comes after it. */
void WF_ISA_FN(wf_gemm_run_panels)(const gemm_image *m, const gemm_phase *f, gemm_part part,
                                   gemm_part next);

/* wf_conv2d_impl.batch. */
weft_status WF_ISA_FN(wf_gemm_forward_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io,
                                           int n, int part, void *scratch);

#define gemm_product_of WF_ISA_FN(wf_gemm_product_of)
#define gemm_source_of WF_ISA_FN(wf_gemm_source)
#define gemm_lines_after WF_ISA_FN(wf_gemm_lines_after)
#define gemm_calls_for WF_ISA_FN(wf_gemm_calls_for)
#define gemm_load_bias WF_ISA_FN(wf_gemm_load_bias)
#define gemm_weights_of WF_ISA_FN(wf_gemm_weights_of)
#define gemm_panel_floats WF_ISA_FN(wf_gemm_panel_floats)
#define gemm_run_panels WF_ISA_FN(wf_gemm_run_panels)
#define gemm_forward_run WF_ISA_FN(wf_gemm_forward_run)

#endif
