/* Turns blocks of 16 rows of 16 bytes, two of them side by side. AVX2, which every build of the vector
 * kernels has, the emulated one too. Nothing needs alignment. */
#ifndef WF_SIMD_TRANSPOSE_U8_H
#define WF_SIMD_TRANSPOSE_U8_H

#include <immintrin.h>

#include "kernels/simd/simd.h"

/* x: 16 rows of 32 bytes. The lower half of y[b] gets byte b of each row, the upper half byte 16 + b.
 * Four rounds, each of which puts the bytes of row i beside those of row i + 8: after round k a
 * register holds 2^k rows. */
WF_INLINE void wf_transpose_u8(const __m256i *x, __m256i *y)
{
    __m256i a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = x[i];
    for (int round = 0; round < 4; round++) {
        WF_UNROLL
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm256_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm256_unpackhi_epi8(a[i], a[i + 8]);
        }
        WF_UNROLL
        for (int i = 0; i < 16; i++)
            a[i] = b[i];
    }
    for (int i = 0; i < 16; i++)
        y[i] = a[i];
}

#endif
