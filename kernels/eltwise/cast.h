/* Conversions between f32 and bf16 on one instruction set; for cast.c, cast_simd.c and their test. Others
 * ask wf_cast_get. */
#ifndef WF_KERNELS_CAST_H
#define WF_KERNELS_CAST_H

#include "kernels/eltwise/eltwise.h"

typedef struct wf_casts {
    weft_isa isa; /* the least it needs */
    wf_cast_fn f32_bf16, bf16_f32;
} wf_casts;

extern const wf_casts wf_casts_scalar, wf_casts_avx2, wf_casts_avx512;

#endif
