/* 8 x 8 transposes of floats, and of words; the same on AVX-512, where loads and
 * stores bound them, not shuffles. */
#ifndef WF_SIMD_TRANSPOSE_H
#define WF_SIMD_TRANSPOSE_H

#include "kernels/simd/simd.h"

#if (defined(WF_SIMD_AVX2) || defined(WF_SIMD_AVX512)) && !defined(WF_SIMD_EMULATE)
/* row[i] lane j becomes row[j] lane i. */
WF_INLINE void wf_transpose_rows(__m256 row[8])
{
    __m256 pair[8], quad[8];
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
        quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
        quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
        quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        row[i] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20);
        row[i + 4] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31);
    }
}

/* The same of 8 x 8 words. */
WF_INLINE void wf_transpose_word_rows(__m128i row[8])
{
    __m128i pair[8], quad[8];
    for (int i = 0; i < 4; i++) {
        pair[2 * i] = _mm_unpacklo_epi16(row[i], row[i + 4]);
        pair[2 * i + 1] = _mm_unpackhi_epi16(row[i], row[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        quad[2 * i] = _mm_unpacklo_epi16(pair[i], pair[i + 4]);
        quad[2 * i + 1] = _mm_unpackhi_epi16(pair[i], pair[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        row[2 * i] = _mm_unpacklo_epi16(quad[i], quad[i + 4]);
        row[2 * i + 1] = _mm_unpackhi_epi16(quad[i], quad[i + 4]);
    }
}

/* out[j * out_step + i] = in[i * in_step + j], i and j below 8. */
WF_INLINE void wf_transpose8(const float *in, size_t in_step, float *out, size_t out_step)
{
    __m256 row[8];
    for (size_t i = 0; i < 8; i++)
        row[i] = _mm256_loadu_ps(in + i * in_step);
    wf_transpose_rows(row);
    for (size_t i = 0; i < 8; i++)
        _mm256_storeu_ps(out + i * out_step, row[i]);
}

/* out[6 * i + j] = in[i * in_step + j], i below 4, j below 6, in_step at least 8: three whole stores. It reads
 * nothing before `in`, and nothing behind its last number. */
WF_INLINE void wf_gather_4x6(const float *in, size_t in_step, float *out)
{
    const float *r1 = in + in_step, *r2 = r1 + in_step, *r3 = r2 + in_step;
    const __m256 high = _mm256_castps128_ps256(_mm_loadu_ps(r2 + 4));
    _mm256_storeu_ps(out, _mm256_blend_ps(_mm256_loadu_ps(in), _mm256_loadu_ps(r1 - 6), 0xc0));
    _mm256_storeu_ps(out + 8, _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(r1 + 2)),
                                                   _mm_loadu_ps(r2), 1));
    _mm256_storeu_ps(out + 16, _mm256_blend_ps(high, _mm256_loadu_ps(r3 - 2), 0xfc));
}
#else
WF_INLINE void wf_transpose8(const float *in, size_t in_step, float *out, size_t out_step)
{
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++)
            out[j * out_step + i] = in[i * in_step + j];
}

WF_INLINE void wf_gather_4x6(const float *in, size_t in_step, float *out)
{
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 6; j++)
            out[6 * i + j] = in[i * in_step + j];
}
#endif

#endif
