/* Thin vector layer: one source, compiled once per ISA.
 *
 * How a kernel file uses it. List the file in its family's meson.build under kernel_lane_src and
 * write the code over WF_LANES and the functions below, external names as WF_ISA_FN(name):
 *
 *     #include "kernels/simd/simd.h"
 *     static void relu(const float *x, float *y, size_t n) { ... wf_vmax(wf_vload(x), ...) ... }
 *     const wf_eltwise_fns WF_ISA_FN(wf_eltwise_fns) = {.relu = relu};
 *
 * The build compiles it three times: wf_eltwise_fns_avx2 (8 lanes), wf_eltwise_fns_avx512 (16
 * lanes) and, for tests only, wf_eltwise_fns_emul: 16 lanes in plain C, so that the AVX-512 logic
 * runs on any machine. The family's dispatch picks a table by weft_isa, its reference otherwise;
 * nothing else decides, and a table never calls another's functions. WF_ISA is the weft_isa the
 * variant needs, WF_ISA_NAME its name for explain. A file with intrinsics of its own
 * goes into kernel_isa_src (no emulated build).
 *
 * Code that needs dot products of bf16, wf_vdot_bf16, goes into kernel_dot_src. It is compiled twice:
 * as name_avx512_bf16 (WF_SIMD_DOT: 16 lanes, AVX-512 with AVX512_BF16; dispatch asks for
 * wf_cpu_bf16() >= WF_BF16_DOT) and as name_emul, with the same bits. A wf_vi then holds a pair of
 * bf16 in each lane, the even one in the low half: wf_vi_load((const int32_t *)p) loads 2 * WF_LANES
 * values of bf16, wf_vi_set1 repeats a pair. wf_vdot_bf16(acc, a, b) adds to each lane of acc first
 * the odd, then the even product, each with one rounding, and takes denormals of a, b and acc, and
 * results too small, for zero (bf16_emul.h). WF_HAS_DOT is defined where there is wf_vdot_bf16.
 *
 * Code that multiplies tiles (tile.h) goes into kernel_tile_src. It is compiled as kernel_dot_src is,
 * and once more, for tests only, as name_tile_emul: AVX512_BF16 with emulated tiles.
 *
 * Semantics are x86's and the same on every ISA: wf_vmax(a, b) is a > b ? a : b, so b where either
 * is NaN; wf_vfma rounds once; horizontal sums go by halves (lane i + lane i+L/2, and so on).
 * Comparisons with NaN are false, but for wf_vne and wf_vnle (not a <= b). Lane counts n of the _n
 * functions: 0..WF_LANES.
 * wf_vstore_bf16 and wf_vround_bf16 (to bf16 and back to f32) round to nearest even by integers: NaN
 * becomes quiet and keeps its sign, denormals stay. wf_vstore_bf16_exact stores what is a bf16 already.
 * Images of either type are read and written by element.h. wf_vi_load_u8_two takes lanes from 8 on from q.
 * Nothing needs alignment but wf_vstream. */
#ifndef WF_SIMD_H
#define WF_SIMD_H

#include <string.h>

#include "kernels/types.h"

/* Of vector functions, and of kernel templates that constant arguments specialise. The emulated
 * build is not for speed: inlining sixteen lanes everywhere takes a
 * sanitizer's compiler minutes. */
#if defined(WF_SIMD_EMULATE)
#define WF_INLINE static inline
#else
#define WF_INLINE static inline __attribute__((always_inline))
#endif

/* Before a loop of a constant trip count (at most 32) whose array of vectors shall live in
 * registers: the compiler's own measure of what is worth unrolling is smaller. */
#if defined(WF_SIMD_EMULATE)
#define WF_UNROLL
#elif defined(__clang__)
#define WF_UNROLL _Pragma("unroll")
#else
#define WF_UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(WF_SIMD_EMULATE)
#define WF_LANES 16
#define WF_ISA_FN(name) WF_CAT(name, _emul)
#define WF_ISA WEFT_ISA_AVX2 /* what it needs */
#define WF_CLASS_ISA WEFT_ISA_AVX512
#define WF_ISA_NAME "emul"
#include "kernels/simd/scalar.h"
#elif defined(WF_SIMD_AVX512)
#define WF_LANES 16
#define WF_ISA WEFT_ISA_AVX512
#if defined(WF_SIMD_DOT) && defined(WF_SIMD_TILE_EMUL)
#define WF_ISA_FN(name) WF_CAT(name, _tile_emul)
#define WF_ISA_NAME "tile_emul"
#elif defined(WF_SIMD_DOT)
#define WF_ISA_FN(name) WF_CAT(name, _avx512_bf16)
#define WF_ISA_NAME "avx512_bf16"
#else
#define WF_ISA_FN(name) WF_CAT(name, _avx512)
#define WF_ISA_NAME "avx512"
#endif
#include "kernels/simd/avx512.h"
#elif defined(WF_SIMD_AVX2)
#define WF_LANES 8
#define WF_ISA_FN(name) WF_CAT(name, _avx2)
#define WF_ISA WEFT_ISA_AVX2
#define WF_ISA_NAME "avx2"
#include "kernels/simd/avx2.h"
#else
#define WF_LANES 1
#define WF_ISA_FN(name) WF_CAT(name, _scalar)
#define WF_ISA WEFT_ISA_SCALAR
#define WF_ISA_NAME "scalar"
#include "kernels/simd/scalar.h"
#endif

/* Whose machine classes have the variant's constants: the emulated build has AVX-512's, as its bits. */
#if !defined(WF_CLASS_ISA)
#define WF_CLASS_ISA WF_ISA
#endif

/* ---- the same on every ISA ------------------------------------------------------------------ */

WF_INLINE wf_vf wf_vneg(wf_vf a)
{
    return wf_vxor(a, wf_vset1(-0.0f));
}
WF_INLINE wf_vf wf_vabs(wf_vf a)
{
    return wf_vandnot(wf_vset1(-0.0f), a);
}
WF_INLINE wf_vm wf_visnan(wf_vf a)
{
    return wf_vne(a, a);
}
WF_INLINE wf_vf wf_vmaskz(wf_vm m, wf_vf a)
{
    return wf_vblend(m, a, wf_vzero());
}
/* Stores one bit per lane as WF_LANES / 8 bytes; 16 lanes little-endian. For lane counts >= 8. */
WF_INLINE void wf_vm_store(uint8_t *p, wf_vm m)
{
    unsigned bits = wf_vm_bits(m);
    p[0] = (uint8_t)bits;
    if (WF_LANES > 8)
        p[1] = (uint8_t)(bits >> 8);
}
WF_INLINE wf_vm wf_vm_load(const uint8_t *p)
{
    return wf_vm_from_bits(WF_LANES > 8 ? p[0] | (unsigned)p[WF_LANES / 16] << 8 : p[0]);
}
WF_INLINE wf_vf wf_vload_u8_n(const uint8_t *p, int n)
{
    uint8_t all[WF_LANES] = {0};
    memcpy(all, p, (size_t)n);
    return wf_vload_u8(all);
}

/* p * 2^n, rounded once, for 2^n that may be no normal number; nf is n as floats. Two factors, each a
 * normal number, of which only the second can round. */
WF_INLINE wf_vf wf_vscale2(wf_vf p, wf_vi n, wf_vf nf)
{
#if defined(WF_SIMD_AVX512) && !defined(WF_SIMD_EMULATE)
    return _mm512_scalef_ps(p, nf);
#else
    wf_vi half = wf_vi_sar(n, 1), rest = wf_vi_sub(n, half);
    wf_vi bias = wf_vi_set1(127);
    p = wf_vmul(p, wf_vi_as_f(wf_vi_shl(wf_vi_add(half, bias), 23)));
    return wf_vmul(p, wf_vi_as_f(wf_vi_shl(wf_vi_add(rest, bias), 23)));
#endif
}
#endif
