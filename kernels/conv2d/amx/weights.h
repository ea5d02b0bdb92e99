/* What weights*.c share, private to them: weights.c plans and adds up partial sums, weights_run.c has the loops,
 * weights_product.c the products.
 *
 * Note [Pixels as the inner dimension]. A weight's gradient sums over output pixels. They are counted with the pitch
 * of the frame of src, Note [Frames] in amx.h; where the count meets no output, ddst is zero. A step is 32 of them.
 *
 *     rows: ddst, transposed, for each output block:           [step][16 outputs][32 pixels]
 *     pairs: src, for an input block and a parity, in pairs:   [pair of cells][16 inputs][2]
 *
 * A 1x1 filter has one tap, so either operand can be transposed. That takes several times as long as pairs, so the
 * one with fewer channels is: with more outputs than inputs it is src, and the two change places.
 *
 * A tap reads src from a cell on that may be odd, but a tile must not begin within a pair, and tile loads across cache
 * lines take six times as long. So there are two copies of src, of the pairs that begin with even cells and with odd
 * ones. All taps share them; ddst is transposed once for all. Both operands have zeros wherever a step goes beyond
 * the pixels: zero times NaN would be NaN.
 *
 * Note [Order of weight sums]. A weight's sum of a split begins at zero and adds steps, in the order of pixel blocks, a
 * block being some images or some rows of one. A step adds (even + odd), as TDPBF16PS does. */
#ifndef WF_CONV2D_AMX_WEIGHTS_H
#define WF_CONV2D_AMX_WEIGHTS_H

#include "kernels/conv2d/amx/amx.h"
#include "kernels/simd/tile.h"

typedef struct amx_weights {
    bool patched;
    bool swapped;  /* src is transposed, ddst lies in pairs */
    bool in_place; /* a pixel block of neighbouring pixels of src may be read where it lies */
    int group_inputs, group_outputs; /* channels of a group; of patches: numbers */
    int input_blocks, output_blocks; /* of 16, in a group */
    int row_blocks, pair_blocks;     /* the one and the other, as swapped says */
    amx_axis *rows, *columns;
    int taps;       /* that meet the input */
    size_t *cell;   /* of each: what output 0 reads */
    int *tap;       /* of each: r * S + s */
    bool parity[2]; /* of pairs that a tap reads: even, odd */
    amx_frame frame;
    amx_patches patches;
    size_t frame_cells; /* of an input block */
    size_t pair_cells;  /* of a parity of a pair block */
    int max_steps, blocks_of_image;
    /* Parts: ranges of two row blocks, through all groups; of two pair blocks. */
    int row_parts, pair_parts;
    /* Of a partial sum for one output block: [input block][tap][16 of rows][16 of pairs]. */
    size_t block_floats;
    /* Scratch: rows; cells; pairs; for patches. */
    size_t rows_bytes, cells_bytes, pairs_bytes;
} amx_weights;

static inline int amx_halves(int blocks)
{
    return (blocks + 1) / 2;
}

/* One tap's product for up to two row blocks and two pair blocks. */
typedef struct amx_weights_product {
    const uint16_t *rows[2];  /* [step][16 channels][32 pixels] */
    const uint16_t *pairs[2]; /* [step][16 pairs][16 channels][2] */
    int steps;
    float *sums;                /* [16 of rows][16 of pairs] */
    size_t row_step, pair_step; /* floats to the sums of the second row block, pair block */
    bool starts_sums;           /* with zero, not with what is there */
} amx_weights_product;

void WF_ISA_FN(wf_amx_weights_product)(wf_tiles *t, int row_blocks, int pair_blocks,
                                       const amx_weights_product *p);
weft_status WF_ISA_FN(wf_amx_weights_run)(const wf_conv2d *k, int worker,
                                          const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                          int part, void *scratch);

#define amx_weights_product_of WF_ISA_FN(wf_amx_weights_product)
#define amx_weights_run WF_ISA_FN(wf_amx_weights_run)

#endif
