/* Forward and backward-data by tiles: the product of a subblock, and the epilogue that stores it. Pure.
 *
 * The tile unit multiplies for 16 cycles a product and needs nothing else of the core, so a subblock's sums are
 * stored between the products of the next one: up to 64 vector instructions a step are free there (measured on a
 * prototype). Tiles 0 to 3 hold the sums, [pixel tile][output block]; 4 and 5 pixels; 6 and 7 weights. */
#include "kernels/conv2d/amx/forward.h"

static inline const float *sums_of(const amx_epilogue *e, int pixel, int block)
{
    return e->sums + ((size_t)(pixel / L * e->blocks + block) * L + (size_t)(pixel % L)) * L;
}

/* Sums of tiles are no denormal numbers, so VCVTNEPS2BF16 rounds them as wf_vstore_bf16 does. */
WF_INLINE void store_one(char *y, bool out_f32, const float *sums)
{
    if (out_f32)
        wf_vstore((float *)y, wf_vload(sums));
    else
#if defined(WF_SIMD_DOT)
        _mm256_storeu_si256((__m256i *)y, (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(sums)));
#else
        wf_vstore_bf16((uint16_t *)y, wf_vload(sums));
#endif
}

/* Two neighbouring pixels of bf16. */
WF_INLINE void store_two(char *y, const float *first, const float *second)
{
#if defined(WF_SIMD_DOT)
    const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(second), _mm512_loadu_ps(first));
    _mm512_storeu_si512(y, (__m512i)both);
#else
    store_one(y, false, first);
    store_one(y + L * sizeof(uint16_t), false, second);
#endif
}

WF_INLINE void run_unit(amx_epilogue *e)
{
    const int i = 2 * e->unit++;
    const int64_t a = e->place[i], b = e->place[i + 1];
    for (int j = 0; j < e->blocks; j++) {
        const float *first = sums_of(e, i, j), *second = first + L;
        if (!e->out_f32 && a >= 0 && b == a + (int64_t)(L * sizeof(uint16_t))) {
            store_two(e->y[j] + a, first, second);
            continue;
        }
        if (a >= 0)
            store_one(e->y[j] + a, e->out_f32, first);
        if (b >= 0)
            store_one(e->y[j] + b, e->out_f32, second);
    }
}

void amx_finish(amx_epilogue *e)
{
    while (e->unit < e->units)
        run_unit(e);
}

/* PIXELS and BLOCKS are constants at every call. */
WF_INLINE void multiply(wf_tiles *t, const int PIXELS, const int BLOCKS, const amx_product *p,
                        amx_epilogue *e)
{
    const int64_t row = AMX_STEP * sizeof(uint16_t);
    const int steps = p->input_blocks * p->taps;
    const int each = (e->units - e->unit + steps - 1) / steps;
    const uint16_t *xv = p->x, *w = p->w;
    wf_tile_load(t, 0, p->bias, 0);
    if (BLOCKS > 1)
        wf_tile_load(t, 1, p->bias + L, 0);
    if (PIXELS > 1)
        wf_tile_load(t, 2, p->bias, 0);
    if (PIXELS > 1 && BLOCKS > 1)
        wf_tile_load(t, 3, p->bias + L, 0);
    for (int v = 0; v < p->input_blocks; v++, xv += p->block)
        for (int i = 0; i < p->taps; i++, w += BLOCKS * AMX_TILE) {
            const uint16_t *x = xv + p->tap[i];
            wf_tile_load(t, 4, x, row);
            wf_tile_load(t, 6, w, row);
            wf_tile_dot(t, 0, 4, 6);
            if (BLOCKS > 1) {
                wf_tile_load(t, 7, w + AMX_TILE, row);
                wf_tile_dot(t, 1, 4, 7);
            }
            if (PIXELS > 1) {
                wf_tile_load(t, 5, x + AMX_TILE, row);
                wf_tile_dot(t, 2, 5, 6);
            }
            if (PIXELS > 1 && BLOCKS > 1)
                wf_tile_dot(t, 3, 5, 7);
            for (int j = 0; j < each && e->unit < e->units; j++)
                run_unit(e);
        }
    amx_finish(e);
    wf_tile_store(t, 0, p->sums, row);
    if (BLOCKS > 1)
        wf_tile_store(t, 1, p->sums + AMX_SUMS, row);
    if (PIXELS > 1)
        wf_tile_store(t, 2, p->sums + BLOCKS * AMX_SUMS, row);
    if (PIXELS > 1 && BLOCKS > 1)
        wf_tile_store(t, 3, p->sums + 3 * AMX_SUMS, row);
}

void amx_product_of(wf_tiles *t, int pixel_tiles, int output_blocks, const amx_product *p,
                    amx_epilogue *e)
{
    if (pixel_tiles > 1 && output_blocks > 1)
        multiply(t, 2, 2, p, e);
    else if (pixel_tiles > 1)
        multiply(t, 2, 1, p, e);
    else if (output_blocks > 1)
        multiply(t, 1, 2, p, e);
    else
        multiply(t, 1, 1, p, e);
}
