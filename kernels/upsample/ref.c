/* The reference resampling, f32 and f64, any layout. Pure functions, any thread. */
#include <string.h>

#include "kernels/upsample/upsample.h"

/* From the first outputs that are made of pixels j - 2, j - 1 and j to those of the next. Taps go up with the
 * outputs. */
static void step(const wf_upsample_tap *taps, int n, int j, int *first)
{
    first[0] = first[1];
    first[1] = first[2];
    while (first[2] < n && taps[first[2]].from[0] <= j)
        first[2]++;
}

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
