/* What the files of this folder share, private to them: convolutions over bf16 images in blocks of 16 channels by
 * VDPBF16PS, which adds to each of 16 f32 sums the products of two pairs of bf16.
 *
 * Note [Pairs]. One pixel's block of 16 channels is 32 bytes: 8 pairs of neighbouring channels. Forward
 * and backward-data repeat one such pair in all lanes and multiply it with a vector of weights for 16
 * outputs, two inputs each, which `pack` makes. So a product has the shape of the f32 one with half as
 * many steps:
 *
 *     sum[pixel][16 outputs] += repeat(x[pixel][pair]) . w[pair][16 outputs][2]
 *
 * Backward-weights sums over pixels: its pairs are two output pixels, p and p + 1, of one channel. Both
 * operands are copied into *panels* of such pairs first, 16 channels each, 64 bytes.
 *
 * Both sides of a pair that pads an odd count are zero, and padding channels are, too.
 *
 * Letters as seen by the pass: I input channels, O output channels, per group IG and OG. */
#ifndef WF_CONV2D_DOT_H
#define WF_CONV2D_DOT_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/simd/simd.h"

enum {
    L = 16,                     /* lanes; channels of a block */
    DOT_PAIRS = L / 2,          /* of channels in a block */
    DOT_SQUARE = L * L,         /* weights of two blocks */
    DOT_N = 14,                 /* pixels of a product, at most; */
    DOT_NV = 2,                 /* vectors of outputs: with both 28 sums in registers */
    DOT_HALF = 8,               /* backward-weights: channels of src, */
    DOT_NB = 3,                 /* vectors of ddst: 24 sums */
    DOT_PLANE = 1 << 28,        /* elements of a plane of blocks, at most: places are of 32 bits */
    DOT_OUTSIDE = INT32_MIN / 2 /* a place that is none: less than 0 with any other added */
};
_Static_assert(WF_LANES == L, "kernel_dot_src is compiled for 16 lanes");

/* Rows or columns of a phase, Note [Phases of backward-data] in gemm/gemm.h. Output i of n lies at
 * out + i * out_step and meets, with each of its taps, the input at offset + i * in_step. Taps that never
 * meet the input are left out. */
typedef struct dot_axis {
    int n, out, out_step, in, in_step;
    int taps, *tap, *offset;
} dot_axis;

/* The axes of a pass along one dimension: for backward-data one for each residue of the stride, else one.
 * In one piece of memory; NULL when there is none. For free(). */
dot_axis *WF_ISA_FN(wf_dot_axes)(wf_conv2d_pass pass, int in, int out, int kernel, int stride,
                                 int padding, int dilation);

/* Why a pass cannot run by dot products; NULL: it can. */
const char *WF_ISA_FN(wf_dot_misfit)(const wf_conv2d_desc *d);

/* Cycles of a kernel that reaches `share` of VDPBF16PS's peak on `products` multiply-adds. */
double WF_ISA_FN(wf_dot_expect)(const wf_conv2d_desc *d, double products, double share);

/* A block of two pixels, or of zeros, as 16 pairs: lane i has a[i] in its low half, b[i] above. */
WF_INLINE wf_vi dot_pairs(const uint16_t *a, const uint16_t *b)
{
#if defined(WF_SIMD_DOT)
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)a));
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)b));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
#else
    int32_t pair[L];
    for (int i = 0; i < L; i++)
        pair[i] = (int32_t)(a[i] | (uint32_t)b[i] << 16);
    return wf_vi_load(pair);
#endif
}

/* The same of neighbouring pixels. */
WF_INLINE wf_vi dot_neighbours(const uint16_t *a)
{
#if defined(WF_SIMD_DOT)
    static const uint16_t from[2 * L] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                         21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                         11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(from), _mm512_loadu_si512(a));
#else
    return dot_pairs(a, a + L);
#endif
}

WF_INLINE void dot_copy(uint16_t *to, const uint16_t *from)
{
    memcpy(to, from, L * sizeof *to);
}

/* wf_vstore_bf16 of a sum that VDPBF16PS made, which is no denormal number. */
WF_INLINE void dot_store(uint16_t *p, wf_vf sum)
{
#if defined(WF_SIMD_DOT)
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(sum));
#else
    wf_vstore_bf16(p, sum);
#endif
}

#define dot_axes WF_ISA_FN(wf_dot_axes)
#define dot_misfit WF_ISA_FN(wf_dot_misfit)
#define dot_expect WF_ISA_FN(wf_dot_expect)

#endif
