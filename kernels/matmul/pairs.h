/* What the bf16 products share, private to them: pairs.c by VDPBF16PS, tiles.c by AMX's TDPBF16PS. Both read
 * f32 operands, round them to bf16 as they pack them, and sum in f32.
 *
 * Note [Packed pairs]. A pair is two bf16 that follow each other along K, the even one in the low half. Of a block
 * of K the kernels pack
 *   - A by rows: PAIRS_PITCH numbers from row to row, which is no power of two;
 *   - B by panels of PAIRS_NR columns: pair after pair, in each the pairs of all columns. So the pairs of 16 columns
 *     are a vector, and 16 pairs of 16 columns a tile.
 * Numbers behind the last of K, and rows of A up to whole tiles, are zero, and so are columns of the last panel.
 * An element is summed in the order of K whatever the blocks: the sum goes on from what C holds. */
#ifndef WF_MATMUL_PAIRS_H
#define WF_MATMUL_PAIRS_H

#include "kernels/machine.h"
#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/simd.h"

enum {
    PAIRS_L = 16,                /* lanes; rows and columns of a tile of sums */
    PAIRS_STEP = 32,             /* numbers that TDPBF16PS sums over */
    PAIRS_KC = 256,              /* numbers of a block of K: L1 holds a panel */
    PAIRS_PITCH = PAIRS_KC + 32, /* numbers from row to row of packed A */
    PAIRS_NR = 2 * PAIRS_L,      /* columns of a panel */
    PAIRS_PANEL = PAIRS_KC * PAIRS_NR,
    PAIRS_MAX_M = 224, /* rows of a tile of C: whole groups of 14, and of 32 */
    PAIRS_MAX_N = 256,
    PAIRS_A_BYTES = PAIRS_MAX_M * PAIRS_PITCH * 2,
    PAIRS_SCRATCH = PAIRS_A_BYTES + PAIRS_MAX_N * PAIRS_KC * 2,
};
_Static_assert(WF_LANES == PAIRS_L, "kernel_dot_src is compiled for 16 lanes");

/* One block of K of a tile of C, packed. */
typedef struct pairs_block {
    const uint16_t *a, *b;
    int m, n, kc;
    float *c; /* the tile's first element, `row` elements from row to row */
    int64_t row;
    bool first;        /* C becomes bias plus sum; else C plus sum */
    const float *bias; /* of the tile's first column, or NULL */
} pairs_block;

bool WF_ISA_FN(wf_matmul_pairs_fits)(const wf_matmul_desc *d, wf_bf16 level, char *why,
                                     size_t size);
void WF_ISA_FN(wf_matmul_pairs_tile)(const wf_matmul_desc *d, int *m, int *n);
/* The inner loop at `share` of the f32 peak, and packing. */
double WF_ISA_FN(wf_matmul_pairs_expect)(const wf_matmul_desc *d, double share);
/* Packs block after block of the tile and gives each to `multiply`, with `state`. */
void WF_ISA_FN(wf_matmul_pairs_run)(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0,
                                    int64_t n1, const float *a, const float *b, const float *bias,
                                    float *c, void *scratch,
                                    void (*multiply)(void *state, const pairs_block *b),
                                    void *state);

#define pairs_fits WF_ISA_FN(wf_matmul_pairs_fits)
#define pairs_tile WF_ISA_FN(wf_matmul_pairs_tile)
#define pairs_expect WF_ISA_FN(wf_matmul_pairs_expect)
#define pairs_run WF_ISA_FN(wf_matmul_pairs_run)

#endif
