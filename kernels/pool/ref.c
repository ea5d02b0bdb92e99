/* The reference: any layout and window, f32, f64 and bf16, plain loops. */
#include <math.h>
#include <string.h>

#include "kernels/pool/pool.h"
#include "kernels/simd/bf16_emul.h"

/* See Note [Groups of eight] (kernels/norm/norm.h). */
static size_t index_at(const wf_pool *g, int c, int p, int q)
{
    return (((size_t)(c / 8) * (size_t)g->P + (size_t)p) * (size_t)g->Q + (size_t)q) * 8 +
           (size_t)(c % 8);
}
static bool wide_index(const wf_pool *g)
{
    return wf_pool_index_dtype(g->kernel[0], g->kernel[1]) != WEFT_U8;
}
static void put_index(const wf_pool *g, void *index, size_t at, int k)
{
    if (wide_index(g))
        ((int32_t *)index)[at] = k;
    else
        ((uint8_t *)index)[at] = (uint8_t)k;
}
static int get_index(const wf_pool *g, const void *index, size_t at)
{
    return wide_index(g) ? ((const int32_t *)index)[at] : ((const uint8_t *)index)[at];
}

#define T float
#define REAL float
#define DTYPE WEFT_F32
#define NAME "f32"
#define FN(name) name##_f32
#define GET(p, i) ((p)[i])
#define PUT(p, i, v) ((p)[i] = (v))
#include "kernels/pool/ref_body.h"
#undef T
#undef REAL
#undef DTYPE
#undef NAME
#undef FN

#define T double
#define REAL double
#define DTYPE WEFT_F64
#define NAME "f64"
#define FN(name) name##_f64
#include "kernels/pool/ref_body.h"
#undef T
#undef REAL
#undef DTYPE
#undef NAME
#undef FN
#undef GET
#undef PUT

#define T uint16_t
#define REAL float
#define DTYPE WEFT_BF16
#define NAME "bf16"
#define FN(name) name##_bf16
#define GET(p, i) wf_from_bf16((p)[i])
#define PUT(p, i, v) ((p)[i] = wf_to_bf16(v))
#include "kernels/pool/ref_body.h"
