/* Direct backward-weights in registers, for blocked activations and for a plain network input.
 *
 * A slot holds the weights as K/L, C/B, R, S, B, L, with L channels in a vector and B in a block of
 * src (1 where src is plain); K is padded. A part is a run of output-channel blocks. Within a tile
 * the images come one after the other, each in chunks of rows that stay in the first-level cache,
 * and every weight adds its pixels in that order: the bits follow from shape and ISA.
 *
 * The inner loop is a product of a column of src values and a row of ddst vectors, 8 to 12 sums in
 * registers: fewer would leave the multiply-add units waiting for their own results. Taps that
 * fall into the padding are never computed for blocked src; a plain image, which is small, is
 * copied into a frame of zeros first. Stateless but for the plan: any worker may run any tile. */
#include <stdio.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/select.h"
#include "kernels/simd/simd.h"

enum {
    L = WF_LANES,
    CHUNK = 200,         /* pixels that are taken through all taps before the next */
    PART_FLOPS = 4000000 /* a tile of less is not worth handing out */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "backward-weights only";
    else if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32)
        reason = "f32 only";
    else if (d->groups != 1)
        reason = "no groups";
    else if (d->dst_block != L || (d->src_block != 1 && d->src_block != L))
        reason = "needs dst in blocks of a vector, src in the same or plain";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

/* Output-channel blocks that the inner loop takes at once, at most. */
static int group_of(const wf_conv2d_desc *d)
{
    return d->src_block == 1 ? 4 : 2;
}

/* Of a plain image in its frame. */
static size_t frame_row(const wf_conv2d_desc *d)
{
    return (size_t)d->W + 2 * (size_t)d->padding[1];
}

static size_t frame_plane(const wf_conv2d_desc *d)
{
    return ((size_t)d->H + 2 * (size_t)d->padding[0]) * frame_row(d);
}

/* Elements of a slot for one output-channel block. */
static size_t block_count(const wf_conv2d_desc *d)
{
    return (size_t)wf_round_up(d->C, d->src_block) * (size_t)d->R * (size_t)d->S * L;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool point = d->R == 1 && d->S == 1, strided = d->stride[0] > 1 || d->stride[1] > 1;
    double share = point       ? (d->Q <= 16 ? 0.92 : 0.8)
                   : d->S >= 5 ? 0.95
                               : 0.9; /* as measured, docs/kernels.md */
    if (d->src_block == 1)
        share = 0.78;
    else if (strided)
        share = point ? 0.56 : 0.8;
    return wf_conv2d_expect(d, WF_ISA, share);
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    int blocks = (d->K + L - 1) / L, groups = (blocks + group_of(d) - 1) / group_of(d);
    double slot_flops = wf_conv2d_flops(d) / d->N * k->slot_images;
    double parts = slot_flops / PART_FLOPS;
    k->parts = parts < 1 ? 1 : parts < groups ? (int)parts : groups;
    k->slot_bytes = block_count(d) * (size_t)blocks * sizeof(float);
    k->reduce_tiles = blocks;
    if (d->src_block == 1)
        k->scratch_bytes = frame_plane(d) * (size_t)d->C * sizeof(float);
    return true;
}

/* ---- the inner loops ------------------------------------------------------------------------ */

/* A rectangle of pixels as src and ddst see it; steps in floats. */
typedef struct pixels {
    int rows, columns;
    const float *x, *dy;
    size_t x_row, x_column, dy_row, dy_block;
} pixels;

enum { MAX_NX = 8, MAX_NB = 4 };

/* w[i][b] += sum over the pixels of x[i * x_step] * dy[b], for NX values and NB vectors; both are
 * constants where this is called, so the sums stay in registers. */
WF_INLINE void outer_product(const int NX, const int NB, const pixels *p, size_t x_step, float *w,
                             size_t w_x, size_t w_block)
{
    wf_vf sum[MAX_NX][MAX_NB];
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            sum[i][b] = wf_vload(w + (size_t)i * w_x + (size_t)b * w_block);
    for (int r = 0; r < p->rows; r++) {
        const float *x = p->x + (size_t)r * p->x_row, *dy = p->dy + (size_t)r * p->dy_row;
        for (int c = 0; c < p->columns; c++, x += p->x_column, dy += L) {
            wf_vf v[MAX_NB];
            for (int b = 0; b < NB; b++)
                v[b] = wf_vload(dy + (size_t)b * p->dy_block);
            for (int i = 0; i < NX; i++) {
                wf_vf xi = wf_vset1(x[(size_t)i * x_step]);
                for (int b = 0; b < NB; b++)
                    sum[i][b] = wf_vfma(xi, v[b], sum[i][b]);
            }
        }
    }
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            wf_vstore(w + (size_t)i * w_x + (size_t)b * w_block, sum[i][b]);
}

/* The same for `blocks` output-channel blocks and the `n` values that a caller has. */
static void blocked_product(int blocks, int n, const pixels *p, float *w, size_t w_block)
{
    int i = 0;
    if (blocks == 2)
        for (; i < n; i += 4) {
            pixels at = *p;
            at.x += i;
            outer_product(4, 2, &at, 1, w + (size_t)i * L, L, w_block);
        }
    else
        for (; i < n; i += 8) {
            pixels at = *p;
            at.x += i;
            outer_product(8, 1, &at, 1, w + (size_t)i * L, L, w_block);
        }
}

static void plain_product(int blocks, int taps, const pixels *p, size_t tap, float *w,
                          size_t w_block)
{
    for (int s = 0; s < taps;) {
        pixels at = *p;
        float *ws = w + (size_t)s * L;
        int n = taps - s >= 3 ? 3 : 1;
        at.x += (size_t)s * tap;
        switch (blocks * 4 + n) {
        case 4 * 4 + 3: outer_product(3, 4, &at, tap, ws, L, w_block); break;
        case 4 * 4 + 1: outer_product(1, 4, &at, tap, ws, L, w_block); break;
        case 2 * 4 + 3: outer_product(3, 2, &at, tap, ws, L, w_block); break;
        case 2 * 4 + 1: outer_product(1, 2, &at, tap, ws, L, w_block); break;
        case 1 * 4 + 3: outer_product(3, 1, &at, tap, ws, L, w_block); break;
        case 1 * 4 + 1: outer_product(1, 1, &at, tap, ws, L, w_block); break;
        }
        s += n;
    }
}

/* ---- one image ------------------------------------------------------------------------------ */

/* Rows [p0, p1) of ddst against every tap, for `blocks` output-channel blocks from dy and w on. */
static void blocked_rows(const wf_conv2d_desc *d, int blocks, int p0, int p1, const float *x,
                         const float *dy, float *w)
{
    const size_t x_plane = (size_t)d->H * (size_t)d->W * L;
    pixels at = {.x_row = (size_t)d->stride[0] * (size_t)d->W * L,
                 .x_column = (size_t)d->stride[1] * L,
                 .dy_row = (size_t)d->Q * L,
                 .dy_block = (size_t)d->P * (size_t)d->Q * L};
    for (int cb = 0; cb < (d->C + L - 1) / L; cb++, x += x_plane)
        for (int r = 0; r < d->R; r++)
            for (int s = 0; s < d->S; s++, w += (size_t)L * L) {
                int first, last, q0, q1;
                wf_conv2d_range(d->H, d->P, d->stride[0], d->padding[0], d->dilation[0], r, &first,
                                &last);
                wf_conv2d_range(d->W, d->Q, d->stride[1], d->padding[1], d->dilation[1], s, &q0,
                                &q1);
                first = first > p0 ? first : p0;
                last = last < p1 ? last : p1;
                int h = first * d->stride[0] + r * d->dilation[0] - d->padding[0];
                int v = q0 * d->stride[1] + s * d->dilation[1] - d->padding[1];
                at.rows = last - first;
                at.columns = q1 - q0;
                if (at.rows < 1 || at.columns < 1)
                    continue;
                at.x = x + ((size_t)h * (size_t)d->W + (size_t)v) * L;
                at.dy = dy + ((size_t)first * (size_t)d->Q + (size_t)q0) * L;
                if (at.x_row == (size_t)at.columns * at.x_column && at.columns == d->Q) {
                    at.columns *= at.rows; /* whole rows on end are one row */
                    at.rows = 1;
                }
                blocked_product(blocks, L, &at, w, block_count(d));
            }
}

static void plain_rows(const wf_conv2d_desc *d, int blocks, int p0, int p1, const float *frame,
                       const float *dy, float *w)
{
    pixels at = {.rows = p1 - p0,
                 .columns = d->Q,
                 .dy = dy + (size_t)p0 * (size_t)d->Q * L,
                 .x_row = (size_t)d->stride[0] * frame_row(d),
                 .x_column = (size_t)d->stride[1],
                 .dy_row = (size_t)d->Q * L,
                 .dy_block = (size_t)d->P * (size_t)d->Q * L};
    for (int c = 0; c < d->C; c++)
        for (int r = 0; r < d->R; r++, w += (size_t)d->S * L) {
            size_t h = (size_t)p0 * (size_t)d->stride[0] + (size_t)r * (size_t)d->dilation[0];
            at.x = frame + (size_t)c * frame_plane(d) + h * frame_row(d);
            plain_product(blocks, d->S, &at, (size_t)d->dilation[1], w, block_count(d));
        }
}

static void fill_frame(const wf_conv2d_desc *d, const float *x, float *frame)
{
    memset(frame, 0, frame_plane(d) * (size_t)d->C * sizeof *frame);
    for (int c = 0; c < d->C; c++)
        for (int h = 0; h < d->H; h++, x += d->W) {
            size_t row =
                (size_t)c * frame_plane(d) + ((size_t)h + (size_t)d->padding[0]) * frame_row(d);
            memcpy(frame + row + d->padding[1], x, (size_t)d->W * sizeof *x);
        }
}

static void backward_weights(const wf_conv2d *k, int worker, const void *src, size_t src_stride,
                             const void *ddst, size_t ddst_stride, int n, void *slot, int part,
                             void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const int blocks = (d->K + L - 1) / L, most = group_of(d), groups = (blocks + most - 1) / most;
    const int begin = (int)((int64_t)groups * part / k->parts) * most;
    int end = (int)((int64_t)groups * (part + 1) / k->parts) * most;
    end = end < blocks ? end : blocks;
    const int chunk = d->Q < CHUNK ? CHUNK / d->Q : 1;
    const size_t plane = (size_t)d->P * (size_t)d->Q * L;
    memset((float *)slot + (size_t)begin * block_count(d), 0,
           (size_t)(end - begin) * block_count(d) * sizeof(float));
    for (int i = 0; i < n; i++) {
        const float *x = (const float *)((const char *)src + (size_t)i * src_stride);
        const float *dy = (const float *)((const char *)ddst + (size_t)i * ddst_stride);
        if (d->src_block == 1)
            fill_frame(d, x, scratch);
        for (int p = 0; p < d->P; p += chunk) {
            int stop = p + chunk < d->P ? p + chunk : d->P;
            for (int b = begin; b < end;) {
                int count = end - b >= most ? most : end - b >= 2 ? 2 : 1;
                float *w = (float *)slot + (size_t)b * block_count(d);
                if (d->src_block == 1)
                    plain_rows(d, count, p, stop, scratch, dy + (size_t)b * plane, w);
                else
                    blocked_rows(d, count, p, stop, x, dy + (size_t)b * plane, w);
                b += count;
            }
        }
    }
}

static void reduce(const wf_conv2d *k, int worker, void *slots, size_t slot_stride, void *dweights,
                   int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t taps = (size_t)d->R * (size_t)d->S;
    const float *w = (float *)slots + (size_t)tile * block_count(d);
    const int outputs = d->K - tile * L < L ? d->K - tile * L : L;
    float *out = (float *)dweights + (size_t)tile * L * (size_t)d->C * taps;
    wf_conv2d_sum_slots(WEFT_F32, (void *)(uintptr_t)w, slot_stride, k->slots, block_count(d));
    for (int c0 = 0; c0 < d->C; c0 += d->src_block) {
        int inputs = d->C - c0 < d->src_block ? d->C - c0 : d->src_block;
        for (size_t t = 0; t < taps; t++, w += (size_t)d->src_block * L)
            for (int o = 0; o < outputs; o++)
                for (int c = 0; c < inputs; c++)
                    out[((size_t)o * (size_t)d->C + (size_t)(c0 + c)) * taps + t] = w[c * L + o];
    }
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_direct) = {
    .name = "direct:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
