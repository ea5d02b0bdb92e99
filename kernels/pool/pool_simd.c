/* Pooling over blocked images, f32, one source for every vector ISA: a vector is the WF_LANES
 * channels of a pixel. The common windows are instantiated with constant sizes.
 * Letters: C channels, H W input, P Q output, R S window, cb channel block. */
#include <math.h>

#include "kernels/pool/pool_simd.h"

static wf_index_place index_of_block(const wf_pool *g, int cb)
{
    return (wf_index_place){(size_t)g->P * (size_t)g->Q * 8,
                            WF_LANES > 8 && cb * WF_LANES + 8 < g->in.C};
}

static int blocks_of(const wf_pool *g)
{
    return (g->in.C + WF_LANES - 1) / WF_LANES;
}
static int channels_of(const wf_pool *g, int cb)
{
    const int rest = g->in.C - cb * WF_LANES;
    return rest < WF_LANES ? rest : WF_LANES;
}
static size_t in_floats(const wf_pool *g) /* of one channel block */
{
    return (size_t)g->in.H * (size_t)g->in.W * WF_LANES;
}
static size_t out_floats(const wf_pool *g)
{
    return (size_t)g->P * (size_t)g->Q * WF_LANES;
}

/* ---- max ------------------------------------------------------------------------------------ */

/* One channel block: `lowest` is -infinity, but 0 in padding channels, which must stay 0 where a
 * dilated window lies wholly in the padding of the image. */
typedef struct max_block {
    const float *x;
    float *y;
    uint8_t *index; /* may be NULL */
    wf_index_place place;
    wf_vf lowest;
} max_block;

/* The maximum over rows [h.k0, h.k1) and columns [w.k0, w.k1) of a window of width S. */
WF_INLINE wf_vf max_window(const wf_pool *g, const max_block *b, wf_pool_span h, wf_pool_span w,
                           int S, bool want_index, wf_vi *index)
{
    wf_vf best = b->lowest;
    wf_vi best_k = wf_vi_set1(h.k0 * S + w.k0);
    for (int r = h.k0; r < h.k1; r++) {
        const int i = h.first + r * g->dilation[0];
        const float *row = b->x + ((ptrdiff_t)i * g->in.W + w.first) * WF_LANES;
        for (int s = w.k0; s < w.k1; s++) {
            wf_vf v = wf_vload(row + (ptrdiff_t)s * g->dilation[1] * WF_LANES);
            wf_vm better = wf_vm_or(wf_vgt(v, best), wf_visnan(v));
            best = wf_vblend(better, v, best);
            if (want_index)
                best_k = wf_vi_blend(better, wf_vi_set1(r * S + s), best_k);
        }
    }
    *index = best_k;
    return best;
}

WF_INLINE void max_rows(const wf_pool *geometry, const max_block *block, int R, int S,
                        bool want_index)
{
    const wf_pool g = *geometry; /* index bytes may alias anything but a local */
    const max_block b = *block;
    for (int p = 0; p < g.P; p++) {
        wf_pool_span h = wf_pool_max_span(&g, 0, p);
        for (int q = 0; q < g.Q; q++) {
            const size_t pixel = (size_t)p * (size_t)g.Q + (size_t)q;
            wf_pool_span w = wf_pool_max_span(&g, 1, q);
            wf_vi k;
            wf_vf best;
            if (h.k1 - h.k0 == R && w.k1 - w.k0 == S) { /* inside: constant trip counts */
                h.k0 = w.k0 = 0;
                h.k1 = R;
                w.k1 = S;
                best = max_window(&g, &b, h, w, S, want_index, &k);
            } else {
                best = max_window(&g, &b, h, w, S, want_index, &k);
            }
            wf_vstore(b.y + pixel * WF_LANES, best);
            if (want_index)
                wf_put_index(b.index + pixel * 8, b.place, k);
        }
    }
}

static void max_rows_any(const wf_pool *g, const max_block *b)
{
    if (b->index)
        max_rows(g, b, g->kernel[0], g->kernel[1], true);
    else
        max_rows(g, b, g->kernel[0], g->kernel[1], false);
}
/* 2x2 with stride 2 and no padding: windows do not meet. */
static bool is_2x2(const wf_pool *g)
{
    for (int d = 0; d < 2; d++)
        if (g->kernel[d] != 2 || g->stride[d] != 2 || g->padding[d] || g->dilation[d] != 1)
            return false;
    return g->P * 2 <= g->in.H && g->Q * 2 <= g->in.W; /* no window cut by ceil */
}

WF_INLINE void take(wf_vf v, int k, wf_vf *best, wf_vi *best_k)
{
    wf_vm better = wf_vm_or(wf_vgt(v, *best), wf_visnan(v));
    *best = wf_vblend(better, v, *best);
    *best_k = wf_vi_blend(better, wf_vi_set1(k), *best_k);
}

static void max_2x2(const wf_pool *g, const max_block *b)
{
    const size_t row = (size_t)g->in.W * WF_LANES;
    float *y = b->y;
    uint8_t *index = b->index;
    for (int p = 0; p < g->P; p++) {
        const float *top = b->x + (size_t)(2 * p) * row;
        for (int q = 0; q < g->Q; q++, top += 2 * WF_LANES, y += WF_LANES) {
            wf_vf best = wf_vload(top);
            wf_vi k = wf_vi_set1(0);
            take(wf_vload(top + WF_LANES), 1, &best, &k);
            take(wf_vload(top + row), 2, &best, &k);
            take(wf_vload(top + row + WF_LANES), 3, &best, &k);
            wf_vstore(y, best);
            if (index) {
                wf_put_index(index, b->place, k);
                index += 8;
            }
        }
    }
}

static void max_forward(const wf_pool *g, const void *vx, void *vy, void *vindex)
{
    const bool two = is_2x2(g), three = wf_pool_is_3x3(g);
    for (int cb = 0; cb < blocks_of(g); cb++) {
        const wf_index_place place = index_of_block(g, cb);
        const size_t group = place.apart * (size_t)(cb * (WF_LANES / 8));
        const max_block b = {
            .x = (const float *)vx + (size_t)cb * in_floats(g),
            .y = (float *)vy + (size_t)cb * out_floats(g),
            .index = vindex ? (uint8_t *)vindex + group : NULL,
            .place = place,
            .lowest = wf_vmaskz(wf_vm_first(channels_of(g, cb)), wf_vset1(-INFINITY)),
        };
        if (two)
            max_2x2(g, &b);
        else if (three)
            WF_ISA_FN(wf_pool_3x3_max_forward)(g, b.x, b.lowest, b.y, b.index, place);
        else
            max_rows_any(g, &b);
    }
}

static void zero(float *p, size_t floats)
{
    memset(p, 0, floats * sizeof *p);
}

/* Every input of a 2x2 window is written once; what no window covers is zeroed. */
static void max_2x2_backward(const wf_pool *g, const float *dy, const uint8_t *index,
                             wf_index_place place, float *dx)
{
    const size_t row = (size_t)g->in.W * WF_LANES, used = (size_t)g->Q * 2 * WF_LANES;
    for (int p = 0; p < g->P; p++) {
        float *top = dx + (size_t)(2 * p) * row;
        for (int q = 0; q < g->Q; q++, top += 2 * WF_LANES, dy += WF_LANES, index += 8) {
            wf_vf d = wf_vload(dy);
            wf_vi k = wf_get_index(index, place);
            wf_vstore(top, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(0)), d));
            wf_vstore(top + WF_LANES, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(1)), d));
            wf_vstore(top + row, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(2)), d));
            wf_vstore(top + row + WF_LANES, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(3)), d));
        }
        zero(top, row - used);
        zero(top + row, row - used);
    }
    zero(dx + (size_t)(2 * g->P) * row, (size_t)(g->in.H - 2 * g->P) * row);
}

/* Windows that meet: dx accumulates, in the order of the outputs. */
WF_INLINE void max_meeting_backward(const wf_pool *geometry, const float *dy, const uint8_t *index,
                                    wf_index_place place, float *dx, int S)
{
    const wf_pool g = *geometry; /* stores to dx may alias anything but a local */
    zero(dx, in_floats(&g));
    for (int p = 0; p < g.P; p++) {
        const wf_pool_span h = wf_pool_max_span(&g, 0, p);
        for (int q = 0; q < g.Q; q++, dy += WF_LANES, index += 8) {
            const wf_pool_span w = wf_pool_max_span(&g, 1, q);
            const wf_vf d = wf_vload(dy);
            const wf_vi k = wf_get_index(index, place);
            for (int r = h.k0; r < h.k1; r++) {
                const int i = h.first + r * g.dilation[0];
                float *row = dx + ((ptrdiff_t)i * g.in.W + w.first) * WF_LANES;
                for (int s = w.k0; s < w.k1; s++) {
                    float *at = row + (ptrdiff_t)s * g.dilation[1] * WF_LANES;
                    wf_vm here = wf_vi_eq(k, wf_vi_set1(r * S + s));
                    wf_vstore(at, wf_vadd(wf_vload(at), wf_vmaskz(here, d)));
                }
            }
        }
    }
}

static void max_backward(const wf_pool *g, const void *vdy, const void *vindex, void *vdx)
{
    const bool two = is_2x2(g);
    for (int cb = 0; cb < blocks_of(g); cb++) {
        const float *dy = (const float *)vdy + (size_t)cb * out_floats(g);
        float *dx = (float *)vdx + (size_t)cb * in_floats(g);
        const wf_index_place place = index_of_block(g, cb);
        const uint8_t *index =
            (const uint8_t *)vindex + place.apart * (size_t)(cb * (WF_LANES / 8));
        if (two)
            max_2x2_backward(g, dy, index, place, dx);
        else if (wf_pool_is_3x3(g))
            WF_ISA_FN(wf_pool_3x3_max_backward)(g, dy, index, place, dx);
        else
            max_meeting_backward(g, dy, index, place, dx, g->kernel[1]);
    }
}

/* ---- average -------------------------------------------------------------------------------- */

/* Four chains hide the latency of an addition; their order is part of the result. */
WF_INLINE wf_vf sum_row(const float *x, int n)
{
    wf_vf a = wf_vzero(), b = wf_vzero(), c = wf_vzero(), d = wf_vzero();
    int j = 0;
    for (; j + 4 <= n; j += 4, x += 4 * WF_LANES) {
        a = wf_vadd(a, wf_vload(x));
        b = wf_vadd(b, wf_vload(x + WF_LANES));
        c = wf_vadd(c, wf_vload(x + 2 * WF_LANES));
        d = wf_vadd(d, wf_vload(x + 3 * WF_LANES));
    }
    for (; j < n; j++, x += WF_LANES)
        a = wf_vadd(a, wf_vload(x));
    return wf_vadd(wf_vadd(a, b), wf_vadd(c, d));
}

/* One output over the whole image. */
static bool is_global(const wf_pool *g)
{
    const wf_pool_range h = wf_pool_avg_range(g, 0, 0), w = wf_pool_avg_range(g, 1, 0);
    return g->P == 1 && g->Q == 1 && h.end - h.begin == g->in.H && w.end - w.begin == g->in.W;
}

static wf_vf divisor(const wf_pool *g)
{
    return wf_vset1((float)wf_pool_avg_range(g, 0, 0).count *
                    (float)wf_pool_avg_range(g, 1, 0).count);
}

static void avg_forward(const wf_pool *g, const void *vx, void *vy)
{
    const size_t row = (size_t)g->in.W * WF_LANES;
    const bool global = is_global(g);
    float *y = vy;
    for (int cb = 0; cb < blocks_of(g); cb++) {
        const float *x = (const float *)vx + (size_t)cb * in_floats(g);
        if (global) {
            wf_vstore(y, wf_vdiv(sum_row(x, g->in.H * g->in.W), divisor(g)));
            y += WF_LANES;
            continue;
        }
        if (wf_pool_is_3x3(g)) {
            WF_ISA_FN(wf_pool_3x3_avg_forward)(g, x, y);
            y += out_floats(g);
            continue;
        }
        for (int p = 0; p < g->P; p++) {
            const wf_pool_range h = wf_pool_avg_range(g, 0, p);
            for (int q = 0; q < g->Q; q++, y += WF_LANES) {
                const wf_pool_range w = wf_pool_avg_range(g, 1, q);
                wf_vf sum = wf_vzero();
                for (int i = h.begin; i < h.end; i++)
                    sum = wf_vadd(sum, sum_row(x + (size_t)i * row + (size_t)w.begin * WF_LANES,
                                               w.end - w.begin));
                wf_vstore(y, wf_vdiv(sum, wf_vset1((float)h.count * (float)w.count)));
            }
        }
    }
}

static void avg_backward(const wf_pool *g, const void *vdy, void *vdx)
{
    const size_t row = (size_t)g->in.W * WF_LANES;
    const float *dy = vdy;
    const bool global = is_global(g);
    for (int cb = 0; cb < blocks_of(g); cb++) {
        float *dx = (float *)vdx + (size_t)cb * in_floats(g);
        if (global) {
            const wf_vf d = wf_vdiv(wf_vload(dy), divisor(g));
            for (float *end = dx + in_floats(g); dx < end; dx += WF_LANES)
                wf_vstore(dx, d);
            dy += WF_LANES;
            continue;
        }
        if (wf_pool_is_3x3(g)) {
            WF_ISA_FN(wf_pool_3x3_avg_backward)(g, dy, dx);
            dy += out_floats(g);
            continue;
        }
        zero(dx, in_floats(g));
        for (int p = 0; p < g->P; p++) {
            const wf_pool_range h = wf_pool_avg_range(g, 0, p);
            for (int q = 0; q < g->Q; q++, dy += WF_LANES) {
                const wf_pool_range w = wf_pool_avg_range(g, 1, q);
                wf_vf d = wf_vdiv(wf_vload(dy), wf_vset1((float)h.count * (float)w.count));
                for (int i = h.begin; i < h.end; i++)
                    for (int j = w.begin; j < w.end; j++) {
                        float *at = dx + (size_t)i * row + (size_t)j * WF_LANES;
                        wf_vstore(at, wf_vadd(wf_vload(at), d));
                    }
            }
        }
    }
}

extern const wf_pool_fns WF_ISA_FN(wf_pool_fns);
const wf_pool_fns WF_ISA_FN(wf_pool_fns) = {.name = WF_ISA_NAME,
                                            .isa = WF_ISA,
                                            .dtype = WEFT_F32,
                                            .lanes = WF_LANES,
                                            .max_forward = max_forward,
                                            .max_backward = max_backward,
                                            .avg_forward = avg_forward,
                                            .avg_backward = avg_backward};
