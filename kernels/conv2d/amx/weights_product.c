/* Backward-weights by tiles: the product of a tap, Note [Pixels as the inner dimension]. Pure. Tiles 0 to 3 hold the
 * sums, [row block][pair block]; 4 and 5 rows; 6 and 7 pairs. */
#include "kernels/conv2d/amx/weights.h"

/* ROWS and PAIRS, blocks, are constants at every call. */
WF_INLINE void multiply(wf_tiles *t, const int ROWS, const int PAIRS, const amx_weights_product *p)
{
    const int64_t row = 64;
    float *const sums[4] = {p->sums, p->sums + p->pair_step, p->sums + p->row_step,
                            p->sums + p->row_step + p->pair_step};
    const uint16_t *y0 = p->rows[0], *y1 = p->rows[1], *x0 = p->pairs[0], *x1 = p->pairs[1];
    if (p->starts_sums) {
        wf_tile_zero(t, 0);
        wf_tile_zero(t, 1);
        wf_tile_zero(t, 2);
        wf_tile_zero(t, 3);
    } else {
        wf_tile_load(t, 0, sums[0], row);
        if (PAIRS > 1)
            wf_tile_load(t, 1, sums[1], row);
        if (ROWS > 1)
            wf_tile_load(t, 2, sums[2], row);
        if (ROWS > 1 && PAIRS > 1)
            wf_tile_load(t, 3, sums[3], row);
    }
    for (int i = 0; i < p->steps; i++) {
        wf_tile_load(t, 4, y0, row);
        wf_tile_load(t, 6, x0, row);
        wf_tile_dot(t, 0, 4, 6);
        if (PAIRS > 1) {
            wf_tile_load(t, 7, x1, row);
            wf_tile_dot(t, 1, 4, 7);
            x1 += AMX_TILE;
        }
        if (ROWS > 1) {
            wf_tile_load(t, 5, y1, row);
            wf_tile_dot(t, 2, 5, 6);
            y1 += AMX_TILE;
        }
        if (ROWS > 1 && PAIRS > 1)
            wf_tile_dot(t, 3, 5, 7);
        y0 += AMX_TILE;
        x0 += AMX_TILE;
    }
    wf_tile_store(t, 0, sums[0], row);
    if (PAIRS > 1)
        wf_tile_store(t, 1, sums[1], row);
    if (ROWS > 1)
        wf_tile_store(t, 2, sums[2], row);
    if (ROWS > 1 && PAIRS > 1)
        wf_tile_store(t, 3, sums[3], row);
}

void amx_weights_product_of(wf_tiles *t, int row_blocks, int pair_blocks,
                            const amx_weights_product *p)
{
    if (row_blocks > 1 && pair_blocks > 1)
        multiply(t, 2, 2, p);
    else if (row_blocks > 1)
        multiply(t, 2, 1, p);
    else if (pair_blocks > 1)
        multiply(t, 1, 2, p);
    else
        multiply(t, 1, 1, p);
}
