/* f32 multiply-adds over as many independent sums as hide their latency on every core so far (10
 * needed at most: 5 cycles, two units), and as few as fit AVX2's 16 registers with both factors.
 * Compiled once per ISA; see peak_loops.h. */
#include "bench/peak_loops.h"
#include "kernels/simd/simd.h"

/* What SSE2 offers, which is what WEFT_ISA_SCALAR compiles to: a product and a sum. */
#if WF_LANES == 1
#include <emmintrin.h>
typedef __m128 vec;
enum { LANES = 4 };
#define SET1 _mm_set1_ps
#define MULTIPLY_ADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
static float sum(vec a)
{
    float x[4];
    _mm_storeu_ps(x, a);
    return x[0] + x[1] + x[2] + x[3];
}
#else
typedef wf_vf vec;
enum { LANES = WF_LANES };
#define SET1 wf_vset1
#define MULTIPLY_ADD wf_vfma
#define sum wf_vsum
#endif

enum { SUMS = 12 };

double WF_ISA_FN(bench_peak_f32)(int64_t rounds, float seed, float *result)
{
    /* Each sum tends to 1: neither denormal nor infinite. */
    const vec factor = SET1(1 - seed), add = SET1(seed);
    vec acc[SUMS];
    for (int i = 0; i < SUMS; i++)
        acc[i] = SET1((float)i * seed);
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            acc[i] = MULTIPLY_ADD(acc[i], factor, add);
    }
    *result = 0;
    for (int i = 0; i < SUMS; i++)
        *result += sum(acc[i]);
    return 2.0 * SUMS * LANES * (double)rounds;
}
