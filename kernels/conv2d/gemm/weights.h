/* What weights*.c share, private to them. weights.c plans backward-weights and adds up its partial sums;
 * weights_run.c has the loops; weights_prefetch.c knows which lines come next; weights_product.c
 * multiplies in registers. */
#ifndef WF_CONV2D_GEMM_WEIGHTS_H
#define WF_CONV2D_GEMM_WEIGHTS_H

#include "kernels/conv2d/gemm/gemm.h"

enum {
    GEMM_MAX_TAPS_AT_ONCE = 9, /* of a product: it has a pointer for each */
    GEMM_LINE_BYTES = 64       /* of a cache line */
};

/* A tap that meets the input somewhere. */
typedef struct gemm_weights_tap {
    int row_offset, column_offset; /* gemm_axis.offset */
    size_t index;                  /* r * S + s */
    size_t packed_offset;          /* where a packed input has what the first pixel meets */
} gemm_weights_tap;

/* How much of src and ddst is taken at once, so that it stays in a cache. */
typedef struct gemm_weights_blocking {
    bool
        in_place; /* src needs no packed input: a product leaves out pixels that meet padding only */
    int rows_block_size, images_block_size; /* output rows and images whose pixels L1 holds */
    int output_vectors_subblock_size;       /* output vectors of a subblock, at most */
    int output_subblocks;                   /* of a set */
    int packed_rows;              /* output rows of a packed input: several blocks of rows */
    int packed_blocks;            /* packed inputs of an image, one after the other */
    int input_vectors_block_size; /* channel vectors of a packed input */
} gemm_weights_blocking;

/* How the work on one split is cut into parts: parts = input_parts * output_parts * subsplits. */
typedef struct gemm_weights_parts {
    int subsplits;     /* ranges of the split's pixels, each with a partial sum of its own */
    size_t sum_floats; /* of such a partial sum */
    int input_parts;   /* ranges of channel vectors */
    int output_parts;  /* ranges of output subblocks */
} gemm_weights_parts;

typedef struct gemm_weights {
    gemm_geometry geometry;
    gemm_weights_blocking blocking;
    gemm_weights_parts parts;
    int first_row_offset, last_row_offset; /* the least and the largest of all taps */
    int taps;                              /* that meet the input, in the weights' order */
    gemm_weights_tap *tap;
    int32_t rotation[GEMM_MAX_ROTATIONS][L]; /* ROTATE: the lane of ddst that each lane takes */
} gemm_weights;

/* Floats of a partial sum for one output vector. */
static inline size_t gemm_sum_vector_floats(const wf_conv2d_desc *d, const gemm_geometry *g)
{
    return (size_t)g->input_vectors * (size_t)d->R * (size_t)d->S * (size_t)g->vector_channels * L;
}

/* The first output vector of output subblock i of a set; of i = output_subblocks the end. */
static inline int gemm_weights_subblock_begin(const gemm_weights *s, int i)
{
    return (int)((int64_t)s->geometry.output_vectors * i / s->blocking.output_subblocks);
}

/* How many pieces of at most `most` n is cut into; and the size of one, if all are about equal. */
static inline int gemm_pieces(int n, int most)
{
    return (n + most - 1) / most;
}
static inline int gemm_even(int n, int most)
{
    return gemm_pieces(n, gemm_pieces(n, most));
}

/* Of `terms`, which are taps by channel vectors: how many a product of another kind than DENSE takes at
 * once with so many output vectors. */
static inline int gemm_taps_at_once(const gemm_weights *s, int output_vectors, int terms)
{
    const gemm_geometry *g = &s->geometry;
    const int rotations = g->kind == GEMM_ROTATE ? g->vector_channels : 1;
    const int room = GEMM_MAX_SUMS / (output_vectors * rotations);
    return gemm_even(terms, room < GEMM_MAX_TAPS_AT_ONCE ? room : GEMM_MAX_TAPS_AT_ONCE);
}

/* ---- the products in registers ---- */

/* The pixels that a product sums over, as src (in place or packed) and ddst have them. Strides are in
 * floats. */
typedef struct gemm_pixels {
    int images, rows, columns;
    size_t src_image_stride, src_row_stride;
    size_t ddst_image_stride, ddst_row_stride, ddst_vector_stride;
    size_t src_column_stride; /* DENSE; of the other kinds it follows from the kind */
    bool starts_sums;         /* DENSE: the sums start with zero, not with what is there */
} gemm_pixels;

/* Lines that a product prefetches into L2 for a later one: one with each pixel, at `at`, at + step, ... */
typedef struct gemm_prefetch_lines {
    const char *at;
    size_t step; /* bytes */
} gemm_prefetch_lines;

/* DENSE: w[i][b] += sum over pixels of src[i] * ddst[b], for the channels i of a channel vector and some
 * output vectors b. It runs in two halves of the channels, each with its prefetch; with one output vector
 * at once, with the first prefetch. NULL: nothing to prefetch. */
void WF_ISA_FN(wf_gemm_channels_product)(int output_vectors, const gemm_pixels *p,
                                         const gemm_prefetch_lines prefetch[2], const float *src,
                                         const float *ddst, float *w, size_t w_vector_stride);
/* The other kinds, for n taps, whose src is at src[i]. PLAIN: some output vectors; LANES: one; ROTATE: one
 * in `output_vectors` rotations, w[i][j], and with both prefetches. */
void WF_ISA_FN(wf_gemm_taps_product)(gemm_kind kind, int output_vectors, int n,
                                     const gemm_pixels *p, const gemm_prefetch_lines prefetch[2],
                                     const float *const *src, const float *ddst,
                                     const int32_t (*rotation)[L], float *w,
                                     size_t w_vector_stride);

/* ---- the loops ---- */

/* A part of a split's work. It runs block by block. A block is a packed input: some rows of some images,
 * some channel vectors. The channel vectors change fastest, then the sets, then the pixels. */
typedef struct gemm_weights_part {
    const wf_conv2d *k;
    const wf_conv2d_gradient_io *io;
    int index, images;            /* this part's among the split's; images of the split */
    int pixels_begin, pixels_end; /* packed inputs of one channel vector: by image, then by rows */
    int sets, vector_blocks;      /* blocks of each: the part's sets, its channel vectors */
    int vector_begin, vector_end; /* channel vectors */
    int subblock_begin, subblock_end; /* output subblocks, counted through all sets */
    bool cleared; /* the partial sum was set to zero; else its first block writes it */
    float *partial_sum, *scratch;
} gemm_weights_part;

/* Rows of some images, channel vectors and output subblocks of a set. */
typedef struct gemm_weights_block {
    const char *src, *ddst; /* of the first image */
    int images, row, rows;
    int set, subblock_begin, subblock_end, vector_begin, vector_end;
    bool starts_sums;
} gemm_weights_block;

/* ---- weights_prefetch.c ---- */

/* What a block reads of src or of ddst: rows, by channel vector, by image. */
typedef struct gemm_prefetch_region {
    const char *at;
    size_t bytes;   /* of a row; or of several rows without gap */
    int n[3], i[3]; /* rows, vectors, images: all, and the present one */
    size_t stride[3];
    int shares;         /* a row is shared out among so many products */
    size_t share_bytes; /* of one */
    size_t step;        /* gemm_prefetch_lines */
} gemm_prefetch_region;

/* What the products of a block prefetch for the next block: all of src's region, then all of ddst's. */
enum { GEMM_SRC, GEMM_DDST, GEMM_REGIONS };
typedef struct gemm_weights_prefetch {
    gemm_prefetch_lines next;
    size_t share_bytes; /* from there to the share after it */
    int shares_left;    /* of the present row */
    int extra_rows;     /* rows that go with a share, since there are more rows than products */
    gemm_prefetch_region region[GEMM_REGIONS];
    int current, count; /* regions */
    int taps;           /* DENSE: only the products of the first so many taps prefetch */
} gemm_weights_prefetch;

/* What `next` reads and `now` does not. */
gemm_weights_prefetch WF_ISA_FN(wf_gemm_weights_prefetch)(const gemm_weights_part *m,
                                                          const gemm_weights_block *now,
                                                          const gemm_weights_block *next);
void WF_ISA_FN(wf_gemm_next_row)(gemm_weights_prefetch *a);
#define gemm_weights_prefetch_of WF_ISA_FN(wf_gemm_weights_prefetch)
#define gemm_next_row WF_ISA_FN(wf_gemm_next_row)

/* Takes the share of a product, or of half of one. Its step is 0 when everything was prefetched. */
static inline gemm_prefetch_lines gemm_take_share(gemm_weights_prefetch *a)
{
    for (int i = 0; i < a->extra_rows && a->current < a->count; i++) {
        for (size_t j = 0; j < a->region[a->current].bytes; j += GEMM_LINE_BYTES)
            __builtin_prefetch(a->next.at + j, 0, 2);
        gemm_next_row(a);
    }
    const gemm_prefetch_lines next = a->next;
    a->next.at += a->share_bytes;
    if (--a->shares_left == 0)
        gemm_next_row(a);
    return next;
}

/* wf_conv2d_impl.backward_weights. */
weft_status WF_ISA_FN(wf_gemm_weights_run)(const wf_conv2d *k, int worker,
                                           const wf_conv2d_gradient_io *io, int n,
                                           void *partial_sum, int part, void *scratch);

/* wf_conv2d_impl.reads. */
wf_conv2d_reads WF_ISA_FN(wf_gemm_weights_reads)(const wf_conv2d *k, int n, int part);

#define gemm_channels_product WF_ISA_FN(wf_gemm_channels_product)
#define gemm_taps_product WF_ISA_FN(wf_gemm_taps_product)
#define gemm_weights_run WF_ISA_FN(wf_gemm_weights_run)
#define gemm_weights_reads WF_ISA_FN(wf_gemm_weights_reads)

#endif
