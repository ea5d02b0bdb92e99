/* Winograd F(4x4, 3x3): forward, and backward-data as the forward of the rotated filter.
 *
 * A tile is a few images and a range of output channels. It takes some patches at once: transforms their
 * input for all channels, multiplies at each of the 36 points by the transformed filter for a pair of
 * output blocks, and transforms the products back. winograd.h has the transforms. It takes so many patches
 * that the filter comes from a far cache seldom. With a small filter, V stays in L2; with a large one:
 * Note [Large filters].
 *
 * A product sums over channels in order, whatever is taken together, so the bits follow from the shape and
 * the instruction set. Everything but the plan is stateless.
 *
 * Packed weights: [output block][point][input channel][L outputs].
 * V, transformed inputs: [block of channels][point][patch][WINO_CHANNELS_BLOCK_SIZE].
 * M, products: [point][pair of output blocks][patch][2 blocks][L].
 * Letters are the pass's: I input channels, O output channels, H W input, P Q output. */
#include <math.h>
#include <stdio.h>

#include "kernels/conv2d/winograd/forward.h"
#include "kernels/select.h"
#include "kernels/simd/transpose.h"

/* Note [Large filters]
 * With more than some 100 channels a side the transformed filter (36 C K floats) no longer fits L2. Then L2
 * holds M of one pair of output blocks, and as much of the filter; that says how many patches are taken at
 * once. V waits in L3. An image that has fewer patches is taken together with others. If that leaves few
 * tiles, the output channels are cut into parts, each of which transforms the input again. There are three
 * orders:
 *
 * Packed. Point by point, the kernel multiplies all output blocks, so that it reads a point's V and filter
 * from L3 once. Then it transforms all blocks back.
 *
 * By rows: Note [Rows of points] in forward_rows.c, where the machine class has room for that in L2 and the
 * packed filter is used often enough.
 *
 * Plain. A transformed filter has four times the bytes of the plain one. If L3 does not hold that, or if it
 * would be used less than PACKED_TIMES, it never exists whole. For a pair of output blocks, the kernel
 * transforms the filter of 64 input channels into L2 and uses it at once for all patches, then the next 64.
 * V streams by in the order in which it lies. */
enum {
    PACKED_TIMES =
        5, /* uses that make packing pay: storing the filter costs as much as four transforms */
    PACKED_CHANNELS_BLOCK_SIZE = 256, /* of the packed filter for a pair of output blocks: in L1 */
    MIN_PART_CHANNELS =
        128,              /* output channels: with these, transforming the input again costs 7 % */
    MIN_ROW_PATCHES = 24, /* of Note [Rows of points]: with less, the filter passes by too often */
    TILES_PER_WORKER = 4, /* so that few wait for the last tile */
    USUAL_WORKERS = 2,    /* the expected cost must not depend on how many there are */
    GATHER = 16           /* input channels whose taps are gathered at once */
};

static wino_geometry geometry_of(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    if (pass == WF_CONV2D_FORWARD)
        return (wino_geometry){d->C, d->K, d->H, d->W, d->P, d->Q, {d->padding[0], d->padding[1]}};
    return (wino_geometry){
        d->K, d->C, d->P, d->Q, d->H, d->W, {2 - d->padding[0], 2 - d->padding[1]}};
}

static int pieces_of(int n, int most)
{
    return (n + most - 1) / most;
}

static int at_most(int n, int most)
{
    return n < most ? n : most > 1 ? most : 1;
}

/* How many parts a tile's output channels are cut into, so that there are enough tiles. Where workers
 * would have none at all, a part may be one pair of blocks: to transform the input again costs less than
 * an idle worker. */
static int parts_for(const wino_forward_plan *p, int tiles, int workers)
{
    const int most = p->blocks * L / MIN_PART_CHANNELS;
    const int parts = at_most(pieces_of(TILES_PER_WORKER * workers, tiles), most);
    return tiles * parts >= workers ? parts
                                    : at_most(pieces_of(workers, tiles), p->blocks / WINO_PAIR);
}

/* The same for an image's rows of patches, where the filter is small. */
static int row_parts_for(const wino_forward_plan *p, int N, int workers)
{
    const int most = p->cut.rows * p->cut.columns / MIN_ROW_PATCHES;
    return at_most(at_most(pieces_of(TILES_PER_WORKER * workers, N), most), p->cut.rows);
}

/* Plans Note [Rows of points]. False where V of a row has room for too few patches. */
static bool plan_rows(wino_forward_plan *p, int N, int workers)
{
    const int64_t patches = p->cut.rows * p->cut.columns;
    const int64_t room =
        (int64_t)wino_blocking()->winograd_row_kib * 1024 / (WINO_IN * p->I * (int)sizeof(float));
    if (room < MIN_ROW_PATCHES || room < p->cut.columns)
        return false;
    const int most = room / patches < 1 ? 1 : room / patches < N ? (int)(room / patches) : N;
    int tiles = (N + most - 1) / most;
    p->images = (N + tiles - 1) / tiles;
    tiles = (N + p->images - 1) / p->images;
    p->capacity = p->images * (int)patches;
    if (p->capacity > room) { /* parts of an image, all about equal */
        const int pieces = (p->cut.rows * p->cut.columns + (int)room - 1) / (int)room;
        p->capacity = (p->cut.rows + pieces - 1) / pieces * p->cut.columns;
    }
    if ((int64_t)N * patches < (int64_t)PACKED_TIMES * p->capacity)
        return false;
    p->parts = parts_for(p, tiles, workers);
    p->by_rows = true;
    return true;
}

static void plan_staged(wino_forward_plan *p, int N, int workers)
{
    if (plan_rows(p, N, workers))
        return;
    const int patches = p->cut.rows * p->cut.columns,
              most = wino_patches_in_l2(wino_blocking()->winograd_m_percent);
    int work = (int)(((int64_t)N * patches + most / 2) / most);
    work = work < 1 ? 1 : work < N ? work : N;
    p->images = (N + work - 1) / work;
    work = (N + p->images - 1) / p->images;
    p->parts = parts_for(p, work, workers);
    p->capacity = wino_capacity(&p->cut, p->images > 1 ? p->images * patches : most);
    p->packed = (int64_t)p->I * p->blocks * L * WINO_POINTS * (int)sizeof(float) <=
                    (int64_t)wino_blocking()->winograd_packed_kib * 1024 &&
                (int64_t)N * patches >= (int64_t)PACKED_TIMES * p->capacity;
}

/* The plan for so many workers. Their number decides about tiles only, never about bits. */
static wino_forward_plan plan_of(const wf_conv2d_desc *d, wf_conv2d_pass pass, int workers)
{
    wino_forward_plan p = {
        .g = geometry_of(d, pass), .images = 1, .parts = 1, .row_parts = 1, .packed = true};
    p.in_bf16 = (pass == WF_CONV2D_FORWARD ? d->src_type : d->dst_type) == WEFT_BF16;
    p.out_bf16 = (pass == WF_CONV2D_FORWARD ? d->dst_type : d->src_type) == WEFT_BF16;
    p.I = wf_round_up(p.g.I, L);
    p.blocks = (p.g.O + L - 1) / L;
    p.cut = wino_patches_of(p.g.P, p.g.Q);
    p.capacity = wino_capacity(&p.cut, wino_blocking()->winograd_v_kib * 1024 /
                                           (WINO_POINTS * p.I * (int)sizeof(float)));
    if (wino_is_staged(d))
        plan_staged(&p, d->N, workers);
    else
        p.row_parts = row_parts_for(&p, d->N, workers);
    if (p.capacity > p.images * p.cut.rows * p.cut.columns)
        p.capacity = p.images * p.cut.rows * p.cut.columns;
    p.v_point = wino_v_point(p.capacity);
    p.v_channels_block = (size_t)(p.by_rows ? WINO_IN : WINO_POINTS) * p.v_point;
    p.u_point = (size_t)(p.packed ? p.I : WINO_CHANNELS_BLOCK_SIZE) * L + WINO_SKEW;
    p.u_block = WINO_POINTS * p.u_point;
    p.group = p.packed && wino_is_staged(d) ? (p.blocks + p.parts - 1) / p.parts : WINO_PAIR;
    p.m_pair = (size_t)p.capacity * WINO_PAIR * L;
    p.m_point = p.m_pair * (size_t)(p.by_rows ? 1 : (p.group + 1) / WINO_PAIR) + WINO_SKEW;
    p.half_value = p.m_pair + WINO_SKEW;
    p.half_pair = WINO_IN * WINO_OUT * p.half_value;
    return p;
}

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    wino_geometry g = geometry_of(d, pass);
    const char *reason = NULL;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (!wino_is_image(d->src_type) || d->weights_type != WEFT_F32 ||
             !wino_is_image(d->dst_type))
        reason = "weights of f32, images of f32 or bf16 only";
    else if (d->R != 3 || d->S != 3 || d->stride[0] != 1 || d->stride[1] != 1 ||
             d->dilation[0] != 1 || d->dilation[1] != 1 || d->groups != 1)
        reason = "3x3, stride 1, dense, one group only";
    else if (d->padding[0] > 2 || d->padding[1] > 2)
        reason = "padding of at most 2";
    else if (d->src_block != L || d->dst_block != L)
        reason = "activations in blocks of a vector only";
    else if (g.P < 3 || g.Q < 3)
        reason = "too much of the 4x4 tiles lies outside the image";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    wino_forward_plan p = plan_of(d, pass, USUAL_WORKERS);
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    double patches = (double)d->N * p.cut.rows * p.cut.columns;
    double share = pass == WF_CONV2D_FORWARD ? c->winograd_forward : c->winograd_data;
    double filters =
        p.packed ? 1 : ceil(patches / p.capacity); /* how often the filter is transformed */
    double packed = p.packed ? (double)p.blocks * (double)p.u_block * sizeof(float) : 0;
    return wf_expect_fmas(WINO_POINTS * patches * p.I * p.blocks * L, WF_ISA, share) +
           patches * (p.parts * p.I / L * c->winograd_input + p.blocks * c->winograd_output) +
           filters * p.I * p.blocks * c->winograd_filter + wf_conv2d_expect_traffic(d) +
           /* the packed filter is written and read */
           wf_expect_bytes(c->winograd_packed * packed);
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    wino_forward_plan p = plan_of(&k->desc, k->pass, k->workers);
    const size_t filter = p.packed ? 0 : WINO_PAIR * p.u_block;
    const size_t floats = p.by_rows
                              ? wino_rows_scratch(&p)
                              : wino_v_count(p.capacity, p.I) + WINO_POINTS * p.m_point + filter;
    k->packed_bytes = p.packed ? (size_t)p.blocks * p.u_block * sizeof(float) : 0;
    k->pack_tiles = p.blocks;
    k->images = p.images;
    k->parts = p.parts * p.row_parts;
    const wino_forward_plan usual = plan_of(&k->desc, k->pass, USUAL_WORKERS);
    k->usual_tiles = pieces_of(k->desc.N, usual.images) * usual.parts * usual.row_parts;
    k->scratch_bytes = floats * sizeof(float);
    return true;
}

/* out[j][l] = in[l * in_step + j], of n vectors and `lanes` lanes. */
static void transpose(const float *in, size_t in_step, int lanes, int n, float out[][L])
{
    for (int l = 0; l < lanes; l += 8)
        for (int j = 0; j < n; j += 8) {
            const float *from = in + (size_t)l * in_step + j;
            if (lanes - l >= 8 && n - j >= 8) {
                wf_transpose8(from, in_step, &out[j][l], L);
                continue;
            }
            for (int s = 0; s < n - j && s < 8; s++)
                for (int t = 0; t < lanes - l && t < 8; t++)
                    out[j + s][l + t] = from[(size_t)t * in_step + s];
        }
}

/* taps[i * 9 + s][l] = tap s from input channel first + i to output channel output + l; zero where there is
 * no such channel; in backward-data, tap 8 - s. */
static void gather(const wf_conv2d *k, const wino_geometry *g, const float *weights, int output,
                   int first, float taps[GATHER * 9][L])
{
    const size_t row = (size_t)k->desc.C * 9;
    const int lanes = g->O - output < L ? g->O - output : L;
    const int n = g->I - first < GATHER ? g->I - first : GATHER;
    if (lanes < L || n < GATHER)
        memset(taps, 0, GATHER * 9 * sizeof *taps);
    if (k->pass == WF_CONV2D_FORWARD) {
        transpose(weights + (size_t)output * row + (size_t)first * 9, row, lanes, n * 9, taps);
        return;
    }
    for (int i = 0; i < n; i++)
        transpose(weights + (size_t)(first + i) * row + (size_t)output * 9, 9, lanes, 9,
                  taps + i * 9);
}

/* Transforms the filter from input channels [first, first + n) to an output block; n is a multiple of L.
 * Writes n vectors for each point, `point` floats apart. */
static void transform_filter(const wf_conv2d *k, const wino_geometry *g, const float *weights,
                             int block, int first, int n, float *u, size_t point)
{
    const bool rotated = k->pass == WF_CONV2D_BACKWARD_DATA;
    _Alignas(64) float taps[GATHER * 9][L];
    for (int i = 0; i < n; i++, u += L) {
        wf_vf f[9], t[18], a[WINO_POINTS];
        if (i % GATHER == 0)
            gather(k, g, weights, block * L, first + i, taps);
        for (int s = 0; s < 9; s++)
            f[s] = wf_vload(taps[i % GATHER * 9 + (rotated ? 8 - s : s)]);
        for (int s = 0; s < 3; s++)
            wino_filter(f + s, t + s, 3, 3);
        for (int r = 0; r < WINO_IN; r++)
            wino_filter(t + r * 3, a + r * WINO_IN, 1, 1);
        for (int j = 0; j < WINO_POINTS; j++)
            wf_vstore(u + (size_t)j * point, a[j]);
    }
}

static weft_status pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const wino_forward_plan p = plan_of(&k->desc, k->pass, k->workers);
    transform_filter(k, &p.g, weights, tile, 0, p.I, (float *)packed + (size_t)tile * p.u_block,
                     p.u_point);
    return WEFT_OK;
}

/* Multiplies one point, for n output blocks. */
static void multiply_point(const wino_forward_plan *p, int patches, int n, wino_operands a,
                           float *m)
{
    for (int b = 0; b < n; b += WINO_PAIR, a.u += WINO_PAIR * p->u_block, m += p->m_pair)
        wino_multiply(patches, n - b < WINO_PAIR ? 1 : WINO_PAIR, &a, m);
}

/* Multiplies every point, for n output blocks of the packed filter, which are at u. */
static void multiply_packed(const wino_forward_plan *p, int patches, int n, const float *v,
                            const float *u, float *m)
{
    for (int i = 0; i < WINO_POINTS; i++, v += p->v_point, u += p->u_point, m += p->m_point)
        for (int c = 0; c < p->I; c += PACKED_CHANNELS_BLOCK_SIZE) {
            wino_operands a = {v + (size_t)(c / WINO_CHANNELS_BLOCK_SIZE) * p->v_channels_block,
                               u + (size_t)c * L,
                               p->v_channels_block,
                               p->u_block,
                               p->I - c < PACKED_CHANNELS_BLOCK_SIZE ? p->I - c
                                                                     : PACKED_CHANNELS_BLOCK_SIZE,
                               c > 0,
                               {NULL}};
            multiply_point(p, patches, n, a, m);
        }
}

/* The same with the plain filter, for the n blocks from `block` on: transforms 64 input channels of it into u,
 * multiplies, then the next 64. */
static void multiply_plain(const wf_conv2d *k, const wino_forward_plan *p, int patches, int block,
                           int n, const float *v, const float *weights, float *u, float *m)
{
    for (int c = 0; c < p->I; c += WINO_CHANNELS_BLOCK_SIZE, v += p->v_channels_block) {
        const int channels =
            p->I - c < WINO_CHANNELS_BLOCK_SIZE ? p->I - c : WINO_CHANNELS_BLOCK_SIZE;
        for (int b = 0; b < n; b++)
            transform_filter(k, &p->g, weights, block + b, c, channels, u + (size_t)b * p->u_block,
                             p->u_point);
        for (int i = 0; i < WINO_POINTS; i++) {
            wino_operands a = {v + (size_t)i * p->v_point,
                               u + (size_t)i * p->u_point,
                               p->v_channels_block,
                               p->u_block,
                               channels,
                               c > 0,
                               {NULL}};
            multiply_point(p, patches, n, a, m + (size_t)i * p->m_point);
        }
    }
}

static weft_status batch(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                         void *scratch)
{
    wino_forward_plan p = plan_of(&k->desc, k->pass, k->workers);
    const int channels = part / p.row_parts, rows = part % p.row_parts, all = p.cut.rows;
    const int begin = p.blocks * channels / p.parts, end = p.blocks * (channels + 1) / p.parts;
    if (p.by_rows) {
        wino_run_by_rows(&p, io, n, begin, end, scratch);
        return WEFT_OK;
    }
    float *v = scratch, *m = v + wino_v_count(p.capacity, p.I), *u = m + WINO_POINTS * p.m_point;
    p.cut.rows = all * (rows + 1) / p.row_parts;
    for (wino_rows at = {.first = all * rows / p.row_parts}, from; at.image < n;) {
        int patches = 0;
        from = at;
        while (at.image < n && patches + p.cut.columns <= p.capacity) {
            const char *x = (const char *)io->in + (size_t)at.image * io->in_stride;
            at = wino_take(&p.cut, at, p.capacity - patches);
            wino_transform_input(p.in_bf16, &p.cut, at, x, p.g.H, p.g.W, p.g.padding, p.I,
                                 v + (size_t)patches * WINO_CHANNELS_BLOCK_SIZE, p.v_point,
                                 p.v_channels_block);
            patches += at.n * p.cut.columns;
            at = wino_after(&p.cut, at);
        }
        for (int b = begin; b < end; b += p.group) {
            const int blocks = end - b < p.group ? end - b : p.group;
            const float *w = io->weights;
            if (p.packed)
                multiply_packed(&p, patches, blocks, v, w + (size_t)b * p.u_block, m);
            else
                multiply_plain(k, &p, patches, b, blocks, v, w, u, m);
            wino_output_blocks(&p, io, from, patches, b, blocks, m);
        }
    }
    return WEFT_OK;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_winograd) = {
    .name = "winograd:" WF_ISA_NAME,
    .isa = WF_ISA,
    .amplification = WF_WINOGRAD_AMPLIFICATION,
    .fits = fits,
    .expect = expect,
    .create = create,
    .pack = pack,
    .batch = batch,
};
