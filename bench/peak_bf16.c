/* bf16 dot products of AVX512_BF16; see peak_loops.h. */
#include <immintrin.h>

#include "bench/peak_loops.h"

enum { SUMS = 12 };

double bench_peak_bf16_avx512(int64_t rounds, float seed, float *result)
{
    const __m512 small = _mm512_set1_ps(seed);
    const __m512bh a = _mm512_cvtne2ps_pbh(small, small);
    __m512 acc[SUMS];
    for (int i = 0; i < SUMS; i++)
        acc[i] = _mm512_set1_ps((float)i * seed);
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
    }
    *result = 0;
    for (int i = 0; i < SUMS; i++)
        *result += _mm512_reduce_add_ps(acc[i]);
    return 2.0 * SUMS * 32 * (double)rounds;
}
