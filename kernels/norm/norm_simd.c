/* Batch normalisation over blocked images and ranges of rows, f32 and bf16 (Note [Elements] in
 * element.h), one source for every vector ISA: statistics and apply. The backward pass is in
 * norm_backward.c. Letters as in lanes.h. */
#include "kernels/norm/lanes.h"

/* ---- statistics ----------------------------------------------------------------------------- */

typedef struct moments {
    wf_vd mean, m2;
} moments;

WF_INLINE wf_vf add_square(wf_vf sum, wf_vf x, wf_vf mean)
{
    wf_vf d = wf_vsub(x, mean);
    return wf_vfma(d, d, sum);
}

/* At most WF_NORM_RANGE pixels, two passes in float. */
WF_INLINE moments stats_range(const wf_element *x, size_t stride, int pixels, int n, bool full)
{
    chains sum = chains_zero(), m2 = chains_zero();
    const wf_element *at = x;
    int p = 0;
    for (; p + 4 <= pixels; p += 4, at += 4 * stride) {
        sum.a = wf_vadd(sum.a, load(at, n, full));
        sum.b = wf_vadd(sum.b, load(at + stride, n, full));
        sum.c = wf_vadd(sum.c, load(at + 2 * stride, n, full));
        sum.d = wf_vadd(sum.d, load(at + 3 * stride, n, full));
    }
    for (; p < pixels; p++, at += stride)
        sum.a = wf_vadd(sum.a, load(at, n, full));
    const wf_vf mean = wf_vdiv(chains_sum(&sum), wf_vset1((float)pixels));

    for (p = 0, at = x; p + 4 <= pixels; p += 4, at += 4 * stride) {
        m2.a = add_square(m2.a, load(at, n, full), mean);
        m2.b = add_square(m2.b, load(at + stride, n, full), mean);
        m2.c = add_square(m2.c, load(at + 2 * stride, n, full), mean);
        m2.d = add_square(m2.d, load(at + 3 * stride, n, full), mean);
    }
    for (; p < pixels; p++, at += stride)
        m2.a = add_square(m2.a, load(at, n, full), mean);
    return (moments){wf_vd_from(mean), wf_vd_from(chains_sum(&m2))};
}

/* The ranges' pairwise merge, in double (the formulas are those of wf_norm_combine_stats). */
static moments stats_tree(const wf_element *x, size_t stride, int64_t pixels, int n)
{
    if (pixels <= WF_NORM_RANGE)
        return n == WF_LANES ? stats_range(x, stride, (int)pixels, WF_LANES, true)
                             : stats_range(x, stride, (int)pixels, n, false);
    const int64_t ranges = (pixels + WF_NORM_RANGE - 1) / WF_NORM_RANGE;
    const int64_t left = (ranges + 1) / 2 * WF_NORM_RANGE;
    moments a = stats_tree(x, stride, left, n);
    moments b = stats_tree(x + (size_t)left * stride, stride, pixels - left, n);
    const double share = (double)(pixels - left) / (double)pixels;
    wf_vd delta = wf_vd_sub(b.mean, a.mean);
    a.mean = wf_vd_fma(delta, wf_vd_set1(share), a.mean);
    wf_vd between = wf_vd_mul(wf_vd_mul(delta, delta), wf_vd_set1((double)left * share));
    a.m2 = wf_vd_add(a.m2, wf_vd_add(b.m2, between));
    return a;
}

static void stats(wf_act act, const void *image, double *partial)
{
    const size_t half = wf_norm_partial_count(act.C) / 2;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        const wf_element *x = (const wf_element *)image + r.offset;
        moments m = stats_tree(x, (size_t)act.block, pixels_of(act), r.n);
        wf_vd_store(partial + c, m.mean); /* partial sums are padded */
        wf_vd_store(partial + half + c, m.m2);
    }
}

/* ---- apply ---------------------------------------------------------------------------------- */

typedef struct apply_lanes {
    const wf_element *x, *residual;
    wf_element *y;
    uint8_t *mask;
    size_t stride;
    int64_t pixels;
    int n;
    bool two;
    wf_vf scale, shift;
} apply_lanes;

WF_INLINE wf_vf apply_pixel(const apply_lanes *l, int64_t p, bool residual, wf_norm_f f, bool full)
{
    const size_t at = (size_t)p * l->stride;
    wf_vf v = wf_vfma(load(l->x + at, l->n, full), l->scale, l->shift);
    v = wf_eround(v); /* where the ops that this one stands for store: the same bits */
    if (residual)
        v = wf_eround(wf_vadd(v, load(l->residual + at, l->n, full)));
    v = f_value(f, v);
    if (f == WF_NORM_SILU || f == WF_NORM_HARDSWISH)
        store(l->y + at, v, l->n, full);
    else
        store_exact(l->y + at, v, l->n, full);
    return v;
}

WF_INLINE void apply_loop(const apply_lanes *lanes, bool residual, wf_norm_f f, bool mask,
                          bool full)
{
    const apply_lanes l = *lanes; /* a mask byte may alias anything but a local */
    int64_t p = 0;
    for (; mask && full && p + 4 <= l.pixels; p += 4) {
        const unsigned bits[4] = {
            wf_vm_bits(f_open(f, apply_pixel(&l, p, residual, f, full))),
            wf_vm_bits(f_open(f, apply_pixel(&l, p + 1, residual, f, full))),
            wf_vm_bits(f_open(f, apply_pixel(&l, p + 2, residual, f, full))),
            wf_vm_bits(f_open(f, apply_pixel(&l, p + 3, residual, f, full))),
        };
        put_masks(l.mask, l.pixels, p, l.two, bits);
    }
    for (; p < l.pixels; p++) {
        wf_vf v = apply_pixel(&l, p, residual, f, full);
        if (mask)
            put_mask(l.mask, l.pixels, p, l.two, f_open(f, v));
    }
}

WF_INLINE void apply_variant(const apply_lanes *l, wf_norm_f f, bool full)
{
    if (l->residual && l->mask)
        apply_loop(l, true, f, true, full);
    else if (l->residual)
        apply_loop(l, true, f, false, full);
    else if (l->mask)
        apply_loop(l, false, f, true, full);
    else
        apply_loop(l, false, f, false, full);
}

WF_INLINE void apply_f(const apply_lanes *l, wf_norm_f f, bool full)
{
    switch (f) {
    case WF_NORM_RELU: apply_variant(l, WF_NORM_RELU, full); break;
    case WF_NORM_RELU6: apply_variant(l, WF_NORM_RELU6, full); break;
    case WF_NORM_SILU: apply_loop(l, false, WF_NORM_SILU, false, full); break;
    case WF_NORM_HARDSWISH: apply_loop(l, false, WF_NORM_HARDSWISH, false, full); break;
    default: apply_variant(l, WF_NORM_LINEAR, full); break;
    }
}

static void apply(const wf_norm_apply *a)
{
    const wf_act act = a->act;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        wf_vf gamma = wf_vload_n((const float *)a->gamma + c, r.valid);
        wf_vf scale = wf_vmul(gamma, wf_vload_n((const float *)a->invstd + c, r.valid));
        wf_vf mean = wf_vload_n((const float *)a->mean + c, r.valid);
        wf_vf beta = wf_vload_n((const float *)a->beta + c, r.valid);
        const apply_lanes l = {
            .x = (const wf_element *)a->x + r.offset,
            .residual = a->residual ? (const wf_element *)a->residual + r.offset : NULL,
            .y = (wf_element *)a->y + r.offset,
            .mask = a->mask ? a->mask + c / 8 * pixels_of(act) : NULL,
            .stride = (size_t)act.block,
            .pixels = pixels_of(act),
            .n = r.n,
            .two = r.two_groups,
            .scale = scale,
            .shift = wf_vfnma(mean, scale, beta),
        };
        if (r.n < WF_LANES)
            apply_f(&l, a->f, false);
        else
            apply_f(&l, a->f, true);
    }
}

void WF_ELEMENT_FN(wf_norm_backward_reduce)(const wf_norm_reduce *a); /* norm_backward.c */
void WF_ELEMENT_FN(wf_norm_backward_apply)(const wf_norm_dx *a);

extern const wf_norm_fns WF_ELEMENT_FN(wf_norm_fns);
const wf_norm_fns WF_ELEMENT_FN(wf_norm_fns) = {
    .name = WF_ISA_NAME ":" WF_ELEMENT_NAME,
    .isa = WF_ISA,
    .dtype = WF_ELEMENT_DTYPE,
    .lanes = WF_LANES,
    .stats = stats,
    .apply = apply,
    .backward_reduce = WF_ELEMENT_FN(wf_norm_backward_reduce),
    .backward_apply = WF_ELEMENT_FN(wf_norm_backward_apply)};
