/* Depthwise correlation of one plane: the forward pass, and backward-data of stride 1.
 *
 * A strip is up to eight neighbouring outputs of a row, whose sums stay in registers over all filter rows.
 * The kernel loads each input once per filter row and multiplies it into every output that wants it; it
 * never loads the padding. It goes strip by strip, row by row, so that memory sees two streams. It prefetches
 * both, since what follows a plane is the next plane, which the hardware prefetcher notices too late. (It
 * keeps up with the two input rows of a strided output row.) An output's sum runs over r, then s, whatever
 * the strip. See depthwise.h. */
#include "kernels/conv2d/depthwise/depthwise.h"

enum {
    MIN_WIDTH = 4, /* narrower images are rare; the general loops run them */
    MAX_WIDTH = 8,
    MAX_S = 5,
    LEFT = 1, /* sides at which a strip may meet padding */
    RIGHT = 2,
    PREFETCH_DISTANCE = 48 /* outputs */
};

typedef struct plane {
    const wf_element *x;
    const float *w;
    wf_vf bias;
    wf_element *y;
} plane;

/* Adds one filter row. S, STRIDE, WIDTH and SIDES are constants at every call. */
WF_INLINE void filter_row(const int S, const int STRIDE, const int WIDTH, const int SIDES,
                          const wf_element *x, int lo, int hi, const float *w, wf_vf *sum)
{
    const int N = (WIDTH - 1) * STRIDE + S;
    wf_vf f[MAX_S];
    WF_UNROLL
    for (int s = 0; s < S; s++)
        f[s] = wf_vload(w + s * L);
    WF_UNROLL
    for (int j = 0; j < N; j++) {
        /* at most S - 1 columns are padding on either side */
        if ((SIDES & LEFT && j < S - 1 && j < lo) || (SIDES & RIGHT && j > N - S && j >= hi))
            continue;
        const wf_vf v = wf_eload(x + j * L);
        WF_UNROLL
        for (int t = 0; t < WIDTH; t++)
            if (j >= t * STRIDE && j < t * STRIDE + S)
                sum[t] = wf_vfma(v, f[j - t * STRIDE], sum[t]);
    }
}

/* What all rows of outputs share: a local, since vector stores may alias anything else. */
typedef struct shared {
    ptrdiff_t step; /* in x from one filter row to the next */
    int prefetch;   /* columns ahead that are prefetched */
    wf_vf bias;
} shared;

static inline shared shared_of(const wf_depthwise *g, const plane *a)
{
    return (shared){(ptrdiff_t)g->h_step * g->W * L, PREFETCH_DISTANCE + (g->R - 1) * g->W,
                    a->bias};
}

/* A row of outputs: n filter rows meet the image. The first one is at w and meets row x. */
typedef struct output_row {
    const wf_element *x;
    const float *w;
    wf_element *y;
    int n;
} output_row;

WF_INLINE output_row row_of(const int S, const plane *a, wf_depthwise_row row, int p, int W, int Q)
{
    return (output_row){a->x + (ptrdiff_t)row.h * W * L, a->w + (ptrdiff_t)row.r * S * L,
                        a->y + (ptrdiff_t)p * Q * L, row.n};
}

/* Computes outputs [q, q + WIDTH), which read x from column v on; of those columns, [lo, hi) lie in the image. */
WF_INLINE void strip(const int S, const int STRIDE, const int WIDTH, const int SIDES,
                     const shared *all, output_row a, int q, int v, int lo, int hi)
{
    const wf_element *x = wf_column(a.x, v);
    const float *w = a.w;
    wf_element *y = a.y + q * L;
    int n = a.n;
    wf_vf sum[MAX_WIDTH];
    wf_depthwise_prefetch(y, PREFETCH_DISTANCE, WIDTH);
    if (STRIDE == 1)
        wf_depthwise_prefetch(x, all->prefetch, WIDTH);
    WF_UNROLL
    for (int t = 0; t < WIDTH; t++)
        sum[t] = all->bias;
    for (; S > 3 && n > 0; n--, x = wf_opaque(x + all->step), w += S * L)
        filter_row(S, STRIDE, WIDTH, SIDES, x, lo, hi, w, sum);
    switch (S > 3 ? 0 : n) { /* a loop over three short rows would cost as much again */
    case 3:
        filter_row(S, STRIDE, WIDTH, SIDES, x, lo, hi, w, sum);
        x = wf_opaque(x + all->step);
        w = wf_opaque(w + S * L);
        /* fall through */
    case 2:
        filter_row(S, STRIDE, WIDTH, SIDES, x, lo, hi, w, sum);
        x = wf_opaque(x + all->step);
        w = wf_opaque(w + S * L);
        /* fall through */
    case 1: filter_row(S, STRIDE, WIDTH, SIDES, x, lo, hi, w, sum);
    }
    WF_UNROLL
    for (int t = 0; t < WIDTH; t++)
        wf_estore(y + t * L, sum[t]);
}

/* Computes all rows with a centred filter, PAD = (S - 1) / 2, in strips of WIDTH. If Q is no multiple of it, some
 * neighbours overlap by one output, which both compute alike. With several strips WIDTH is at least 5, so that
 * only the first and the last one meet padding. */
WF_INLINE void centred(const int S, const int STRIDE, const int WIDTH, const wf_depthwise *g,
                       const plane *a)
{
    const int PAD = (S - 1) / 2, N = (WIDTH - 1) * STRIDE + S;
    const int Q = g->Q, strips = (Q + WIDTH - 1) / WIDTH, whole = Q - strips * (WIDTH - 1);
    const int last = STRIDE == 1 ? N - PAD : g->W + PAD - (Q - WIDTH) * STRIDE; /* hi of the last */
    const shared all = shared_of(g, a);
    const plane at = *a;
    const wf_depthwise_row *const row = g->row;
    const int P = g->P, W = g->W;
    for (int p = 0; p < P && strips == 1; p++) {
        const output_row m = row_of(S, &at, row[p], p, W, Q);
        strip(S, STRIDE, WIDTH, LEFT | RIGHT, &all, m, 0, -PAD, PAD, last);
    }
    for (int p = 0; p < P && strips > 1; p++) {
        const output_row m = row_of(S, &at, row[p], p, W, Q);
        strip(S, STRIDE, WIDTH, LEFT, &all, m, 0, -PAD, PAD, N);
        int q = whole > 1 ? WIDTH : WIDTH - 1; /* the first `whole` do not overlap the next */
        for (int i = 1; i < strips - 1; i++) {
            strip(S, STRIDE, WIDTH, 0, &all, m, q, q * STRIDE - PAD, 0, N);
            q += whole > i + 1 ? WIDTH : WIDTH - 1;
        }
        strip(S, STRIDE, WIDTH, RIGHT, &all, m, q, q * STRIDE - PAD, 0, last);
    }
}

/* Computes all rows with any padding, in strips of WIDTH, of which the last two may overlap. */
WF_INLINE void shifted(const int S, const int STRIDE, const int WIDTH, const wf_depthwise *g,
                       const plane *a)
{
    const int padding = g->padding[1], W = g->W, P = g->P, Q = g->Q;
    const shared all = shared_of(g, a);
    for (int p = 0; p < P; p++) {
        const output_row m = row_of(S, a, g->row[p], p, W, Q);
        for (int i = 0; i < Q; i += WIDTH) {
            const int q = i + WIDTH < Q ? i : Q - WIDTH, v = q * STRIDE - padding;
            strip(S, STRIDE, WIDTH, LEFT | RIGHT, &all, m, q, v, -v, W - v);
        }
    }
}

WF_INLINE void rows(const int S, const int STRIDE, const wf_depthwise *g, const plane *a)
{
    const wf_strips cut = wf_strips_of(g->Q, MAX_WIDTH);
    const int WIDTH = cut.narrow + (cut.wide > 0);
    const bool general = g->padding[1] != (S - 1) / 2 || WIDTH < MIN_WIDTH;
    switch (general ? -(WIDTH < 4 ? WIDTH : 4) : WIDTH) {
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

/* The function for this filter; NULL: there is none. */
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

/* ---- any filter, stride, padding and dilation ------------------------------------------------ */

/* Computes outputs [q, q + WIDTH) of a row; for all of them filter columns [s0, s1) meet the image. */
WF_INLINE void strip_any(const int WIDTH, const wf_depthwise *g, const plane *a, int p, int q,
                         int s0, int s1)
{
    const wf_depthwise_row row = g->row[p];
    const ptrdiff_t w0 = (ptrdiff_t)q * g->stride[1] - g->padding[1];
    wf_element *y = a->y + ((size_t)p * (size_t)g->Q + (size_t)q) * L;
    wf_vf sum[4];
    for (int t = 0; t < WIDTH; t++)
        sum[t] = a->bias;
    for (int r = 0; r < row.n; r++) {
        const wf_element *x = a->x + ((ptrdiff_t)row.h + r * g->h_step) * g->W * L;
        const float *w = a->w + (ptrdiff_t)(row.r + r) * g->S * L;
        for (int s = s0; s < s1; s++) {
            const wf_vf f = wf_vload(w + (size_t)s * L);
            const ptrdiff_t v = w0 + (ptrdiff_t)s * g->dilation[1];
            for (int t = 0; t < WIDTH; t++)
                sum[t] = wf_vfma(wf_eload(x + (v + (ptrdiff_t)t * g->stride[1]) * L), f, sum[t]);
        }
    }
    for (int t = 0; t < WIDTH; t++)
        wf_estore(y + t * L, sum[t]);
}

static void row_any(const wf_depthwise *g, const plane *a, int p)
{
    int begin, end, from, to; /* outputs for which every filter column meets the image */
    wf_conv2d_range(g->W, g->Q, g->stride[1], g->padding[1], g->dilation[1], 0, &begin, &end);
    wf_conv2d_range(g->W, g->Q, g->stride[1], g->padding[1], g->dilation[1], g->S - 1, &from, &to);
    begin = begin > from ? begin : from;
    end = end < to ? end : to;
    for (int q = 0; q < g->Q;) {
        if (q >= begin && q + 4 <= end) {
            strip_any(4, g, a, p, q, 0, g->S);
            q += 4;
            continue;
        }
        int s0, s1; /* filter columns that meet output q: stride and dilation change roles */
        wf_conv2d_range(g->W, g->S, g->dilation[1], g->padding[1], g->stride[1], q, &s0, &s1);
        strip_any(1, g, a, p, q, s0, s1);
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
