/* Dropout with eight Philox counters at a time, the reference's bits: Note [Dropout bits]. AVX2
 * instructions, on AVX-512 too. Pure functions, any thread. */
#include "kernels/simd/simd.h"

#include "kernels/eltwise/eltwise.h"
#include "kernels/simd/bf16_emul.h"

enum { DROPOUT_CHUNK = 256 };

/* The high and low halves of a * m, per 32-bit lane. */
static inline void multiply(__m256i a, uint32_t m, __m256i *high, __m256i *low)
{
    __m256i by = _mm256_set1_epi64x((int64_t)m);
    __m256i even = _mm256_mul_epu32(a, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), by);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}

/* Philox4x32-10 of eight counters c[0..3]; constants from Salmon et al. 2011. */
static inline void philox(__m256i c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        __m256i high0, low0, high1, low1;
        multiply(c[0], 0xd2511f53u, &high0, &low0);
        multiply(c[2], 0xcd9e8d57u, &high1, &low1);
        c[0] = _mm256_xor_si256(_mm256_xor_si256(high1, c[1]), _mm256_set1_epi32((int)k0));
        c[1] = low1;
        c[2] = _mm256_xor_si256(_mm256_xor_si256(high0, c[3]), _mm256_set1_epi32((int)k1));
        c[3] = low0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
}

/* Groups of eight: up to 28 words more than asked for are written. */
static void philox_words(const wf_dropout *d, int64_t group, int64_t count, uint32_t *words)
{
    for (int64_t i = 0; i < count; i += 8, words += 32) {
        uint32_t low[8], high[8];
        for (int j = 0; j < 8; j++) {
            uint64_t g = (uint64_t)(group + i + j);
            low[j] = (uint32_t)g;
            high[j] = (uint32_t)(g >> 32);
        }
        __m256i c[4] = {_mm256_loadu_si256((const __m256i *)low),
                        _mm256_loadu_si256((const __m256i *)high), _mm256_set1_epi32((int)d->draw),
                        _mm256_set1_epi32((int)d->op)};
        philox(c, (uint32_t)d->seed, (uint32_t)(d->seed >> 32));
        /* word w of group g is lane g of c[w] and goes to 4 g + w */
        __m256i a = _mm256_unpacklo_epi32(c[0], c[1]), b = _mm256_unpackhi_epi32(c[0], c[1]);
        __m256i e = _mm256_unpacklo_epi32(c[2], c[3]), f = _mm256_unpackhi_epi32(c[2], c[3]);
        __m256i g04 = _mm256_unpacklo_epi64(a, e), g15 = _mm256_unpackhi_epi64(a, e);
        __m256i g26 = _mm256_unpacklo_epi64(b, f), g37 = _mm256_unpackhi_epi64(b, f);
        __m256i *out = (__m256i *)words;
        _mm256_storeu_si256(out, _mm256_permute2x128_si256(g04, g15, 0x20));
        _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(g26, g37, 0x20));
        _mm256_storeu_si256(out + 2, _mm256_permute2x128_si256(g04, g15, 0x31));
        _mm256_storeu_si256(out + 3, _mm256_permute2x128_si256(g26, g37, 0x31));
    }
}

#include "kernels/eltwise/dropout_types.h"

extern const wf_dropout_fn WF_ISA_FN(wf_dropout_fns)[3];
const wf_dropout_fn WF_ISA_FN(wf_dropout_fns)[3] = {dropout_f32, dropout_f64, dropout_bf16};
