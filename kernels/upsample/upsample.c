/* Resampling of images in channel blocks, a multiple of WF_LANES wide, f32 and bf16 (Note [Elements] in
 * element.h): one source for every ISA over kernels/simd, with one lane for any layout, and
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

enum { PIXELS = 64 /* of a row, in the first-level cache */ };

/* ---- backward, nearest: PIXELS of a row of dx are added up in float and stored once. The rows of dy are read one
 * after the other: memory is faster in that order than by several rows at a time. ---- */

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

/* ---- backward, bilinear: a row of dy is added up along its length, with each weight once, and then
 * given to two rows of dx. The rows of dy are read one after the other. ---- */

/* Outputs of a row, by the first pixel that they are made of: in [before, first) the one before the pixels
 * at hand, in [first, end) one of these. */
typedef struct outputs {
    int before, first, end;
} outputs;

static outputs outputs_of(const wf_upsample_tap *taps, int n, int j0, int j1)
{
    outputs o = {0, 0, 0};
    while (o.before < n && taps[o.before].from[0] < j0 - 1)
        o.before++;
    for (o.first = o.before; o.first < n && taps[o.first].from[0] < j0;)
        o.first++;
    for (o.end = o.first; o.end < n && taps[o.end].from[0] < j1;)
        o.end++;
    return o;
}

/* What row p of the outputs, at dy, gives to pixels [j0, j1) of two rows. */
static void row_gives(const wf_upsample *g, const wf_element *dy, const wf_upsample_tap *r,
                      outputs o, int j0, int j1, wf_vf *low, wf_vf *high)
{
    const size_t b = (size_t)g->in.block;
    const wf_upsample_tap *k = g->cols + o.before, *const first = g->cols + o.first,
                          *const end = g->cols + o.end;
    const wf_vf r0 = wf_vset1(r->f[0]), r1 = wf_vset1(r->f[1]);
    wf_vf next = wf_vzero();
    dy += (size_t)o.before * b;
    for (; k < first; k++, dy += b)
        next = wf_vadd(next, wf_vmul(wf_vset1(k->f[1]), wf_eload(dy)));
    for (int j = j0; j < j1; j++, low++, high++) {
        wf_vf sum = next;
        next = wf_vzero();
        for (; k < end && k->from[0] == j; k++, dy += b) {
            const wf_vf d = wf_eload(dy);
            sum = wf_vadd(sum, wf_vmul(wf_vset1(k->f[0]), d));
            next = wf_vadd(next, wf_vmul(wf_vset1(k->f[1]), d));
        }
        if (j == g->in.W - 1) /* the last pixel is its own neighbour */
            sum = wf_vadd(sum, next);
        *low = wf_vadd(*low, wf_vmul(r0, sum));
        *high = wf_vadd(*high, wf_vmul(r1, sum));
    }
}

/* One vector of channels; steps of a block between pixels. */
static void bilinear_lanes(const wf_upsample *g, const wf_element *dy, wf_element *dx)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->Q * b, in_row = (size_t)g->in.W * b;
    const int H = g->in.H, W = g->in.W;
    wf_vf sums[2][PIXELS]; /* of row i of dx: the one of i's parity */
    for (int j0 = 0; j0 < W; j0 += PIXELS) {
        const int j1 = j0 + PIXELS < W ? j0 + PIXELS : W;
        const outputs columns = outputs_of(g->cols, g->Q, j0, j1);
        for (int j = 0; j < j1 - j0; j++)
            sums[0][j] = wf_vzero();
        for (int i = 0, p = 0; i < H; i++) {
            wf_vf *low = sums[i % 2], *high = sums[1 - i % 2];
            wf_element *to = dx + (size_t)i * in_row + (size_t)j0 * b;
            for (int j = 0; j < j1 - j0; j++)
                high[j] = wf_vzero();
            for (; p < g->P && g->rows[p].from[0] == i; p++)
                row_gives(g, dy + (size_t)p * row, &g->rows[p], columns, j0, j1, low, high);
            for (int j = 0; j < j1 - j0; j++, to += b)
                wf_estore(to, i == H - 1 ? wf_vadd(low[j], high[j]) : low[j]);
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
