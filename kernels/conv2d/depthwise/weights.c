/* Depthwise weight gradient of one plane, over some images: any filter; it hands 3x3 ones to weights_3x3.c.
 *
 * A strip is the gradients of up to four neighbouring outputs. They stay in registers while the kernel loads
 * each input that they meet once per filter row; it never loads the padding. The sums of up to two filter rows
 * stay in registers over as many rows and images as L1 holds. One filter row alone has two sums per weight, of
 * the even and of the odd outputs of a strip, and adds them at the end: with one sum, the units would wait for
 * a chain of dependent multiply-adds. See depthwise.h. */
#include "kernels/conv2d/depthwise/depthwise.h"

enum { MAX_WIDTH = 4, MAX_S = 5, MAX_ROWS = 2, IMAGES_BYTES_IN_L1 = 20480 };

/* Rows [p0, p1) of dy and the filter rows from r on, all of which meet the image there. */
typedef struct rows {
    int p0, p1, r;
} rows;

typedef struct sums {
    wf_vf of[MAX_ROWS][MAX_S], odd[MAX_S];
} sums;

/* Adds a strip to the sums. S, STRIDE, ROWS, WIDTH and EDGE are constants at every call. */
WF_INLINE void strip(const int S, const int STRIDE, const int ROWS, const int WIDTH,
                     const bool EDGE, const wf_element *x, ptrdiff_t x_tap, int lo, int hi,
                     const wf_element *dy, sums *sum)
{
    const int N = (WIDTH - 1) * STRIDE + S;
    wf_vf g[MAX_WIDTH];
    WF_UNROLL
    for (int t = 0; t < WIDTH; t++)
        g[t] = wf_eload(dy + t * L);
    const wf_element *at[MAX_ROWS] = {x, wf_opaque(x + x_tap)};
    WF_UNROLL
    for (int j = 0; j < N; j++) {
        /* at most S - 1 columns are padding on either side */
        if (EDGE && ((j < S - 1 && j < lo) || (j > N - S && j >= hi)))
            continue;
        WF_UNROLL
        for (int r = 0; r < ROWS; r++) {
            const wf_vf v = wf_eload(at[r] + j * L);
            WF_UNROLL
            for (int t = 0; t < WIDTH; t++) {
                const int s = j - t * STRIDE;
                if (s < 0 || s >= S)
                    continue;
                if (ROWS == 1 && t % 2)
                    sum->odd[s] = wf_vfma(v, g[t], sum->odd[s]);
                else
                    sum->of[r][s] = wf_vfma(v, g[t], sum->of[r][s]);
            }
        }
    }
}

/* Adds one row of dy to the sums. */
WF_INLINE void strips_of_row(const int S, const int STRIDE, const int ROWS, const wf_depthwise *g,
                             wf_strips cut, const wf_element *x, ptrdiff_t x_tap,
                             const wf_element *dy, sums *sum)
{
    int lo = g->padding[1], hi = g->W + g->padding[1];
    x = wf_column(x, -g->padding[1]);
    for (int i = 0; i < cut.strips; i++) {
        const int WIDTH = cut.narrow + (i < cut.wide);
        switch (lo > 0 || hi < (WIDTH - 1) * STRIDE + S ? -WIDTH : WIDTH) {
        case 4: strip(S, STRIDE, ROWS, 4, false, x, x_tap, lo, hi, dy, sum); break;
        case 3: strip(S, STRIDE, ROWS, 3, false, x, x_tap, lo, hi, dy, sum); break;
        case -4: strip(S, STRIDE, ROWS, 4, true, x, x_tap, lo, hi, dy, sum); break;
        case -3: strip(S, STRIDE, ROWS, 3, true, x, x_tap, lo, hi, dy, sum); break;
        case 2:
        case -2: strip(S, STRIDE, ROWS, 2, true, x, x_tap, lo, hi, dy, sum); break;
        case 1:
        case -1: strip(S, STRIDE, ROWS, 1, true, x, x_tap, lo, hi, dy, sum); break;
        }
        x = wf_column(x, WIDTH * STRIDE);
        lo -= WIDTH * STRIDE;
        hi -= WIDTH * STRIDE;
        dy += WIDTH * L;
    }
}

/* Adds the gradient of ROWS filter rows to w. */
WF_INLINE void accumulate(const int S, const int STRIDE, const int ROWS, const wf_depthwise *g,
                          const wf_depthwise_images *im, const rows *a, float *w)
{
    const wf_strips cut = wf_strips_of(g->Q, MAX_WIDTH);
    const ptrdiff_t line = (ptrdiff_t)g->W * L, x_tap = g->dilation[0] * line;
    const ptrdiff_t h = (ptrdiff_t)a->p0 * g->stride[0] - g->padding[0] + a->r * g->dilation[0];
    sums sum;
    w += (ptrdiff_t)a->r * S * L;
    WF_UNROLL
    for (int i = 0; i < ROWS * S; i++)
        sum.of[i / S][i % S] = wf_vload(w + i * L);
    WF_UNROLL
    for (int s = 0; s < S; s++)
        sum.odd[s] = wf_vzero();
    for (int i = 0; i < im->n; i++) {
        const wf_element *x = im->x + (size_t)i * im->x_stride + h * line;
        const wf_element *dy =
            im->dy + (size_t)i * im->dy_stride + (size_t)a->p0 * (size_t)g->Q * L;
        for (int p = a->p0; p < a->p1; p++, x += g->stride[0] * line, dy += (ptrdiff_t)g->Q * L)
            strips_of_row(S, STRIDE, ROWS, g, cut, x, x_tap, dy, &sum);
    }
    WF_UNROLL
    for (int s = 0; s < S; s++)
        if (ROWS == 1)
            sum.of[0][s] = wf_vadd(sum.of[0][s], sum.odd[s]);
    WF_UNROLL
    for (int i = 0; i < ROWS * S; i++)
        wf_vstore(w + i * L, sum.of[i / S][i % S]);
}

/* ---- any filter, stride, padding and dilation ------------------------------------------------ */

/* The gradient of filter column s of row a->r, in one image, added to `first`: in four chains. */
static wf_vf tap_any(const wf_depthwise *g, const wf_element *x, const wf_element *dy,
                     const rows *a, int s, wf_vf first)
{
    const size_t step = (size_t)g->stride[1] * L;
    const ptrdiff_t h = (ptrdiff_t)a->p0 * g->stride[0] - g->padding[0] + a->r * g->dilation[0];
    wf_vf sum[4] = {first, wf_vzero(), wf_vzero(), wf_vzero()};
    int begin, end;
    wf_conv2d_range(g->W, g->Q, g->stride[1], g->padding[1], g->dilation[1], s, &begin, &end);
    for (int p = a->p0; p < a->p1 && begin < end; p++) {
        const ptrdiff_t v = (ptrdiff_t)begin * g->stride[1] - g->padding[1] + s * g->dilation[1];
        const wf_element *xp = x + ((h + (ptrdiff_t)(p - a->p0) * g->stride[0]) * g->W + v) * L;
        const wf_element *dyp = dy + ((ptrdiff_t)p * g->Q + begin) * L;
        int q = begin;
        for (; q + 4 <= end; q += 4, xp += 4 * step, dyp += 4 * L)
            for (size_t i = 0; i < 4; i++)
                sum[i] = wf_vfma(wf_eload(xp + i * step), wf_eload(dyp + i * L), sum[i]);
        for (; q < end; q++, xp += step, dyp += L)
            sum[0] = wf_vfma(wf_eload(xp), wf_eload(dyp), sum[0]);
    }
    return wf_vadd(wf_vadd(sum[0], sum[1]), wf_vadd(sum[2], sum[3]));
}

static void one_row_any(const wf_depthwise *g, const wf_depthwise_images *im, const rows *a,
                        float *w)
{
    w += (ptrdiff_t)a->r * g->S * L;
    for (int s = 0; s < g->S; s++, w += L)
        for (int i = 0; i < im->n; i++)
            wf_vstore(w, tap_any(g, im->x + (size_t)i * im->x_stride,
                                 im->dy + (size_t)i * im->dy_stride, a, s, wf_vload(w)));
}

/* ---- planes ---------------------------------------------------------------------------------- */

/* How many filter rows are taken at once. */
static int most_rows(const wf_depthwise *g)
{
    const bool fast = (g->S == 3 || g->S == 5) && g->dilation[1] == 1 && g->stride[1] <= 2 &&
                      g->padding[1] < g->S;
    return fast ? MAX_ROWS : 1;
}

/* Adds the gradient of filter rows [a->r, a->r + n). */
static void accumulate_rows(const wf_depthwise *g, const wf_depthwise_images *im, const rows *a,
                            int n, float *w)
{
    if (most_rows(g) == 1) {
        one_row_any(g, im, a, w);
        return;
    }
    switch (g->S * 100 + g->stride[1] * 10 + n) {
    case 311: accumulate(3, 1, 1, g, im, a, w); break;
    case 312: accumulate(3, 1, 2, g, im, a, w); break;
    case 321: accumulate(3, 2, 1, g, im, a, w); break;
    case 322: accumulate(3, 2, 2, g, im, a, w); break;
    case 511: accumulate(5, 1, 1, g, im, a, w); break;
    case 512: accumulate(5, 1, 2, g, im, a, w); break;
    case 521: accumulate(5, 2, 1, g, im, a, w); break;
    case 522: accumulate(5, 2, 2, g, im, a, w); break;
    }
}

/* Rows [p0, p1) of dy against n kernel rows from r on: at once where all n meet the image, and row by
 * row of dy at the borders. */
static void group(const wf_depthwise *g, int r, int n, int p0, int p1,
                  const wf_depthwise_images *im, float *sum)
{
    int from, to, begin, end;
    wf_conv2d_range(g->H, g->P, g->stride[0], g->padding[0], g->dilation[0], r, &begin, &to);
    wf_conv2d_range(g->H, g->P, g->stride[0], g->padding[0], g->dilation[0], r + n - 1, &from,
                    &end);
    begin = begin > p0 ? begin : p0;
    end = end < p1 ? end : p1;
    if (begin < end)
        accumulate_rows(g, im, &(rows){begin, end, r}, n, sum);
    for (int p = p0; p < p1; p++) {
        const wf_depthwise_row row = g->row[p];
        const int r0 = row.r > r ? row.r : r;
        const int r1 = row.r + row.n < r + n ? row.r + row.n : r + n;
        if (r0 < r1 && (p < begin || p >= end))
            accumulate_rows(g, im, &(rows){p, p + 1, r0}, r1 - r0, sum);
    }
}

void WF_ELEMENT_FN(wf_depthwise_gradient)(const wf_depthwise *g, const wf_depthwise_images *images,
                                          float *sum)
{
    if (WF_ELEMENT_FN(wf_depthwise_gradient_3x3)(g, images, sum))
        return;
    const int most = most_rows(g);
    const int band = g->R <= most ? g->P : g->band; /* rows are read once in any case */
    const size_t bytes =
        (wf_depthwise_plane(g->H, g->W) + wf_depthwise_plane(g->P, g->Q)) * sizeof(wf_element);
    const int at_once = bytes < IMAGES_BYTES_IN_L1 ? (int)(IMAGES_BYTES_IN_L1 / bytes) : 1;
    for (int i = 0; i < images->n; i += at_once) {
        wf_depthwise_images im = *images;
        im.x += (size_t)i * images->x_stride;
        im.dy += (size_t)i * images->dy_stride;
        im.n = images->n - i < at_once ? images->n - i : at_once;
        for (int p = 0; p < g->P; p += band)
            for (int r = 0; r < g->R; r += most)
                group(g, r, g->R - r < most ? g->R - r : most, p, p + band < g->P ? p + band : g->P,
                      &im, sum);
    }
}
