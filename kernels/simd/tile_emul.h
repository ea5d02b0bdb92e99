/* AMX tiles in plain C, to the bit: what TILEZERO, TILELOADD, TILESTORED and TDPBF16PS do, for tests and
 * for the emulated build of tile kernels. State is the caller's, one wf_tiles a thread. After Intel's
 * Software Developer's Manual, volume 2; palette 1: eight tiles of at most 16 rows of 64 bytes. */
#ifndef WF_SIMD_TILE_EMUL_H
#define WF_SIMD_TILE_EMUL_H

#include <stddef.h>

#include "kernels/simd/bf16_emul.h"

enum { WF_TILES = 8, WF_TILE_ROWS = 16, WF_TILE_BYTES = 64 }; /* bytes: of a row */

typedef struct wf_tile_emul {
    int rows, bytes; /* in use; bytes a multiple of 4 */
    uint8_t row[WF_TILE_ROWS][WF_TILE_BYTES];
} wf_tile_emul;

/* LDTILECFG for one tile: its shape, and zeros. */
static inline void wf_tile_emul_shape(wf_tile_emul *t, int rows, int bytes)
{
    memset(t, 0, sizeof *t);
    t->rows = rows;
    t->bytes = bytes;
}
static inline void wf_tile_emul_zero(wf_tile_emul *t)
{
    memset(t->row, 0, sizeof t->row);
}
/* stride: bytes from row to row. */
static inline void wf_tile_emul_load(wf_tile_emul *t, const void *p, ptrdiff_t stride)
{
    wf_tile_emul_zero(t);
    for (int r = 0; r < t->rows; r++)
        memcpy(t->row[r], (const char *)p + r * stride, (size_t)t->bytes);
}
static inline void wf_tile_emul_store(const wf_tile_emul *t, void *p, ptrdiff_t stride)
{
    for (int r = 0; r < t->rows; r++)
        memcpy((char *)p + r * stride, t->row[r], (size_t)t->bytes);
}

/* x + y with DAZ and FTZ. */
static inline float wf_add_ftz(float x, float y)
{
    return wf_fma_ftz(1.0f, x, y);
}

/* TDPBF16PS: c (rows of a x columns of b, f32) += a (rows x pairs of bf16) times b (pairs x columns of
 * pairs of bf16). Even and odd elements of the pairs have a sum each that begins at zero and takes the
 * products in order; then c + (even + odd), each addition rounded. */
static inline void wf_tile_emul_dot(wf_tile_emul *c, const wf_tile_emul *a, const wf_tile_emul *b)
{
    for (int m = 0; m < c->rows; m++)
        for (int n = 0; n < c->bytes / 4; n++) {
            float even = 0, odd = 0, sum;
            for (int k = 0; k < a->bytes / 4; k++) {
                uint32_t x, y;
                memcpy(&x, a->row[m] + 4 * k, 4);
                memcpy(&y, b->row[k] + 4 * n, 4);
                even = wf_fma_ftz(wf_float_of(x << 16), wf_float_of(y << 16), even);
                odd = wf_fma_ftz(wf_float_of(x & 0xffff0000), wf_float_of(y & 0xffff0000), odd);
            }
            memcpy(&sum, c->row[m] + 4 * n, 4);
            sum = wf_add_ftz(sum, wf_add_ftz(even, odd));
            memcpy(c->row[m] + 4 * n, &sum, 4);
        }
}

#endif
