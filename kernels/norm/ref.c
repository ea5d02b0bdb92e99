/* The reference: any layout, f32, f64 and bf16, plain loops, sums over an image in double. */
#include "kernels/eltwise/activation.h"
#include "kernels/norm/norm.h"
#include "kernels/simd/bf16_emul.h"

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

#define PLAIN_GET(p, i) ((p)[i])
#define PLAIN_PUT(p, i, v) ((p)[i] = (v))
#define PLAIN_ROUND(v) (v)

#define T float
#define REAL float
#define DTYPE WEFT_F32
#define REAL_DTYPE WEFT_F32
#define NAME "f32"
#define FN(name) name##_f32
#define GET PLAIN_GET
#define PUT PLAIN_PUT
#define ROUND PLAIN_ROUND
#include "kernels/norm/ref_body.h"
#undef T
#undef REAL
#undef DTYPE
#undef REAL_DTYPE
#undef NAME
#undef FN

#define T double
#define REAL double
#define DTYPE WEFT_F64
#define REAL_DTYPE WEFT_F64
#define NAME "f64"
#define FN(name) name##_f64
#include "kernels/norm/ref_body.h"
#undef T
#undef REAL
#undef DTYPE
#undef REAL_DTYPE
#undef NAME
#undef FN
#undef GET
#undef PUT
#undef ROUND

#define T uint16_t
#define REAL float
#define DTYPE WEFT_BF16
#define REAL_DTYPE WEFT_F32
#define NAME "bf16"
#define FN(name) name##_bf16
#define GET(p, i) wf_from_bf16((p)[i])
#define PUT(p, i, v) ((p)[i] = wf_to_bf16(v))
#define ROUND(v) wf_from_bf16(wf_to_bf16(v))
#include "kernels/norm/ref_body.h"
