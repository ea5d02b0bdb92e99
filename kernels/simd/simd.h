/* Thin vector layer: one source, compiled once per ISA. */
#ifndef WF_SIMD_H
#define WF_SIMD_H
#include "kernels/types.h"
#if defined(WF_SIMD_AVX512)
#define WF_LANES 16
#define WF_ISA_FN(name) WF_CAT(name, _avx512)
#elif defined(WF_SIMD_AVX2)
#define WF_LANES 8
#define WF_ISA_FN(name) WF_CAT(name, _avx2)
#else
#define WF_LANES 1
#define WF_ISA_FN(name) WF_CAT(name, _scalar)
#endif
#endif
