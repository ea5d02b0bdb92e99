/* A transpose of 16 x 16 pairs of bf16, and of 32 pixels of a channel block. Private to this folder. */
#ifndef WF_CONV2D_AMX_TRANSPOSE_H
#define WF_CONV2D_AMX_TRANSPOSE_H

#include "kernels/conv2d/amx/amx.h"

#if defined(WF_SIMD_DOT)
/* Lane j of row[i] becomes lane i of row[j]: four rounds of 16 shuffles. */
WF_INLINE void amx_transpose_rows(__m512i row[L])
{
    __m512i t[L];
    WF_UNROLL
    for (int i = 0; i < L; i += 2) {
        t[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    WF_UNROLL
    for (int i = 0; i < L; i += 4) {
        row[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        row[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        row[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        row[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* A quarter l of row[4 i + j] now has lane 4 l + j of the rows 4 i to 4 i + 3. */
    WF_UNROLL
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i32x4(row[j], row[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(row[8 + j], row[12 + j], 0x88);
        t[8 + j] = _mm512_shuffle_i32x4(row[j], row[4 + j], 0xdd);
        t[12 + j] = _mm512_shuffle_i32x4(row[8 + j], row[12 + j], 0xdd);
    }
    WF_UNROLL
    for (int j = 0; j < 4; j++) {
        row[j] = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);
        row[4 + j] = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x88);
        row[8 + j] = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);
        row[12 + j] = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xdd);
    }
}

/* The 16 channels of two neighbouring pixels as 16 pairs. */
WF_INLINE __m512i amx_pairs_of(const uint16_t *cells)
{
    static const uint16_t from[2 * L] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                         21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                         11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(from), _mm512_loadu_si512(cells));
}
#endif

/* to[j][i] = from[i][j], pairs of bf16. */
WF_INLINE void amx_transpose_pairs(const uint16_t *from, size_t from_step, uint16_t *to)
{
#if defined(WF_SIMD_DOT)
    __m512i row[L];
    WF_UNROLL
    for (int i = 0; i < L; i++)
        row[i] = _mm512_loadu_si512(from + (size_t)i * from_step);
    amx_transpose_rows(row);
    WF_UNROLL
    for (int i = 0; i < L; i++)
        _mm512_storeu_si512(to + i * AMX_STEP, row[i]);
#else
    for (int i = 0; i < L; i++)
        for (int j = 0; j < L; j++)
            memcpy(to + j * AMX_STEP + 2 * i, from + (size_t)i * from_step + 2 * j, 4);
#endif
}

/* Interleaves the 16 channels of two neighbouring pixels: to[c][0, 1]. */
WF_INLINE void amx_interleave(const uint16_t *cells, uint16_t *to)
{
#if defined(WF_SIMD_DOT)
    _mm512_storeu_si512(to, amx_pairs_of(cells));
#else
    for (int c = 0; c < L; c++) {
        to[2 * c] = cells[c];
        to[2 * c + 1] = cells[L + c];
    }
#endif
}

/* A tile of 16 channels by 32 pixels, from 32 cells of 16 channels. */
WF_INLINE void amx_transpose_cells(const uint16_t *cells, uint16_t *to)
{
#if defined(WF_SIMD_DOT)
    __m512i row[L];
    WF_UNROLL
    for (int i = 0; i < L; i++)
        row[i] = amx_pairs_of(cells + i * 2 * L);
    amx_transpose_rows(row);
    WF_UNROLL
    for (int i = 0; i < L; i++)
        _mm512_storeu_si512(to + i * AMX_STEP, row[i]);
#else
    for (int i = 0; i < AMX_STEP; i++)
        for (int c = 0; c < L; c++)
            to[c * AMX_STEP + i] = cells[i * L + c];
#endif
}

#endif
