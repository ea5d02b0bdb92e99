/* Depthwise correlation of one plane: the forward pass, and backward-data of stride 1.
 *
 * A tile is up to eight neighbouring outputs of a row, whose sums stay in registers over all kernel
 * rows. Each input is loaded once per kernel row and goes to every output that wants it; the padding
 * is never loaded. A band of rows that fits the first-level cache is taken tile column by tile column,
 * so that what differs between tiles is decided once a column. An output's sum runs over r, then s,
 * whatever the tile. See depthwise.h. */
#include "kernels/conv2d/depthwise.h"

enum { MAX_T = 8, MAX_S = 5 };

typedef struct plane {
    const float *x, *w;
    wf_vf bias;
    float *y;
} plane;

/* Outputs [q, q + T) of rows [p0, p1). Columns [lo, hi) of those that they read, from w0 on, lie in
 * the image. */
typedef struct column {
    int p0, p1, q, T, w0, lo, hi;
} column;

/* One kernel row. S, STRIDE, T and EDGE are constants where this is called. */
WF_INLINE void kernel_row(const int S, const int STRIDE, const int T, const bool EDGE,
                          const float *x, int lo, int hi, const float *w, wf_vf *sum)
{
    const int N = (T - 1) * STRIDE + S;
    wf_vf f[MAX_S];
    WF_UNROLL
    for (int s = 0; s < S; s++)
        f[s] = wf_vload(w + s * L);
    WF_UNROLL
    for (int j = 0; j < N; j++) {
        /* no more than S - 1 columns are missing on either side */
        if (EDGE && ((j < S - 1 && j < lo) || (j > N - S && j >= hi)))
            continue;
        const wf_vf v = wf_vload(x + j * L);
        WF_UNROLL
        for (int t = 0; t < T; t++)
            if (j >= t * STRIDE && j < t * STRIDE + S)
                sum[t] = wf_vfma(v, f[j - t * STRIDE], sum[t]);
    }
}

/* Every column that is read lies in the image where EDGE is false. */
WF_INLINE void tiles(const int S, const int STRIDE, const int T, const bool EDGE,
                     const wf_depthwise *g, const plane *a, const column *c)
{
    const ptrdiff_t line = (ptrdiff_t)g->W * L, x_step = g->h_step * line;
    const int lo = c->lo, hi = c->hi, W = g->W, Q = g->Q, rows = c->p1 - c->p0;
    const int fetch_x = g->fetch[0], fetch_y = g->fetch[1];
    const wf_depthwise_row *row = g->row + c->p0; /* vector stores may alias anything but locals */
    const float *const x0 = wf_column(a->x, c->w0), *const w0 = a->w;
    const wf_vf bias = a->bias;
    float *y = a->y + ((size_t)c->p0 * (size_t)Q + (size_t)c->q) * L;
    for (int p = 0; p < rows; p++, row++, y += (size_t)Q * L) {
        const int taps = row->n;
        const float *x = x0 + row->h * line, *w = w0 + (ptrdiff_t)row->r * S * L;
        wf_vf sum[MAX_T];
        if (fetch_y) {
            wf_depthwise_fetch(y, fetch_y, T);
            for (int r = 0; r < STRIDE; r++)
                wf_depthwise_fetch(x, fetch_x + r * W, T * STRIDE);
        }
        WF_UNROLL
        for (int t = 0; t < T; t++)
            sum[t] = bias;
        if (S == 3 && taps == 3) { /* one after the other: the short loop costs as much again */
            kernel_row(S, STRIDE, T, EDGE, x, lo, hi, w, sum);
            x = wf_opaque(x + x_step);
            kernel_row(S, STRIDE, T, EDGE, x, lo, hi, w + S * L, sum);
            x = wf_opaque(x + x_step);
            kernel_row(S, STRIDE, T, EDGE, x, lo, hi, w + 2 * S * L, sum);
        } else {
            for (int r = 0; r < taps; r++, x = wf_opaque(x + x_step), w += S * L)
                kernel_row(S, STRIDE, T, EDGE, x, lo, hi, w, sum);
        }
        WF_UNROLL
        for (int t = 0; t < T; t++)
            wf_vstore(y + t * L, sum[t]);
    }
}

WF_INLINE void tiles_of_any_width(const int S, const int STRIDE, const wf_depthwise *g,
                                  const plane *a, const column *c)
{
    const bool edge = c->lo > 0 || c->hi < (c->T - 1) * STRIDE + S;
    switch (edge ? -c->T : c->T) {
    case 8: tiles(S, STRIDE, 8, false, g, a, c); break;
    case 7: tiles(S, STRIDE, 7, false, g, a, c); break;
    case 6: tiles(S, STRIDE, 6, false, g, a, c); break;
    case 5: tiles(S, STRIDE, 5, false, g, a, c); break;
    case -8: tiles(S, STRIDE, 8, true, g, a, c); break;
    case -7: tiles(S, STRIDE, 7, true, g, a, c); break;
    case -6: tiles(S, STRIDE, 6, true, g, a, c); break;
    case -5: tiles(S, STRIDE, 5, true, g, a, c); break;
    case 4:
    case -4: tiles(S, STRIDE, 4, true, g, a, c); break;
    case 3:
    case -3: tiles(S, STRIDE, 3, true, g, a, c); break;
    case 2:
    case -2: tiles(S, STRIDE, 2, true, g, a, c); break;
    case 1:
    case -1: tiles(S, STRIDE, 1, true, g, a, c); break;
    }
}

typedef void tiles_fn(const wf_depthwise *g, const plane *a, const column *c);

static void tiles_3(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(3, 1, g, a, c);
}
static void tiles_3_strided(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(3, 2, g, a, c);
}
static void tiles_5(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(5, 1, g, a, c);
}
static void tiles_5_strided(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(5, 2, g, a, c);
}

/* NULL: none for this width of the kernel. */
static tiles_fn *tiles_function(const wf_depthwise *g)
{
    if (g->dilation[1] != 1 || g->stride[1] > 2 || g->padding[1] < 0 || g->padding[1] >= g->S)
        return NULL;
    if (g->S == 3)
        return g->stride[1] == 1 ? tiles_3 : tiles_3_strided;
    if (g->S == 5)
        return g->stride[1] == 1 ? tiles_5 : tiles_5_strided;
    return NULL;
}

static void band(const wf_depthwise *g, tiles_fn *fn, const plane *a, int p0, int p1)
{
    const wf_tiling cut = wf_tiling_of(g->Q, MAX_T);
    column c = {.p0 = p0, .p1 = p1, .w0 = -g->padding[1]};
    for (int i = 0; i < cut.tiles; i++) {
        c.T = cut.narrow + (i < cut.wide);
        c.lo = -c.w0;
        c.hi = g->W - c.w0;
        fn(g, a, &c);
        c.q += c.T;
        c.w0 += c.T * g->stride[1];
    }
}

/* ---- any kernel, stride, padding and dilation ------------------------------------------------ */

/* Outputs q .. q + T - 1 of a row, all of which kernel columns [s0, s1) meet the image for. */
WF_INLINE void tile_any(const int T, const wf_depthwise *g, const plane *a, int p, int q, int s0,
                        int s1)
{
    const wf_depthwise_row row = g->row[p];
    const ptrdiff_t w0 = (ptrdiff_t)q * g->stride[1] - g->padding[1];
    float *y = a->y + ((size_t)p * (size_t)g->Q + (size_t)q) * L;
    wf_vf sum[4];
    for (int t = 0; t < T; t++)
        sum[t] = a->bias;
    for (int r = 0; r < row.n; r++) {
        const float *x = a->x + ((ptrdiff_t)row.h + r * g->h_step) * g->W * L;
        const float *w = a->w + (ptrdiff_t)(row.r + r) * g->S * L;
        for (int s = s0; s < s1; s++) {
            const wf_vf f = wf_vload(w + (size_t)s * L);
            const ptrdiff_t v = w0 + (ptrdiff_t)s * g->dilation[1];
            for (int t = 0; t < T; t++)
                sum[t] = wf_vfma(wf_vload(x + (v + (ptrdiff_t)t * g->stride[1]) * L), f, sum[t]);
        }
    }
    for (int t = 0; t < T; t++)
        wf_vstore(y + t * L, sum[t]);
}

static void row_any(const wf_depthwise *g, const plane *a, int p)
{
    int begin, end, from, to; /* outputs that every kernel column meets the image for */
    wf_conv2d_range(g->W, g->Q, g->stride[1], g->padding[1], g->dilation[1], 0, &begin, &end);
    wf_conv2d_range(g->W, g->Q, g->stride[1], g->padding[1], g->dilation[1], g->S - 1, &from, &to);
    begin = begin > from ? begin : from;
    end = end < to ? end : to;
    for (int q = 0; q < g->Q;) {
        if (q >= begin && q + 4 <= end) {
            tile_any(4, g, a, p, q, 0, g->S);
            q += 4;
            continue;
        }
        int s0, s1; /* the roles of stride and dilation change: kernel columns that meet q */
        wf_conv2d_range(g->W, g->S, g->dilation[1], g->padding[1], g->stride[1], q, &s0, &s1);
        tile_any(1, g, a, p, q, s0, s1);
        q++;
    }
}

void WF_ISA_FN(wf_depthwise_correlate)(const wf_depthwise *g, const float *x, const float *w,
                                       wf_vf bias, float *y)
{
    tiles_fn *const fn = tiles_function(g);
    const plane a = {x, w, bias, y};
    for (int p = 0; fn && p < g->P; p += g->band)
        band(g, fn, &a, p, p + g->band < g->P ? p + g->band : g->P);
    for (int p = 0; !fn && p < g->P; p++)
        row_any(g, &a, p);
}
