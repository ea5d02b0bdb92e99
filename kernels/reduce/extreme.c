/* The greatest or the least of many, f32: one source for every ISA over kernels/simd.
 *
 * Values are compared as integers that are ordered as they are (extreme_key.h): neither the order in
 * which they come nor whether denormals are flushed then matters. NaNs are noted beside. Pure
 * functions, any thread. */
#include "kernels/simd/simd.h"

#include "kernels/reduce/extreme_key.h"
#include "kernels/reduce/reduce.h"

typedef struct far {
    wf_vi key;
    wf_vm nan;
} far;

/* The key of a value, and back: wf_key_f32. */
WF_INLINE wf_vf turn(wf_vf x)
{
    wf_vf negative = wf_vi_as_f(wf_vi_sar(wf_vf_as_i(x), 31));
    return wf_vxor(x, wf_vandnot(wf_vset1(-0.0f), negative));
}

WF_INLINE far further(bool least, far a, wf_vf x)
{
    const wf_vi key = wf_vf_as_i(turn(x));
    const wf_vm less = wf_vi_gt(a.key, key);
    a.nan = wf_vm_or(a.nan, wf_visnan(x));
    a.key = least ? wf_vi_blend(less, key, a.key) : wf_vi_blend(less, a.key, key);
    return a;
}

WF_INLINE far begin(wf_vf x)
{
    return (far){wf_vf_as_i(turn(x)), wf_visnan(x)};
}

WF_INLINE wf_vf end(far a)
{
    return wf_vblend(a.nan, wf_vi_as_f(wf_vi_set1(WF_NAN_F32)), turn(wf_vi_as_f(a.key)));
}

/* n <= WF_LANES columns; `vectors` of them where all are full. */
WF_INLINE void columns(bool least, wf_strides s, int vectors, int n, const float *x, float *y)
{
    far a[4];
    for (int v = 0; v < vectors; v++)
        a[v] = begin(n < WF_LANES ? wf_vload_n(x, n) : wf_vload(x + v * WF_LANES));
    for (size_t k = 1; k < s.K; k++) {
        x += s.stride;
        for (int v = 0; v < vectors; v++)
            a[v] =
                further(least, a[v], n < WF_LANES ? wf_vload_n(x, n) : wf_vload(x + v * WF_LANES));
    }
    for (int v = 0; v < vectors; v++) {
        if (n < WF_LANES)
            wf_vstore_n(y, end(a[v]), n);
        else
            wf_vstore(y + v * WF_LANES, end(a[v]));
    }
}

/* Of K neighbours. */
WF_INLINE float run(bool least, size_t K, const float *x)
{
    float lanes[4 * WF_LANES], most = wf_further_f32(least, x[0], x[0]);
    size_t k = 0;
    if (K >= 4 * WF_LANES) {
        const size_t rows = K / (4 * WF_LANES);
        columns(least, (wf_strides){1, rows, 4 * WF_LANES, 4 * WF_LANES}, 4, WF_LANES, x, lanes);
        most = lanes[0];
        for (int j = 1; j < 4 * WF_LANES; j++)
            most = wf_further_f32(least, most, lanes[j]);
        k = rows * 4 * WF_LANES;
    }
    for (; k < K; k++)
        most = wf_further_f32(least, most, x[k]);
    return most;
}

WF_INLINE void extreme(bool least, wf_strides s, const float *x, float *y)
{
    for (size_t o = 0; o < s.outer; o++, x += s.K * s.stride, y += s.n) {
        size_t j = 0;
        if (s.n == 1 && s.stride == 1) {
            y[0] = run(least, s.K, x);
            continue;
        }
        for (; j + 4 * WF_LANES <= s.n; j += 4 * WF_LANES)
            columns(least, s, 4, WF_LANES, x + j, y + j);
        for (; j + WF_LANES <= s.n; j += WF_LANES)
            columns(least, s, 1, WF_LANES, x + j, y + j);
        if (j < s.n)
            columns(least, s, 1, (int)(s.n - j), x + j, y + j);
    }
}

void WF_ISA_FN(wf_extreme)(wf_strides s, bool least, const void *x, void *y)
{
    if (least)
        extreme(true, s, x, y);
    else
        extreme(false, s, x, y);
}
