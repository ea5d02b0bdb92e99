/* The vector layer in plain C, for any WF_LANES: 1 for the scalar build, 16 for the emulated one.
 * Included by simd.h only; simd.h documents the semantics. */
#include <math.h>

#include "kernels/simd/bf16_emul.h"

typedef struct wf_vf {
    float v[WF_LANES];
} wf_vf;
typedef struct wf_vi {
    int32_t v[WF_LANES];
} wf_vi;
typedef struct wf_vd {
    double v[WF_LANES];
} wf_vd;
typedef struct wf_vm {
    bool v[WF_LANES];
} wf_vm;

#define WF_EACH(i) for (int i = 0; i < WF_LANES; i++)

/* Defines `type name(parameters)` whose lane i is `expr`. */
#define WF_LANEWISE(type, name, parameters, expr)                                                  \
    WF_INLINE type name parameters                                                                 \
    {                                                                                              \
        type y;                                                                                    \
        WF_EACH(i) y.v[i] = expr;                                                                  \
        return y;                                                                                  \
    }

/* x86's conversion: what does not fit becomes INT32_MIN. */
WF_INLINE int32_t wf_to_i32(float rounded)
{
    return rounded >= -0x1p31f && rounded < 0x1p31f ? (int32_t)rounded : INT32_MIN;
}

/* memory */
WF_LANEWISE(wf_vf, wf_vload, (const float *p), p[i])
WF_LANEWISE(wf_vf, wf_vload_n, (const float *p, int n), i < n ? p[i] : 0.0f)
WF_LANEWISE(wf_vf, wf_vload_u8, (const uint8_t *p), p[i])
WF_LANEWISE(wf_vf, wf_vload_bf16, (const uint16_t *p), wf_from_bf16(p[i]))
WF_LANEWISE(wf_vf, wf_vload_bf16_n, (const uint16_t *p, int n), i < n ? wf_from_bf16(p[i]) : 0.0f)
WF_INLINE void wf_vstore(float *p, wf_vf a)
{
    WF_EACH(i) p[i] = a.v[i];
}
WF_INLINE void wf_vstore_n(float *p, wf_vf a, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = a.v[i];
}
WF_INLINE void wf_vstream(float *p, wf_vf a)
{
    wf_vstore(p, a);
}
WF_INLINE void wf_vstream_end(void)
{
}
WF_INLINE void wf_vstore_bf16(uint16_t *p, wf_vf a)
{
    WF_EACH(i) p[i] = wf_to_bf16(a.v[i]);
}
WF_INLINE void wf_vstore_bf16_n(uint16_t *p, wf_vf a, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = wf_to_bf16(a.v[i]);
}
WF_INLINE void wf_vstore_bf16_exact_n(uint16_t *p, wf_vf a, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint16_t)(wf_bits_of(a.v[i]) >> 16);
}
WF_INLINE void wf_vstore_bf16_exact(uint16_t *p, wf_vf a)
{
    wf_vstore_bf16_exact_n(p, a, WF_LANES);
}
WF_LANEWISE(wf_vf, wf_vround_bf16, (wf_vf a), wf_from_bf16(wf_to_bf16(a.v[i])))

/* arithmetic */
WF_LANEWISE(wf_vf, wf_vzero, (void), 0.0f)
WF_LANEWISE(wf_vf, wf_vset1, (float x), x)
WF_LANEWISE(wf_vf, wf_vadd, (wf_vf a, wf_vf b), a.v[i] + b.v[i])
WF_LANEWISE(wf_vf, wf_vsub, (wf_vf a, wf_vf b), a.v[i] - b.v[i])
WF_LANEWISE(wf_vf, wf_vmul, (wf_vf a, wf_vf b), a.v[i] * b.v[i])
WF_LANEWISE(wf_vf, wf_vdiv, (wf_vf a, wf_vf b), a.v[i] / b.v[i])
WF_LANEWISE(wf_vf, wf_vfma, (wf_vf a, wf_vf b, wf_vf c), __builtin_fmaf(a.v[i], b.v[i], c.v[i]))
WF_LANEWISE(wf_vf, wf_vfnma, (wf_vf a, wf_vf b, wf_vf c), __builtin_fmaf(-a.v[i], b.v[i], c.v[i]))
WF_LANEWISE(wf_vf, wf_vmax, (wf_vf a, wf_vf b), a.v[i] > b.v[i] ? a.v[i] : b.v[i])
WF_LANEWISE(wf_vf, wf_vmin, (wf_vf a, wf_vf b), a.v[i] < b.v[i] ? a.v[i] : b.v[i])
WF_LANEWISE(wf_vf, wf_vsqrt, (wf_vf a), sqrtf(a.v[i]))
WF_LANEWISE(wf_vf, wf_vand, (wf_vf a, wf_vf b),
            wf_float_of(wf_bits_of(a.v[i]) & wf_bits_of(b.v[i])))
WF_LANEWISE(wf_vf, wf_vandnot, (wf_vf a, wf_vf b),
            wf_float_of(~wf_bits_of(a.v[i]) & wf_bits_of(b.v[i])))
WF_LANEWISE(wf_vf, wf_vor, (wf_vf a, wf_vf b), wf_float_of(wf_bits_of(a.v[i]) | wf_bits_of(b.v[i])))
WF_LANEWISE(wf_vf, wf_vxor, (wf_vf a, wf_vf b),
            wf_float_of(wf_bits_of(a.v[i]) ^ wf_bits_of(b.v[i])))
WF_INLINE float wf_vsum(wf_vf a)
{
    for (int h = WF_LANES / 2; h > 0; h /= 2)
        for (int i = 0; i < h; i++)
            a.v[i] += a.v[i + h];
    return a.v[0];
}
WF_INLINE float wf_vhmax(wf_vf a)
{
    for (int h = WF_LANES / 2; h > 0; h /= 2)
        for (int i = 0; i < h; i++)
            a.v[i] = a.v[i] > a.v[i + h] ? a.v[i] : a.v[i + h];
    return a.v[0];
}

/* masks */
WF_LANEWISE(wf_vm, wf_vgt, (wf_vf a, wf_vf b), a.v[i] > b.v[i])
WF_LANEWISE(wf_vm, wf_vge, (wf_vf a, wf_vf b), a.v[i] >= b.v[i])
WF_LANEWISE(wf_vm, wf_vnle, (wf_vf a, wf_vf b), !(a.v[i] <= b.v[i]))
WF_LANEWISE(wf_vm, wf_veq, (wf_vf a, wf_vf b), a.v[i] == b.v[i])
WF_LANEWISE(wf_vm, wf_vne, (wf_vf a, wf_vf b), a.v[i] != b.v[i])
WF_LANEWISE(wf_vf, wf_vblend, (wf_vm m, wf_vf a, wf_vf b), m.v[i] ? a.v[i] : b.v[i])
WF_LANEWISE(wf_vi, wf_vi_blend, (wf_vm m, wf_vi a, wf_vi b), m.v[i] ? a.v[i] : b.v[i])
WF_LANEWISE(wf_vm, wf_vm_first, (int n), i < n)
WF_LANEWISE(wf_vm, wf_vm_and, (wf_vm a, wf_vm b), a.v[i] && b.v[i])
WF_LANEWISE(wf_vm, wf_vm_or, (wf_vm a, wf_vm b), a.v[i] || b.v[i])
WF_LANEWISE(wf_vm, wf_vm_not, (wf_vm a), !a.v[i])
WF_LANEWISE(wf_vm, wf_vm_from_bits, (unsigned bits), bits >> i & 1)
WF_INLINE unsigned wf_vm_bits(wf_vm m)
{
    unsigned bits = 0;
    WF_EACH(i) bits |= (unsigned)m.v[i] << i;
    return bits;
}

/* integers */
WF_LANEWISE(wf_vi, wf_vi_load, (const int32_t *p), p[i])
WF_LANEWISE(wf_vi, wf_vi_load_u8, (const uint8_t *p), p[i])
WF_LANEWISE(wf_vi, wf_vi_load_u8_two, (const uint8_t *p, const uint8_t *q), i < 8 ? p[i] : q[i - 8])
WF_INLINE void wf_vi_store(int32_t *p, wf_vi a)
{
    WF_EACH(i) p[i] = a.v[i];
}
WF_INLINE void wf_vi_store_u8(uint8_t *p, wf_vi a)
{
    WF_EACH(i) p[i] = (uint8_t)a.v[i];
}
WF_INLINE void wf_vi_store_u8_clip(uint8_t *p, wf_vi a)
{
    WF_EACH(i) p[i] = (uint8_t)(a.v[i] < 0 ? 0 : a.v[i] > 255 ? 255 : a.v[i]);
}
WF_LANEWISE(wf_vi, wf_vi_set1, (int32_t x), x)
WF_LANEWISE(wf_vi, wf_vi_iota, (void), i)
WF_LANEWISE(wf_vi, wf_vi_add, (wf_vi a, wf_vi b), (int32_t)((uint32_t)a.v[i] + (uint32_t)b.v[i]))
WF_LANEWISE(wf_vi, wf_vi_sub, (wf_vi a, wf_vi b), (int32_t)((uint32_t)a.v[i] - (uint32_t)b.v[i]))
WF_LANEWISE(wf_vi, wf_vi_mul, (wf_vi a, wf_vi b), (int32_t)((uint32_t)a.v[i] * (uint32_t)b.v[i]))
WF_LANEWISE(wf_vi, wf_vi_shl, (wf_vi a, int by), (int32_t)((uint32_t)a.v[i] << by))
WF_LANEWISE(wf_vi, wf_vi_sar, (wf_vi a, int by), a.v[i] >> by)
WF_LANEWISE(wf_vm, wf_vi_eq, (wf_vi a, wf_vi b), a.v[i] == b.v[i])
WF_LANEWISE(wf_vm, wf_vi_gt, (wf_vi a, wf_vi b), a.v[i] > b.v[i])
WF_LANEWISE(wf_vi, wf_vcvt_i, (wf_vf a), wf_to_i32(rintf(a.v[i])))
WF_LANEWISE(wf_vi, wf_vcvt_i_trunc, (wf_vf a), wf_to_i32(a.v[i]))
WF_LANEWISE(wf_vf, wf_vcvt_f, (wf_vi a), (float)a.v[i])
WF_LANEWISE(wf_vf, wf_vi_as_f, (wf_vi a), wf_float_of((uint32_t)a.v[i]))
WF_LANEWISE(wf_vf, wf_vpermute, (wf_vf a, wf_vi from), a.v[from.v[i]])
WF_LANEWISE(wf_vf, wf_vlookup8, (const float *table, wf_vi from), table[from.v[i] & 7])
WF_LANEWISE(wf_vf, wf_vlookup16, (const float *table, wf_vi from), table[from.v[i] & 15])
WF_LANEWISE(wf_vi, wf_vf_as_i, (wf_vf a), (int32_t)wf_bits_of(a.v[i]))

/* dot products of pairs of bf16 */
#define WF_HAS_DOT
WF_LANEWISE(wf_vf, wf_vdot_bf16, (wf_vf acc, wf_vi a, wf_vi b),
            wf_dot_bf16(acc.v[i], (uint32_t)a.v[i], (uint32_t)b.v[i]))

/* doubles */
WF_LANEWISE(wf_vd, wf_vd_load, (const double *p), p[i])
WF_INLINE void wf_vd_store(double *p, wf_vd a)
{
    WF_EACH(i) p[i] = a.v[i];
}
WF_LANEWISE(wf_vd, wf_vd_set1, (double x), x)
WF_LANEWISE(wf_vd, wf_vd_from, (wf_vf a), (double)a.v[i])
WF_LANEWISE(wf_vf, wf_vd_to_f, (wf_vd a), (float)a.v[i])
WF_LANEWISE(wf_vd, wf_vd_add, (wf_vd a, wf_vd b), a.v[i] + b.v[i])
WF_LANEWISE(wf_vd, wf_vd_sub, (wf_vd a, wf_vd b), a.v[i] - b.v[i])
WF_LANEWISE(wf_vd, wf_vd_mul, (wf_vd a, wf_vd b), a.v[i] * b.v[i])
WF_LANEWISE(wf_vd, wf_vd_div, (wf_vd a, wf_vd b), a.v[i] / b.v[i])
WF_LANEWISE(wf_vd, wf_vd_fma, (wf_vd a, wf_vd b, wf_vd c), __builtin_fma(a.v[i], b.v[i], c.v[i]))
WF_INLINE double wf_vd_sum(wf_vd a)
{
    for (int h = WF_LANES / 2; h > 0; h /= 2)
        for (int i = 0; i < h; i++)
            a.v[i] += a.v[i + h];
    return a.v[0];
}
