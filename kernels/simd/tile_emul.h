/* AMX tiles in plain C, to the bit: what TILEZERO, TILELOADD, TILESTORED and TDPBF16PS do, for tests and
 * for the emulated build of tile kernels. State is the caller's, one wf_tiles a thread. After Intel's
 * Software Developer's Manual, volume 2; palette 1: eight tiles of at most 16 rows of 64 bytes. */
#ifndef WF_SIMD_TILE_EMUL_H
#define WF_SIMD_TILE_EMUL_H

#include <stdbool.h>
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

/* Whether all numbers of a tile, bf16 or f32, are zero or have magnitudes from 2^-least on and below 2^40. */
static inline bool wf_tile_emul_moderate(const wf_tile_emul *t, bool f32, int least)
{
    uint32_t bad = 0;
    for (int r = 0; r < t->rows; r++)
        for (int i = 0; i < t->bytes; i += f32 ? 4 : 2) {
            uint32_t u = 0;
            memcpy((char *)&u + (f32 ? 0 : 2), t->row[r] + i, f32 ? 4 : 2);
            const uint32_t exponent = u >> 23 & 0xff, low = 127 - (uint32_t)least;
            bad |= (uint32_t)((u << 1) != 0) & (uint32_t)(exponent < low || exponent >= 127 + 40);
        }
    return !bad;
}

/* One row of c by the manual's words, for any numbers. */
static inline void wf_tile_emul_dot_row(float *c, const wf_tile_emul *a, const wf_tile_emul *b,
                                        int m, int columns)
{
    for (int n = 0; n < columns; n++) {
        float even = 0, odd = 0;
        for (int k = 0; k < a->bytes / 4; k++) {
            uint32_t x, y;
            memcpy(&x, a->row[m] + 4 * k, 4);
            memcpy(&y, b->row[k] + 4 * n, 4);
            even = wf_fma_ftz(wf_float_of(x << 16), wf_float_of(y << 16), even);
            odd = wf_fma_ftz(wf_float_of(x & 0xffff0000), wf_float_of(y & 0xffff0000), odd);
        }
        c[n] = wf_add_ftz(c[n], wf_add_ftz(even, odd));
    }
}

/* The same for moderate numbers, eight columns at once. Products of bf16 from 2^-40 to 2^40 are exact and whole
 * multiples of 2^-94, as all sums of them are. Together with a c of 2^-90 and more nothing is denormal or
 * overflows. So plain multiplications and additions round as the instruction does. */
static inline void wf_tile_emul_dot_row_moderate(float *c, const wf_tile_emul *a,
                                                 const wf_tile_emul *b, int m)
{
    typedef float vector __attribute__((vector_size(32)));
    typedef uint32_t bits __attribute__((vector_size(32)));
    for (int n = 0; n < WF_TILE_BYTES / 4; n += 8) {
        vector even = {0}, odd = {0}, sum;
        for (int k = 0; k < a->bytes / 4; k++) {
            uint32_t x;
            bits y;
            memcpy(&x, a->row[m] + 4 * k, 4);
            memcpy(&y, b->row[k] + 4 * n, sizeof y);
            even += wf_float_of(x << 16) * (vector)(y << 16);
            odd += wf_float_of(x & 0xffff0000) * (vector)(y & 0xffff0000);
        }
        memcpy(&sum, c + n, sizeof sum);
        sum += even + odd;
        memcpy(c + n, &sum, sizeof sum);
    }
}

/* TDPBF16PS: c (rows of a x columns of b, f32) += a (rows x pairs of bf16) times b (pairs x columns of
 * pairs of bf16). Even and odd elements of the pairs have a sum each that begins at zero and takes the
 * products in order; then c + (even + odd), each addition rounded. */
static inline void wf_tile_emul_dot(wf_tile_emul *c, const wf_tile_emul *a, const wf_tile_emul *b)
{
    const bool moderate = wf_tile_emul_moderate(a, false, 40) &&
                          wf_tile_emul_moderate(b, false, 40) && wf_tile_emul_moderate(c, true, 90);
    for (int m = 0; m < c->rows; m++) {
        float row[WF_TILE_BYTES / 4] = {0};
        memcpy(row, c->row[m], (size_t)c->bytes);
        if (moderate)
            wf_tile_emul_dot_row_moderate(row, a, b, m);
        else
            wf_tile_emul_dot_row(row, a, b, m, c->bytes / 4);
        memcpy(c->row[m], row, (size_t)c->bytes);
    }
}

#endif
