/* The reference: any layout, f32 and f64, plain loops, sums over an image in double. */
#include "kernels/norm/norm.h"

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
