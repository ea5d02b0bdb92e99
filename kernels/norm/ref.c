/* The reference: any layout, f32 and f64, plain loops, sums over an image in double. */
#include "kernels/eltwise/activation.h"
#include "kernels/norm/norm.h"

/* f, one value at a time, with the bits of every other implementation. */
typedef struct scalar_f {
    wf_activation_fn forward;
    wf_activation_backward_fn backward;
} scalar_f;
static scalar_f activation_of(weft_dtype dtype, wf_norm_f f)
{
    const wf_activations *all = wf_activation_get(dtype, WEFT_ISA_SCALAR);
    const wf_activation which = f == WF_NORM_SILU ? WF_ACT_silu : WF_ACT_hardswish;
    return (scalar_f){all->fn[which].forward, all->fn[which].backward};
}

static inline bool mask_at(const uint8_t *mask, int c, int64_t pixels, int64_t p)
{
    return !mask || (mask[c / 8 * pixels + p] >> (c % 8) & 1);
}

#define REAL float
#define REAL_DTYPE WEFT_F32
#define FN(name) name##_f32
#include "kernels/norm/ref_body.h"
#undef REAL
#undef REAL_DTYPE
#undef FN

#define REAL double
#define REAL_DTYPE WEFT_F64
#define FN(name) name##_f64
#include "kernels/norm/ref_body.h"
