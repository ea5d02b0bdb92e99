/* Turns a block of 16 rows of 16 bytes. SSE2, which every x86-64 has, so all builds share it.
 *
 * Nothing needs alignment. */
#ifndef WF_SIMD_TRANSPOSE_U8_H
#define WF_SIMD_TRANSPOSE_U8_H

#include <emmintrin.h>

#include "kernels/simd/simd.h"

/* Four rounds, each of which puts the bytes of row i beside those of row i + 8: after round k a
 * register holds 2^k rows. x: 16 rows; y[b] gets byte b of each. */
WF_INLINE void wf_transpose_u8(const __m128i *x, __m128i *y)
{
    __m128i a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = x[i];
    for (int round = 0; round < 4; round++) {
        WF_UNROLL
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
        }
        WF_UNROLL
        for (int i = 0; i < 16; i++)
            a[i] = b[i];
    }
    for (int i = 0; i < 16; i++)
        y[i] = a[i];
}

#endif
