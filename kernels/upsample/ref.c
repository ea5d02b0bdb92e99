/* The reference resampling, f32 and f64, any layout. Pure functions, any thread. */
#include <string.h>

#include "kernels/upsample/upsample.h"

#define T float
#define FN(name) name##_f32
#include "kernels/upsample/ref_body.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "kernels/upsample/ref_body.h"
#undef T
#undef FN

extern const wf_upsample_fns wf_upsample_f32, wf_upsample_f64;
const wf_upsample_fns wf_upsample_f32 = {.name = "upsample:ref:f32",
                                         .isa = WEFT_ISA_SCALAR,
                                         .dtype = WEFT_F32,
                                         .lanes = 1,
                                         .forward = forward_f32,
                                         .backward = backward_f32};
const wf_upsample_fns wf_upsample_f64 = {.name = "upsample:ref:f64",
                                         .isa = WEFT_ISA_SCALAR,
                                         .dtype = WEFT_F64,
                                         .lanes = 1,
                                         .forward = forward_f64,
                                         .backward = backward_f64};
