/* Random bf16 and f32 bits with every trap, and a multiply-add with DAZ and FTZ as the CPU does it, to
 * hold kernels/simd/bf16_emul.h to. */
#ifndef WF_TEST_BF16_EDGES_H
#define WF_TEST_BF16_EDGES_H

#include <immintrin.h>
#include <stdint.h>

/* xorshift64 (Marsaglia, "Xorshift RNGs", 2003). */
static inline uint32_t edges_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

/* A bf16: a special one, any bits, a size whose products lie around the least normal number, or a
 * size whose products are near 1. */
static inline uint16_t edges_bf16(uint64_t *state)
{
    static const uint16_t special[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x0080, 0x8080,
                                       0x7f80, 0xff80, 0x7fc0, 0x3f80, 0xbf80, 0x7f7f, 0xff7f,
                                       0x4000, 0x0100, 0x2000, 0x1f80, 0x2080, 0x3f81, 0x1fff};
    const uint32_t r = edges_random(state), bits = r >> 8;
    switch (r & 3) {
    case 0: return special[bits % (sizeof special / sizeof *special)];
    case 1: return (uint16_t)bits;
    case 2: return (uint16_t)((bits & 0x807f) | (62 + (r >> 2 & 3)) << 7);
    default: return (uint16_t)((bits & 0x807f) | (120 + (r >> 2 & 15)) << 7);
    }
}

static inline uint32_t edges_bf16_pair(uint64_t *state)
{
    const uint32_t even = edges_bf16(state);
    return even | (uint32_t)edges_bf16(state) << 16;
}

/* Bits of an f32, in the same manner. */
static inline uint32_t edges_f32(uint64_t *state)
{
    static const uint32_t special[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff,
                                       0x00800000, 0x80800000, 0x00800001, 0x7f800000,
                                       0xff800000, 0x7fc00000, 0x7f7fffff, 0x3f800000};
    const uint32_t r = edges_random(state), bits = edges_random(state);
    switch (r & 3) {
    case 0: return special[bits % (sizeof special / sizeof *special)];
    case 1: return bits ^ r << 16;
    case 2: return (bits & 0x807fffff) | (1 + (r >> 2 & 3)) << 23;
    default: return (bits & 0x807fffff) | (115 + (r >> 2 & 31)) << 23;
    }
}

enum { EDGES_DAZ_FTZ = 0x8040 }; /* bits of MXCSR */

/* a * b + c. Only where the CPU has FMA, and in a thread whose MXCSR has EDGES_DAZ_FTZ. */
__attribute__((target("fma"))) static inline float edges_fma(float a, float b, float c)
{
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

#endif
