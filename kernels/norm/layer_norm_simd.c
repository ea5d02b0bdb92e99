/* Layer normalisation, f32, one source for every vector ISA.
 *
 * Note [Moments about a pivot]. A row's moments come from one pass over it: sums of d = x - p and of
 * d^2, where the pivot p is the mean of its first vector, rounded. Runs of four vectors are summed in
 * floats, the runs in double; then mean = p + avg d and var = avg d^2 - (avg d)^2. With u = 2^-24 and
 * c = (avg d)^2, each d is off by u |d|, so avg d^2 by at most 7 u (var + c): two roundings of d, one of
 * its square, four of the run's sum. Where c <= var / 4 that is 9 u var; elsewhere, of short rows, and
 * where something is not finite, the row is read twice and summed in double. x - mean is taken from a
 * mean of two floats, so that rows far from 0 keep their digits. */
#include "kernels/simd/simd.h"

#include <math.h>
#include <stdbool.h>

#include "kernels/norm/layer_norm.h"

/* A row's statistics, as floats: mean = high + low. */
typedef struct row {
    wf_vf high, low, invstd;
} row;

static row row_of(wf_row_moments m)
{
    const float high = (float)m.mean;
    return (row){wf_vset1(high), wf_vset1((float)(m.mean - high)), wf_vset1((float)m.invstd)};
}

WF_INLINE wf_vf centred(const row *s, wf_vf x)
{
    return wf_vsub(wf_vsub(x, s->high), s->low);
}

WF_INLINE int lanes_left(size_t D, size_t j)
{
    return D - j < WF_LANES ? (int)(D - j) : WF_LANES;
}

WF_INLINE wf_vf load(const float *p, int n)
{
    return n == WF_LANES ? wf_vload(p) : wf_vload_n(p, n);
}

WF_INLINE void store(float *p, wf_vf v, int n)
{
    if (n == WF_LANES)
        wf_vstore(p, v);
    else
        wf_vstore_n(p, v, n);
}

static double mean_of(size_t D, const float *x)
{
    wf_vd even = wf_vd_set1(0), odd = even;
    size_t j = 0;
    for (; j + 2 * WF_LANES <= D; j += 2 * WF_LANES) {
        even = wf_vd_add(even, wf_vd_from(wf_vload(x + j)));
        odd = wf_vd_add(odd, wf_vd_from(wf_vload(x + j + WF_LANES)));
    }
    for (; j < D; j += WF_LANES)
        even = wf_vd_add(even, wf_vd_from(load(x + j, lanes_left(D, j))));
    return wf_vd_sum(wf_vd_add(even, odd)) / (double)D;
}

static double variance_of(size_t D, const float *x, double mean)
{
    const row s = row_of((wf_row_moments){mean, 0});
    wf_vd even = wf_vd_set1(0), odd = even;
    size_t j = 0;
    for (; j + 2 * WF_LANES <= D; j += 2 * WF_LANES) {
        const wf_vf a = centred(&s, wf_vload(x + j)), b = centred(&s, wf_vload(x + j + WF_LANES));
        even = wf_vd_add(even, wf_vd_from(wf_vmul(a, a)));
        odd = wf_vd_add(odd, wf_vd_from(wf_vmul(b, b)));
    }
    for (; j < D; j += WF_LANES) {
        const int n = lanes_left(D, j);
        const wf_vf a = wf_vmaskz(wf_vm_first(n), centred(&s, load(x + j, n)));
        even = wf_vd_add(even, wf_vd_from(wf_vmul(a, a)));
    }
    return wf_vd_sum(wf_vd_add(even, odd)) / (double)D;
}

enum { RUN = 4 }; /* vectors that are summed in floats */

/* See Note [Moments about a pivot]; false: it does not hold of this row. */
static bool moments_about_pivot(size_t D, const float *x, double *mean, double *var)
{
    const size_t run = RUN * WF_LANES;
    if (D < run)
        return false;
    const float p = (float)(wf_vd_sum(wf_vd_from(wf_vload(x))) / WF_LANES);
    const wf_vf vp = wf_vset1(p);
    wf_vd sums = wf_vd_set1(0), squares = sums;
    size_t j = 0;
    for (; j + run <= D; j += run) {
        const wf_vf a = wf_vsub(wf_vload(x + j), vp), b = wf_vsub(wf_vload(x + j + WF_LANES), vp),
                    c = wf_vsub(wf_vload(x + j + 2 * WF_LANES), vp),
                    d = wf_vsub(wf_vload(x + j + 3 * WF_LANES), vp);
        const wf_vf square = wf_vfma(d, d, wf_vfma(c, c, wf_vfma(b, b, wf_vmul(a, a))));
        sums = wf_vd_add(sums, wf_vd_from(wf_vadd(wf_vadd(a, b), wf_vadd(c, d))));
        squares = wf_vd_add(squares, wf_vd_from(square));
    }
    for (; j < D; j += WF_LANES) {
        const int n = lanes_left(D, j);
        const wf_vf a = wf_vmaskz(wf_vm_first(n), wf_vsub(load(x + j, n), vp));
        sums = wf_vd_add(sums, wf_vd_from(a));
        squares = wf_vd_add(squares, wf_vd_from(wf_vmul(a, a)));
    }
    const double shift = wf_vd_sum(sums) / (double)D;
    *mean = (double)p + shift;
    *var = wf_vd_sum(squares) / (double)D - shift * shift;
    return 4 * shift * shift <= *var && *var < INFINITY;
}

static wf_row_moments moments_of(size_t D, const float *x, double eps)
{
    double mean, var;
    if (!moments_about_pivot(D, x, &mean, &var)) {
        mean = mean_of(D, x);
        var = variance_of(D, x, mean);
    }
    return (wf_row_moments){mean, 1 / sqrt(var + eps)};
}

static void forward(size_t rows, size_t D, double eps, const void *vx, const void *vgamma,
                    const void *vbeta, void *vy, wf_row_moments *moments)
{
    const float *gamma = vgamma, *beta = vbeta, *x = vx;
    float *y = vy;
    for (size_t r = 0; r < rows; r++, x += D, y += D) {
        moments[r] = moments_of(D, x, eps);
        const row s = row_of(moments[r]);
        for (size_t j = 0; j < D; j += WF_LANES) {
            const int n = lanes_left(D, j);
            const wf_vf xhat = wf_vmul(centred(&s, load(x + j, n)), s.invstd);
            store(y + j, wf_vfma(xhat, load(gamma + j, n), load(beta + j, n)), n);
        }
    }
}

/* sums += v, in double */
WF_INLINE void add_to(double *sums, wf_vf v)
{
    wf_vd_store(sums, wf_vd_add(wf_vd_load(sums), wf_vd_from(v)));
}

static void backward(size_t rows, size_t D, const void *vx, const void *vdy, const void *vgamma,
                     const wf_row_moments *moments, void *vdx, double *sums)
{
    const float *gamma = vgamma, *x = vx, *dy = vdy;
    float *dx = vdx;
    double *products = sums + wf_layer_norm_sums(D) / 2;
    for (size_t r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        const row s = row_of(moments[r]);
        wf_vd first = wf_vd_set1(0), second = first;
        for (size_t j = 0; j < D; j += WF_LANES) {
            const int n = lanes_left(D, j);
            const wf_vf d = load(dy + j, n), g = wf_vmul(d, load(gamma + j, n));
            const wf_vf centre = wf_vmaskz(wf_vm_first(n), centred(&s, load(x + j, n)));
            const wf_vf xhat = wf_vmul(centre, s.invstd);
            first = wf_vd_add(first, wf_vd_from(g));
            second = wf_vd_add(second, wf_vd_from(wf_vmul(g, xhat)));
            add_to(sums + j, d);
            add_to(products + j, wf_vmul(d, xhat));
        }
        const wf_vf a = wf_vset1((float)(wf_vd_sum(first) / (double)D));
        const wf_vf b = wf_vset1((float)(wf_vd_sum(second) / (double)D));
        for (size_t j = 0; j < D; j += WF_LANES) {
            const int n = lanes_left(D, j);
            const wf_vf g = wf_vmul(load(dy + j, n), load(gamma + j, n));
            const wf_vf xhat = wf_vmul(centred(&s, load(x + j, n)), s.invstd);
            store(dx + j, wf_vmul(s.invstd, wf_vfnma(xhat, b, wf_vsub(g, a))), n);
        }
    }
}

extern const wf_layer_norm_fns WF_ISA_FN(wf_layer_norm);
const wf_layer_norm_fns WF_ISA_FN(wf_layer_norm) = {.name = "layer_norm:" WF_ISA_NAME ":f32",
                                                    .isa = WF_ISA,
                                                    .dtype = WEFT_F32,
                                                    .forward = forward,
                                                    .backward = backward};
