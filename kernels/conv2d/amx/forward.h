/* What forward*.c share, private to them: forward.c plans, pack.c packs the weights, forward_run.c has the loops,
 * forward_product.c multiplies a subblock.
 *
 * Note [Order of sums]. A sum begins with the bias. It adds steps: a step is an input block of 32 channels (two
 * channel blocks; or 32 numbers of a patch) and a tap; input blocks outermost, taps from the smallest offset on.
 * What a step adds is what TDPBF16PS adds: (even + odd), the sums of the products of even and of odd channels.
 * All in one go, in a tile, whatever the subblock. So a bf16 output is rounded once, and its bits do not depend
 * on how pixels, images and outputs are cut. Taps that meet padding add zeros. */
#ifndef WF_CONV2D_AMX_FORWARD_H
#define WF_CONV2D_AMX_FORWARD_H

#include "kernels/conv2d/amx/amx.h"
#include "kernels/simd/tile.h"

typedef struct amx_class {
    const amx_axis *h, *w;
    int taps;
    size_t weights; /* where its packed weights start within those of an output block */
    int32_t *tap;   /* the elements of the frame before what output 0 reads */
} amx_class;

/* Where a tap's packed weights are: for input block v at start + v * step; start < 0: the tap meets nothing. */
typedef struct amx_place {
    int64_t start, step;
} amx_place;

typedef struct amx_forward {
    wf_act in, out;
    bool out_f32; /* else it is bf16 */
    bool patched;
    int groups, group_inputs, group_outputs; /* channels; of patches: numbers */
    int output_blocks;                       /* of 16 channels, in a group */
    int output_subblocks;                    /* of two output blocks, the last of one or two */
    int input_blocks;                        /* of 32 channels, in a group */
    amx_axis *rows, *columns;
    amx_class *classes;
    int n_classes;
    int32_t *taps; /* of all classes */
    amx_frame frame;
    amx_patches patches;
    size_t block_elements;        /* from input block to input block of the frame */
    int row_blocks;               /* of the frame's block_rows rows */
    bool parts_are_rows;          /* a part is a range of row blocks; else of output subblocks */
    size_t packed_block_elements; /* of an output block's packed weights */
    amx_place *place;             /* by r * S + s */
    int max_outputs;              /* of a block, rounded up to subblocks */
    /* Scratch: frame; two subblocks of sums; where outputs are; tiles of each subblock; for patches. */
    size_t frame_bytes, sums_bytes, place_bytes, tiles_bytes;
} amx_forward;

static inline int amx_subblock_blocks(const amx_forward *s, int subblock)
{
    const int left = s->output_blocks - 2 * subblock;
    return left < 2 ? left : 2;
}

/* Stores a subblock's sums: bf16 or f32, as out_f32 says. Pixels 2i and 2i + 1 are unit i. */
typedef struct amx_epilogue {
    const float *sums;    /* [pixel tile][output block][16 pixels][16 outputs] */
    const int64_t *place; /* bytes, of each pixel behind y; negative: no output */
    char *y[2];           /* the output blocks' planes */
    int blocks;
    bool out_f32;
    int unit, units; /* next, all */
} amx_epilogue;

/* A product of a subblock of pixels by one of outputs. Strides are in elements. */
typedef struct amx_product {
    const uint16_t
        *x; /* input block v of pixel i through tap t: x + v * block + tap[t] + i * AMX_STEP */
    size_t block;
    const int32_t *tap;
    int input_blocks, taps;
    const uint16_t *w; /* [input block][tap][output block][16 pairs][16 outputs][2] */
    const float *bias; /* 16 for each output block */
    float *sums;       /* of its epilogue */
} amx_product;

/* Runs product p of so many tiles of pixels (1 or 2) and output blocks (1 or 2). What is left of epilogue e, an
 * earlier product's, runs between its steps and after them. */
void WF_ISA_FN(wf_amx_product)(wf_tiles *t, int pixel_tiles, int output_blocks,
                               const amx_product *p, amx_epilogue *e);
/* Runs what is left of an epilogue. */
void WF_ISA_FN(wf_amx_finish)(amx_epilogue *e);

weft_status WF_ISA_FN(wf_amx_pack)(const wf_conv2d *k, int worker, const void *weights,
                                   void *packed, int tile);
weft_status WF_ISA_FN(wf_amx_run)(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                  int part, void *scratch);

#define amx_product_of WF_ISA_FN(wf_amx_product)
#define amx_finish WF_ISA_FN(wf_amx_finish)
#define amx_pack WF_ISA_FN(wf_amx_pack)
#define amx_run WF_ISA_FN(wf_amx_run)

#endif
