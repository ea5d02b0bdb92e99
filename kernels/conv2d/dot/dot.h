/* What the files of this folder share, private to them. They convolve bf16 images in channel blocks of 16 by
 * the instruction VDPBF16PS, which adds to each of 16 f32 sums the products of two pairs of bf16 numbers.
 *
 * Note [Pairs]. A channel block of one pixel has 32 bytes: 8 pairs of neighbouring channels. Forward and
 * backward-data repeat one such pair in all lanes and multiply it by a vector of weights: 16 outputs by
 * two inputs, as `pack` laid them out. So a product looks like the f32 one with half as many steps:
 *
 *     sum[pixel][16 outputs] += repeat(x[pixel][pair]) . w[pair][16 outputs][2]
 *
 * Backward-weights sums over pixels, so there a pair is one channel of two output pixels, p and p + 1. The
 * kernel first copies both operands into *panels* of such pairs: 16 channels, 64 bytes a pair.
 *
 * The second half of the pair that completes an odd count is zero in both operands; so are padding channels.
 *
 * "Input" and "output" are the pass's: backward-data reads ddst and writes dsrc. */
#ifndef WF_CONV2D_DOT_H
#define WF_CONV2D_DOT_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"
#include "kernels/simd/simd.h"

enum {
    L = 16,             /* lanes; channels of a block */
    DOT_PAIRS = L / 2,  /* of channels in a block */
    DOT_SQUARE = L * L, /* weights of two blocks */
    /* The bounds of a subblock, whose sums registers hold: 14 by 2, or 8 by 3. */
    DOT_MAX_PIXELS = 14,
    DOT_MAX_OUTPUT_BLOCKS = 2,
    DOT_HALF_INPUTS = 8,              /* backward-weights: channels of src, */
    DOT_MAX_GRADIENT_BLOCKS = 3,      /* vectors of ddst: 24 sums */
    DOT_MAX_PLANE_ELEMENTS = 1 << 28, /* since places are int32_t */
    DOT_OUTSIDE =
        INT32_MIN / 2 /* a place in the padding: still negative after adding another place */
};
_Static_assert(WF_LANES == L, "kernel_dot_src is compiled for 16 lanes");

/* The machine class's block sizes, kernels/blocking.def. */
static inline const wf_blocking *dot_blocking(void)
{
    return wf_machine_class_of(WEFT_ISA_AVX512)->blocking;
}

/* The rows or the columns of a residue class, Note [Residue classes] in gemm/gemm.h. Output i lies at
 * first_output + i * output_step of the image. Through tap t it meets input offset[t] + i * input_step. Taps
 * that never meet the input are left out. */
typedef struct dot_axis {
    int outputs, first_output, output_step;
    int inputs, input_step;
    int taps, *tap, *offset;
} dot_axis;

/* The axes along one dimension: for backward-data one for each remainder modulo the stride, else one. One
 * piece of memory, which the caller frees; NULL when memory runs out. */
dot_axis *WF_ISA_FN(wf_dot_axes)(wf_conv2d_pass pass, int in, int out, int kernel, int stride,
                                 int padding, int dilation);

/* Why no pass of this shape can run by dot products; NULL: it can. */
const char *WF_ISA_FN(wf_dot_misfit)(const wf_conv2d_desc *d);

/* Cycles of a kernel that reaches `share` of VDPBF16PS's peak on `products` multiply-adds. */
double WF_ISA_FN(wf_dot_expect)(const wf_conv2d_desc *d, double products, double share);

/* Interleaves the channel blocks of two pixels into 16 pairs: lane i has a[i] in its low half, b[i] above. */
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

/* The same for two pixels that are neighbours. */
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

/* As wf_vstore_bf16, but for sums of VDPBF16PS only, which are no denormal numbers. */
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
