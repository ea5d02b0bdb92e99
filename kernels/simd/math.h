/* Logarithm and power of one vector, the same bits on every ISA. For kernel files only; simd.h has
 * the exponential. */
#ifndef WF_SIMD_MATH_H
#define WF_SIMD_MATH_H

#include "kernels/simd/simd.h"

/* x = m 2^e with sqrt(1/2) <= m < sqrt(2), for finite x > 0; numbers below 2^-126 are scaled
 * first. Adding 0x3f3504f3, the bits of sqrt(1/2), to the exponent's low end makes the carry into
 * the exponent field happen at sqrt(2) instead of at 2. */
WF_INLINE wf_vf wf_vsplit(wf_vf x, wf_vf *e)
{
    const wf_vm tiny = wf_vgt(wf_vset1(0x1p-126f), x);
    const wf_vi half = wf_vi_set1(0x3f3504f3);
    wf_vi bits = wf_vf_as_i(wf_vblend(tiny, wf_vmul(x, wf_vset1(0x1p25f)), x));
    bits = wf_vi_sub(bits, half);
    const wf_vi n = wf_vi_sar(bits, 23);
    *e = wf_vsub(wf_vcvt_f(n), wf_vmaskz(tiny, wf_vset1(25.0f)));
    return wf_vi_as_f(wf_vi_add(wf_vi_sub(bits, wf_vi_shl(n, 23)), half));
}

/* Natural logarithm within 2 ulp: -inf at 0 (and at denormals where the CPU reads them as 0), NaN
 * below, infinity and NaN stay. x = m 2^e as above, f = m - 1, s = f/(2 + f), |s| <= 0.172:
 *     log(1 + f) = 2 atanh(s) = f - s (f - R),  R = 2/3 s^2 + 2/5 s^4 + ...
 * since 2s = f - s f. The first term left out of R is below 2^-28 of the result. e ln2 is added in
 * two parts, the first of which is exact. Source: Cody and Waite, "Software Manual for the
 * Elementary Functions" (1980). */
WF_INLINE wf_vf wf_vlog(wf_vf x)
{
    wf_vf e, m = wf_vsplit(x, &e);
    wf_vf f = wf_vsub(m, wf_vset1(1.0f));
    wf_vf s = wf_vdiv(f, wf_vadd(f, wf_vset1(2.0f))), s2 = wf_vmul(s, s);
    wf_vf r = wf_vset1(2.0f / 11);
    r = wf_vfma(r, s2, wf_vset1(2.0f / 9));
    r = wf_vfma(r, s2, wf_vset1(2.0f / 7));
    r = wf_vfma(r, s2, wf_vset1(2.0f / 5));
    r = wf_vfma(r, s2, wf_vset1(2.0f / 3));
    r = wf_vmul(r, s2);
    wf_vf low = wf_vfnma(s, wf_vsub(f, r), wf_vmul(e, wf_vset1(0x1.7f7d1cp-20f))); /* ln2 - hi */
    wf_vf y = wf_vfma(e, wf_vset1(0x1.62e4p-1f), wf_vadd(f, low));
    y = wf_vblend(wf_veq(x, wf_vset1(__builtin_inff())), x, y);
    y = wf_vblend(wf_veq(x, wf_vzero()), wf_vset1(-__builtin_inff()), y);
    return wf_vblend(wf_vge(x, wf_vzero()), y, wf_vset1(__builtin_nanf("")));
}

/* a ln|x| in double, for finite a, and finite x but 0: its error, below 2^-36 of the largest value that counts,
 * is what keeps x^a right to the last bits of a float. */
WF_INLINE wf_vd wf_vpow_exponent(wf_vf x, wf_vf a)
{
    static const double series[] = {2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3, 2.0};
    wf_vf e, m = wf_vsplit(wf_vabs(x), &e);
    wf_vd f = wf_vd_from(wf_vsub(m, wf_vset1(1.0f))); /* exact */
    wf_vd s = wf_vd_div(f, wf_vd_add(f, wf_vd_set1(2.0))), s2 = wf_vd_mul(s, s);
    wf_vd p = wf_vd_set1(2.0 / 13);
    for (int i = 0; i < 6; i++)
        p = wf_vd_fma(p, s2, wf_vd_set1(series[i]));
    p = wf_vd_fma(wf_vd_from(e), wf_vd_set1(0x1.62e42fefa39efp-1), wf_vd_mul(p, s));
    return wf_vd_mul(wf_vd_from(a), p);
}

/* exp(t) within 2 ulp of float: as wf_vexp, but the reduced argument is exact. */
WF_INLINE wf_vf wf_vexp_of_double(wf_vd t)
{
    const wf_vf whole = wf_vd_to_f(t);
    wf_vf x = wf_vmax(wf_vset1(-105.0f), wf_vmin(wf_vset1(90.0f), whole));
    wf_vi n = wf_vcvt_i(wf_vmul(x, wf_vset1(1.44269504f)));
    wf_vd far = wf_vd_mul(wf_vd_from(wf_vcvt_f(n)), wf_vd_set1(0x1.62e42fefa39efp-1));
    wf_vf r = wf_vd_to_f(wf_vd_sub(t, far));
    wf_vf p = wf_vset1(1.0f / 5040);
    p = wf_vfma(p, r, wf_vset1(1.0f / 720));
    p = wf_vfma(p, r, wf_vset1(1.0f / 120));
    p = wf_vfma(p, r, wf_vset1(1.0f / 24));
    p = wf_vfma(p, r, wf_vset1(1.0f / 6));
    p = wf_vfma(p, r, wf_vset1(0.5f));
    p = wf_vfma(p, r, wf_vset1(1.0f));
    p = wf_vfma(p, r, wf_vset1(1.0f));
    wf_vi half = wf_vi_sar(n, 1), rest = wf_vi_sub(n, half), bias = wf_vi_set1(127);
    p = wf_vmul(p, wf_vi_as_f(wf_vi_shl(wf_vi_add(half, bias), 23)));
    p = wf_vmul(p, wf_vi_as_f(wf_vi_shl(wf_vi_add(rest, bias), 23)));
    p = wf_vblend(wf_vgt(whole, wf_vset1(89.0f)), wf_vset1(__builtin_inff()), p);
    return wf_vblend(wf_vgt(wf_vset1(-104.5f), whole), wf_vzero(), p);
}

/* x^a within 3 ulp; C's pow decides for zeros, infinities, NaN and negative x: x^0 and 1^a are 1
 * whatever the other one is; a negative x to a power that is no whole number is NaN. Whole powers of
 * up to 3 are what multiplying gives. */
WF_INLINE wf_vf wf_vpow_each(wf_vf x, wf_vf a)
{
    const wf_vf one = wf_vset1(1.0f), zero = wf_vzero(), inf = wf_vset1(__builtin_inff());
    const wf_vf size = wf_vabs(x), half = wf_vmul(a, wf_vset1(0.5f)), square = wf_vmul(x, x);
    const wf_vm large =
        wf_vge(wf_vabs(a), wf_vset1(0x1p24f)); /* an even whole number, or infinite */
    const wf_vm whole = wf_vm_or(large, wf_veq(wf_vcvt_f(wf_vcvt_i_trunc(a)), a));
    const wf_vm odd = wf_vm_and(wf_vm_and(whole, wf_vm_not(large)),
                                wf_vne(wf_vcvt_f(wf_vcvt_i_trunc(half)), half));
    const wf_vm rises = wf_vgt(a, zero);
    wf_vf y = wf_vexp_of_double(wf_vpow_exponent(x, a));
    y = wf_vblend(wf_veq(size, one), one, y); /* the logarithm is 0, times an infinity perhaps */
    y = wf_vblend(wf_veq(size, zero), wf_vblend(rises, zero, inf), y);
    y = wf_vblend(wf_veq(size, inf), wf_vblend(rises, inf, zero), y);
    /* The sign bit of x, -0 included, where a is odd. */
    y = wf_vblend(odd, wf_vor(y, wf_vand(x, wf_vset1(-0.0f))), y);
    const wf_vm root = wf_vm_and(wf_vm_not(whole), wf_vm_and(wf_vgt(zero, x), wf_vgt(inf, size)));
    y = wf_vblend(root, wf_vset1(__builtin_nanf("")), y);
    y = wf_vblend(wf_visnan(a), a, wf_vblend(wf_visnan(x), x, y));
    y = wf_vblend(wf_veq(a, one), x, y);
    y = wf_vblend(wf_veq(a, wf_vset1(2.0f)), square, y);
    y = wf_vblend(wf_veq(a, wf_vset1(3.0f)), wf_vmul(square, x), y);
    y = wf_vblend(wf_veq(a, wf_vset1(-1.0f)), wf_vdiv(one, x), y);
    return wf_vblend(wf_vm_or(wf_veq(x, one), wf_veq(a, zero)), one, y);
}

/* The same, a finite and in every lane the same; but powers 1/2 and -1/2 are wf_vsqrt(x) and
 * 1 / wf_vsqrt(x), as in PyTorch: NaN of -infinity, where C's pow has infinity and 0, and -infinity of
 * -0 to -1/2. */
WF_INLINE wf_vf wf_vpow(wf_vf x, wf_vf a)
{
    const wf_vf one = wf_vset1(1.0f);
    if (wf_vm_bits(wf_veq(a, wf_vzero())))
        return one;
    if (wf_vm_bits(wf_veq(a, one)))
        return x;
    if (wf_vm_bits(wf_veq(a, wf_vset1(2.0f))))
        return wf_vmul(x, x);
    if (wf_vm_bits(wf_veq(a, wf_vset1(3.0f))))
        return wf_vmul(wf_vmul(x, x), x);
    if (wf_vm_bits(wf_veq(a, wf_vset1(-1.0f))))
        return wf_vdiv(one, x);
    if (wf_vm_bits(wf_veq(a, wf_vset1(0.5f))))
        return wf_vsqrt(x);
    if (wf_vm_bits(wf_veq(a, wf_vset1(-0.5f))))
        return wf_vdiv(one, wf_vsqrt(x));
    return wf_vpow_each(x, a);
}

#endif
