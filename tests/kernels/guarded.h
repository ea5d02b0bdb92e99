/* Buffers between guard bytes, and random data, for the kernel tests. Header-only, one thread. */
#ifndef WF_TESTS_KERNELS_GUARDED_H
#define WF_TESTS_KERNELS_GUARDED_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/simd/bf16_emul.h"
#include "kernels/types.h"

enum { GUARD = 128, GUARD_BYTE = 0xa5 };

/* `size` bytes at an address that is odd in elements of `element` bytes: kernels may not rely on
 * alignment beyond the element's. Filled with the guard byte. */
typedef struct guarded {
    unsigned char *memory, *data;
    size_t size, lead;
} guarded;

static inline guarded guarded_new(size_t size, size_t element)
{
    guarded g = {.size = size, .lead = GUARD + element};
    g.memory = malloc(size + g.lead + GUARD);
    assert_non_null(g.memory);
    memset(g.memory, GUARD_BYTE, size + g.lead + GUARD);
    g.data = g.memory + g.lead;
    return g;
}

/* Fails the test if a byte outside was written. */
static inline void guarded_check(const guarded *g)
{
    for (size_t i = 0; i < g->lead; i++)
        if (g->memory[i] != GUARD_BYTE)
            fail_msg("written %zu bytes before the buffer", g->lead - i);
    for (size_t i = 0; i < GUARD; i++)
        if (g->data[g->size + i] != GUARD_BYTE)
            fail_msg("written %zu bytes behind the buffer", i);
}

static inline void guarded_free(guarded *g)
{
    guarded_check(g);
    free(g->memory);
}

/* A small counter-based generator: the same numbers on every machine. */
static inline uint32_t test_bits(uint64_t seed, uint64_t i)
{
    uint64_t z = (seed << 32 ^ i) + 0x9e3779b97f4a7c15u * (i + 1);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

/* Uniform in [-1, 1), a float exactly. */
static inline double test_uniform(uint64_t seed, uint64_t i)
{
    return (double)(int32_t)(test_bits(seed, i) & 0xffffff) / 8388608.0 - 1.0;
}

/* Element i of a buffer of f32, f64 or bf16. */
static inline double test_get(weft_dtype dtype, const void *p, size_t i)
{
    if (dtype == WEFT_BF16)
        return (double)wf_from_bf16(((const uint16_t *)p)[i]);
    return dtype == WEFT_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static inline void test_set(weft_dtype dtype, void *p, size_t i, double value)
{
    if (dtype == WEFT_BF16)
        ((uint16_t *)p)[i] = wf_to_bf16((float)value);
    else if (dtype == WEFT_F32)
        ((float *)p)[i] = (float)value;
    else
        ((double *)p)[i] = value;
}

static inline guarded test_random(weft_dtype dtype, size_t n, uint64_t seed)
{
    const size_t size = weft_dtype_size(dtype);
    guarded g = guarded_new(n * size, size);
    for (size_t i = 0; i < n; i++)
        test_set(dtype, g.data, i, test_uniform(seed, i));
    return g;
}

/* An exact result as a kernel of images of dtype stores it: rounded to what it computes in, then to
 * what it stores. */
static inline double test_rounded(weft_dtype dtype, double exact)
{
    if (dtype == WEFT_BF16)
        return (double)wf_from_bf16(wf_to_bf16((float)exact));
    return dtype == WEFT_F32 ? (double)(float)exact : exact;
}

/* Half an ulp of 1: the relative error of one rounding, where it is stored. */
static inline double test_epsilon(weft_dtype dtype)
{
    return dtype == WEFT_BF16 ? 0x1p-8 : dtype == WEFT_F32 ? 0x1p-24 : 0x1p-53;
}
/* What a kernel of images of dtype computes in, and what its per-channel arrays hold. */
static inline weft_dtype test_arithmetic(weft_dtype dtype)
{
    return dtype == WEFT_BF16 ? WEFT_F32 : dtype;
}
/* The relative error of a store beyond arithmetic's own: 0 for types that are computed in. */
static inline double test_storing(weft_dtype dtype)
{
    return dtype == WEFT_BF16 ? test_epsilon(dtype) : 0;
}

#endif
