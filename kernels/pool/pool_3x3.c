/* Max and average pooling with windows of 3x3, any stride and padding, over f32 and bf16: one channel
 * block.
 *
 * Forward takes windows that lie inside the image without a test; the borders are one column and
 * row or two. A maximum is first taken as if there were no NaN, which a sum of a row's inputs would
 * show: a row that has one is done again with the test for it.
 *
 * Backward goes through the rows of dx, each once: what an output gives to the three columns of its
 * window is added up over the (at most three) rows of windows that meet the row of dx, and from one
 * output to the next the sums of the columns that the next window shares are carried on. See
 * pool.h for semantics and letters. */
#include <math.h>

#include "kernels/pool/pool_simd.h"

enum { L = WF_LANES, FAR_BYTES = 65536 /* planes of which more is fetched ahead */ };

/* Positions [k0, k1) of the three of an output's window lie inside the image; the first is element
 * `first`. */
WF_INLINE wf_pool_span span_of(int first, int size)
{
    return (wf_pool_span){first, first < 0 ? -first : 0, size - first < 3 ? size - first : 3};
}

/* ---- max ------------------------------------------------------------------------------------ */

/* Adds what is seen to *seen. */
WF_INLINE void take(const bool NANS, wf_vf v, int k, wf_vf *best, wf_vi *best_k, wf_vf *seen)
{
    const wf_vm more = wf_vgt(v, *best);
    if (NANS) {
        const wf_vm better = wf_vm_or(more, wf_visnan(v));
        *best = wf_vblend(better, v, *best);
        *best_k = wf_vi_blend(better, wf_vi_set1(k), *best_k);
    } else {
        *best = wf_vmax(v, *best);
        *best_k = wf_vi_blend(more, wf_vi_set1(k), *best_k);
        *seen = wf_vadd(*seen, v);
    }
}

typedef struct max_plane {
    const wf_element *x;
    wf_element *y;
    uint8_t *index;
    wf_index_place place;
    wf_vf lowest;
} max_plane;

/* One row of outputs. Returns the sum of all it has seen, each input at least once. */
WF_INLINE wf_vf max_row(const bool NANS, const bool INDEX, const wf_pool *geometry,
                        const max_plane *plane, int p)
{
    const wf_pool g = *geometry; /* index bytes may alias anything but a local */
    const max_plane a = *plane;
    const wf_pool_span h = span_of(p * g.stride[0] - g.padding[0], g.in.H);
    const ptrdiff_t line = (ptrdiff_t)g.in.W * L;
    const size_t pixel = (size_t)p * (size_t)g.Q;
    const bool rows = h.k0 == 0 && h.k1 == 3;
    const bool far = (size_t)g.in.H * (size_t)g.in.W * L * sizeof(wf_element) > FAR_BYTES;
    wf_element *y = a.y + pixel * L;
    uint8_t *index = INDEX ? a.index + pixel * 8 : NULL;
    wf_vf seen[3] = {wf_vzero(), wf_vzero(), wf_vzero()};
    for (int q = 0; q < g.Q; q++, y += L) {
        const wf_pool_span w = span_of(q * g.stride[1] - g.padding[1], g.in.W);
        wf_vf best = a.lowest;
        wf_vi k = wf_vi_set1(h.k0 * 3 + w.k0);
        if (rows && w.k0 == 0 && w.k1 == 3) {
            const wf_element *x = a.x + h.first * line + (ptrdiff_t)w.first * L;
            const wf_element *const row[3] = {x, x + line, x + 2 * line};
            for (int r = 0; far && r < g.stride[0]; r++) /* of the row after the next */
                for (int s = 0; s < g.stride[1]; s += 2)
                    __builtin_prefetch(x + (2 * g.stride[0] + 1 + r) * line + s * L, 0, 2);
            best = wf_eload(x);
            if (!NANS)
                seen[0] = wf_vadd(seen[0], best);
            WF_UNROLL
            for (int i = 1; i < 9; i++)
                take(NANS, wf_eload(row[i / 3] + i % 3 * L), i, &best, &k, &seen[i / 3]);
        } else {
            for (int r = h.k0; r < h.k1; r++)
                for (int s = w.k0; s < w.k1; s++)
                    take(NANS, wf_eload(a.x + (h.first + r) * line + (ptrdiff_t)(w.first + s) * L),
                         r * 3 + s, &best, &k, &seen[0]);
        }
        wf_estore_exact(y, best);
        if (INDEX) {
            wf_put_index(index, a.place, k);
            index += 8;
        }
    }
    return wf_vadd(wf_vadd(seen[0], seen[1]), seen[2]);
}

/* Infinities of both signs look like a NaN: no harm. */
WF_INLINE void max_rows(const bool INDEX, const wf_pool *g, const max_plane *a)
{
    for (int p = 0; p < g->P; p++)
        if (wf_vm_bits(wf_visnan(max_row(false, INDEX, g, a, p))))
            max_row(true, INDEX, g, a, p);
}

void WF_ELEMENT_FN(wf_pool_3x3_max_forward)(const wf_pool *g, const wf_element *x, wf_vf lowest,
                                            wf_element *y, uint8_t *index, wf_index_place place)
{
    const max_plane a = {x, y, index, place, lowest};
    if (index)
        max_rows(true, g, &a);
    else
        max_rows(false, g, &a);
}

/* ---- backward ------------------------------------------------------------------------------- */

/* Windows of rows p .. p + n - 1 meet a row of dx, the first with its row r, each further
 * one with a row `stride` less. */
typedef struct meeting {
    int p, r, n;
} meeting;

static meeting meet(const wf_pool *g, int h)
{
    const int u = h + g->padding[0], stride = g->stride[0];
    const int first = u < 2 ? 0 : (u - 2 + stride - 1) / stride, end = u / stride + 1;
    const int stop = end < g->P ? end : g->P;
    return (meeting){first, u - first * stride, stop > first ? stop - first : 0};
}

typedef struct back_plane {
    const wf_element *dy;
    const uint8_t *index; /* NULL: average */
    wf_index_place place;
} back_plane;

/* The divisor of an output, as a factor; w_count is its window's. */
static wf_vf factor(const wf_pool *g, int p, int w_count)
{
    return wf_vset1(1.0f / ((float)wf_pool_avg_range(g, 0, p).count * (float)w_count));
}

/* What output column q gives to the three columns of its window. */
WF_INLINE void give(const bool MAX, const int N, const wf_pool *g, const back_plane *a, meeting m,
                    const wf_vf *scale, int q, wf_vf *to)
{
    WF_UNROLL
    for (int j = 0; j < N; j++) {
        const size_t pixel = (size_t)(m.p + j) * (size_t)g->Q + (size_t)q;
        wf_vf d = wf_eload(a->dy + pixel * L);
        if (MAX) {
            const wf_vi k = wf_get_index(a->index + pixel * 8, a->place);
            const int first = 3 * (m.r - j * g->stride[0]);
            WF_UNROLL
            for (int s = 0; s < 3; s++) {
                const wf_vf part = wf_vmaskz(wf_vi_eq(k, wf_vi_set1(first + s)), d);
                to[s] = j == 0 ? part : wf_vadd(to[s], part);
            }
        } else {
            d = wf_vmul(d, scale[j]);
            to[0] = j == 0 ? d : wf_vadd(to[0], d);
        }
    }
    if (!MAX)
        to[1] = to[2] = to[0];
}

/* A row of dx from N rows of windows. */
WF_INLINE void back_row(const bool MAX, const int N, const wf_pool *geometry,
                        const back_plane *plane, meeting m, wf_element *dx)
{
    const wf_pool g = *geometry; /* vector stores may alias anything but a local */
    const back_plane a = *plane;
    const int stride = g.stride[1], W = g.in.W;
    wf_vf carry[2] = {wf_vzero(), wf_vzero()}, inner[3], border[3];
    int w = -g.padding[1]; /* the window's first column */
    for (int j = 0; !MAX && j < N; j++)
        inner[j] = factor(&g, m.p + j, 3);
    for (int q = 0; q < g.Q; q++, w += stride) {
        const bool inside = w >= 0 && w + 3 <= W;
        wf_vf to[3];
        for (int j = 0; !MAX && !inside && j < N; j++)
            border[j] = factor(&g, m.p + j, wf_pool_avg_range(&g, 1, q).count);
        give(MAX, N, &g, &a, m, inside ? inner : border, q, to);
        to[0] = wf_vadd(to[0], carry[0]);
        to[1] = wf_vadd(to[1], carry[1]);
        for (int s = 0; s < 3 && s < stride; s++) /* columns that no later window meets */
            if (w + s >= 0 && w + s < W)
                wf_estore(dx + (ptrdiff_t)(w + s) * L, to[s]);
        for (int s = 3; s < stride && w + s < W; s++)
            wf_estore(dx + (ptrdiff_t)(w + s) * L, wf_vzero());
        carry[0] = stride == 1 ? to[1] : stride == 2 ? to[2] : wf_vzero();
        carry[1] = stride == 1 ? to[2] : wf_vzero();
    }
    for (int s = 0; s < 2; s++, w++) /* no more than two columns are left */
        if (w >= 0 && w < W)
            wf_estore(dx + (ptrdiff_t)w * L, carry[s]);
}

WF_INLINE void back_rows(const bool MAX, const wf_pool *g, const back_plane *a, wf_element *dx)
{
    for (int h = 0; h < g->in.H; h++, dx += (size_t)g->in.W * L) {
        const meeting m = meet(g, h);
        switch (m.n) {
        case 3: back_row(MAX, 3, g, a, m, dx); break;
        case 2: back_row(MAX, 2, g, a, m, dx); break;
        case 1: back_row(MAX, 1, g, a, m, dx); break;
        default: memset(dx, 0, (size_t)g->in.W * L * sizeof *dx);
        }
    }
}

void WF_ELEMENT_FN(wf_pool_3x3_max_backward)(const wf_pool *g, const wf_element *dy,
                                             const uint8_t *index, wf_index_place place,
                                             wf_element *dx)
{
    back_rows(true, g, &(back_plane){dy, index, place}, dx);
}

void WF_ELEMENT_FN(wf_pool_3x3_avg_backward)(const wf_pool *g, const wf_element *dy, wf_element *dx)
{
    back_rows(false, g, &(back_plane){.dy = dy}, dx);
}

/* ---- average -------------------------------------------------------------------------------- */

/* Row by row, then over rows. */
WF_INLINE wf_vf sum_window(const wf_element *x, ptrdiff_t line, int rows, int columns)
{
    wf_vf sum = wf_vzero();
    for (int r = 0; r < rows; r++, x += line) {
        wf_vf row = wf_eload(x);
        for (int s = 1; s < columns; s++)
            row = wf_vadd(row, wf_eload(x + s * L));
        sum = r == 0 ? row : wf_vadd(sum, row);
    }
    return sum;
}

void WF_ELEMENT_FN(wf_pool_3x3_avg_forward)(const wf_pool *geometry, const wf_element *x,
                                            wf_element *y)
{
    const wf_pool g = *geometry; /* vector stores may alias anything but a local */
    const ptrdiff_t line = (ptrdiff_t)g.in.W * L;
    for (int p = 0; p < g.P; p++) {
        const wf_pool_range h = wf_pool_avg_range(&g, 0, p);
        const wf_vf inner = wf_vset1((float)h.count * 3.0f);
        int first = -g.padding[1];
        for (int q = 0; q < g.Q; q++, y += L, first += g.stride[1]) {
            if (h.end - h.begin == 3 && first >= 0 && first + 3 <= g.in.W) {
                const wf_element *at = x + h.begin * line + (ptrdiff_t)first * L;
                wf_estore(y, wf_vdiv(sum_window(at, line, 3, 3), inner));
                continue;
            }
            const wf_pool_range w = wf_pool_avg_range(&g, 1, q);
            const wf_vf sum = sum_window(x + h.begin * line + (ptrdiff_t)w.begin * L, line,
                                         h.end - h.begin, w.end - w.begin);
            wf_estore(y, wf_vdiv(sum, wf_vset1((float)h.count * (float)w.count)));
        }
    }
}
