/* Resampling of images in channel blocks, a multiple of WF_LANES wide, f32 and bf16 (Note [Elements] in
 * element.h): one source for every ISA over kernels/simd, with one lane for bf16 in any layout, and
 * with the reference's operations in its order. Pure functions, any thread. */
#include "kernels/simd/element.h"

#include "kernels/upsample/upsample.h"

/* Where output element q of a row takes from: two columns of two rows. */
typedef struct corners {
    size_t at0, at1;
    wf_vf c0, c1;
} corners;

WF_INLINE corners corners_of(const wf_upsample_tap *k, size_t block)
{
    return (corners){(size_t)k->from[0] * block, (size_t)k->from[1] * block,
                     wf_vset1((float)k->w[0]), wf_vset1((float)k->w[1])};
}

WF_INLINE wf_vf mix(corners k, const wf_element *row, size_t l)
{
    return wf_vadd(wf_vmul(k.c0, wf_eload(row + k.at0 + l)),
                   wf_vmul(k.c1, wf_eload(row + k.at1 + l)));
}

static void bilinear_row(const wf_upsample *g, const wf_upsample_tap *r, const wf_element *x,
                         wf_element *y)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    const wf_element *low = x + (size_t)r->from[0] * row, *high = x + (size_t)r->from[1] * row;
    const wf_vf r0 = wf_vset1((float)r->w[0]), r1 = wf_vset1((float)r->w[1]);
    for (int q = 0; q < g->Q; q++, y += b) {
        const corners k = corners_of(&g->cols[q], b);
        for (size_t l = 0; l < b; l += WF_LANES)
            wf_estore(y + l, wf_vadd(wf_vmul(r0, mix(k, low, l)), wf_vmul(r1, mix(k, high, l))));
    }
}

static void nearest_row(const wf_upsample *g, const wf_element *x, wf_element *y)
{
    const size_t b = (size_t)g->in.block;
    for (int q = 0; q < g->Q; q++, y += b)
        for (size_t l = 0; l < b; l += WF_LANES)
            wf_estore_exact(y + l, wf_eload(x + (size_t)g->cols[q].from[0] * b + l));
}

static void forward(const wf_upsample *g, const void *vx, void *vy)
{
    const size_t b = (size_t)g->in.block, in_row = (size_t)g->in.W * b, row = (size_t)g->Q * b;
    const wf_element *x = vx;
    wf_element *y = vy;
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block) {
        for (int p = 0; p < g->P; p++, y += row) {
            const int from = g->rows[p].from[0];
            if (!g->nearest)
                bilinear_row(g, &g->rows[p], x, y);
            else
                nearest_row(g, x + (size_t)from * in_row, y);
        }
        x += (size_t)g->in.H * in_row;
    }
}

/* ---- backward, nearest: PIXELS of a row of dx are added up in float and stored once. The rows of dy are read one
 * after the other: memory is faster in that order than by several rows at a time. ---- */

enum { ROWS = 4, PIXELS = 64 };

/* Adds what the outputs from q on, all of one row, give to pixels [j0, j1). Returns the first output behind them:
 * taps go up with the outputs. */
static int add_outputs(const wf_upsample *g, const wf_element *dy, int q, int j0, int j1,
                       wf_vf *sums)
{
    const size_t b = (size_t)g->in.block;
    for (int j = j0; j < j1; j++, sums++) {
        wf_vf sum = *sums;
        for (; q < g->Q && g->cols[q].from[0] == j; q++)
            sum = wf_vadd(sum, wf_eload(dy + (size_t)q * b));
        *sums = sum;
    }
    return q;
}

/* One vector of channels; steps of a block between pixels. */
static void nearest_lanes(const wf_upsample *g, const wf_element *dy, wf_element *dx)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->Q * b;
    wf_vf sums[PIXELS];
    for (int i = 0, p0 = 0, p1; i < g->in.H; i++, p0 = p1) {
        for (p1 = p0; p1 < g->P && g->rows[p1].from[0] == i;)
            p1++;
        for (int j0 = 0, q0 = 0, q1 = 0; j0 < g->in.W; j0 += PIXELS, q0 = q1) {
            const int j1 = j0 + PIXELS < g->in.W ? j0 + PIXELS : g->in.W;
            for (int j = 0; j < j1 - j0; j++)
                sums[j] = wf_vzero();
            for (int p = p0; p < p1; p++)
                q1 = add_outputs(g, dy + (size_t)p * row, q0, j0, j1, sums);
            for (int j = j0; j < j1; j++, dx += b)
                wf_estore(dx, sums[j - j0]);
        }
    }
}

/* ---- backward, bilinear: ROWS x PIXELS of dx are added up in float and stored once. Several rows at a time,
 * since each output's row gives to two, whose additions need not wait for each other. ---- */

/* The outputs [begin, end) with a tap in [i0, i1): taps go up with the outputs. */
typedef struct outputs {
    int begin, end;
} outputs;

static outputs outputs_over(const wf_upsample_tap *taps, int n, int i0, int i1)
{
    int low = 0, high = n; /* the first with from[1] >= i0 */
    while (low < high) {
        const int middle = (low + high) / 2;
        if (taps[middle].from[1] < i0)
            low = middle + 1;
        else
            high = middle;
    }
    int end = low;
    while (end < n && taps[end].from[0] < i1)
        end++;
    return (outputs){low, end};
}

/* Adds d, times its weight, to each pixel of [j0, j1) that tap k names. */
WF_INLINE void give(const wf_upsample_tap *k, wf_vf c0, wf_vf c1, wf_vf d, int j0, int j1,
                    wf_vf *sums)
{
    const int low = k->from[0] - j0, high = k->from[1] - j0;
    if (low >= 0)
        sums[low] = wf_vadd(sums[low], wf_vmul(c0, d));
    if (high < j1 - j0)
        sums[high] = wf_vadd(sums[high], wf_vmul(c1, d));
}

/* What row p of the outputs gives to pixels [j0, j1) of rows [i0, i1). dy: the lanes' first element. */
static void row_gives(const wf_upsample *g, const wf_element *dy, int p, int i0, int i1, int j0,
                      int j1, wf_vf (*sums)[PIXELS])
{
    const size_t b = (size_t)g->in.block;
    const wf_upsample_tap *r = &g->rows[p], *k = g->cols;
    const outputs columns = outputs_over(k, g->Q, j0, j1);
    const wf_vf r0 = wf_vset1((float)r->w[0]), r1 = wf_vset1((float)r->w[1]);
    wf_vf *const low = r->from[0] >= i0 ? sums[r->from[0] - i0] : NULL;
    wf_vf *const high = r->from[1] < i1 ? sums[r->from[1] - i0] : NULL;
    dy += ((size_t)p * (size_t)g->Q + (size_t)columns.begin) * b;
    for (int q = columns.begin; q < columns.end; q++, dy += b) {
        const wf_vf d = wf_eload(dy);
        const wf_vf c0 = wf_vset1((float)k[q].w[0]), c1 = wf_vset1((float)k[q].w[1]);
        if (low)
            give(&k[q], c0, c1, wf_vmul(r0, d), j0, j1, low);
        if (high)
            give(&k[q], c0, c1, wf_vmul(r1, d), j0, j1, high);
    }
}

/* One vector of channels; steps of a block between pixels. */
static void bilinear_lanes(const wf_upsample *g, const wf_element *dy, wf_element *dx)
{
    wf_vf sums[ROWS][PIXELS];
    for (int i0 = 0; i0 < g->in.H; i0 += ROWS) {
        const int i1 = i0 + ROWS < g->in.H ? i0 + ROWS : g->in.H;
        const outputs rows = outputs_over(g->rows, g->P, i0, i1);
        for (int j0 = 0; j0 < g->in.W; j0 += PIXELS) {
            const int j1 = j0 + PIXELS < g->in.W ? j0 + PIXELS : g->in.W;
            for (int i = 0; i < ROWS; i++)
                for (int j = 0; j < j1 - j0; j++)
                    sums[i][j] = wf_vzero();
            for (int p = rows.begin; p < rows.end; p++)
                row_gives(g, dy, p, i0, i1, j0, j1, sums);
            for (int i = i0; i < i1; i++)
                for (int j = j0; j < j1; j++)
                    wf_estore(dx + ((size_t)i * (size_t)g->in.W + (size_t)j) * (size_t)g->in.block,
                              sums[i - i0][j - j0]);
        }
    }
}

static void backward(const wf_upsample *g, const void *vdy, void *vdx)
{
    const size_t b = (size_t)g->in.block, image = (size_t)g->in.H * (size_t)g->in.W * b;
    const wf_element *dy = vdy;
    wf_element *dx = vdx;
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block, dx += image) {
        for (size_t l = 0; l < b; l += WF_LANES)
            (g->nearest ? nearest_lanes : bilinear_lanes)(g, dy + l, dx + l);
        dy += (size_t)g->P * (size_t)g->Q * b;
    }
}

extern const wf_upsample_fns WF_ELEMENT_FN(wf_upsample);
const wf_upsample_fns WF_ELEMENT_FN(wf_upsample) = {.name = "upsample:" WF_ISA_NAME
                                                            ":" WF_ELEMENT_NAME,
                                                    .isa = WF_ISA,
                                                    .dtype = WF_ELEMENT_DTYPE,
                                                    .lanes = WF_LANES,
                                                    .forward = forward,
                                                    .backward = backward};
