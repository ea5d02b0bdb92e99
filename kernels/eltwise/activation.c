/* The activations in float: one source for every ISA over kernels/simd, and with one lane for CPUs
 * without any. Formulas of activation.def. Pure functions, any thread.
 *
 * Comparisons and minima put x second where NaN must stay, as simd.h says. */
#include "kernels/simd/simd.h"

#include "kernels/eltwise/activation.h"

#define SQRT_2_PI 0.797884561f /* sqrt(2/pi) */
#define CUBIC 0.044715f

/* expm1(x) for x in [-40, 0]: as wf_vexp, but 1 is taken from 2^n before the polynomial comes in,
 * so that nothing cancels near 0. */
WF_INLINE wf_vf expm1_negative(wf_vf x)
{
    x = wf_vmax(wf_vset1(-40.0f), x);
    wf_vi n = wf_vcvt_i(wf_vmul(x, wf_vset1(1.44269504f)));
    wf_vf nf = wf_vcvt_f(n);
    wf_vf r = wf_vfnma(nf, wf_vset1(0x1.62e4p-1f), x);
    r = wf_vfnma(nf, wf_vset1(0x1.7f7d1cp-20f), r);
    wf_vf p = wf_vset1(1.0f / 5040);
    p = wf_vfma(p, r, wf_vset1(1.0f / 720));
    p = wf_vfma(p, r, wf_vset1(1.0f / 120));
    p = wf_vfma(p, r, wf_vset1(1.0f / 24));
    p = wf_vfma(p, r, wf_vset1(1.0f / 6));
    p = wf_vfma(p, r, wf_vset1(0.5f));
    p = wf_vfma(p, wf_vmul(r, r), r);
    wf_vf two_n = wf_vi_as_f(wf_vi_shl(wf_vi_add(n, wf_vi_set1(127)), 23));
    return wf_vfma(two_n, p, wf_vsub(two_n, wf_vset1(1.0f)));
}

/* log(1 + u) for u in [0, 1]: 2 atanh(s), s = u/(2 + u) <= 1/3, by its series; the first term left
 * out is below 2^-29 of the sum. */
WF_INLINE wf_vf log1p_unit(wf_vf u)
{
    wf_vf s = wf_vdiv(u, wf_vadd(u, wf_vset1(2.0f))), s2 = wf_vmul(s, s);
    wf_vf p = wf_vset1(2.0f / 15);
    p = wf_vfma(p, s2, wf_vset1(2.0f / 13));
    p = wf_vfma(p, s2, wf_vset1(2.0f / 11));
    p = wf_vfma(p, s2, wf_vset1(2.0f / 9));
    p = wf_vfma(p, s2, wf_vset1(2.0f / 7));
    p = wf_vfma(p, s2, wf_vset1(2.0f / 5));
    p = wf_vfma(p, s2, wf_vset1(2.0f / 3));
    p = wf_vmul(p, s2);
    return wf_vfma(p, s, wf_vadd(s, s));
}

/* The normal distribution: *density its value at x without the factor 1/sqrt(2 pi), the result its
 * integral up to x. The integral from |x| on is density * t Q(t), t = 1/(1 + 0.35|x|), Q of degree
 * 9 fitted to a relative error of 2^-25 for |x| <= 14.2, where float underflows. */
WF_INLINE wf_vf normal(wf_vf x, wf_vf *density)
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

WF_INLINE wf_vf sigmoid_value(wf_vf x, wf_vf a)
{
    wf_vf one = wf_vset1(1.0f);
    return wf_vdiv(one, wf_vadd(one, wf_vexp(wf_vneg(x))));
}
WF_INLINE wf_vf sigmoid_slope(wf_vf y, wf_vf a)
{
    return wf_vmul(y, wf_vsub(wf_vset1(1.0f), y));
}
WF_INLINE wf_vf tanh_value(wf_vf x, wf_vf a)
{
    wf_vf e = expm1_negative(wf_vmul(wf_vabs(x), wf_vset1(-2.0f)));
    wf_vf y = wf_vdiv(wf_vneg(e), wf_vadd(e, wf_vset1(2.0f)));
    return wf_vor(y, wf_vand(x, wf_vset1(-0.0f)));
}
WF_INLINE wf_vf tanh_slope(wf_vf y, wf_vf a)
{
    return wf_vfnma(y, y, wf_vset1(1.0f));
}
WF_INLINE wf_vf silu_value(wf_vf x, wf_vf a)
{
    return wf_vdiv(x, wf_vadd(wf_vset1(1.0f), wf_vexp(wf_vneg(x))));
}
WF_INLINE wf_vf silu_slope(wf_vf x, wf_vf a)
{
    wf_vf s = sigmoid_value(x, a), one = wf_vset1(1.0f);
    return wf_vmul(s, wf_vfma(x, wf_vsub(one, s), one));
}
WF_INLINE wf_vf gelu_value(wf_vf x, wf_vf a)
{
    wf_vf density;
    return wf_vmul(x, normal(x, &density));
}
WF_INLINE wf_vf gelu_slope(wf_vf x, wf_vf a)
{
    wf_vf density, integral = normal(x, &density);
    return wf_vfma(wf_vmul(x, wf_vset1(0.398942280f)), density, integral); /* 1/sqrt(2 pi) */
}
/* (1 + tanh u)/2 = sigmoid(2u) */
WF_INLINE wf_vf gelu_tanh_gate(wf_vf x, wf_vf x2)
{
    wf_vf u = wf_vmul(x, wf_vfma(x2, wf_vset1(2 * SQRT_2_PI * CUBIC), wf_vset1(2 * SQRT_2_PI)));
    return sigmoid_value(u, u);
}
WF_INLINE wf_vf gelu_tanh_value(wf_vf x, wf_vf a)
{
    return wf_vmul(x, gelu_tanh_gate(x, wf_vmul(x, x)));
}
WF_INLINE wf_vf gelu_tanh_slope(wf_vf x, wf_vf a)
{
    wf_vf x2 = wf_vmul(x, x), s = gelu_tanh_gate(x, x2);
    wf_vf inner = wf_vfma(x2, wf_vset1(6 * SQRT_2_PI * CUBIC), wf_vset1(2 * SQRT_2_PI));
    return wf_vfma(wf_vmul(x, inner), sigmoid_slope(s, a), s);
}
WF_INLINE wf_vf hardsigmoid_value(wf_vf x, wf_vf a)
{
    wf_vf gate = wf_vmax(wf_vzero(), wf_vadd(x, wf_vset1(3.0f)));
    return wf_vdiv(wf_vmin(wf_vset1(6.0f), gate), wf_vset1(6.0f));
}
WF_INLINE wf_vf hardsigmoid_slope(wf_vf x, wf_vf a)
{
    wf_vm inside = wf_vm_and(wf_vgt(x, wf_vset1(-3.0f)), wf_vgt(wf_vset1(3.0f), x));
    return wf_vmaskz(inside, wf_vset1(1.0f / 6));
}
WF_INLINE wf_vf hardswish_value(wf_vf x, wf_vf a)
{
    wf_vf gate = wf_vmax(wf_vzero(), wf_vadd(x, wf_vset1(3.0f)));
    return wf_vdiv(wf_vmul(x, wf_vmin(wf_vset1(6.0f), gate)), wf_vset1(6.0f));
}
WF_INLINE wf_vf hardswish_slope(wf_vf x, wf_vf a)
{
    wf_vf y = wf_vadd(wf_vdiv(x, wf_vset1(3.0f)), wf_vset1(0.5f));
    y = wf_vblend(wf_vge(x, wf_vset1(3.0f)), wf_vset1(1.0f), y);
    return wf_vblend(wf_vge(wf_vset1(-3.0f), x), wf_vzero(), y);
}
WF_INLINE wf_vf relu6_value(wf_vf x, wf_vf a)
{
    return wf_vmin(wf_vset1(6.0f), wf_vmax(wf_vzero(), x));
}
WF_INLINE wf_vf relu6_slope(wf_vf y, wf_vf a)
{
    wf_vm inside = wf_vm_and(wf_vgt(y, wf_vzero()), wf_vgt(wf_vset1(6.0f), y));
    return wf_vmaskz(inside, wf_vset1(1.0f));
}
WF_INLINE wf_vf leaky_relu_value(wf_vf x, wf_vf a)
{
    return wf_vblend(wf_vgt(x, wf_vzero()), x, wf_vmul(x, a));
}
WF_INLINE wf_vf leaky_relu_slope(wf_vf x, wf_vf a)
{
    return wf_vblend(wf_vgt(x, wf_vzero()), wf_vset1(1.0f), a);
}
WF_INLINE wf_vf abs_value(wf_vf x, wf_vf a)
{
    return wf_vabs(x);
}
WF_INLINE wf_vf abs_slope(wf_vf x, wf_vf a)
{
    wf_vf up = wf_vmaskz(wf_vgt(x, wf_vzero()), wf_vset1(1.0f));
    return wf_vblend(wf_vgt(wf_vzero(), x), wf_vset1(-1.0f), up);
}
WF_INLINE wf_vf softplus_value(wf_vf x, wf_vf a)
{
    return wf_vadd(wf_vmax(wf_vzero(), x), log1p_unit(wf_vexp(wf_vneg(wf_vabs(x)))));
}
WF_INLINE wf_vf softplus_slope(wf_vf x, wf_vf a)
{
    return sigmoid_value(x, a);
}

typedef wf_vf (*lane_fn)(wf_vf x, wf_vf a);

WF_INLINE void forward(lane_fn f, size_t n, double da, const float *x, float *y)
{
    wf_vf a = wf_vset1((float)da);
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_vstore(y + i, f(wf_vload(x + i), a));
    int rest = (int)(n - i);
    if (rest)
        wf_vstore_n(y + i, f(wf_vload_n(x + i, rest), a), rest);
}

WF_INLINE void backward(lane_fn slope, size_t n, double da, const float *saved, const float *dy,
                        float *dx)
{
    wf_vf a = wf_vset1((float)da);
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_vstore(dx + i, wf_vmul(wf_vload(dy + i), slope(wf_vload(saved + i), a)));
    int rest = (int)(n - i);
    if (rest) {
        wf_vf f = slope(wf_vload_n(saved + i, rest), a);
        wf_vstore_n(dx + i, wf_vmul(wf_vload_n(dy + i, rest), f), rest);
    }
}

#define WF_ACTIVATION(name, from, keeps)                                                           \
    static void name##_forward(size_t n, double a, const void *x, void *y)                         \
    {                                                                                              \
        forward(name##_value, n, a, x, y);                                                         \
    }                                                                                              \
    static void name##_backward(size_t n, double a, const void *saved, const void *dy, void *dx)   \
    {                                                                                              \
        backward(name##_slope, n, a, saved, dy, dx);                                               \
    }
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION

extern const wf_activations WF_ISA_FN(wf_activations_f32);
const wf_activations WF_ISA_FN(wf_activations_f32) = {
    .name = "activation:" WF_ISA_NAME ":f32",
    .isa = WF_ISA,
    .dtype = WEFT_F32,
    .fn =
        {
#define WF_ACTIVATION(name, from, keeps) {name##_forward, name##_backward},
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION
        },
};
