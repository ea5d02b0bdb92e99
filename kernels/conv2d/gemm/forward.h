/* What forward*.c share, private to them. forward.c plans a pass over residue classes (gemm.h),
 * forward_pack.c packs its weights, forward_run.c has the loops over a packed input, forward_panels.c
 * those over panels, forward_rotate.c those over small groups, forward_borders.c knows which products with
 * padding are left out, forward_prefetch.c which input lines come next; forward_product.c multiplies a
 * subblock in registers.
 *
 * Note [Panels]. A product reads the inputs of its pixels once for each output subblock. Where there are
 * many of those and the convolution has a stride, the kernel first gathers what a subblock of pixels
 * meets into a panel: for each term (a channel vector and a tap) panel_pixels inputs, zeros for the
 * padding. The product then reads memory in one stream, which the hardware prefetcher follows, whatever
 * the stride and the filter are. Nor do two of its cache lines compete for one set of the L1 cache, as
 * lines of planes 2^k bytes apart do. The kernel fills a panel just before the first output subblock
 * needs it. A subblock's pixels may go on in the next row. */
#ifndef WF_CONV2D_GEMM_FORWARD_H
#define WF_CONV2D_GEMM_FORWARD_H

#include "kernels/conv2d/gemm/gemm.h"

enum {
    GEMM_MAX_PANEL_TAPS = 32, /* taps of a residue class with panels */
    GEMM_OUTSIDE =
        INT32_MIN / 2, /* a place in the padding: still negative after adding another place */
    GEMM_MAX_PLANE_FLOATS = 1 << 28, /* of a plane with panels, since places are int32_t */
    GEMM_MAX_BORDERS = 16,           /* taps of a row with borders */
    GEMM_MIN_SUMS = 8 /* that keep a core busy: two multiply-adds a cycle, four cycles each */
};

/* One residue class of the outputs. */
typedef struct gemm_residue_class {
    const gemm_axis *h, *w;
    size_t weights_offset;        /* where its weights start within those of an output vector */
    int input_vectors_block_size; /* channel vectors that are taken at once */
    bool in_place;                /* the input itself is the packed input */
    bool contiguous;              /* row follows on row as pixel on pixel: gemm_contiguous */
    size_t
        *term_offset; /* where the packed input has each term of a block, in the weights' order */
    /* Panels: the place of tap t of output row (column) i, at [t * outputs + i]; or GEMM_OUTSIDE. */
    int32_t *row_place, *column_place;
} gemm_residue_class;

/* How many of what are taken at once: chosen so that each loop's data stay in a cache. */
typedef struct gemm_forward_blocking {
    int output_vectors_subblock_size; /* at most; a set's subblocks are about equal */
    int input_vectors_block_size; /* of a packed input; panels have one for each residue class */
    int taps_block_size;          /* rows of taps; more than one block only of one channel vector */
    int rows_block_size;          /* output rows of each residue class */
    int panel_pixels;             /* pixels of a panel; 0: a packed input instead of panels */
} gemm_forward_blocking;

typedef struct gemm_forward {
    gemm_geometry geometry;
    gemm_forward_blocking blocking;
    gemm_residue_class *classes;
    int n_classes;
    bool parts_are_rows;  /* a part of an image is a range of rows; else of output subblocks */
    size_t *term_offsets; /* memory for all residue classes' term_offset, */
    int32_t *places;      /* and for their row_place and column_place */
    size_t packed_vector_floats; /* of an output vector's packed weights */
    int32_t rotation[GEMM_MAX_ROTATIONS]
                    [L]; /* ROTATE: the lane that each lane takes, by rotation */
} gemm_forward;

static inline size_t gemm_class_taps(const gemm_residue_class *c)
{
    return (size_t)c->h->taps * (size_t)c->w->taps;
}

/* The output subblocks of a set, and the first output vector of one. All are about equal. */
static inline int gemm_output_subblocks(const gemm_forward *s)
{
    const int size = s->blocking.output_vectors_subblock_size;
    return (s->geometry.output_vectors + size - 1) / size;
}
static inline int gemm_subblock_begin(const gemm_forward *s, int subblock)
{
    return (int)((int64_t)subblock * s->geometry.output_vectors / gemm_output_subblocks(s));
}
/* The output subblock that has output vector b. */
static inline int gemm_subblock_of(const gemm_forward *s, int b)
{
    return (int)((((int64_t)b + 1) * gemm_output_subblocks(s) - 1) / s->geometry.output_vectors);
}

/* ---- the product in registers ---- */

/* Stands before each loop over sums. gcc keeps the sums in registers only if it is told to unroll these
 * loops; clang does so by itself, but not if it is told. */
#if defined(__clang__) || defined(WF_SIMD_EMULATE)
#define UNROLL_SUMS
#else
#define UNROLL_SUMS _Pragma("GCC unroll 16")
#endif

/* Note [Borders]. Where an image is small, a large part of the products would be with padding: of 5x5 taps
 * over 7x7 outputs 31 %. The kernel leaves out the rows of taps that lie outside for a row of outputs
 * (gemm_row_taps). Of a tap in a row it leaves out the first or the last one or two pixels of a subblock. The
 * products with the rest of the padding read the packed input's zeros. Panels leave nothing out, since a
 * subblock of theirs may go on in the next row. */
typedef enum gemm_border { /* the pixels that a product leaves out */
                           GEMM_NO_BORDER,
                           GEMM_FIRST,
                           GEMM_FIRST_TWO,
                           GEMM_LAST,
                           GEMM_LAST_TWO
} gemm_border;

/* What a subblock is summed from. Strides are in floats. */
typedef struct gemm_product {
    const size_t *term_offset; /* of the inputs, for each term of the block */
    /* Of a channel vector, terms [run_begin, run_begin + run) of every `period` are multiplied: `terms` in
     * all. The others meet padding only. */
    size_t terms, run_begin, run, period;
    /* Note [Borders]: by tap of a row, `columns` of them; NULL: the pixels meet no padding. */
    const gemm_border *border;
    int columns;
    const float *weights; /* [terms of the block][vector_channels][output vectors][L] */
    const float *bias;    /* what the sums start with: output vectors; NULL: with the output */
    const int32_t *output_offset; /* of each pixel */
    size_t output_vector_stride;
} gemm_product;

/* The panel that a product fills while it multiplies, for the next subblock of pixels. */
typedef struct gemm_panel_fill {
    float *panel;         /* NULL: none */
    const float *input;   /* the plane of the first channel vector */
    size_t vector_stride; /* floats from plane to plane */
    const int32_t *place; /* [taps][pixels]: where each input is in a plane; negative: zero */
    int taps, pixels;
} gemm_panel_fill;

/* What a product does meanwhile. It prefetches into the L2 cache, for each term t, the lines at
 * input + t * input_step and at weights + t * 16; and before all terms extra_lines lines at extra. */
typedef struct gemm_forward_prefetch {
    const float *input, *weights;
    size_t input_step;
    const float *extra;
    int extra_lines;
    gemm_panel_fill fill; /* no more pixels than the product's own */
} gemm_forward_prefetch;

/* output += product p of the input, for `pixels` pixels: at most those of gemm_pixel_subblocks. */
typedef void gemm_product_fn(int pixels, const gemm_product *p, const gemm_forward_prefetch *next,
                             const float *input, float *output);
/* The product for so many output vectors of each pixel; ROTATE has its own. */
gemm_product_fn *WF_ISA_FN(wf_gemm_product_of)(gemm_kind kind, int vectors);

/* ---- the loops ---- */

/* A tile's part of one image. */
typedef struct gemm_image_part {
    const gemm_forward *s;
    const gemm_geometry *g;
    gemm_input in;
    const float *packed_weights, *bias;
    int row_begin, row_end;           /* of each residue class */
    int subblock_begin, subblock_end; /* output subblocks, counted through all sets */
    float *out;
    float *scratch; /* the packed input, or the panels */
} gemm_image_part;

/* The image lines that a region reads, in order: a product prefetches some of them while the kernel
 * multiplies the region before. A run is a stretch of lines without gap. */
typedef struct gemm_input_lines {
    const float *x;                    /* of the present channel vector */
    size_t run_floats, run_stride, at; /* at: floats of the present run that are done */
    size_t vector_stride;
    int run, runs;    /* the present run, and all of a channel vector */
    int vectors_left; /* this one included */
} gemm_input_lines;

/* The lines of a region, as the residue class reads them. */
gemm_input_lines WF_ISA_FN(wf_gemm_input_lines)(const gemm_image_part *m,
                                                const gemm_residue_class *c, gemm_region region);
/* Takes the next n lines and returns where they are; `none` when all are taken. */
const float *WF_ISA_FN(wf_gemm_take_lines)(gemm_input_lines *lines, size_t n, const float *none);
/* How often that gives something, n lines at a time. */
int64_t WF_ISA_FN(wf_gemm_calls_for)(const gemm_input_lines *lines, size_t n);

/* ---- forward_borders.c ---- */

/* What the product leaves out of pixels [first, first + n) of a row, through each of its taps. False: nothing
 * at all. */
bool WF_ISA_FN(wf_gemm_find_borders)(const gemm_axis *w, int first, int n,
                                     gemm_border border[GEMM_MAX_BORDERS]);
/* Rows of a region that are multiplied as one, and the rows of taps that they meet. */
typedef struct gemm_row_run {
    int rows, taps_begin, taps_end;
} gemm_row_run;
/* Those from row i of the region on. Rows that follow on each other are one long row; but those that meet
 * fewer taps are by themselves, where their sums keep a core busy. */
gemm_row_run WF_ISA_FN(wf_gemm_rows_at)(const gemm_residue_class *c, gemm_region region,
                                        int vectors, int i);
/* Lets a product run over rows [begin, end) of taps. */
void WF_ISA_FN(wf_gemm_take_taps)(gemm_product *p, const gemm_residue_class *c, gemm_region region,
                                  int begin, int end);

/* Loads the bias of some output vectors; zeros where there is none. */
void WF_ISA_FN(wf_gemm_load_bias)(const gemm_image_part *m, int channel, int vectors, float *bias);
/* The packed weights of an output subblock of a set, from channel vector v on. */
const float *WF_ISA_FN(wf_gemm_weights_of)(const gemm_image_part *m, const gemm_residue_class *c,
                                           int set, int subblock, int v);

/* Floats of scratch that the panels of `rows` rows of a residue class take. */
size_t WF_ISA_FN(wf_gemm_panel_floats)(const gemm_forward *s, const gemm_residue_class *c,
                                       int rows);
/* Multiplies a region by way of panels; `next` is the region that follows. */
void WF_ISA_FN(wf_gemm_run_panels)(const gemm_image_part *m, const gemm_residue_class *c,
                                   gemm_region region, gemm_region next);

/* ROTATE: computes a region of all residue classes. Each product prefetches so many of `lines`. */
void WF_ISA_FN(wf_gemm_run_rotated)(const gemm_image_part *m, gemm_region region,
                                    gemm_input_lines *lines, int lines_per_product);

/* wf_conv2d_impl.pack and .batch. A tile packs the weights of one output subblock. */
weft_status WF_ISA_FN(wf_gemm_forward_pack)(const wf_conv2d *k, int worker, const void *weights,
                                            void *packed, int tile);
weft_status WF_ISA_FN(wf_gemm_forward_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io,
                                           int n, int part, void *scratch);

#define gemm_product_of WF_ISA_FN(wf_gemm_product_of)
#define gemm_input_lines_of WF_ISA_FN(wf_gemm_input_lines)
#define gemm_take_lines WF_ISA_FN(wf_gemm_take_lines)
#define gemm_calls_for WF_ISA_FN(wf_gemm_calls_for)
#define gemm_find_borders WF_ISA_FN(wf_gemm_find_borders)
#define gemm_rows_at WF_ISA_FN(wf_gemm_rows_at)
#define gemm_take_taps WF_ISA_FN(wf_gemm_take_taps)
#define gemm_load_bias WF_ISA_FN(wf_gemm_load_bias)
#define gemm_weights_of WF_ISA_FN(wf_gemm_weights_of)
#define gemm_panel_floats WF_ISA_FN(wf_gemm_panel_floats)
#define gemm_run_rotated WF_ISA_FN(wf_gemm_run_rotated)
#define gemm_run_panels WF_ISA_FN(wf_gemm_run_panels)
#define gemm_forward_pack WF_ISA_FN(wf_gemm_forward_pack)
#define gemm_forward_run WF_ISA_FN(wf_gemm_forward_run)

#endif
