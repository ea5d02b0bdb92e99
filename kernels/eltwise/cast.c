/* Conversions between f32, f64 and bf16. Those between f32 and bf16 are vector kernels, cast_simd.c.
 * Pure functions, any thread. */
#include <string.h>

#include "kernels/eltwise/cast.h"
#include "kernels/simd/bf16_emul.h"

/* Straight to bf16 with one rounding: going through f32 to nearest could round twice. */
static uint16_t f64_to_bf16(double d)
{
    float f = (float)d;
    double back = (double)f;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    /* Round to odd: an inexact f32 with an even last bit moves one step towards d, so that the
     * second rounding sees that something was cut off. */
    if (back != d && d == d && (bits & 1u) == 0 && (bits & 0x7fffffffu) < 0x7f800000u) {
        bool grow = (d > back) == (d > 0);
        if (grow)
            bits++;
        else
            bits--;
        memcpy(&f, &bits, sizeof(f));
    }
    return wf_to_bf16(f);
}

static void copy_2(size_t n, const void *x, void *y)
{
    memmove(y, x, 2 * n);
}

static void copy_4(size_t n, const void *x, void *y)
{
    memmove(y, x, 4 * n);
}

static void copy_8(size_t n, const void *x, void *y)
{
    memmove(y, x, 8 * n);
}

static void f32_f64(size_t n, const void *vx, void *vy)
{
    const float *x = vx;
    double *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
}

static void f64_f32(size_t n, const void *vx, void *vy)
{
    const double *x = vx;
    float *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
}

static void f64_bf16(size_t n, const void *vx, void *vy)
{
    const double *x = vx;
    uint16_t *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = f64_to_bf16(x[i]);
}

static void bf16_f64(size_t n, const void *vx, void *vy)
{
    const uint16_t *x = vx;
    double *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = (double)wf_from_bf16(x[i]);
}

wf_cast_fn wf_cast_get(weft_dtype from, weft_dtype to)
{
    const weft_isa isa = wf_cpu_isa();
    const wf_casts *lanes = isa == WEFT_ISA_AVX512 ? &wf_casts_avx512
                            : isa == WEFT_ISA_AVX2 ? &wf_casts_avx2
                                                   : &wf_casts_scalar;
    const wf_cast_fn table[3][3] = {
        /* f32, f64, bf16, as in WEFT_DTYPE_LIST */
        [WEFT_F32] = {copy_4, f32_f64, lanes->f32_bf16},
        [WEFT_F64] = {f64_f32, copy_8, f64_bf16},
        [WEFT_BF16] = {lanes->bf16_f32, bf16_f64, copy_2},
    };
    if (from > WEFT_BF16 || to > WEFT_BF16)
        return NULL;
    return table[from][to];
}
