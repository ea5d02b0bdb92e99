/* Depthwise backward-data of one plane where the stride is past 1. (With stride 1 it is the correlation with
 * the filter turned by half a turn: forward.c.)
 *
 * Output column q takes the filter columns s with q + padding - s even, from input column (q + padding - s) /
 * 2. A strip is up to four pairs of outputs (2j, 2j + 1). The two of a pair take every filter column between
 * them and read the same inputs. So the kernel loads each input once per filter row and computes no product
 * in vain. Every stride-th filter row meets an output row. The kernel takes a band of rows at once, strip
 * after strip, each through all rows of the band. An output's sum runs over r, then over the inputs'
 * columns. See depthwise.h. */
#include "kernels/conv2d/depthwise/depthwise.h"

enum { MAX_PAIRS = 4, MAX_S = 5 };

typedef struct plane {
    const wf_element *x;
    const float *w;
    wf_element *y;
} plane;

/* Pairs [j, j + WIDTH) of rows [p0, p1). They read columns from w0 on, of which [lo, hi) lie in the image; of
 * their outputs, so many lie in a row. */
typedef struct column {
    int p0, p1, j, WIDTH, w0, lo, hi, outputs;
} column;

/* Adds one filter row to WIDTH pairs. S, ODD (the padding's parity), WIDTH and EDGE are constants at every
 * call. */
WF_INLINE void filter_row(const int S, const int ODD, const int WIDTH, const bool EDGE,
                          const wf_element *x, int lo, int hi, const float *w, wf_vf *sum)
{
    const int REACH = (S - 1) / 2;
    wf_vf f[MAX_S];
    WF_UNROLL
    for (int s = 0; s < S; s++)
        f[s] = wf_vload(w + s * L);
    WF_UNROLL
    for (int j = 0; j < WIDTH + REACH; j++) {
        if (EDGE && (j < lo || j >= hi))
            continue;
        const wf_vf v = wf_eload(x + j * L);
        WF_UNROLL
        for (int t = 0; t < 2 * WIDTH; t++) {
            const int s = t % 2 - ODD + S - 1 - 2 * (j - t / 2);
            if (j >= t / 2 && s >= 0 && s < S)
                sum[t] = wf_vfma(v, f[s], sum[t]);
        }
    }
}

/* Computes the strip in all rows of a band. Without EDGE all columns that it reads and all its outputs lie in the
 * image. */
WF_INLINE void strips(const int S, const int ODD, const int WIDTH, const bool EDGE,
                      const wf_depthwise *g, const plane *a, const column *c)
{
    const ptrdiff_t line = (ptrdiff_t)g->W * L, x_step = g->h_step * line;
    const ptrdiff_t w_step = (ptrdiff_t)g->r_step * S * L;
    const int lo = c->lo, hi = c->hi, outputs = c->outputs, Q = g->Q, rows = c->p1 - c->p0;
    const int prefetch_x = g->prefetch[0], prefetch_y = g->prefetch[1];
    const wf_depthwise_row *row = g->row + c->p0; /* vector stores may alias anything but locals */
    const wf_element *const x0 = wf_column(a->x, c->w0);
    const float *const w0 = a->w;
    wf_element *y = a->y + ((size_t)c->p0 * (size_t)Q + (size_t)c->j * 2) * L;
    for (int p = 0; p < rows; p++, row++, y += (size_t)Q * L) {
        const int taps = row->n;
        const wf_element *x = x0 + row->h * line;
        const float *w = w0 + (ptrdiff_t)row->r * S * L;
        wf_vf sum[2 * MAX_PAIRS];
        if (prefetch_y) {
            wf_depthwise_prefetch(y, prefetch_y, 2 * WIDTH);
            wf_depthwise_prefetch(x, prefetch_x, WIDTH);
        }
        WF_UNROLL
        for (int t = 0; t < 2 * WIDTH; t++)
            sum[t] = wf_vzero();
        for (int r = 0; r < taps; r++) {
            filter_row(S, ODD, WIDTH, EDGE, x, lo, hi, w, sum);
            x = wf_opaque(x + x_step);
            w = wf_opaque(w + w_step);
        }
        WF_UNROLL
        for (int t = 0; t < 2 * WIDTH; t++)
            if (!EDGE || t < outputs)
                wf_estore(y + t * L, sum[t]);
    }
}

WF_INLINE void tiles_of_any_width(const int S, const int ODD, const wf_depthwise *g, const plane *a,
                                  const column *c)
{
    const bool edge = c->lo > 0 || c->hi < c->WIDTH + (S - 1) / 2 || c->outputs < 2 * c->WIDTH;
    switch (edge ? -c->WIDTH : c->WIDTH) {
    case 4: strips(S, ODD, 4, false, g, a, c); break;
    case 3: strips(S, ODD, 3, false, g, a, c); break;
    case -4: strips(S, ODD, 4, true, g, a, c); break;
    case -3: strips(S, ODD, 3, true, g, a, c); break;
    case 2:
    case -2: strips(S, ODD, 2, true, g, a, c); break;
    case 1:
    case -1: strips(S, ODD, 1, true, g, a, c); break;
    }
}

typedef void tiles_fn(const wf_depthwise *g, const plane *a, const column *c);

static void tiles_3_even(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(3, 0, g, a, c);
}
static void tiles_3_odd(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(3, 1, g, a, c);
}
static void tiles_5_even(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(5, 0, g, a, c);
}
static void tiles_5_odd(const wf_depthwise *g, const plane *a, const column *c)
{
    tiles_of_any_width(5, 1, g, a, c);
}

/* The function for this width of the filter; NULL: there is none. */
static tiles_fn *tiles_function(const wf_depthwise *g)
{
    if (g->dilation[1] != 1 || g->stride[1] != 2)
        return NULL;
    if (g->S == 3)
        return g->padding[1] % 2 ? tiles_3_odd : tiles_3_even;
    if (g->S == 5)
        return g->padding[1] % 2 ? tiles_5_odd : tiles_5_even;
    return NULL;
}

static void band(const wf_depthwise *g, tiles_fn *fn, const plane *a, int p0, int p1)
{
    const wf_strips cut = wf_strips_of((g->Q + 1) / 2, MAX_PAIRS);
    column c = {.p0 = p0, .p1 = p1, .w0 = (g->padding[1] + 1) / 2 - (g->S - 1) / 2};
    for (int i = 0; i < cut.strips; i++) {
        c.WIDTH = cut.narrow + (i < cut.wide);
        c.lo = -c.w0;
        c.hi = g->W - c.w0;
        c.outputs = g->Q - 2 * c.j;
        fn(g, a, &c);
        c.j += c.WIDTH;
        c.w0 += c.WIDTH;
    }
}

/* ---- any filter, stride, padding and dilation ------------------------------------------------ */

enum { PIXELS = 64 }; /* outputs of a row that are summed at a time */

/* Computes outputs [q0, q1) of a row: adds input by input. */
static void run_any(const wf_depthwise *g, const plane *a, int p, int q0, int q1)
{
    const wf_depthwise_row row = g->row[p];
    const int stride = g->stride[1];
    wf_vf sum[PIXELS];
    for (int q = q0; q < q1; q++)
        sum[q - q0] = wf_vzero();
    for (int r = 0; r < row.n; r++) {
        const wf_element *x = a->x + ((ptrdiff_t)row.h + r * g->h_step) * g->W * L;
        const float *w = a->w + ((ptrdiff_t)row.r + r * g->r_step) * g->S * L;
        for (int s = 0; s < g->S; s++) {
            int begin, end; /* of the inputs that filter column s carries into the image */
            wf_conv2d_range(g->Q, g->W, stride, g->padding[1], g->dilation[1], s, &begin, &end);
            const wf_vf f = wf_vload(w + (size_t)s * L);
            const ptrdiff_t first = (ptrdiff_t)s * g->dilation[1] - g->padding[1];
            if (first + (ptrdiff_t)begin * stride < q0)
                begin = (int)((q0 - first + stride - 1) / stride);
            for (ptrdiff_t j = begin; j < end && first + j * stride < q1; j++) {
                wf_vf *at = &sum[first + j * stride - q0];
                *at = wf_vfma(wf_eload(x + j * L), f, *at);
            }
        }
    }
    for (int q = q0; q < q1; q++)
        wf_estore(a->y + ((size_t)p * (size_t)g->Q + (size_t)q) * L, sum[q - q0]);
}

static void row_any(const wf_depthwise *g, const plane *a, int p)
{
    for (int q = 0; q < g->Q; q += PIXELS)
        run_any(g, a, p, q, q + PIXELS < g->Q ? q + PIXELS : g->Q);
}

void WF_ELEMENT_FN(wf_depthwise_spread)(const wf_depthwise *g, const wf_element *x, const float *w,
                                        wf_element *y)
{
    tiles_fn *const fn = tiles_function(g);
    const plane a = {x, w, y};
    for (int p = 0; fn && p < g->P; p += g->band)
        band(g, fn, &a, p, p + g->band < g->P ? p + g->band : g->P);
    for (int p = 0; !fn && p < g->P; p++)
        row_any(g, &a, p);
}
