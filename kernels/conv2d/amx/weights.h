/* What weights*.c share, private to them: weights.c plans and adds up partial sums, weights_run.c has the loops,
 * weights_product.c the products.
 *
 * Note [Pixels as the inner dimension]. A weight's gradient sums over output pixels. They are counted with the pitch
 * of the frame of src, Note [Frames] in amx.h; where the count meets no output, ddst is zero. A step is 32 of them.
 *
 *     ddst, transposed, for each output block:         [step][16 outputs][32 pixels]
 *     src, in pairs, for an input block and a parity:  [pair of cells][16 inputs][2]
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
    int group_inputs, group_outputs; /* channels of a group; of patches: numbers */
    int input_blocks, output_blocks; /* of 16, in a group */
    amx_axis *rows, *columns;
    int taps;       /* that meet the input */
    size_t *cell;   /* of each: what output 0 reads */
    int *tap;       /* of each: r * S + s */
    bool parity[2]; /* of pairs that a tap reads: even, odd */
    amx_frame frame;
    amx_patches patches;
    size_t frame_cells; /* of an input block */
    int max_steps, row_blocks;
    int input_parts,
        output_parts; /* ranges of pairs of input blocks; of output blocks, through all groups */
    size_t
        block_floats; /* of a partial sum for one output block: [input block][tap][L outputs][L inputs] */
    /* Scratch: ddst; cells; pairs; for patches. */
    size_t ddst_bytes, cells_bytes, pairs_bytes;
} amx_weights;

static inline int amx_pairs(int blocks)
{
    return (blocks + 1) / 2;
}

/* One tap's product for up to two output and two input blocks. */
typedef struct amx_weights_product {
    const uint16_t *ddst[2]; /* [step][16 outputs][32 pixels] */
    const uint16_t *src[2];  /* [step][16 pairs][16 inputs][2] */
    int steps;
    float *sums; /* [16 outputs][16 inputs] */
    size_t output_step,
        input_step;   /* floats from output block to output block of sums, and of inputs */
    bool starts_sums; /* with zero, not with what is there */
} amx_weights_product;

void WF_ISA_FN(wf_amx_weights_product)(wf_tiles *t, int output_blocks, int input_blocks,
                                       const amx_weights_product *p);
weft_status WF_ISA_FN(wf_amx_weights_run)(const wf_conv2d *k, int worker,
                                          const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                          int part, void *scratch);

#define amx_weights_product_of WF_ISA_FN(wf_amx_weights_product)
#define amx_weights_run WF_ISA_FN(wf_amx_weights_run)

#endif
