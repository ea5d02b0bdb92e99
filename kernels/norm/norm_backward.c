/* Batch normalisation's backward pass over blocked images and ranges of rows, f32 and bf16 (Note
 * [Elements] in element.h), one source for every vector ISA. Letters as in lanes.h. */
#include "kernels/norm/lanes.h"

/* How dy comes through f; constant in every loop. */
typedef enum through {
    NOTHING = WF_NORM_LINEAR,
    MASK = WF_NORM_RELU,
    SILU = WF_NORM_SILU,
    HARDSWISH = WF_NORM_HARDSWISH
} through;

static through through_of(wf_norm_f f, const uint8_t *mask)
{
    if (wf_norm_recomputes(f))
        return (through)f;
    return mask ? MASK : NOTHING;
}

/* ---- backward: sums ------------------------------------------------------------------------- */

typedef struct reduce_lanes {
    const wf_element *x, *dy;
    wf_element *dz;
    const uint8_t *mask;
    size_t stride;
    int64_t pixels;
    int n;
    bool two;
    wf_vf mean, scale, shift; /* scale, shift: where f recomputes */
} reduce_lanes;

WF_INLINE void reduce_pixel(const reduce_lanes *l, int64_t p, wf_vf *sum, wf_vf *dot, through f,
                            bool full)
{
    const size_t at = (size_t)p * l->stride;
    wf_vf d = load(l->dy + at, l->n, full), x = load(l->x + at, l->n, full);
    if (f == MASK)
        d = wf_vmaskz(get_mask(l->mask, l->pixels, p, l->two), d);
    if (f == SILU || f == HARDSWISH) {
        /* z and dz as apply and f's own gradient would have stored them */
        d = wf_eround(f_gradient((wf_norm_f)f, wf_eround(wf_vfma(x, l->scale, l->shift)), d));
        store_exact(l->dz + at, d, l->n, full);
    }
    *sum = wf_vadd(*sum, d);
    *dot = wf_vfma(d, wf_vsub(x, l->mean), *dot);
}

/* Ranges in float, added up in double in their order. */
WF_INLINE void reduce_loop(const reduce_lanes *lanes, double *sums, double *dots, through f,
                           bool full)
{
    const reduce_lanes of = *lanes, *l = &of; /* stores to dz may alias anything but a local */
    wf_vd all_sum = wf_vd_set1(0), all_dot = wf_vd_set1(0);
    for (int64_t first = 0; first < l->pixels; first += WF_NORM_RANGE) {
        int64_t end = first + WF_NORM_RANGE < l->pixels ? first + WF_NORM_RANGE : l->pixels;
        chains sum = chains_zero(), dot = chains_zero();
        int64_t p = first;
        for (; p + 4 <= end; p += 4) {
            reduce_pixel(l, p, &sum.a, &dot.a, f, full);
            reduce_pixel(l, p + 1, &sum.b, &dot.b, f, full);
            reduce_pixel(l, p + 2, &sum.c, &dot.c, f, full);
            reduce_pixel(l, p + 3, &sum.d, &dot.d, f, full);
        }
        for (; p < end; p++)
            reduce_pixel(l, p, &sum.a, &dot.a, f, full);
        all_sum = wf_vd_add(all_sum, wf_vd_from(chains_sum(&sum)));
        all_dot = wf_vd_add(all_dot, wf_vd_from(chains_sum(&dot)));
    }
    wf_vd_store(sums, all_sum);
    wf_vd_store(dots, all_dot);
}

void WF_ELEMENT_FN(wf_norm_backward_reduce)(const wf_norm_reduce *a);
void WF_ELEMENT_FN(wf_norm_backward_reduce)(const wf_norm_reduce *a)
{
    const wf_act act = a->act;
    double *sums = a->partial, *dots = a->partial + wf_norm_partial_count(act.C) / 2;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        reduce_lanes l = {
            .x = (const wf_element *)a->x + r.offset,
            .dy = (const wf_element *)a->dy + r.offset,
            .mask = a->mask ? a->mask + c / 8 * pixels_of(act) : NULL,
            .stride = (size_t)act.block,
            .pixels = pixels_of(act),
            .n = r.n,
            .two = r.two_groups,
            .mean = wf_vload_n((const float *)a->mean + c, r.valid),
        };
        const through f = through_of(a->f, a->mask);
        if (wf_norm_recomputes(a->f)) { /* as apply has them */
            l.dz = (wf_element *)a->dz + r.offset;
            l.scale = wf_vmul(wf_vload_n((const float *)a->gamma + c, r.valid),
                              wf_vload_n((const float *)a->invstd + c, r.valid));
            l.shift = wf_vfnma(l.mean, l.scale, wf_vload_n((const float *)a->beta + c, r.valid));
        }
        if (r.n < WF_LANES)
            reduce_loop(&l, sums + c, dots + c, f, false);
        else if (f == MASK)
            reduce_loop(&l, sums + c, dots + c, MASK, true);
        else if (f == SILU)
            reduce_loop(&l, sums + c, dots + c, SILU, true);
        else if (f == HARDSWISH)
            reduce_loop(&l, sums + c, dots + c, HARDSWISH, true);
        else
            reduce_loop(&l, sums + c, dots + c, NOTHING, true);
    }
}

/* ---- backward: dx --------------------------------------------------------------------------- */

typedef struct dx_lanes {
    const wf_element *x, *dy;
    const uint8_t *mask;
    wf_element *dx, *dresidual;
    size_t stride;
    int64_t pixels;
    int n;
    bool two;
    wf_vf scale, slope, offset, mean; /* dx = scale*dy + (slope*(x - mean) + offset) */
} dx_lanes;

WF_INLINE void dx_loop(const dx_lanes *lanes, bool training, bool mask, bool dresidual, bool full)
{
    const dx_lanes l = *lanes;
    for (int64_t p = 0; p < l.pixels; p++) {
        const size_t at = (size_t)p * l.stride;
        wf_vf d = load(l.dy + at, l.n, full), v;
        if (mask)
            d = wf_vmaskz(get_mask(l.mask, l.pixels, p, l.two), d);
        if (training) {
            v = wf_vfma(l.slope, wf_vsub(load(l.x + at, l.n, full), l.mean), l.offset);
            v = wf_vfma(l.scale, d, v);
        } else {
            v = wf_vmul(l.scale, d);
        }
        if (dresidual)
            store_exact(l.dresidual + at, d, l.n, full);
        store(l.dx + at, v, l.n, full);
    }
}

WF_INLINE void dx_variant(const dx_lanes *l, bool training, bool full)
{
    if (l->dresidual && l->mask)
        dx_loop(l, training, true, true, full);
    else if (l->dresidual)
        dx_loop(l, training, false, true, full);
    else if (l->mask)
        dx_loop(l, training, true, false, full);
    else
        dx_loop(l, training, false, false, full);
}

void WF_ELEMENT_FN(wf_norm_backward_apply)(const wf_norm_dx *a);
void WF_ELEMENT_FN(wf_norm_backward_apply)(const wf_norm_dx *a)
{
    const wf_act act = a->act;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        wf_vf invstd = wf_vload_n((const float *)a->invstd + c, r.valid);
        wf_vf scale = wf_vmul(wf_vload_n((const float *)a->gamma + c, r.valid), invstd);
        dx_lanes l = {
            .dy = (const wf_element *)a->dy + r.offset,
            .mask = a->mask ? a->mask + c / 8 * pixels_of(act) : NULL,
            .dx = (wf_element *)a->dx + r.offset,
            .dresidual = a->dresidual ? (wf_element *)a->dresidual + r.offset : NULL,
            .stride = (size_t)act.block,
            .pixels = pixels_of(act),
            .n = r.n,
            .two = r.two_groups,
            .scale = scale,
        };
        if (!a->training) {
            dx_variant(&l, false, r.n == WF_LANES);
            continue;
        }
        wf_vf share = wf_vdiv(wf_vneg(scale), wf_vset1((float)a->count));
        wf_vf dgamma = wf_vload_n((const float *)a->dgamma + c, r.valid);
        l.x = (const wf_element *)a->x + r.offset;
        l.slope = wf_vmul(share, wf_vmul(invstd, dgamma));
        l.offset = wf_vmul(share, wf_vload_n((const float *)a->dbeta + c, r.valid));
        l.mean = wf_vload_n((const float *)a->mean + c, r.valid);
        if (r.n == WF_LANES)
            dx_variant(&l, true, true);
        else
            dx_variant(&l, true, false);
    }
}
