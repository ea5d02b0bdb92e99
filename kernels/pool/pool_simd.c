/* Pooling over blocked images of f32 and bf16 (Note [Elements] in element.h), one source for every vector
 * ISA: a vector is the WF_LANES channels of a pixel. The common windows are instantiated with constant sizes.
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
static size_t in_elements(const wf_pool *g) /* of one channel block */
{
    return (size_t)g->in.H * (size_t)g->in.W * WF_LANES;
}
static size_t out_elements(const wf_pool *g)
{
    return (size_t)g->P * (size_t)g->Q * WF_LANES;
}

/* ---- max ------------------------------------------------------------------------------------ */

/* One channel block: `lowest` is -infinity, but 0 in padding channels, which must stay 0 where a
 * dilated window lies wholly in the padding of the image. */
typedef struct max_block {
    const wf_element *x;
    wf_element *y;
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
        const wf_element *row = b->x + ((ptrdiff_t)i * g->in.W + w.first) * WF_LANES;
        for (int s = w.k0; s < w.k1; s++) {
            wf_vf v = wf_eload(row + (ptrdiff_t)s * g->dilation[1] * WF_LANES);
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
            wf_estore_exact(b.y + pixel * WF_LANES, best);
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
    wf_element *y = b->y;
    uint8_t *index = b->index;
    for (int p = 0; p < g->P; p++) {
        const wf_element *top = b->x + (size_t)(2 * p) * row;
        for (int q = 0; q < g->Q; q++, top += 2 * WF_LANES, y += WF_LANES) {
            wf_vf best = wf_eload(top);
            wf_vi k = wf_vi_set1(0);
            take(wf_eload(top + WF_LANES), 1, &best, &k);
            take(wf_eload(top + row), 2, &best, &k);
            take(wf_eload(top + row + WF_LANES), 3, &best, &k);
            wf_estore_exact(y, best);
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
            .x = (const wf_element *)vx + (size_t)cb * in_elements(g),
            .y = (wf_element *)vy + (size_t)cb * out_elements(g),
            .index = vindex ? (uint8_t *)vindex + group : NULL,
            .place = place,
            .lowest = wf_vmaskz(wf_vm_first(channels_of(g, cb)), wf_vset1(-INFINITY)),
        };
        if (two)
            max_2x2(g, &b);
        else if (three)
            WF_ELEMENT_FN(wf_pool_3x3_max_forward)(g, b.x, b.lowest, b.y, b.index, place);
        else
            max_rows_any(g, &b);
    }
}

static void zero(wf_element *p, size_t n)
{
    memset(p, 0, n * sizeof *p);
}

/* Every input of a 2x2 window is written once; what no window covers is zeroed. */
static void max_2x2_backward(const wf_pool *g, const wf_element *dy, const uint8_t *index,
                             wf_index_place place, wf_element *dx)
{
    const size_t row = (size_t)g->in.W * WF_LANES, used = (size_t)g->Q * 2 * WF_LANES;
    for (int p = 0; p < g->P; p++) {
        wf_element *top = dx + (size_t)(2 * p) * row;
        for (int q = 0; q < g->Q; q++, top += 2 * WF_LANES, dy += WF_LANES, index += 8) {
            wf_vf d = wf_eload(dy);
            wf_vi k = wf_get_index(index, place);
            wf_estore_exact(top, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(0)), d));
            wf_estore_exact(top + WF_LANES, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(1)), d));
            wf_estore_exact(top + row, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(2)), d));
            wf_estore_exact(top + row + WF_LANES, wf_vmaskz(wf_vi_eq(k, wf_vi_set1(3)), d));
        }
        zero(top, row - used);
        zero(top + row, row - used);
    }
    zero(dx + (size_t)(2 * g->P) * row, (size_t)(g->in.H - 2 * g->P) * row);
}

/* ---- windows that meet ---------------------------------------------------------------------- */

/* A row of dx is added up in vectors of float, MEETING_PIXELS of it at a time, and stored once. */
enum { MEETING_PIXELS = 64 };

/* What the windows of output row p give to pixels [j0, j1) of row i of dx. */
WF_INLINE void max_row_gives(const wf_pool *g, const wf_element *dy, const uint8_t *index,
                             wf_index_place place, int p, int i, int j0, int j1, wf_vf *sums)
{
    const wf_pool_span h = wf_pool_max_span(g, 0, p);
    const int r = (i - h.first) / g->dilation[0], S = g->kernel[1], step = g->dilation[1];
    const int end = wf_pool_outputs_over(g, 1, j1 - 1).end;
    if ((i - h.first) % g->dilation[0] != 0)
        return;
    for (int q = wf_pool_outputs_over(g, 1, j0).begin; q < end; q++) {
        const size_t pixel = (size_t)p * (size_t)g->Q + (size_t)q;
        const wf_vf d = wf_eload(dy + pixel * WF_LANES);
        const wf_vi k = wf_get_index(index + pixel * 8, place);
        const int first = q * g->stride[1] - g->padding[1];
        int s = 0, s_end = S;
        while (first + s * step < j0)
            s++;
        while (first + (s_end - 1) * step >= j1)
            s_end--;
        for (int at = first + s * step - j0; s < s_end; s++, at += step) {
            const wf_vm here = wf_vi_eq(k, wf_vi_set1(r * S + s));
            sums[at] = wf_vadd(sums[at], wf_vmaskz(here, d));
        }
    }
}

WF_INLINE void avg_row_gives(const wf_pool *g, const wf_element *dy, int p, int j0, int j1,
                             wf_vf *sums)
{
    const wf_pool_range h = wf_pool_avg_range(g, 0, p);
    const int end = wf_pool_outputs_over(g, 1, j1 - 1).end;
    for (int q = wf_pool_outputs_over(g, 1, j0).begin; q < end; q++) {
        const wf_pool_range w = wf_pool_avg_range(g, 1, q);
        const wf_vf d = wf_vdiv(wf_eload(dy + ((size_t)p * (size_t)g->Q + (size_t)q) * WF_LANES),
                                wf_vset1((float)h.count * (float)w.count));
        const int last = w.end < j1 ? w.end : j1;
        for (int j = w.begin > j0 ? w.begin : j0; j < last; j++)
            sums[j - j0] = wf_vadd(sums[j - j0], d);
    }
}

/* One channel block. index: NULL for average. */
WF_INLINE void meeting_backward(const bool MAX, const wf_pool *geometry, const wf_element *dy,
                                const uint8_t *index, wf_index_place place, wf_element *dx)
{
    const wf_pool g = *geometry; /* stores to dx may alias anything but a local */
    wf_vf sums[MEETING_PIXELS];
    for (int i = 0; i < g.in.H; i++) {
        const wf_pool_range rows = wf_pool_outputs_over(&g, 0, i);
        for (int j0 = 0; j0 < g.in.W; j0 += MEETING_PIXELS) {
            const int j1 = j0 + MEETING_PIXELS < g.in.W ? j0 + MEETING_PIXELS : g.in.W;
            for (int j = j0; j < j1; j++)
                sums[j - j0] = wf_vzero();
            for (int p = rows.begin; p < rows.end; p++)
                if (MAX)
                    max_row_gives(&g, dy, index, place, p, i, j0, j1, sums);
                else
                    avg_row_gives(&g, dy, p, j0, j1, sums);
            for (int j = j0; j < j1; j++, dx += WF_LANES)
                wf_estore(dx, sums[j - j0]);
        }
    }
}

static void max_backward(const wf_pool *g, const void *vdy, const void *vindex, void *vdx)
{
    const bool two = is_2x2(g);
    for (int cb = 0; cb < blocks_of(g); cb++) {
        const wf_element *dy = (const wf_element *)vdy + (size_t)cb * out_elements(g);
        wf_element *dx = (wf_element *)vdx + (size_t)cb * in_elements(g);
        const wf_index_place place = index_of_block(g, cb);
        const uint8_t *index =
            (const uint8_t *)vindex + place.apart * (size_t)(cb * (WF_LANES / 8));
        if (two)
            max_2x2_backward(g, dy, index, place, dx);
        else if (wf_pool_is_3x3(g))
            WF_ELEMENT_FN(wf_pool_3x3_max_backward)(g, dy, index, place, dx);
        else
            meeting_backward(true, g, dy, index, place, dx);
    }
}

/* ---- average -------------------------------------------------------------------------------- */

/* Four chains hide the latency of an addition; their order is part of the result. */
WF_INLINE wf_vf sum_row(const wf_element *x, int n)
{
    wf_vf a = wf_vzero(), b = wf_vzero(), c = wf_vzero(), d = wf_vzero();
    int j = 0;
    for (; j + 4 <= n; j += 4, x += 4 * WF_LANES) {
        a = wf_vadd(a, wf_eload(x));
        b = wf_vadd(b, wf_eload(x + WF_LANES));
        c = wf_vadd(c, wf_eload(x + 2 * WF_LANES));
        d = wf_vadd(d, wf_eload(x + 3 * WF_LANES));
    }
    for (; j < n; j++, x += WF_LANES)
        a = wf_vadd(a, wf_eload(x));
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
    wf_element *y = vy;
    for (int cb = 0; cb < blocks_of(g); cb++) {
        const wf_element *x = (const wf_element *)vx + (size_t)cb * in_elements(g);
        if (global) {
            wf_estore(y, wf_vdiv(sum_row(x, g->in.H * g->in.W), divisor(g)));
            y += WF_LANES;
            continue;
        }
        if (wf_pool_is_3x3(g)) {
            WF_ELEMENT_FN(wf_pool_3x3_avg_forward)(g, x, y);
            y += out_elements(g);
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
                wf_estore(y, wf_vdiv(sum, wf_vset1((float)h.count * (float)w.count)));
            }
        }
    }
}

/* Whether no pixel is in two windows. */
static bool is_apart(const wf_pool *g)
{
    if (g->adaptive)
        return g->in.H % g->P == 0 && g->in.W % g->Q == 0;
    return g->kernel[0] <= g->stride[0] && g->kernel[1] <= g->stride[1];
}

static void avg_apart_backward(const wf_pool *geometry, const wf_element *dy, wf_element *dx)
{
    const wf_pool g = *geometry; /* stores to dx may alias anything but a local */
    const size_t row = (size_t)g.in.W * WF_LANES;
    zero(dx, in_elements(&g));
    for (int p = 0; p < g.P; p++) {
        const wf_pool_range h = wf_pool_avg_range(&g, 0, p);
        for (int q = 0; q < g.Q; q++, dy += WF_LANES) {
            const wf_pool_range w = wf_pool_avg_range(&g, 1, q);
            const wf_vf share = wf_vdiv(wf_eload(dy), wf_vset1((float)h.count * (float)w.count));
            const wf_vf d = wf_vadd(wf_vzero(), share); /* as a sum, never -0 */
            for (int i = h.begin; i < h.end; i++)
                for (int j = w.begin; j < w.end; j++)
                    wf_estore(dx + (size_t)i * row + (size_t)j * WF_LANES, d);
        }
    }
}

static void avg_backward(const wf_pool *g, const void *vdy, void *vdx)
{
    const wf_element *dy = vdy;
    const bool global = is_global(g);
    for (int cb = 0; cb < blocks_of(g); cb++) {
        wf_element *dx = (wf_element *)vdx + (size_t)cb * in_elements(g);
        if (global) {
            const wf_vf d = wf_vdiv(wf_eload(dy), divisor(g));
            for (wf_element *end = dx + in_elements(g); dx < end; dx += WF_LANES)
                wf_estore(dx, d);
            dy += WF_LANES;
            continue;
        }
        if (wf_pool_is_3x3(g)) {
            WF_ELEMENT_FN(wf_pool_3x3_avg_backward)(g, dy, dx);
            dy += out_elements(g);
            continue;
        }
        if (is_apart(g))
            avg_apart_backward(g, dy, dx);
        else
            meeting_backward(false, g, dy, NULL, (wf_index_place){0}, dx);
        dy += out_elements(g);
    }
}

extern const wf_pool_fns WF_ELEMENT_FN(wf_pool_fns);
const wf_pool_fns WF_ELEMENT_FN(wf_pool_fns) = {.name = WF_ISA_NAME ":" WF_ELEMENT_NAME,
                                                .isa = WF_ISA,
                                                .dtype = WF_ELEMENT_DTYPE,
                                                .lanes = WF_LANES,
                                                .max_forward = max_forward,
                                                .max_backward = max_backward,
                                                .avg_forward = avg_forward,
                                                .avg_backward = avg_backward};
