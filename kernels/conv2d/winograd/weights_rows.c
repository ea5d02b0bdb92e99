/* Winograd F(4x4, 3x3), backward-weights with a large filter: a row of six points after the other, as in Note
 * [Rows of points] of forward_rows.c. For each row of points, and for as many patches as are taken at once:
 *   1. transform the input of the part's channels: V of a row, which stays in L2;
 *   2. for each pair of output blocks: transform the gradient; for each block of channels, add up the products
 *      at the six points. Where these patches are the split's last, transform the sums along the row. Six
 *      numbers become three, which wait in L3. If there are more patches, the sums wait there, too.
 * After six rows these are transformed in the other direction: the part of the split's partial sum.
 *
 * V: [block of channels][6 points][patch][WINO_CHANNELS_BLOCK_SIZE]. D: [6 points][patch][2 blocks][L].
 * Sums: [pair of output blocks][block of channels][6 points][channel][2 blocks][L].
 * Halves: [pair of output blocks][block of channels][6 rows][3 values][channel][2 blocks][L]. */
#include "kernels/conv2d/winograd/weights.h"

static size_t v_count(const wino_weights_plan *p)
{
    const int blocks = (p->part_channels + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE;
    return (size_t)blocks * p->v_channels_block;
}

/* Floats of the halves of a block of channels and a pair; of the sums of a row of points. */
static size_t half_count(const wino_weights_plan *p)
{
    return WINO_IN * 3 * p->s_point;
}

static size_t sum_count(const wino_weights_plan *p)
{
    return WINO_IN * p->s_point;
}

size_t wino_weights_rows_scratch(const wino_weights_plan *p)
{
    const int channels_blocks =
        (p->part_channels + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE;
    const size_t all = (size_t)(channels_blocks * ((p->part_blocks + WINO_PAIR - 1) / WINO_PAIR));
    return v_count(p) + WINO_IN * p->d_point + (p->once ? 1 : all) * sum_count(p) +
           all * half_count(p);
}

/* Point row ROW of A y, where y has four gradients of a column, `step` apart. ROW is a constant at every call.
 * wino_output_t has the formulas. */
WF_INLINE wf_vf gradient_point(const int ROW, const wf_vf *y, int step)
{
    const float odd = ROW < 3 ? WINO_A : WINO_B, odd3 = ROW < 3 ? WINO_A / 2 : 2 * WINO_B;
    if (ROW == 0)
        return y[0];
    if (ROW == 5)
        return y[3 * step];
    const wf_vf e = wf_vfma(wf_vset1(ROW < 3 ? 0.5f : 2.0f), y[2 * step], y[0]);
    const wf_vf o = wf_vfma(wf_vset1(odd), y[step], wf_vmul(wf_vset1(odd3), y[3 * step]));
    return ROW % 2 ? wf_vadd(e, o) : wf_vsub(e, o);
}

/* Transforms the 4 x 4 gradients at (top, left) to a row of points, `point` floats apart. */
WF_INLINE void gradient_patch(const bool BF16, const int ROW, const bool whole, const char *dy,
                              int P, int Q, int top, int left, float *z, size_t point)
{
    wf_vf y[WINO_OUT * WINO_OUT], t[WINO_OUT], out[WINO_IN];
    wino_load(BF16, WINO_OUT, whole, dy, P, Q, top, left, y);
    WF_UNROLL
    for (int j = 0; j < WINO_OUT; j++)
        t[j] = gradient_point(ROW, y + j, WINO_OUT);
    wino_output_t(t, out, 1, 1);
    WF_UNROLL
    for (int j = 0; j < WINO_IN; j++)
        wf_vstore(z + (size_t)j * point, out[j]);
}

/* The same for rows r of patches of an image, of some output blocks. */
WF_INLINE void gradient_row(const bool BF16, const int ROW, const wf_conv2d_desc *d,
                            const wino_weights_plan *p, wino_rows r, const char *dy, int blocks,
                            float *z)
{
    const ptrdiff_t vector = WINO_VECTOR(BF16), plane = (ptrdiff_t)d->P * d->Q;
    for (int b = 0; b < blocks; b++, dy += plane * vector) {
        float *out = z + b * L;
        for (int i = 0; i < r.n; i++)
            for (int j = 0; j < p->cut.columns; j++, out += WINO_PAIR * L) {
                const int top = (r.first + i) * WINO_OUT, left = j * WINO_OUT;
                /* the next pair's */
                wino_prefetch(BF16, dy + ((ptrdiff_t)top * d->Q + left) * vector, WINO_PAIR * plane,
                              d->Q);
                if (wino_is_whole(WINO_OUT, d->P, d->Q, top, left))
                    gradient_patch(BF16, ROW, true, dy, d->P, d->Q, top, left, out, p->d_point);
                else
                    gradient_patch(BF16, ROW, false, dy, d->P, d->Q, top, left, out, p->d_point);
            }
    }
}

WF_INLINE void gradient_any(const bool BF16, int row, const wf_conv2d_desc *d,
                            const wino_weights_plan *p, wino_rows r, const char *dy, int blocks,
                            float *z)
{
    switch (row) {
    case 0: gradient_row(BF16, 0, d, p, r, dy, blocks, z); break;
    case 1: gradient_row(BF16, 1, d, p, r, dy, blocks, z); break;
    case 2: gradient_row(BF16, 2, d, p, r, dy, blocks, z); break;
    case 3: gradient_row(BF16, 3, d, p, r, dy, blocks, z); break;
    case 4: gradient_row(BF16, 4, d, p, r, dy, blocks, z); break;
    case 5: gradient_row(BF16, 5, d, p, r, dy, blocks, z); break;
    }
}

/* Transforms the sums of a row of points along the row. */
static void half_back(const wino_weights_plan *p, int channels, const float *sums, float *half)
{
    for (int i = 0; i < channels * WINO_PAIR; i++, sums += L, half += L) {
        wf_vf u[WINO_IN], g[3];
        for (int j = 0; j < WINO_IN; j++)
            u[j] = wf_vload(sums + (size_t)j * p->s_point);
        wino_filter_t(u, g, 1, 1);
        for (int s = 0; s < 3; s++)
            wf_vstore(half + (size_t)s * p->s_point, g[s]);
    }
}

/* Transforms the halves of a block of channels and a pair in the other direction, into the partial sum. */
static void whole_back(const wino_weights_plan *p, const wino_weights_part *a, int channels_block,
                       int pair, const float *half, float *partial_sum)
{
    const int channels = wino_part_channels(a, channels_block), blocks = wino_part_blocks(a, pair);
    const size_t first = (size_t)(a->channel + channels_block * WINO_CHANNELS_BLOCK_SIZE);
    for (int c = 0; c < channels; c++)
        for (int b = 0; b < blocks; b++) {
            const float *from = half + (c * WINO_PAIR + b) * L;
            float *w = partial_sum + ((size_t)(a->block + pair * WINO_PAIR + b) * (size_t)p->C +
                                      first + (size_t)c) *
                                         9 * L;
            wf_vf t[WINO_IN * 3], g[9];
            for (int i = 0; i < WINO_IN * 3; i++)
                t[i] = wf_vload(from + (size_t)i * p->s_point);
            for (int s = 0; s < 3; s++)
                wino_filter_t(t + s, g + s, 3, 3);
            for (int s = 0; s < 9; s++)
                wf_vstore(w + s * L, g[s]);
        }
}

/* What the steps of a part share. */
typedef struct work {
    const wf_conv2d_desc *d;
    const wino_weights_plan *p;
    const wino_weights_part *a;
    const wf_conv2d_gradient_io *io;
    int images, channels_blocks, pairs;
    float *v, *z, *sums, *halves;
} work;

/* Transforms the inputs of the patches from `at` on, as many as are taken at once, to a row of points. Returns
 * the first row of patches behind them. */
static wino_rows inputs_row(const work *w, int row, wino_rows at, int *patches)
{
    const wf_conv2d_desc *d = w->d;
    const wino_weights_plan *p = w->p;
    const size_t first =
        (size_t)w->a->channel * (size_t)d->H * (size_t)d->W * weft_dtype_size(d->src_type);
    *patches = 0;
    while (at.image < w->images && *patches + p->cut.columns <= p->capacity) {
        at = wino_take(&p->cut, at, p->capacity - *patches);
        wino_transform_row(d->src_type == WEFT_BF16, row, &p->cut, at,
                           (const char *)w->io->src + (size_t)at.image * w->io->src_stride + first,
                           d->H, d->W, d->padding, w->a->channels,
                           w->v + (size_t)*patches * WINO_CHANNELS_BLOCK_SIZE, p->v_point,
                           p->v_channels_block);
        *patches += at.n * p->cut.columns;
        at = wino_after(&p->cut, at);
    }
    return at;
}

/* The same for the gradients of a pair of output blocks. */
static void gradients_row(const work *w, int row, int pair, wino_rows at, int patches)
{
    const wf_conv2d_desc *d = w->d;
    const wino_weights_plan *p = w->p;
    const size_t plane = (size_t)d->P * (size_t)d->Q * L * weft_dtype_size(d->dst_type);
    const int blocks = wino_part_blocks(w->a, pair);
    for (int done = 0; done < patches;) {
        at = wino_take(&p->cut, at, patches - done);
        const char *dy = (const char *)w->io->ddst + (size_t)at.image * w->io->ddst_stride +
                         (size_t)(w->a->block + pair * WINO_PAIR) * plane;
        float *to = w->z + (size_t)done * WINO_PAIR * L;
        if (d->dst_type == WEFT_BF16)
            gradient_any(true, row, d, p, at, dy, blocks, to);
        else
            gradient_any(false, row, d, p, at, dy, blocks, to);
        done += at.n * p->cut.columns;
        at = wino_after(&p->cut, at);
    }
}

/* Adds up the products of some patches at a row of points. first, last: of the split's patches. */
static void products_row(const work *w, int row, wino_rows at, int patches, bool first, bool last)
{
    const wino_weights_plan *p = w->p;
    for (int pair = 0; pair < w->pairs; pair++) {
        gradients_row(w, row, pair, at, patches);
        for (int c = 0; c < w->channels_blocks; c++) {
            const int i = pair * w->channels_blocks + c;
            const int channels = wino_part_channels(w->a, c), blocks = wino_part_blocks(w->a, pair);
            const float *v = w->v + (size_t)c * p->v_channels_block;
            float *sums = w->sums + (p->once ? 0 : (size_t)i * sum_count(p));
            for (int j = 0; j < WINO_IN; j++)
                wino_accumulate(patches, channels, blocks, !first, v + (size_t)j * p->v_point,
                                w->z + (size_t)j * p->d_point, sums + (size_t)j * p->s_point);
            if (last)
                half_back(p, channels, sums,
                          w->halves + (size_t)i * half_count(p) + (size_t)row * 3 * p->s_point);
        }
    }
}

void wino_weights_by_rows(const wf_conv2d_desc *d, const wino_weights_plan *p,
                          const wino_weights_part *a, const wf_conv2d_gradient_io *io, int n,
                          float *partial_sum, float *scratch)
{
    work w = {.d = d, .p = p, .a = a, .io = io, .images = n};
    w.channels_blocks = (a->channels + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE;
    w.pairs = (a->blocks + WINO_PAIR - 1) / WINO_PAIR;
    w.v = scratch;
    w.z = w.v + v_count(p);
    w.sums = w.z + WINO_IN * p->d_point;
    w.halves = w.sums + (p->once ? 1 : (size_t)(w.pairs * w.channels_blocks)) * sum_count(p);
    for (int row = 0; row < WINO_IN; row++)
        for (wino_rows at = {0}, next; at.image < n; at = next) {
            int patches;
            next = inputs_row(&w, row, at, &patches);
            products_row(&w, row, at, patches, at.image + at.first == 0, next.image == n);
        }
    for (int i = 0; i < w.pairs * w.channels_blocks; i++)
        whole_back(p, a, i % w.channels_blocks, i / w.channels_blocks,
                   w.halves + (size_t)i * half_count(p), partial_sum);
}
