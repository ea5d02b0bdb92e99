/* Depthwise correlation of one plane: the forward pass, and backward-data of stride 1.
 *
 * A tile is up to eight neighbouring outputs of a row, whose sums stay in registers over all kernel
 * rows. Each input is loaded once per kernel row and goes to every output that wants it; the padding
 * is never loaded. Tiles are taken row by row, so that memory sees two streams, which are fetched ahead
 * by hand: what a plane needs next is the next plane, which the hardware knows too late. (The two input
 * rows of a strided output row it keeps up with.) An output's sum runs over r, then s, whatever the
 * tile. See depthwise.h. */
#include "kernels/conv2d/depthwise/depthwise.h"

enum {
    MIN_T = 4, /* narrower images are rare and take the general way */
    MAX_T = 8,
    MAX_S = 5,
    LEFT = 1, /* sides on which columns may be missing */
    RIGHT = 2,
    AHEAD = 48 /* outputs that are fetched ahead */
};

typedef struct plane {
    const wf_element *x;
    const float *w;
    wf_vf bias;
    wf_element *y;
} plane;

/* One kernel row. S, STRIDE, T and SIDES are constants where this is called. */
WF_INLINE void kernel_row(const int S, const int STRIDE, const int T, const int SIDES,
                          const wf_element *x, int lo, int hi, const float *w, wf_vf *sum)
{
    const int N = (T - 1) * STRIDE + S;
    wf_vf f[MAX_S];
    WF_UNROLL
    for (int s = 0; s < S; s++)
        f[s] = wf_vload(w + s * L);
    WF_UNROLL
    for (int j = 0; j < N; j++) {
        /* no more than S - 1 columns are missing on either side */
        if ((SIDES & LEFT && j < S - 1 && j < lo) || (SIDES & RIGHT && j > N - S && j >= hi))
            continue;
        const wf_vf v = wf_eload(x + j * L);
        WF_UNROLL
        for (int t = 0; t < T; t++)
            if (j >= t * STRIDE && j < t * STRIDE + S)
                sum[t] = wf_vfma(v, f[j - t * STRIDE], sum[t]);
    }
}

/* What all rows of outputs share. Vector stores may alias anything but locals, so it is made one. */
typedef struct shared {
    ptrdiff_t step; /* in x from one kernel row to the next */
    int fetch;      /* what lies so many columns in front is fetched ahead */
    wf_vf bias;
} shared;

static inline shared shared_of(const wf_depthwise *g, const plane *a)
{
    return (shared){(ptrdiff_t)g->h_step * g->W * L, AHEAD + (g->R - 1) * g->W, a->bias};
}

/* A row of outputs: n kernel rows, the first at w, meet the image, the first at x. */
typedef struct strip {
    const wf_element *x;
    const float *w;
    wf_element *y;
    int n;
} strip;

WF_INLINE strip strip_of(const int S, const plane *a, wf_depthwise_row row, int p, int W, int Q)
{
    return (strip){a->x + (ptrdiff_t)row.h * W * L, a->w + (ptrdiff_t)row.r * S * L,
                   a->y + (ptrdiff_t)p * Q * L, row.n};
}

/* Outputs [q, q + T), which read x from column v on: of those columns, [lo, hi) lie in the image. */
WF_INLINE void tile(const int S, const int STRIDE, const int T, const int SIDES, const shared *all,
                    strip a, int q, int v, int lo, int hi)
{
    const wf_element *x = wf_column(a.x, v);
    const float *w = a.w;
    wf_element *y = a.y + q * L;
    int n = a.n;
    wf_vf sum[MAX_T];
    wf_depthwise_fetch(y, AHEAD, T);
    if (STRIDE == 1)
        wf_depthwise_fetch(x, all->fetch, T);
    WF_UNROLL
    for (int t = 0; t < T; t++)
        sum[t] = all->bias;
    for (; S > 3 && n > 0; n--, x = wf_opaque(x + all->step), w += S * L)
        kernel_row(S, STRIDE, T, SIDES, x, lo, hi, w, sum);
    switch (S > 3 ? 0 : n) { /* a loop over three short rows would cost as much again */
    case 3:
        kernel_row(S, STRIDE, T, SIDES, x, lo, hi, w, sum);
        x = wf_opaque(x + all->step);
        w = wf_opaque(w + S * L);
        /* fall through */
    case 2:
        kernel_row(S, STRIDE, T, SIDES, x, lo, hi, w, sum);
        x = wf_opaque(x + all->step);
        w = wf_opaque(w + S * L);
        /* fall through */
    case 1: kernel_row(S, STRIDE, T, SIDES, x, lo, hi, w, sum);
    }
    WF_UNROLL
    for (int t = 0; t < T; t++)
        wf_estore(y + t * L, sum[t]);
}

/* All rows where the kernel is centred, PAD = (S - 1) / 2, in tiles of T. Where Q is no multiple, some
 * neighbours overlap by one output, which both compute alike. With several tiles T is at least 5, so
 * that only the first and the last meet a border. */
WF_INLINE void centred(const int S, const int STRIDE, const int T, const wf_depthwise *g,
                       const plane *a)
{
    const int PAD = (S - 1) / 2, N = (T - 1) * STRIDE + S;
    const int Q = g->Q, tiles = (Q + T - 1) / T, whole = Q - tiles * (T - 1);
    const int last = STRIDE == 1 ? N - PAD : g->W + PAD - (Q - T) * STRIDE; /* hi of the last */
    const shared all = shared_of(g, a);
    const plane at = *a;
    const wf_depthwise_row *const row = g->row;
    const int P = g->P, W = g->W;
    for (int p = 0; p < P && tiles == 1; p++) {
        const strip m = strip_of(S, &at, row[p], p, W, Q);
        tile(S, STRIDE, T, LEFT | RIGHT, &all, m, 0, -PAD, PAD, last);
    }
    for (int p = 0; p < P && tiles > 1; p++) {
        const strip m = strip_of(S, &at, row[p], p, W, Q);
        tile(S, STRIDE, T, LEFT, &all, m, 0, -PAD, PAD, N);
        int q = whole > 1 ? T : T - 1; /* the first `whole` do not overlap the next */
        for (int i = 1; i < tiles - 1; i++) {
            tile(S, STRIDE, T, 0, &all, m, q, q * STRIDE - PAD, 0, N);
            q += whole > i + 1 ? T : T - 1;
        }
        tile(S, STRIDE, T, RIGHT, &all, m, q, q * STRIDE - PAD, 0, last);
    }
}

/* All rows, with any padding; tiles as above, or one of Q = T outputs. */
WF_INLINE void shifted(const int S, const int STRIDE, const int T, const wf_depthwise *g,
                       const plane *a)
{
    const int padding = g->padding[1], W = g->W, P = g->P, Q = g->Q;
    const shared all = shared_of(g, a);
    for (int p = 0; p < P; p++) {
        const strip m = strip_of(S, a, g->row[p], p, W, Q);
        for (int i = 0; i < Q; i += T) {
            const int q = i + T < Q ? i : Q - T, v = q * STRIDE - padding;
            tile(S, STRIDE, T, LEFT | RIGHT, &all, m, q, v, -v, W - v);
        }
    }
}

WF_INLINE void rows(const int S, const int STRIDE, const wf_depthwise *g, const plane *a)
{
    const wf_tiling cut = wf_tiling_of(g->Q, MAX_T);
    const int T = cut.narrow + (cut.wide > 0);
    const bool general = g->padding[1] != (S - 1) / 2 || T < MIN_T;
    switch (general ? -(T < 4 ? T : 4) : T) {
    case 8: centred(S, STRIDE, 8, g, a); break;
    case 7: centred(S, STRIDE, 7, g, a); break;
    case 6: centred(S, STRIDE, 6, g, a); break;
    case 5: centred(S, STRIDE, 5, g, a); break;
    case 4: centred(S, STRIDE, 4, g, a); break;
    case -4: shifted(S, STRIDE, 4, g, a); break;
    case -3: shifted(S, STRIDE, 3, g, a); break;
    case -2: shifted(S, STRIDE, 2, g, a); break;
    case -1: shifted(S, STRIDE, 1, g, a); break;
    }
}

typedef void rows_fn(const wf_depthwise *g, const plane *a);

static void rows_3(const wf_depthwise *g, const plane *a)
{
    rows(3, 1, g, a);
}
static void rows_3_strided(const wf_depthwise *g, const plane *a)
{
    rows(3, 2, g, a);
}
static void rows_5(const wf_depthwise *g, const plane *a)
{
    rows(5, 1, g, a);
}
static void rows_5_strided(const wf_depthwise *g, const plane *a)
{
    rows(5, 2, g, a);
}

/* NULL: none for this kernel. */
static rows_fn *rows_function(const wf_depthwise *g)
{
    if (g->dilation[1] != 1 || g->stride[1] > 2 || g->padding[1] < 0 || g->padding[1] >= g->S)
        return NULL;
    if (g->S == 3 && g->R <= 3)
        return g->stride[1] == 1 ? rows_3 : rows_3_strided;
    if (g->S == 5)
        return g->stride[1] == 1 ? rows_5 : rows_5_strided;
    return NULL;
}

/* ---- any kernel, stride, padding and dilation ------------------------------------------------ */

/* Outputs q .. q + T - 1 of a row, all of which kernel columns [s0, s1) meet the image for. */
WF_INLINE void tile_any(const int T, const wf_depthwise *g, const plane *a, int p, int q, int s0,
                        int s1)
{
    const wf_depthwise_row row = g->row[p];
    const ptrdiff_t w0 = (ptrdiff_t)q * g->stride[1] - g->padding[1];
    wf_element *y = a->y + ((size_t)p * (size_t)g->Q + (size_t)q) * L;
    wf_vf sum[4];
    for (int t = 0; t < T; t++)
        sum[t] = a->bias;
    for (int r = 0; r < row.n; r++) {
        const wf_element *x = a->x + ((ptrdiff_t)row.h + r * g->h_step) * g->W * L;
        const float *w = a->w + (ptrdiff_t)(row.r + r) * g->S * L;
        for (int s = s0; s < s1; s++) {
            const wf_vf f = wf_vload(w + (size_t)s * L);
            const ptrdiff_t v = w0 + (ptrdiff_t)s * g->dilation[1];
            for (int t = 0; t < T; t++)
                sum[t] = wf_vfma(wf_eload(x + (v + (ptrdiff_t)t * g->stride[1]) * L), f, sum[t]);
        }
    }
    for (int t = 0; t < T; t++)
        wf_estore(y + t * L, sum[t]);
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

void WF_ELEMENT_FN(wf_depthwise_correlate)(const wf_depthwise *g, const wf_element *x,
                                           const float *w, wf_vf bias, wf_element *y)
{
    rows_fn *const fn = rows_function(g);
    const plane a = {x, w, bias, y};
    if (fn)
        fn(g, &a);
    for (int p = 0; !fn && p < g->P; p++)
        row_any(g, &a, p);
}
