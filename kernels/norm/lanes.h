/* What the vector kernels of batch normalisation share: the vectors of an image, masks, sums, f.
 * For norm_simd.c and norm_backward.c only.
 *
 * Channels go by vectors of WF_LANES; only a row range whose C is no multiple of it has a vector
 * with fewer lanes, and those loops are instantiated apart (full = false).
 * Letters: c first channel of the vector, n its lanes, p pixel, `stride` elements between pixels. */
#ifndef WF_KERNELS_NORM_LANES_H
#define WF_KERNELS_NORM_LANES_H

#include "kernels/simd/element.h"

#include "kernels/eltwise/activation_lanes.h"
#include "kernels/norm/norm.h"

/* ---- the vectors of an image ---------------------------------------------------------------- */

typedef struct lane_range {
    int c, n;        /* first channel; lanes with storage (WF_LANES unless the row ends before) */
    int valid;       /* lanes with a channel: the rest is padding */
    size_t offset;   /* of pixel 0 in the image */
    bool two_groups; /* the mask has a second byte (16 lanes only) */
} lane_range;

static inline int64_t pixels_of(wf_act act)
{
    return (int64_t)act.H * act.W;
}

/* The vector that starts at channel c, or false past the end. */
static inline bool lanes_at(wf_act act, int c, lane_range *r)
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

WF_INLINE wf_vf load(const wf_element *p, int n, bool full)
{
    return full ? wf_eload(p) : wf_eload_n(p, n);
}
WF_INLINE void store(wf_element *p, wf_vf v, int n, bool full)
{
    if (full)
        wf_estore(p, v);
    else
        wf_estore_n(p, v, n);
}
/* Of what is an element already. */
WF_INLINE void store_exact(wf_element *p, wf_vf v, int n, bool full)
{
    if (full)
        wf_estore_exact(p, v);
    else
        wf_estore_exact_n(p, v, n);
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

/* ---- sums ----------------------------------------------------------------------------------- */

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

/* ---- f: constant in every loop -------------------------------------------------------------- */

WF_INLINE wf_vf f_value(wf_norm_f f, wf_vf z)
{
    switch (f) {
    case WF_NORM_RELU: return wf_vmax(wf_vzero(), z); /* z second: NaN stays */
    case WF_NORM_RELU6: return wf_lane_relu6_value(z, z, z);
    case WF_NORM_SILU: return wf_lane_silu_value(z, z, z);
    case WF_NORM_HARDSWISH: return wf_lane_hardswish_value(z, z, z);
    default: return z;
    }
}
/* Where f' is 1, of y = f(z); RELU (there NaN is) and RELU6. */
WF_INLINE wf_vm f_open(wf_norm_f f, wf_vf y)
{
    if (f == WF_NORM_RELU6)
        return wf_vm_and(wf_vgt(y, wf_vzero()), wf_vgt(wf_vset1(6.0f), y));
    return wf_vnle(y, wf_vzero());
}
/* dy f'(z); those that recompute. */
WF_INLINE wf_vf f_gradient(wf_norm_f f, wf_vf z, wf_vf dy)
{
    return wf_lane_gradient(
        f == WF_NORM_SILU ? wf_lane_silu_slope(z, z, z) : wf_lane_hardswish_slope(z, z, z), dy);
}

#endif
