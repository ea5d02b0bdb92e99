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

/* 2^(n/8 + r), shifted being WF_EIGHTHS + n/8; its two factors are wf_veighths(shifted) and 2^r. */
WF_INLINE wf_vf wf_lane_eighths_rest(wf_vf r)
{
    return wf_vfma(wf_veighths_series(r), r, wf_vset1(1.0f));
}
WF_INLINE wf_vf wf_lane_eighths(wf_vf shifted, wf_vf r)
{
    return wf_vmul(wf_lane_eighths_rest(r), wf_veighths(shifted));
}

/* 2^y: 0 below -127, infinite from 128 on. y is not split, so its own rounding is in the result, |y| 2^-24 of
 * it. */
WF_INLINE wf_vf wf_lane_exp2(wf_vf y)
{
    y = wf_vmax(wf_vset1(-127.0f), wf_vmin(wf_vset1(128.0f), y)); /* y second: NaN stays */
    const wf_vf magic = wf_vset1(WF_EIGHTHS), shifted = wf_vadd(y, magic);
    return wf_lane_eighths(shifted, wf_vsub(y, wf_vsub(shifted, magic)));
}

/* log2 e in two parts; -127 ln2 and 128 ln2. */
#define WF_LOG2_E_LOW 0x1.4ae0cp-26f
#define WF_EXP_NONE (-88.0296936f)
#define WF_EXP_INFINITE 88.7228394f

/* exp(-x) for x in [-WF_EXP_INFINITE, -WF_EXP_NONE], within 2 ulp above 2^-126 and below 2^127.9; the second
 * multiply-add takes the product's exact value, the third one what log2 e lacks. Elsewhere wf_vexp. */
WF_INLINE wf_vf wf_lane_exp_minus_within(wf_vf x)
{
    const wf_vf magic = wf_vset1(WF_EIGHTHS), l = wf_vset1(WF_LOG2_E);
    const wf_vf shifted = wf_vfnma(x, l, magic);
    wf_vf r = wf_vfnma(x, l, wf_vsub(magic, shifted));
    r = wf_vfnma(x, wf_vset1(WF_LOG2_E_LOW), r);
    return wf_lane_eighths(shifted, r);
}
/* The same for every x: 0 and infinite outside. */
WF_INLINE wf_vf wf_lane_exp_minus(wf_vf x)
{
    x = wf_vmax(wf_vset1(-WF_EXP_INFINITE), wf_vmin(wf_vset1(-WF_EXP_NONE), x));
    return wf_lane_exp_minus_within(x);
}
/* exp(x) for x <= WF_EXP_INFINITE, in the same way. */
WF_INLINE wf_vf wf_lane_exp_below(wf_vf x)
{
    x = wf_vmax(wf_vset1(WF_EXP_NONE), x);
    const wf_vf magic = wf_vset1(WF_EIGHTHS), l = wf_vset1(WF_LOG2_E);
    const wf_vf shifted = wf_vfma(x, l, magic);
    wf_vf r = wf_vfma(x, l, wf_vsub(magic, shifted));
    r = wf_vfma(x, wf_vset1(WF_LOG2_E_LOW), r);
    return wf_lane_eighths(shifted, r);
}

/* log(1 + u) / a + plus, for u in [0, 1] and over_a = 1/a: u times a polynomial of degree 8, fitted to 2^-24.8 of
 * the result. */
WF_INLINE wf_vf wf_lane_log1p_unit(wf_vf u, wf_vf over_a, wf_vf plus)
{
    wf_vf p = wf_vset1(0x1.5fa0dap-8f);
    p = wf_vfma(p, u, wf_vset1(-0x1.eca398p-6f));
    p = wf_vfma(p, u, wf_vset1(0x1.44707ap-4f));
    p = wf_vfma(p, u, wf_vset1(-0x1.19af8ep-3f));
    p = wf_vfma(p, u, wf_vset1(0x1.884554p-3f));
    p = wf_vfma(p, u, wf_vset1(-0x1.fd1368p-3f));
    p = wf_vfma(p, u, wf_vset1(0x1.5535dep-2f));
    p = wf_vfma(p, u, wf_vset1(-0x1.ffff14p-2f));
    p = wf_vfma(p, u, wf_vset1(1.0f));
    return wf_vfma(p, wf_vmul(u, over_a), plus);
}

/* Note [The normal distribution's tail]
 * Phi(-a), the integral of the normal density from a on, is 2^y, y smooth: seven polynomials of degree 5 in a
 * follow it from 0 to 13, where float ends. Adding 1.5 * 2^24 to a rounds to even numbers, so the low
 * bits of that sum choose the polynomial: that of [0, 1], [1, 3], [3, 5] and so on. The eighth is -127, so
 * that 2^y is 0 from 13 on. Each is fitted for the least error relative to 1 + a^2, its highest coefficient first,
 * which is rounded before the next one is fitted; y(0) = -1 exactly.
 * Errors of a Phi(-a), in units of 2^-24 (1 + a^2) of itself: 0.7, 3.6 and 0.3 from the first three fits, less
 * from the others; 0.7 + 0.8a + 0.5a^2 from the rounding of y and at most 0.6 (1 + a^2) from those before it; 3.2
 * from 2^y, 2 from the products. The sum is below 8. A polynomial in a - 6.5 for all takes degree 12. */
enum { WF_TAIL_DEGREE = 5 };
#define WF_TAIL_END 13.27f /* 2^-(0.849 * 13.27)^2 is 0, too */
static const float wf_tail[WF_TAIL_DEGREE + 1][8] = {
    {-1, -0x1.00583p+0f, -0x1.0ee96p+0f, -0x1.36675cp+0f, -0x1.68eb08p+0f, -0x1.9c826ep+0f,
     -0x1.cd638p+0f, -127},
    {-0x1.26aee6p+0f, -0x1.257ceep+0f, -0x1.0d7e4ap+0f, -0x1.ca58d6p-1f, -0x1.80fd14p-1f,
     -0x1.46fcfep-1f, -0x1.1a2c52p-1f},
    {-0x1.d635ep-2f, -0x1.dcb028p-2f, -0x1.0ed02cp-1f, -0x1.30152p-1f, -0x1.457f04p-1f,
     -0x1.52937p-1f, -0x1.5acf5ap-1f},
    {-0x1.aeee4ap-5f, -0x1.8d4c32p-5f, -0x1.b0f27cp-6f, -0x1.a64p-7f, -0x1.ba7c2ap-8f,
     -0x1.fa4fa2p-9f, -0x1.384932p-9f},
    {0x1.e0fbb6p-8f, 0x1.9205e6p-8f, 0x1.1dea7ep-9f, 0x1.8d0c9p-11f, 0x1.40244ap-12f,
     0x1.28bc42p-13f, 0x1.332cbep-14f},
    {-0x1.eee7aep-12f, -0x1.84a908p-12f, -0x1.4ea7f8p-14f, -0x1.4464a8p-16f, -0x1.8f761p-18f,
     -0x1.2ad3b4p-19f, -0x1.030fe4p-20f},
};

/* y(a) for a in [0, WF_TAIL_END]. */
WF_INLINE wf_vf wf_lane_tail_log2(wf_vf a)
{
    const wf_vi segment = wf_vf_as_i(wf_vadd(a, wf_vset1(0x1.8p24f)));
    wf_vf y = wf_vlookup8(wf_tail[WF_TAIL_DEGREE], segment);
    WF_UNROLL
    for (int i = WF_TAIL_DEGREE - 1; i >= 0; i--)
        y = wf_vfma(y, a, wf_vlookup8(wf_tail[i], segment));
    return y;
}

WF_INLINE wf_vf wf_lane_sigmoid_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf one = wf_vset1(1.0f);
    return wf_vdiv(one, wf_vadd(one, wf_lane_exp_minus(x)));
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
    return wf_vdiv(x, wf_vadd(wf_vset1(1.0f), wf_lane_exp_minus(x)));
}
WF_INLINE wf_vf wf_lane_silu_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf s = wf_lane_sigmoid_value(x, a, b), one = wf_vset1(1.0f);
    return wf_vmul(s, wf_vfma(x, wf_vsub(one, s), one));
}
/* In two steps, for loops that take one after the other. |x| second: NaN stays. */
WF_INLINE wf_vf wf_lane_gelu_log2(wf_vf x)
{
    return wf_lane_tail_log2(wf_vmin(wf_vset1(WF_TAIL_END), wf_vabs(x)));
}
/* x Phi(x) = x - min(x, 0) - |x| Phi(-|x|) of y = log2 Phi(-|x|). The difference is NaN for -infinity, as in
 * PyTorch, and x for -0. */
WF_INLINE wf_vf wf_lane_gelu_of(wf_vf x, wf_vf y)
{
    const wf_vf size = wf_vmin(wf_vset1(WF_TAIL_END), wf_vabs(x));
    const wf_vf magic = wf_vset1(WF_EIGHTHS), shifted = wf_vadd(y, magic);
    const wf_vf rest = wf_lane_eighths_rest(wf_vsub(y, wf_vsub(shifted, magic)));
    const wf_vf scaled = wf_vmul(size, wf_veighths(shifted));
    return wf_vfnma(rest, scaled, wf_vsub(x, wf_vmin(x, wf_vzero())));
}
WF_INLINE wf_vf wf_lane_gelu_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_lane_gelu_of(x, wf_lane_gelu_log2(x));
}
/* Phi(x) + x exp(-x^2/2) / sqrt(2 pi), for x > 0 as 1 less the same of -x. exp(-x^2/2) = 2^-(0.849 x)^2. */
WF_INLINE wf_vf wf_lane_gelu_slope(wf_vf x, wf_vf a, wf_vf b)
{
    const wf_vf whole = wf_vabs(x), size = wf_vmin(wf_vset1(WF_TAIL_END), whole);
    const wf_vf y = wf_lane_tail_log2(size), magic = wf_vset1(WF_EIGHTHS);
    const wf_vf tail_shifted = wf_vadd(y, magic);
    const wf_vf tail = wf_lane_eighths(tail_shifted, wf_vsub(y, wf_vsub(tail_shifted, magic)));
    const wf_vf root = wf_vmul(size, wf_vset1(0.849321800f));
    const wf_vf shifted = wf_vfnma(root, root, magic);
    const wf_vf rest = wf_lane_eighths_rest(wf_vfnma(root, root, wf_vsub(magic, shifted)));
    const wf_vf over = wf_vmul(whole, wf_vset1(0.398942280f)); /* 1/sqrt(2 pi) */
    const wf_vf low = wf_vfnma(rest, wf_vmul(over, wf_veighths(shifted)), tail);
    return wf_vblend(wf_vgt(x, wf_vzero()), wf_vsub(wf_vset1(1.0f), low), low);
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
    wf_vf low = wf_vmul(a, wf_lane_exp_below(wf_vmin(wf_vzero(), x)));
    return wf_vblend(wf_vgt(x, wf_vzero()), wf_vset1(1.0f), low);
}
/* With e = exp(x) and n = e (e + 2): tanh(log(1 + e)) = n / (n + 2), without cancellation. From
 * x = 20 on that is 1. */
WF_INLINE wf_vf wf_lane_mish_e(wf_vf x)
{
    return wf_lane_exp_below(wf_vmin(wf_vset1(20.0f), x));
}
WF_INLINE wf_vf wf_lane_mish_value(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf e = wf_lane_mish_e(x), two = wf_vset1(2.0f), n = wf_vmul(e, wf_vadd(e, two));
    return wf_vmul(x, wf_vdiv(n, wf_vadd(n, two)));
}
/* n / (n + 2) + x 4 e (1 + e) / (n + 2)^2, over one denominator. */
WF_INLINE wf_vf wf_lane_mish_slope(wf_vf x, wf_vf a, wf_vf b)
{
    wf_vf e = wf_lane_mish_e(x), two = wf_vset1(2.0f), n = wf_vmul(e, wf_vadd(e, two));
    wf_vf d = wf_vadd(n, two), rise = wf_vfma(e, e, e);
    wf_vf slope = wf_vfma(x, wf_vmul(wf_vset1(4.0f), rise), wf_vmul(n, d));
    slope = wf_vdiv(slope, wf_vmul(d, d));
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
/* u = exp(-|t|); what log2 e lacks is left out, 2^-26.2 |t| of u. */
WF_INLINE wf_vf wf_lane_softplus_value(wf_vf x, wf_vf a, wf_vf b)
{
    const wf_vf magic = wf_vset1(WF_EIGHTHS), l = wf_vset1(WF_LOG2_E), t = wf_vmul(a, x);
    const wf_vf size = wf_vmin(wf_vset1(-WF_EXP_NONE), wf_vabs(t)); /* t second: NaN stays */
    const wf_vf shifted = wf_vfnma(size, l, magic), r = wf_vfnma(size, l, wf_vsub(magic, shifted));
    const wf_vf u = wf_lane_eighths(shifted, r);
    /* x itself, not t / a: t may overflow. */
    const wf_vf y = wf_lane_log1p_unit(u, wf_vdiv(wf_vset1(1.0f), a), wf_vmax(wf_vzero(), x));
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
/* Of the powers that are short, of the others, and of the small ones of these: the loops choose once. */
WF_INLINE wf_vf wf_lane_pow_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vpow_short(x, a);
}
WF_INLINE wf_vf wf_lane_pow_long_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vpow_uniform(x, a, false);
}
WF_INLINE wf_vf wf_lane_pow_small_value(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vpow_uniform(x, a, true);
}
/* 0 for a = 0, also at x = 0 */
WF_INLINE wf_vf wf_lane_pow_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), wf_vmul(a, wf_vpow_short(x, b)));
}
WF_INLINE wf_vf wf_lane_pow_long_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), wf_vmul(a, wf_vpow_uniform(x, b, false)));
}
WF_INLINE wf_vf wf_lane_pow_small_slope(wf_vf x, wf_vf a, wf_vf b)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), wf_vmul(a, wf_vpow_uniform(x, b, true)));
}

/* dy times the slope, and zero where the slope is, whatever dy. */
WF_INLINE wf_vf wf_lane_gradient(wf_vf slope, wf_vf dy)
{
    return wf_vmaskz(wf_vne(slope, wf_vzero()), wf_vmul(dy, slope));
}

#endif
