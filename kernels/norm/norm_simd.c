/* Batch normalisation over blocked images and ranges of rows, f32, one source for every vector
 * ISA. Channels go by vectors of WF_LANES; only a row range whose C is no multiple of it has a
 * vector with fewer lanes, and those loops are instantiated apart (full = false).
 * Letters: c first channel of the vector, n its lanes, p pixel, `stride` floats between pixels. */
#include "kernels/norm/norm.h"
#include "kernels/simd/simd.h"

/* ---- the vectors of an image ---------------------------------------------------------------- */

typedef struct lane_range {
    int c, n;        /* first channel; lanes with storage (WF_LANES unless the row ends before) */
    int valid;       /* lanes with a channel: the rest is padding */
    size_t offset;   /* of pixel 0 in the image */
    bool two_groups; /* the mask has a second byte (16 lanes only) */
} lane_range;

static int64_t pixels_of(wf_act act)
{
    return (int64_t)act.H * act.W;
}

/* The vector that starts at channel c, or false past the end. */
static bool lanes_at(wf_act act, int c, lane_range *r)
{
    const int end = wf_round_up(act.C, act.block);
    if (c >= end)
        return false;
    r->c = c;
    r->n = end - c < WF_LANES ? end - c : WF_LANES;
    r->valid = act.C - c < WF_LANES ? act.C - c : WF_LANES;
    r->offset =
        (size_t)(c / act.block) * (size_t)(pixels_of(act) * act.block) + (size_t)(c % act.block);
    r->two_groups = WF_LANES > 8 && c + 8 < act.C;
    return true;
}

WF_INLINE wf_vf load(const float *p, int n, bool full)
{
    return full ? wf_vload(p) : wf_vload_n(p, n);
}
WF_INLINE void store(float *p, wf_vf v, int n, bool full)
{
    if (full)
        wf_vstore(p, v);
    else
        wf_vstore_n(p, v, n);
}

/* Masks are stored by groups of eight: see Note [Groups of eight]. `m` is the first group's. */
WF_INLINE void put_mask(uint8_t *m, int64_t pixels, int64_t p, bool two, wf_vm mask)
{
    unsigned bits = wf_vm_bits(mask);
    m[p] = (uint8_t)bits;
    if (two)
        m[pixels + p] = (uint8_t)(bits >> 8);
}
/* Of four pixels at once: a byte store beside every vector store halves the loop's speed. */
WF_INLINE void put_masks(uint8_t *m, int64_t pixels, int64_t p, bool two, const unsigned bits[4])
{
    uint32_t low = 0, high = 0;
    for (int k = 0; k < 4; k++) { /* little-endian: pixel p is the lowest byte */
        low |= (bits[k] & 0xff) << (8 * k);
        high |= bits[k] >> 8 << (8 * k);
    }
    memcpy(m + p, &low, sizeof low);
    if (two)
        memcpy(m + pixels + p, &high, sizeof high);
}
WF_INLINE wf_vm get_mask(const uint8_t *m, int64_t pixels, int64_t p, bool two)
{
    return wf_vm_from_bits(two ? m[p] | (unsigned)m[pixels + p] << 8 : m[p]);
}

/* ---- statistics ----------------------------------------------------------------------------- */

typedef struct moments {
    wf_vd mean, m2;
} moments;

/* Four chains hide the latency of an addition; their order is part of the result. */
typedef struct chains {
    wf_vf a, b, c, d;
} chains;
WF_INLINE chains chains_zero(void)
{
    return (chains){wf_vzero(), wf_vzero(), wf_vzero(), wf_vzero()};
}
WF_INLINE wf_vf chains_sum(const chains *s)
{
    return wf_vadd(wf_vadd(s->a, s->b), wf_vadd(s->c, s->d));
}

WF_INLINE wf_vf add_square(wf_vf sum, wf_vf x, wf_vf mean)
{
    wf_vf d = wf_vsub(x, mean);
    return wf_vfma(d, d, sum);
}

/* At most WF_NORM_LEAF pixels, two passes in float. */
WF_INLINE moments stats_leaf(const float *x, size_t stride, int pixels, int n, bool full)
{
    chains sum = chains_zero(), m2 = chains_zero();
    const float *at = x;
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

/* The leaves' pairwise merge, in double (the formulas are those of wf_norm_combine_stats). */
static moments stats_tree(const float *x, size_t stride, int64_t pixels, int n)
{
    if (pixels <= WF_NORM_LEAF)
        return n == WF_LANES ? stats_leaf(x, stride, (int)pixels, WF_LANES, true)
                             : stats_leaf(x, stride, (int)pixels, n, false);
    const int64_t leaves = (pixels + WF_NORM_LEAF - 1) / WF_NORM_LEAF;
    const int64_t left = (leaves + 1) / 2 * WF_NORM_LEAF;
    moments a = stats_tree(x, stride, left, n);
    moments b = stats_tree(x + (size_t)left * stride, stride, pixels - left, n);
    const double share = (double)(pixels - left) / (double)pixels;
    wf_vd delta = wf_vd_sub(b.mean, a.mean);
    a.mean = wf_vd_fma(delta, wf_vd_set1(share), a.mean);
    wf_vd between = wf_vd_mul(wf_vd_mul(delta, delta), wf_vd_set1((double)left * share));
    a.m2 = wf_vd_add(a.m2, wf_vd_add(b.m2, between));
    return a;
}

static void stats(wf_act act, const void *image, double *slot)
{
    const size_t half = wf_norm_slot_count(act.C) / 2;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        const float *x = (const float *)image + r.offset;
        moments m = stats_tree(x, (size_t)act.block, pixels_of(act), r.n);
        wf_vd_store(slot + c, m.mean); /* slots are padded */
        wf_vd_store(slot + half + c, m.m2);
    }
}

/* ---- apply ---------------------------------------------------------------------------------- */

typedef struct apply_lanes {
    const float *x, *residual;
    float *y;
    uint8_t *mask;
    size_t stride;
    int64_t pixels;
    int n;
    bool two;
    wf_vf scale, shift;
} apply_lanes;

WF_INLINE wf_vf apply_pixel(const apply_lanes *l, int64_t p, bool residual, bool relu, bool full)
{
    const size_t at = (size_t)p * l->stride;
    wf_vf v = wf_vfma(load(l->x + at, l->n, full), l->scale, l->shift);
    if (residual)
        v = wf_vadd(v, load(l->residual + at, l->n, full));
    if (relu)
        v = wf_vmax(wf_vzero(), v); /* v second: NaN stays */
    store(l->y + at, v, l->n, full);
    return v;
}

WF_INLINE void apply_loop(const apply_lanes *lanes, bool residual, bool relu, bool mask, bool full)
{
    const apply_lanes l = *lanes; /* a mask byte may alias anything but a local */
    const wf_vf zero = wf_vzero();
    int64_t p = 0;
    for (; mask && full && p + 4 <= l.pixels; p += 4) {
        const unsigned bits[4] = {
            wf_vm_bits(wf_vgt(apply_pixel(&l, p, residual, relu, full), zero)),
            wf_vm_bits(wf_vgt(apply_pixel(&l, p + 1, residual, relu, full), zero)),
            wf_vm_bits(wf_vgt(apply_pixel(&l, p + 2, residual, relu, full), zero)),
            wf_vm_bits(wf_vgt(apply_pixel(&l, p + 3, residual, relu, full), zero)),
        };
        put_masks(l.mask, l.pixels, p, l.two, bits);
    }
    for (; p < l.pixels; p++) {
        wf_vf v = apply_pixel(&l, p, residual, relu, full);
        if (mask)
            put_mask(l.mask, l.pixels, p, l.two, wf_vgt(v, zero));
    }
}

WF_INLINE void apply_variant(const apply_lanes *l, bool relu, bool full)
{
    if (l->residual && l->mask)
        apply_loop(l, true, relu, true, full);
    else if (l->residual)
        apply_loop(l, true, relu, false, full);
    else if (l->mask)
        apply_loop(l, false, relu, true, full);
    else
        apply_loop(l, false, relu, false, full);
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
            .x = (const float *)a->x + r.offset,
            .residual = a->residual ? (const float *)a->residual + r.offset : NULL,
            .y = (float *)a->y + r.offset,
            .mask = a->mask ? a->mask + c / 8 * pixels_of(act) : NULL,
            .stride = (size_t)act.block,
            .pixels = pixels_of(act),
            .n = r.n,
            .two = r.two_groups,
            .scale = scale,
            .shift = wf_vfnma(mean, scale, beta),
        };
        if (r.n < WF_LANES)
            apply_variant(&l, a->relu, false);
        else if (a->relu)
            apply_variant(&l, true, true);
        else
            apply_variant(&l, false, true);
    }
}

/* ---- backward: sums ------------------------------------------------------------------------- */

typedef struct reduce_lanes {
    const float *x, *dy;
    const uint8_t *mask;
    size_t stride;
    int64_t pixels;
    int n;
    bool two;
    wf_vf mean;
} reduce_lanes;

WF_INLINE void reduce_pixel(const reduce_lanes *l, int64_t p, wf_vf *sum, wf_vf *dot, bool mask,
                            bool full)
{
    const size_t at = (size_t)p * l->stride;
    wf_vf d = load(l->dy + at, l->n, full);
    if (mask)
        d = wf_vmaskz(get_mask(l->mask, l->pixels, p, l->two), d);
    *sum = wf_vadd(*sum, d);
    *dot = wf_vfma(d, wf_vsub(load(l->x + at, l->n, full), l->mean), *dot);
}

/* Leaves in float, added up in double in their order. */
WF_INLINE void reduce_loop(const reduce_lanes *l, double *sums, double *dots, bool mask, bool full)
{
    wf_vd all_sum = wf_vd_set1(0), all_dot = wf_vd_set1(0);
    for (int64_t first = 0; first < l->pixels; first += WF_NORM_LEAF) {
        int64_t end = first + WF_NORM_LEAF < l->pixels ? first + WF_NORM_LEAF : l->pixels;
        chains sum = chains_zero(), dot = chains_zero();
        int64_t p = first;
        for (; p + 4 <= end; p += 4) {
            reduce_pixel(l, p, &sum.a, &dot.a, mask, full);
            reduce_pixel(l, p + 1, &sum.b, &dot.b, mask, full);
            reduce_pixel(l, p + 2, &sum.c, &dot.c, mask, full);
            reduce_pixel(l, p + 3, &sum.d, &dot.d, mask, full);
        }
        for (; p < end; p++)
            reduce_pixel(l, p, &sum.a, &dot.a, mask, full);
        all_sum = wf_vd_add(all_sum, wf_vd_from(chains_sum(&sum)));
        all_dot = wf_vd_add(all_dot, wf_vd_from(chains_sum(&dot)));
    }
    wf_vd_store(sums, all_sum);
    wf_vd_store(dots, all_dot);
}

static void backward_reduce(const wf_norm_reduce *a)
{
    const wf_act act = a->act;
    double *sums = a->slot, *dots = a->slot + wf_norm_slot_count(act.C) / 2;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        const reduce_lanes l = {
            .x = (const float *)a->x + r.offset,
            .dy = (const float *)a->dy + r.offset,
            .mask = a->mask ? a->mask + c / 8 * pixels_of(act) : NULL,
            .stride = (size_t)act.block,
            .pixels = pixels_of(act),
            .n = r.n,
            .two = r.two_groups,
            .mean = wf_vload_n((const float *)a->mean + c, r.valid),
        };
        if (r.n < WF_LANES)
            reduce_loop(&l, sums + c, dots + c, a->mask != NULL, false);
        else if (a->mask)
            reduce_loop(&l, sums + c, dots + c, true, true);
        else
            reduce_loop(&l, sums + c, dots + c, false, true);
    }
}

/* ---- backward: dx --------------------------------------------------------------------------- */

typedef struct dx_lanes {
    const float *x, *dy;
    const uint8_t *mask;
    float *dx, *dresidual;
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
            store(l.dresidual + at, d, l.n, full);
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

static void backward_apply(const wf_norm_dx *a)
{
    const wf_act act = a->act;
    lane_range r;
    for (int c = 0; lanes_at(act, c, &r); c += WF_LANES) {
        wf_vf invstd = wf_vload_n((const float *)a->invstd + c, r.valid);
        wf_vf scale = wf_vmul(wf_vload_n((const float *)a->gamma + c, r.valid), invstd);
        dx_lanes l = {
            .dy = (const float *)a->dy + r.offset,
            .mask = a->mask ? a->mask + c / 8 * pixels_of(act) : NULL,
            .dx = (float *)a->dx + r.offset,
            .dresidual = a->dresidual ? (float *)a->dresidual + r.offset : NULL,
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
        l.x = (const float *)a->x + r.offset;
        l.slope = wf_vmul(share, wf_vmul(invstd, dgamma));
        l.offset = wf_vmul(share, wf_vload_n((const float *)a->dbeta + c, r.valid));
        l.mean = wf_vload_n((const float *)a->mean + c, r.valid);
        if (r.n == WF_LANES)
            dx_variant(&l, true, true);
        else
            dx_variant(&l, true, false);
    }
}

extern const wf_norm_fns WF_ISA_FN(wf_norm_fns);
const wf_norm_fns WF_ISA_FN(wf_norm_fns) = {.name = WF_ISA_NAME,
                                            .isa = WF_ISA,
                                            .dtype = WEFT_F32,
                                            .lanes = WF_LANES,
                                            .stats = stats,
                                            .apply = apply,
                                            .backward_reduce = backward_reduce,
                                            .backward_apply = backward_apply};
