/* Backward-weights by tiles: the product of a tap, Note [Pixels as the inner dimension]. Pure. Tiles 0 to 3 hold the
 * sums, [output block][input block]; 4 and 5 ddst; 6 and 7 src. */
#include "kernels/conv2d/amx/weights.h"

/* OUTPUTS and INPUTS, blocks, are constants at every call. */
WF_INLINE void multiply(wf_tiles *t, const int OUTPUTS, const int INPUTS,
                        const amx_weights_product *p)
{
    const int64_t row = 64;
    float *const sums[4] = {p->sums, p->sums + p->input_step, p->sums + p->output_step,
                            p->sums + p->output_step + p->input_step};
    const uint16_t *y0 = p->ddst[0], *y1 = p->ddst[1], *x0 = p->src[0], *x1 = p->src[1];
    if (p->starts_sums) {
        wf_tile_zero(t, 0);
        wf_tile_zero(t, 1);
        wf_tile_zero(t, 2);
        wf_tile_zero(t, 3);
    } else {
        wf_tile_load(t, 0, sums[0], row);
        if (INPUTS > 1)
            wf_tile_load(t, 1, sums[1], row);
        if (OUTPUTS > 1)
            wf_tile_load(t, 2, sums[2], row);
        if (OUTPUTS > 1 && INPUTS > 1)
            wf_tile_load(t, 3, sums[3], row);
    }
    for (int i = 0; i < p->steps; i++) {
        wf_tile_load(t, 4, y0, row);
        wf_tile_load(t, 6, x0, row);
        wf_tile_dot(t, 0, 4, 6);
        if (INPUTS > 1) {
            wf_tile_load(t, 7, x1, row);
            wf_tile_dot(t, 1, 4, 7);
            x1 += AMX_TILE;
        }
        if (OUTPUTS > 1) {
            wf_tile_load(t, 5, y1, row);
            wf_tile_dot(t, 2, 5, 6);
            y1 += AMX_TILE;
        }
        if (OUTPUTS > 1 && INPUTS > 1)
            wf_tile_dot(t, 3, 5, 7);
        y0 += AMX_TILE;
        x0 += AMX_TILE;
    }
    wf_tile_store(t, 0, sums[0], row);
    if (INPUTS > 1)
        wf_tile_store(t, 1, sums[1], row);
    if (OUTPUTS > 1)
        wf_tile_store(t, 2, sums[2], row);
    if (OUTPUTS > 1 && INPUTS > 1)
        wf_tile_store(t, 3, sums[3], row);
}

void amx_weights_product_of(wf_tiles *t, int output_blocks, int input_blocks,
                            const amx_weights_product *p)
{
    if (output_blocks > 1 && input_blocks > 1)
        multiply(t, 2, 2, p);
    else if (output_blocks > 1)
        multiply(t, 2, 1, p);
    else if (input_blocks > 1)
        multiply(t, 1, 2, p);
    else
        multiply(t, 1, 1, p);
}
