/* The activations in float, over images of f32 and bf16 (Note [Elements] in element.h): one source for
 * every ISA over kernels/simd, and with one lane for CPUs without any. Pure functions, any thread. */
#include "kernels/simd/element.h"

#include "kernels/eltwise/activation.h"
#include "kernels/eltwise/activation_lanes.h"

typedef wf_vf (*lane_fn)(wf_vf x, wf_vf a, wf_vf b);

/* Elements of a strip: a long computation takes its first half for all of them, into the first-level
 * cache, and then its second half. Loops of short chains of operations fill the CPU better than one
 * of long chains. A multiple of ABREAST vectors. */
enum { STRIP = 256 };

/* Whole strips of GELU; returns how many elements these are. Loops of one vector, without the mixing
 * below, are faster here; for the gradient they are not. */
static size_t gelu_strips(size_t n, const wf_element *x, wf_element *y)
{
    _Alignas(64) float log2[STRIP];
    size_t at = 0;
    for (; at + STRIP <= n; at += STRIP) {
        for (size_t i = 0; i < STRIP; i += WF_LANES)
            wf_vstore(log2 + i, wf_lane_gelu_log2(wf_eload(x + at + i)));
        for (size_t i = 0; i < STRIP; i += WF_LANES)
            wf_estore(y + at + i, wf_lane_gelu_of(wf_eload(x + at + i), wf_vload(log2 + i)));
    }
    return at;
}

#if defined(__GNUC__) && !defined(__clang__) && !defined(WF_SIMD_EMULATE)
#pragma GCC optimize("schedule-insns", "sched-pressure") /* see ABREAST */
#endif

/* Vectors at a time. A vector's operations wait for each other longer than the CPU looks ahead; the compiler
 * mixes those of ABREAST vectors. */
enum { ABREAST = WF_LANES > 1 ? 4 : 1 };

WF_INLINE void forward(lane_fn f, size_t n, double da, double db, const wf_element *x,
                       wf_element *y)
{
    wf_vf a = wf_vset1((float)da), b = wf_vset1((float)db);
    size_t i = 0;
    for (; i + ABREAST * WF_LANES <= n; i += ABREAST * WF_LANES) {
        wf_vf v[ABREAST];
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            v[k] = wf_eload(x + i + k * WF_LANES);
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            v[k] = f(v[k], a, b);
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            wf_estore(y + i + k * WF_LANES, v[k]);
    }
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, f(wf_eload(x + i), a, b));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i, f(wf_eload_n(x + i, rest), a, b), rest);
}

WF_INLINE void backward(lane_fn slope, size_t n, double da, double db, const wf_element *saved,
                        const wf_element *dy, wf_element *dx)
{
    wf_vf a = wf_vset1((float)da), b = wf_vset1((float)db);
    size_t i = 0;
    for (; i + ABREAST * WF_LANES <= n; i += ABREAST * WF_LANES) {
        wf_vf v[ABREAST];
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            v[k] = slope(wf_eload(saved + i + k * WF_LANES), a, b);
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            v[k] = wf_lane_gradient(v[k], wf_eload(dy + i + k * WF_LANES));
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            wf_estore(dx + i + k * WF_LANES, v[k]);
    }
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(dx + i, wf_lane_gradient(slope(wf_eload(saved + i), a, b), wf_eload(dy + i)));
    int rest = (int)(n - i);
    if (rest) {
        wf_vf f = slope(wf_eload_n(saved + i, rest), a, b);
        wf_estore_n(dx + i, wf_lane_gradient(f, wf_eload_n(dy + i, rest)), rest);
    }
}

/* x^a, or with dy times a power and `by`: ABREAST vectors at a time where none is hard. */
WF_INLINE size_t powers(bool is_small, size_t n, float power, const wf_vf *by, const wf_element *x,
                        const wf_element *dy, wf_element *y)
{
    const wf_vf a = wf_vset1(power);
    size_t i = 0;
    for (; i + ABREAST * WF_LANES <= n; i += ABREAST * WF_LANES) {
        wf_vf v[ABREAST];
        wf_vm hard[ABREAST];
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++)
            v[k] = wf_vpow_try(wf_eload(x + i + k * WF_LANES), a, is_small, &hard[k]);
        wf_vm any = hard[0];
        WF_UNROLL
        for (int k = 1; k < ABREAST; k++)
            any = wf_vm_or(any, hard[k]);
        if (wf_vm_bits(any))
            for (int k = 0; k < ABREAST; k++)
                v[k] = wf_vpow_uniform(wf_eload(x + i + k * WF_LANES), a, is_small);
        WF_UNROLL
        for (int k = 0; k < ABREAST; k++) {
            if (by)
                v[k] = wf_lane_gradient(wf_vmul(*by, v[k]), wf_eload(dy + i + k * WF_LANES));
            wf_estore(y + i + k * WF_LANES, v[k]);
        }
    }
    return i;
}

/* Powers from -3 to 3, in strips: first the logarithms, then the powers. A strip with a number that is not within
 * 2^-reach and 2^reach, whose powers are between 2^-100 and 2^100, is left to powers(). */
WF_INLINE size_t small_powers(size_t n, float power, const wf_vf *by, const wf_element *x,
                              const wf_element *dy, wf_element *y)
{
    const float size = power < 0 ? -power : power;
    const int reach = size > 1 ? (int)(100 / size) : 100;
    const wf_vi least = wf_vi_set1((127 - reach) << 23), most = wf_vi_set1((127 + reach) << 23);
    const wf_vf a = wf_vset1(power);
    size_t at = 0;
    for (; at + STRIP <= n; at += STRIP) {
        _Alignas(64) float high[STRIP], low[STRIP];
        wf_vf fails = wf_vzero(); /* a sign bit where a number is out of reach */
        for (size_t i = 0; i < STRIP; i += ABREAST * WF_LANES) {
            wf_vf h[ABREAST], l[ABREAST];
            WF_UNROLL
            for (int k = 0; k < ABREAST; k++) {
                const wf_vf v = wf_eload(x + at + i + k * WF_LANES);
                const wf_vi below = wf_vi_sub(wf_vf_as_i(v), least);
                const wf_vi above = wf_vi_sub(most, wf_vf_as_i(v));
                fails = wf_vor(fails, wf_vor(wf_vi_as_f(below), wf_vi_as_f(above)));
                h[k] = wf_vpow_small_log(v, false, wf_vzero(), a, &l[k]);
            }
            WF_UNROLL
            for (int k = 0; k < ABREAST; k++) {
                wf_vstore(high + i + k * WF_LANES, h[k]);
                wf_vstore(low + i + k * WF_LANES, l[k]);
            }
        }
        if (wf_vm_bits(wf_vi_gt(wf_vf_as_i(wf_vzero()), wf_vf_as_i(fails)))) {
            powers(true, STRIP, power, by, x + at, by ? dy + at : NULL, y + at);
            continue;
        }
        for (size_t i = 0; i < STRIP; i += ABREAST * WF_LANES) {
            wf_vf v[ABREAST];
            WF_UNROLL
            for (int k = 0; k < ABREAST; k++)
                v[k] = wf_vpow_small_exp(wf_vload(high + i + k * WF_LANES),
                                         wf_vload(low + i + k * WF_LANES));
            WF_UNROLL
            for (int k = 0; k < ABREAST; k++) {
                const size_t j = at + i + k * WF_LANES;
                if (by)
                    v[k] = wf_lane_gradient(wf_vmul(*by, v[k]), wf_eload(dy + j));
                wf_estore(y + j, v[k]);
            }
        }
    }
    return at + powers(true, n - at, power, by, x + at, by ? dy + at : NULL, y + at);
}

/* What the loop calls depends on the power, for pow. */
WF_INLINE void choose_forward(wf_activation which, lane_fn f, size_t n, double a, double b,
                              const wf_element *x, wf_element *y)
{
    if (which == WF_ACT_pow && !wf_pow_is_short((float)a)) {
        if (wf_pow_is_small((float)a)) {
            const size_t done = small_powers(n, (float)a, NULL, x, NULL, y);
            forward(wf_lane_pow_small_value, n - done, a, b, x + done, y + done);
        } else {
            const size_t done = powers(false, n, (float)a, NULL, x, NULL, y);
            forward(wf_lane_pow_long_value, n - done, a, b, x + done, y + done);
        }
    } else if (which == WF_ACT_gelu) {
        const size_t done = gelu_strips(n, x, y);
        forward(f, n - done, a, b, x + done, y + done);
    } else
        forward(f, n, a, b, x, y);
}

WF_INLINE void choose_backward(wf_activation which, lane_fn slope, size_t n, double a, double b,
                               const wf_element *saved, const wf_element *dy, wf_element *dx)
{
    if (which == WF_ACT_pow && !wf_pow_is_short((float)b) && (float)a != 0) {
        const wf_vf by = wf_vset1((float)a);
        if (wf_pow_is_small((float)b)) {
            const size_t done = small_powers(n, (float)b, &by, saved, dy, dx);
            backward(wf_lane_pow_small_slope, n - done, a, b, saved + done, dy + done, dx + done);
        } else {
            const size_t done = powers(false, n, (float)b, &by, saved, dy, dx);
            backward(wf_lane_pow_long_slope, n - done, a, b, saved + done, dy + done, dx + done);
        }
    } else
        backward(slope, n, a, b, saved, dy, dx);
}

#define WF_ACTIVATION(name, from, zero, flat)                                                      \
    static void name##_forward(size_t n, double a, double b, const void *x, void *y)               \
    {                                                                                              \
        choose_forward(WF_ACT_##name, wf_lane_##name##_value, n, a, b, x, y);                      \
    }                                                                                              \
    static void name##_backward(size_t n, double a, double b, const void *saved, const void *dy,   \
                                void *dx)                                                          \
    {                                                                                              \
        choose_backward(WF_ACT_##name, wf_lane_##name##_slope, n, a, b, saved, dy, dx);            \
    }
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION

extern const wf_activations WF_ISA_FN(WF_CAT(wf_activations_, WF_ELEMENT));
const wf_activations WF_ISA_FN(WF_CAT(wf_activations_, WF_ELEMENT)) = {
    .name = "activation:" WF_ISA_NAME ":" WF_ELEMENT_NAME,
    .isa = WF_ISA,
    .dtype = WF_ELEMENT_DTYPE,
    .fn =
        {
#define WF_ACTIVATION(name, from, zero, flat) {name##_forward, name##_backward},
#include "kernels/eltwise/activation.def"
#undef WF_ACTIVATION
        },
};
