/* bf16 and the arithmetic of x86's bf16 instructions in plain C, to the bit. Includes no intrinsics, so
 * that any file may use it; the vector layer's scalar.h and tile_emul.h are made of it.
 *
 * bf16 is the upper half of an f32: 8 bits of significand, one of them implicit. */
#ifndef WF_SIMD_BF16_EMUL_H
#define WF_SIMD_BF16_EMUL_H

#include <stdint.h>
#include <string.h>

static inline uint32_t wf_bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float wf_float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float wf_from_bf16(uint16_t h)
{
    return wf_float_of((uint32_t)h << 16);
}
/* To nearest, ties to even; NaN becomes quiet and keeps its sign; denormals are rounded as other
 * numbers are. All by integers, whatever MXCSR and libm say. */
static inline uint16_t wf_to_bf16(float x)
{
    uint32_t u = wf_bits_of(x);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* x with its sign alone where it is denormal: what DAZ reads. */
static inline float wf_daz(float x)
{
    uint32_t u = wf_bits_of(x);
    return u & 0x7f800000 ? x : wf_float_of(u & 0x80000000);
}

/* a * b + c rounded once to nearest even, denormals read as zero and written as zero (DAZ and FTZ),
 * whatever MXCSR says. a and b: bf16 values as f32.
 *
 * x86 finds out after rounding whether a result is too small: rounded to 24 bits with an exponent
 * without bounds, is it below 2^-126? Plain fmaf rounds such a number to a multiple of 2^-149, so
 * numbers from 2^-126 - 2^-150 on become 2^-126, but only those from 2^-126 - 2^-151 on (the middle
 * between 2^-126 and the 24-bit number before it) are 2^-126 by x86's rule. A double tells them
 * apart: a * b is exact in it, and the error of the sum is known exactly (Knuth's TwoSum). */
static inline float wf_fma_ftz(float a, float b, float c)
{
    a = wf_daz(a);
    b = wf_daz(b);
    c = wf_daz(c);
    float y = __builtin_fmaf(a, b, c);
    const uint32_t u = wf_bits_of(y), size = u & 0x7fffffff;
    if (size > 0x00800000 || size == 0)
        return y;
    if (size < 0x00800000)
        return wf_float_of(u & 0x80000000);
    const double product = (double)a * (double)b, add = (double)c;
    double sum = product + add, part = sum - product;
    double error = (product - (sum - part)) + (add - part);
    if (u & 0x80000000) {
        sum = -sum;
        error = -error;
    }
    const double least = 0x1p-126 - 0x1p-151;
    return sum > least || (sum == least && error >= 0) ? y : wf_float_of(u & 0x80000000);
}

/* One lane of VDPBF16PS: a pair of bf16 in each of a and b, the even one in the low half. The odd
 * product comes first; each is added with one rounding. Intel's manual, volume 2C, and a test compares
 * with the instruction. */
static inline float wf_dot_bf16(float acc, uint32_t a, uint32_t b)
{
    acc = wf_fma_ftz(wf_float_of(a & 0xffff0000), wf_float_of(b & 0xffff0000), acc);
    return wf_fma_ftz(wf_float_of(a << 16), wf_float_of(b << 16), acc);
}

#endif
