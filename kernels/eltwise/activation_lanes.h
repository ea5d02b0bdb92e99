/* The activations of one vector, f and its derivative: one source for every ISA, with one lane for
 * CPUs without any. Formulas of activation.def, a and b being the parameters of those that have
 * any. The derivative takes the input or the output, as the list says. For kernel files only: they include
 * simd.h first.
 *
 * Comparisons and minima put x second where NaN must stay, as simd.h says. */
#ifndef WF_KERNELS_ACTIVATION_LANES_H
#define WF_KERNELS_ACTIVATION_LANES_H

#include "kernels/simd/math.h"
#include "kernels/simd/simd.h"

#define WF_SQRT_2_PI 0.797884561f /* sqrt(2/pi) */
#define WF_GELU_CUBIC 0.044715f

/* expm1(x) for x in [-40, 0]: as wf_vexp, but 1 is taken from 2^n before the polynomial comes in,
 * so that nothing cancels near 0. The polynomial is r + r^2 P(r), P of degree 4 fitted so that expm1(r) is
 * within 2^-26 of itself. The low bits of `shifted` are n + 127, which makes 2^n one shift. */
WF_INLINE wf_vf wf_lane_expm1_negative(wf_vf x)
{
    x = wf_vmax(wf_vset1(-40.0f), x);
    const wf_vf magic = wf_vset1(0x1.8p23f + 127), shifted = wf_vfma(x, wf_vset1(WF_LOG2_E), magic);
    const wf_vf nf = wf_vsub(shifted, magic);
    wf_vf r = wf_vfnma(nf, wf_vset1(WF_LN2_HIGH), x);
    r = wf_vfnma(nf, wf_vset1(WF_LN2_LOW), r);
    wf_vf p = wf_vset1(0x1.6d9906p-10f);
    p = wf_vfma(p, r, wf_vset1(0x1.1227fap-7f));
    p = wf_vfma(p, r, wf_vset1(0x1.555486p-5f));
    p = wf_vfma(p, r, wf_vset1(0x1.5554bp-3f));
    p = wf_vfma(p, r, wf_vset1(0.5f));
    p = wf_vfma(p, wf_vmul(r, r), r);
    const wf_vf two_n = wf_vi_as_f(wf_vi_shl(wf_vf_as_i(shifted), 23));
    return wf_vfma(two_n, p, wf_vsub(two_n, wf_vset1(1.0f)));
}

/* 2^y for y <= 128, infinite at 128 and about 2^-126 below -126: where only 1 + 2^y is wanted. y is not split, so
 * its own rounding is in the result: |y| 2^-24 of it. The fraction's polynomial, of degree 6, is within 2^-28. */
WF_INLINE wf_vf wf_lane_exp2(wf_vf y)
{
    const wf_vf magic = wf_vset1(0x1.8p23f + 127);
    y = wf_vmax(wf_vset1(-126.0f), wf_vmin(wf_vset1(128.0f), y)); /* y second: NaN stays */
    const wf_vf shifted = wf_vadd(y, magic), r = wf_vsub(y, wf_vsub(shifted, magic));
    wf_vf p = wf_vset1(0x1.41fbbcp-13f);
    p = wf_vfma(p, r, wf_vset1(0x1.5f3e54p-10f));
    p = wf_vfma(p, r, wf_vset1(0x1.3b2d4cp-7f));
    p = wf_vfma(p, r, wf_vset1(0x1.c6aee8p-5f));
    p = wf_vfma(p, r, wf_vset1(0x1.ebfbdcp-3f));
    p = wf_vfma(p, r, wf_vset1(0x1.62e43p-1f));
    p = wf_vfma(p, r, wf_vset1(1.0f));
    return wf_vmul(p, wf_vi_as_f(wf_vi_shl(wf_vf_as_i(shifted), 23)));
}

/* log(1 + u) / a + plus, for u in [0, 1]: log(1 + u) = 2 atanh(s), s = u/(2 + u) <= 1/3. The polynomial
 * in s^2 is fitted to 2^-27 of the result. One division gives s/a and, times a, s. */
WF_INLINE wf_vf wf_lane_log1p_unit(wf_vf u, wf_vf a, wf_vf plus)
{
    const wf_vf part = wf_vdiv(u, wf_vfma(u, a, wf_vadd(a, a))), s = wf_vmul(part, a);
    const wf_vf s2 = wf_vmul(s, s), twice = wf_vadd(part, part);
    wf_vf p = wf_vset1(0x1.1ef872p-3f);
    p = wf_vfma(p, s2, wf_vset1(0x1.1eb612p-3f));
    p = wf_vfma(p, s2, wf_vset1(0x1.99d27cp-3f));
    p = wf_vfma(p, s2, wf_vset1(0x1.5555p-2f));
    return wf_vadd(wf_vfma(wf_vmul(p, s2), twice, twice), plus);
}

/* The normal distribution: *density its value at x without the factor 1/sqrt(2 pi), the result its
 * integral up to x. The integral from |x| on is density * t Q(t), t = 1/(1 + 0.35|x|), Q of degree
 * 9 fitted to a relative error of 2^-25 for |x| <= 14.2, where float underflows. */
WF_INLINE wf_vf wf_lane_normal(wf_vf x, wf_vf *density)
{
    static const float Q[] = {
        1.396146119e-01f, 1.400085688e-01f,  1.184970737e-01f, 1.122533754e-01f,  -4.398702458e-02f,
        2.003820688e-01f, -3.077675700e-01f, 1.846886724e-01f, -4.710073024e-02f, 3.410954494e-03f};
    wf_vf one = wf_vset1(1.0f);
    wf_vf t = wf_vdiv(one, wf_vfma(wf_vabs(x), wf_vset1(0.35f), one)), q = wf_vset1(Q[9]);
    for (int i = 8; i >= 0; i--)
        q = wf_vfma(q, t, wf_vset1(Q[i]));
    *density = wf_vexp(wf_vmul(wf_vmul(x, x), wf_vset1(-0.5f)));
    wf_vf tail = wf_vmul(*density, wf_vmul(q, t));
    return wf_vblend(wf_vgt(x, wf_vzero()), wf_vsub(one, tail), tail);
}

WF_INLINE wf_vf wf_lane_sigmoid_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf one = wf_vset1(1.0f);
    return wf_vdiv(one, wf_vadd(one, wf_vexp(wf_vneg(x))));
}
WF_INLINE wf_vf wf_lane_sigmoid_slope(wf_vf y, wf_vf a, wf_vf b)
{
    return wf_vmul(y, wf_vsub(wf_vset1(1.0f), y));
}
WF_INLINE wf_vf wf_lane_tanh_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf e = wf_lane_expm1_negative(wf_vmul(wf_vabs(x), wf_vset1(-2.0f)));
    wf_vf y = wf_vdiv(wf_vneg(e), wf_vadd(e, wf_vset1(2.0f)));
    return wf_vor(y, wf_vand(x, wf_vset1(-0.0f)));
}
WF_INLINE wf_vf wf_lane_tanh_slope(wf_vf y, wf_vf a, wf_vf b)
{
    return wf_vfnma(y, y, wf_vset1(1.0f));
}
WF_INLINE wf_vf wf_lane_silu_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vdiv(x, wf_vadd(wf_vset1(1.0f), wf_vexp(wf_vneg(x))));
}
WF_INLINE wf_vf wf_lane_silu_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf s = wf_lane_sigmoid_value(x, a, b), one = wf_vset1(1.0f);
    return wf_vmul(s, wf_vfma(x, wf_vsub(one, s), one));
}
WF_INLINE wf_vf wf_lane_gelu_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf density;
    return wf_vmul(x, wf_lane_normal(x, &density));
}
WF_INLINE wf_vf wf_lane_gelu_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf density, integral = wf_lane_normal(x, &density);
    return wf_vfma(wf_vmul(x, wf_vset1(0.398942280f)), density, integral); /* 1/sqrt(2 pi) */
}
/* (1 + tanh u)/2 = 1 / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
WF_INLINE wf_vf wf_lane_gelu_tanh_gate(wf_vf x, wf_vf x2)
{
    const float by = -2 * WF_SQRT_2_PI * WF_LOG2_E;
    const wf_vf y = wf_vmul(x, wf_vfma(x2, wf_vset1(by * WF_GELU_CUBIC), wf_vset1(by)));
    const wf_vf one = wf_vset1(1.0f);
    return wf_vdiv(one, wf_vadd(one, wf_lane_exp2(y)));
}
WF_INLINE wf_vf wf_lane_gelu_tanh_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmul(x, wf_lane_gelu_tanh_gate(x, wf_vmul(x, x)));
}
WF_INLINE wf_vf wf_lane_gelu_tanh_slope(wf_vf x, wf_vf a, wf_vf b)
{
    /* Farther out the gate is 0 or 1 to the last bit, and inner would overflow. */
    x = wf_vmax(wf_vset1(-16.0f), wf_vmin(wf_vset1(16.0f), x));
    wf_vf x2 = wf_vmul(x, x), s = wf_lane_gelu_tanh_gate(x, x2);
    wf_vf inner =
        wf_vfma(x2, wf_vset1(6 * WF_SQRT_2_PI * WF_GELU_CUBIC), wf_vset1(2 * WF_SQRT_2_PI));
    return wf_vfma(wf_vmul(x, inner), wf_lane_sigmoid_slope(s, a, b), s);
}
WF_INLINE wf_vf wf_lane_hardsigmoid_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf gate = wf_vmax(wf_vzero(), wf_vadd(x, wf_vset1(3.0f)));
    return wf_vdiv(wf_vmin(wf_vset1(6.0f), gate), wf_vset1(6.0f));
}
WF_INLINE wf_vf wf_lane_hardsigmoid_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vm inside = wf_vm_and(wf_vgt(x, wf_vset1(-3.0f)), wf_vgt(wf_vset1(3.0f), x));
    return wf_vmaskz(inside, wf_vset1(1.0f / 6));
}
WF_INLINE wf_vf wf_lane_hardswish_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf gate = wf_vmax(wf_vzero(), wf_vadd(x, wf_vset1(3.0f)));
    return wf_vdiv(wf_vmul(x, wf_vmin(wf_vset1(6.0f), gate)), wf_vset1(6.0f));
}
WF_INLINE wf_vf wf_lane_hardswish_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf y = wf_vadd(wf_vdiv(x, wf_vset1(3.0f)), wf_vset1(0.5f));
    y = wf_vblend(wf_vge(x, wf_vset1(3.0f)), wf_vset1(1.0f), y);
    return wf_vblend(wf_vge(wf_vset1(-3.0f), x), wf_vzero(), y);
}
WF_INLINE wf_vf wf_lane_relu6_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmin(wf_vset1(6.0f), wf_vmax(wf_vzero(), x));
}
WF_INLINE wf_vf wf_lane_relu6_slope(wf_vf y, wf_vf a, wf_vf b)
{
    wf_vm inside = wf_vm_and(wf_vgt(y, wf_vzero()), wf_vgt(wf_vset1(6.0f), y));
    return wf_vmaskz(inside, wf_vset1(1.0f));
}
WF_INLINE wf_vf wf_lane_leaky_relu_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vblend(wf_vgt(x, wf_vzero()), x, wf_vmul(x, a));
}
WF_INLINE wf_vf wf_lane_leaky_relu_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vblend(wf_vgt(x, wf_vzero()), wf_vset1(1.0f), a);
}
WF_INLINE wf_vf wf_lane_elu_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf low = wf_vmul(a, wf_lane_expm1_negative(wf_vmin(wf_vzero(), x)));
    return wf_vblend(wf_vgt(x, wf_vzero()), x, low);
}
WF_INLINE wf_vf wf_lane_elu_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf low = wf_vmul(a, wf_vexp(wf_vmin(wf_vzero(), x)));
    return wf_vblend(wf_vgt(x, wf_vzero()), wf_vset1(1.0f), low);
}
/* With e = exp(x) and n = e (e + 2): tanh(log(1 + e)) = n / (n + 2), without cancellation. From
 * x = 20 on that is 1. */
WF_INLINE wf_vf wf_lane_mish_e(wf_vf x)
{
    return wf_vexp(wf_vmin(wf_vset1(20.0f), x));
}
WF_INLINE wf_vf wf_lane_mish_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf e = wf_lane_mish_e(x), two = wf_vset1(2.0f), n = wf_vmul(e, wf_vadd(e, two));
    return wf_vmul(x, wf_vdiv(n, wf_vadd(n, two)));
}
/* n / (n + 2) + x 4 e (1 + e) / (n + 2)^2 */
WF_INLINE wf_vf wf_lane_mish_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf e = wf_lane_mish_e(x), two = wf_vset1(2.0f), n = wf_vmul(e, wf_vadd(e, two));
    wf_vf d = wf_vadd(n, two), t = wf_vdiv(n, d);
    wf_vf rise = wf_vmul(wf_vmul(wf_vset1(4.0f), e), wf_vadd(wf_vset1(1.0f), e));
    wf_vf slope = wf_vadd(t, wf_vmul(x, wf_vdiv(rise, wf_vmul(d, d))));
    return wf_vblend(wf_vgt(x, wf_vset1(20.0f)), wf_vset1(1.0f), slope);
}
WF_INLINE wf_vf wf_lane_abs_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vabs(x);
}
WF_INLINE wf_vf wf_lane_abs_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf up = wf_vmaskz(wf_vgt(x, wf_vzero()), wf_vset1(1.0f));
    return wf_vblend(wf_vgt(wf_vzero(), x), wf_vset1(-1.0f), up);
}
WF_INLINE wf_vf wf_lane_softplus_value(wf_vf x, wf_vf a, wf_vf b)
{
    const wf_vf t = wf_vmul(a, x), u = wf_vexp(wf_vneg(wf_vabs(t)));
    /* x itself, not t / a: t may overflow. */
    const wf_vf y = wf_lane_log1p_unit(u, a, wf_vmax(wf_vzero(), x));
    return wf_vblend(wf_vgt(t, b), x, y);
}
WF_INLINE wf_vf wf_lane_softplus_slope(wf_vf x, wf_vf a, wf_vf b)
{
    const wf_vf t = wf_vmul(a, x);
    return wf_vblend(wf_vgt(t, b), wf_vset1(1.0f), wf_lane_sigmoid_value(t, a, b));
}

WF_INLINE wf_vf wf_lane_clamp_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmin(b, wf_vmax(a, x));
}
WF_INLINE wf_vf wf_lane_clamp_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmaskz(wf_vm_and(wf_vge(x, a), wf_vge(b, x)), wf_vset1(1.0f));
}
WF_INLINE wf_vf wf_lane_exp_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vexp(x);
}
WF_INLINE wf_vf wf_lane_exp_slope(wf_vf y, wf_vf a, wf_vf b)
{
    return y;
}
WF_INLINE wf_vf wf_lane_log_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vlog(x);
}
WF_INLINE wf_vf wf_lane_log_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vdiv(wf_vset1(1.0f), x);
}
WF_INLINE wf_vf wf_lane_sqrt_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vsqrt(x);
}
WF_INLINE wf_vf wf_lane_sqrt_slope(wf_vf y, wf_vf a, wf_vf b)
{
    return wf_vdiv(wf_vset1(0.5f), y);
}
WF_INLINE wf_vf wf_lane_rsqrt_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vdiv(wf_vset1(1.0f), wf_vsqrt(x));
}
WF_INLINE wf_vf wf_lane_rsqrt_slope(wf_vf y, wf_vf a, wf_vf b)
{
    return wf_vmul(wf_vmul(wf_vset1(-0.5f), y), wf_vmul(y, y));
}
WF_INLINE wf_vf wf_lane_reciprocal_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vdiv(wf_vset1(1.0f), x);
}
WF_INLINE wf_vf wf_lane_reciprocal_slope(wf_vf y, wf_vf a, wf_vf b)
{
    return wf_vneg(wf_vmul(y, y));
}
/* Of the powers that are short, and of the others: the loops choose once. */
WF_INLINE wf_vf wf_lane_pow_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vpow_short(x, a);
}
WF_INLINE wf_vf wf_lane_pow_long_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vpow_long(x, a);
}
/* 0 for a = 0, also at x = 0 */
WF_INLINE wf_vf wf_lane_pow_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), wf_vmul(a, wf_vpow_short(x, b)));
}
WF_INLINE wf_vf wf_lane_pow_long_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), wf_vmul(a, wf_vpow_long(x, b)));
}

/* dy times the slope, and zero where the slope is, whatever dy. */
WF_INLINE wf_vf wf_lane_gradient(wf_vf slope, wf_vf dy)
{
    return wf_vmaskz(wf_vne(slope, wf_vzero()), wf_vmul(dy, slope));
}

#endif
