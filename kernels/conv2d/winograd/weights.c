/* Winograd F(4x4, 3x3), backward-weights: dW = GT [sum over patches of (A dy AT) * (BT x B)] G.
 *
 * A tile is a split's images, a range of input channels and one of output channels. It transforms input and
 * output gradient of some patches, adds their products at each of the 36 points, in the order of images and
 * patches, and transforms the sums back once, into a partial sum: [output block][C][R][S][L]. winograd.h
 * has the transforms. The bits follow from the shape and the instruction set. Everything but the plan is
 * stateless.
 *
 * V, transformed inputs: [block of channels][point][patch][WINO_CHANNELS_BLOCK_SIZE].
 * D, transformed gradients: [pair of output blocks][point][patch][2 blocks][L].
 * Sums: [point][pair of output blocks][block of channels][channel][2 blocks][L]. C and K are padded. */
#include <math.h>
#include <stdio.h>

#include "kernels/conv2d/winograd/weights.h"
#include "kernels/select.h"
#include "kernels/simd/transpose.h"

/* As in Note [Large filters] of forward.c: V and D of many patches wait in L3; so do the sums, if the patches
 * are not all of the split's. Each part transforms its input and gradient for itself, so a part is as large
 * as a core's share of L3 allows. */
enum {
    PART = 64, /* output channels of a part, with a small filter */
    STAGED_PART =
        256,          /* input and output channels of a part with a large filter, or half of that */
    USUAL_WORKERS = 2 /* the expected cost must not depend on how many there are */
};

/* Bytes that wait in L3 for a part of so many input and output channels. */
static int64_t staged_bytes(const wino_weights_plan *p, int64_t inputs, int64_t outputs)
{
    int64_t sums = p->once ? 0 : inputs * outputs;
    return (int64_t)sizeof(float) * WINO_POINTS * (p->capacity * (inputs + outputs) + sums);
}

static int min(int a, int b)
{
    return a < b ? a : b;
}

/* The size of a part of `all`, cut into as few parts of at most `most` as possible; `most` is a multiple of
 * `unit`. Parts are as even as whole units allow, since workers wait for the largest. */
static int even_part(int all, int most, int unit)
{
    const int parts = (all + most - 1) / most;
    return min(wf_round_up((all + parts - 1) / parts, unit), all);
}

/* Plans weights_rows.c's order for a split of so many images: V of a row of points, of a part's input channels,
 * stays in L2. */
static void plan_rows(wino_weights_plan *p, const wf_conv2d_desc *d, int images)
{
    const int rows = images * p->cut.rows;
    const int most = wino_blocking()->winograd_row_kib * 1024 / (WINO_IN * (int)sizeof(float)) /
                     min(p->C, STAGED_PART) / p->cut.columns; /* rows of patches */
    if (!wino_is_staged(d) || most == 0)
        return;
    const int pieces = (rows + most - 1) / most;
    p->by_rows = true;
    p->once = pieces == 1;
    p->capacity = (rows + pieces - 1) / pieces * p->cut.columns;
    p->part_channels = STAGED_PART;
    p->part_blocks = STAGED_PART / L;
}

/* Cuts the output channels into as many parts as there are workers, where some would have no tile: to
 * transform the input again costs less than an idle worker. */
static void plan_few(wino_weights_plan *p, const wf_conv2d_desc *d, int workers)
{
    const int images = wf_conv2d_split_images(d);
    const int tiles =
        (d->N + images - 1) / images * ((p->C + p->part_channels - 1) / p->part_channels);
    if (tiles * ((p->blocks + p->part_blocks - 1) / p->part_blocks) >= workers)
        return;
    const int parts = (workers + tiles - 1) / tiles, blocks = p->blocks / parts;
    p->part_blocks = even_part(
        p->blocks, blocks > WINO_PAIR ? blocks / WINO_PAIR * WINO_PAIR : WINO_PAIR, WINO_PAIR);
}

/* The plan for so many workers. Their number decides about tiles only, never about bits. */
static wino_weights_plan plan_of(const wf_conv2d_desc *d, int workers)
{
    wino_weights_plan p = {.cut = wino_patches_of(d->P, d->Q), .C = wf_round_up(d->C, L)};
    const int64_t patches = (int64_t)wf_conv2d_split_images(d) * p.cut.rows * p.cut.columns;
    p.blocks = (d->K + L - 1) / L;
    p.part_channels = p.C;
    p.part_blocks = PART / L;
    p.capacity = wino_capacity(&p.cut, wino_blocking()->winograd_v_kib * 1024 /
                                           (WINO_POINTS * p.C * (int)sizeof(float)));
    if (wino_is_staged(d))
        p.capacity = wino_capacity(&p.cut, wino_blocking()->winograd_gradient_patches);
    p.once = patches <= p.capacity;
    if (p.once)
        p.capacity = (int)patches;
    if (wino_is_staged(d)) {
        p.part_channels = p.once ? STAGED_PART : STAGED_PART / 2;
        p.part_blocks = (staged_bytes(&p, p.part_channels, STAGED_PART) >
                                 (int64_t)wino_blocking()->winograd_gradient_kib * 1024
                             ? STAGED_PART / 2
                             : STAGED_PART) /
                        L;
    }
    plan_rows(&p, d, wf_conv2d_split_images(d));
    p.part_channels = even_part(p.C, p.part_channels, WINO_CHANNELS_BLOCK_SIZE);
    p.part_blocks = even_part(p.blocks, p.part_blocks, WINO_PAIR);
    plan_few(&p, d, workers);
    p.c_parts = (p.C + p.part_channels - 1) / p.part_channels;
    p.o_parts = (p.blocks + p.part_blocks - 1) / p.part_blocks;
    p.v_point = wino_v_point(p.capacity);
    p.v_channels_block = (size_t)(p.by_rows ? WINO_IN : WINO_POINTS) * p.v_point;
    p.d_point = (size_t)p.capacity * WINO_PAIR * L + WINO_SKEW;
    p.d_pair = WINO_POINTS * p.d_point;
    const int channels_blocks =
        (p.part_channels + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE;
    /* By rows the sums of each block of channels and pair lie apart. */
    p.sum_blocks =
        p.once || p.by_rows ? 1 : channels_blocks * ((p.part_blocks + WINO_PAIR - 1) / WINO_PAIR);
    p.s_point = (size_t)p.sum_blocks * WINO_SUMS + WINO_SKEW;
    return p;
}

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "backward-weights only";
    else if (!wino_is_image(d->src_type) || d->weights_type != WEFT_F32 ||
             !wino_is_image(d->dst_type))
        reason = "weights of f32, images of f32 or bf16 only";
    else if (d->R != 3 || d->S != 3 || d->stride[0] != 1 || d->stride[1] != 1 ||
             d->dilation[0] != 1 || d->dilation[1] != 1 || d->groups != 1)
        reason = "3x3, stride 1, dense, one group only";
    else if (d->src_block != L || d->dst_block != L)
        reason = "activations in blocks of a vector only";
    else if (d->P < 3 || d->Q < 3)
        reason = "too much of the 4x4 tiles lies outside the image";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    wino_weights_plan p = plan_of(d, USUAL_WORKERS);
    int images = wf_conv2d_split_images(d), splits = (d->N + images - 1) / images;
    double patches = (double)d->N * p.cut.rows * p.cut.columns;
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    /* How often the partial sums' bytes pass; if patches are not all taken at once, those of the sums, which
     * are cleared, added to and transformed back. */
    double passed = p.once ? 2.0 * 9 : c->winograd_weights_sums * WINO_POINTS;
    return wf_expect_fmas(WINO_POINTS * patches * p.C * p.blocks * L, WF_ISA, c->winograd_weights) +
           patches * ((double)p.o_parts * p.C / L * c->winograd_input +
                      (double)p.c_parts * p.blocks * c->winograd_output) +
           splits * (double)p.C * p.blocks * c->winograd_filter + wf_conv2d_expect_traffic(d) +
           wf_expect_bytes(passed * splits * p.C * p.blocks * L * sizeof(float));
}

static size_t d_count(const wino_weights_plan *p)
{
    return (size_t)((p->part_blocks + WINO_PAIR - 1) / WINO_PAIR) * p->d_pair;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    wino_weights_plan p = plan_of(&k->desc, k->workers);
    k->parts = p.c_parts * p.o_parts;
    const wino_weights_plan usual = plan_of(&k->desc, USUAL_WORKERS);
    k->usual_tiles = k->splits * usual.c_parts * usual.o_parts;
    k->partial_sum_bytes = (size_t)p.blocks * L * (size_t)p.C * 9 * sizeof(float);
    k->reduce_tiles = p.blocks;
    const size_t floats = p.by_rows ? wino_weights_rows_scratch(&p)
                                    : wino_v_count(p.capacity, p.part_channels) + d_count(&p) +
                                          WINO_POINTS * p.s_point;
    k->scratch_bytes = floats * sizeof(float);
    return true;
}

/* Transforms the 4 x 4 gradients at (top, left) and stores point i at z + i * point. */
WF_INLINE void patch_gradient(const bool BF16, const bool whole, const char *dy, int P, int Q,
                              int top, int left, float *z, size_t point)
{
    wf_vf y[WINO_OUT * WINO_OUT], t[WINO_IN * WINO_OUT], a[WINO_POINTS];
    wino_load(BF16, WINO_OUT, whole, dy, P, Q, top, left, y);
    for (int j = 0; j < WINO_OUT; j++)
        wino_output_t(y + j, t + j, WINO_OUT, WINO_OUT);
    for (int i = 0; i < WINO_IN; i++)
        wino_output_t(t + i * WINO_OUT, a + i * WINO_IN, 1, 1);
    for (int i = 0; i < WINO_POINTS; i++)
        wf_vstore(z + (size_t)i * point, a[i]);
}

WF_INLINE void transform_gradient(const bool BF16, const wf_conv2d_desc *d,
                                  const wino_weights_plan *p, wino_rows r, const char *dy,
                                  int blocks, float *z)
{
    const ptrdiff_t vector = WINO_VECTOR(BF16);
    for (int b = 0; b < blocks; b++, dy += (ptrdiff_t)d->P * d->Q * vector) {
        float *out = z + (size_t)(b / WINO_PAIR) * p->d_pair + b % WINO_PAIR * L;
        const ptrdiff_t distance = wino_prefetch_distance(r, b + 1 < blocks, blocks, d->P, d->Q);
        for (int i = 0; i < r.n; i++)
            for (int j = 0; j < p->cut.columns; j++, out += WINO_PAIR * L) {
                int top = (r.first + i) * WINO_OUT, left = j * WINO_OUT;
                wino_prefetch(BF16, dy + ((ptrdiff_t)top * d->Q + left) * vector, distance, d->Q);
                if (wino_is_whole(WINO_OUT, d->P, d->Q, top, left))
                    patch_gradient(BF16, true, dy, d->P, d->Q, top, left, out, p->d_point);
                else
                    patch_gradient(BF16, false, dy, d->P, d->Q, top, left, out, p->d_point);
            }
    }
}

/* Transforms one channel's sums of an output block back to 3 x 3 weights. */
static void transform_back(const float *sums, size_t point, float *w)
{
    wf_vf u[WINO_POINTS], t[18], g[9];
    for (int i = 0; i < WINO_POINTS; i++)
        u[i] = wf_vload(sums + (size_t)i * point);
    for (int j = 0; j < WINO_IN; j++)
        wino_filter_t(u + j, t + j, WINO_IN, WINO_IN);
    for (int r = 0; r < 3; r++)
        wino_filter_t(t + r * WINO_IN, g + r * 3, 1, 1);
    for (int s = 0; s < 9; s++)
        wf_vstore(w + s * L, g[s]);
}

/* Adds up points [first, end) of a block of channels and a pair of output blocks. */
static void accumulate_pair(const wino_weights_plan *p, const wino_weights_part *a, int patches,
                            int first, int end, int channels_block, int pair, const float *v,
                            const float *z, float *sums)
{
    const int channels = wino_part_channels(a, channels_block), blocks = wino_part_blocks(a, pair);
    for (int i = first; i < end; i++)
        wino_accumulate(patches, channels, blocks, a->more,
                        v + (size_t)channels_block * p->v_channels_block + (size_t)i * p->v_point,
                        z + (size_t)pair * p->d_pair + (size_t)i * p->d_point,
                        sums + (size_t)i * p->s_point);
}

/* Transforms the sums of a block of channels and a pair of output blocks back. */
static void back_pair(const wino_weights_plan *p, const wino_weights_part *a, int channels_block,
                      int pair, const float *sums, float *partial_sum)
{
    const int channels = wino_part_channels(a, channels_block), blocks = wino_part_blocks(a, pair);
    float *w = partial_sum + ((size_t)(a->block + pair * WINO_PAIR) * (size_t)p->C +
                              (size_t)(a->channel + channels_block * WINO_CHANNELS_BLOCK_SIZE)) *
                                 9 * L;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < blocks; i++)
            transform_back(sums + (c * WINO_PAIR + i) * L, p->s_point,
                           w + ((size_t)i * (size_t)p->C + (size_t)c) * 9 * L);
}

/* Adds up some patches. If they are all of the split: all points of a block of channels and a pair, and back,
 * before the next one. Else point by point, so that V and D of a point are read from L3 once. */
static void accumulate_all(const wino_weights_plan *p, const wino_weights_part *a, int patches,
                           const float *v, const float *z, float *sums, float *partial_sum)
{
    const int channels_blocks =
        (a->channels + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE;
    const int pairs = (a->blocks + WINO_PAIR - 1) / WINO_PAIR;
    for (int i = 0; i < (p->once ? 0 : WINO_POINTS); i++)
        for (int j = 0; j < pairs * channels_blocks; j++)
            accumulate_pair(p, a, patches, i, i + 1, j % channels_blocks, j / channels_blocks, v, z,
                            sums + (size_t)j * WINO_SUMS);
    for (int j = 0; a->last && j < pairs * channels_blocks; j++) {
        float *s = sums + (p->once ? 0 : (size_t)j * WINO_SUMS);
        if (p->once)
            accumulate_pair(p, a, patches, 0, WINO_POINTS, j % channels_blocks, j / channels_blocks,
                            v, z, s);
        back_pair(p, a, j % channels_blocks, j / channels_blocks, s, partial_sum);
    }
}

static weft_status backward_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int tile, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const wino_weights_plan p = plan_of(d, k->workers);
    wino_weights_part a = {.channel = tile % p.c_parts * p.part_channels,
                           .block = tile / p.c_parts * p.part_blocks};
    a.channels = min(p.C - a.channel, p.part_channels);
    a.blocks = min(p.blocks - a.block, p.part_blocks);
    if (p.by_rows) {
        wino_weights_by_rows(d, &p, &a, io, n, partial_sum, scratch);
        return WEFT_OK;
    }
    const bool src_bf16 = d->src_type == WEFT_BF16, ddst_bf16 = d->dst_type == WEFT_BF16;
    const size_t x_first =
        (size_t)a.channel * (size_t)d->H * (size_t)d->W * weft_dtype_size(d->src_type);
    const size_t dy_first =
        (size_t)a.block * (size_t)d->P * (size_t)d->Q * L * weft_dtype_size(d->dst_type);
    float *v = scratch, *z = v + wino_v_count(p.capacity, p.part_channels), *sums = z + d_count(&p);
    int patches = 0;
    for (wino_rows at = {0}; at.image < n; at = wino_after(&p.cut, at)) {
        if (patches + p.cut.columns > p.capacity) {
            accumulate_all(&p, &a, patches, v, z, sums, partial_sum);
            a.more = true;
            patches = 0;
        }
        at = wino_take(&p.cut, at, p.capacity - patches);
        const char *x = (const char *)io->src + (size_t)at.image * io->src_stride;
        const char *dy = (const char *)io->ddst + (size_t)at.image * io->ddst_stride;
        wino_transform_input(src_bf16, &p.cut, at, x + x_first, d->H, d->W, d->padding, a.channels,
                             v + (size_t)patches * WINO_CHANNELS_BLOCK_SIZE, p.v_point,
                             p.v_channels_block);
        float *to = z + (size_t)patches * WINO_PAIR * L;
        if (ddst_bf16)
            transform_gradient(true, d, &p, at, dy + dy_first, a.blocks, to);
        else
            transform_gradient(false, d, &p, at, dy + dy_first, a.blocks, to);
        patches += at.n * p.cut.columns;
    }
    a.last = true;
    accumulate_all(&p, &a, patches, v, z, sums, partial_sum);
    return WEFT_OK;
}

/* A tile is one output block: [channel][tap][L outputs] becomes plain weights, [output][channel][tap]. */
static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t block = (size_t)wf_round_up(d->C, L) * 9 * L, row = (size_t)d->C * 9;
    const int outputs = min(d->K - tile * L, L);
    float *w = (float *)partial_sums + (size_t)tile * block;
    float *out = (float *)dweights + (size_t)tile * L * row;
    wf_conv2d_add_partial_sums(WEFT_F32, w, partial_sum_stride, k->splits, block);
    for (size_t i = 0; i < row; i += 8)
        for (int o = 0; o < outputs; o += 8) {
            if (outputs - o >= 8 && row - i >= 8) {
                wf_transpose8(w + i * L + o, L, out + (size_t)o * row + i, row);
                continue;
            }
            for (int j = o; j < outputs && j < o + 8; j++)
                for (size_t s = i; s < row && s < i + 8; s++)
                    out[(size_t)j * row + s] = w[s * L + (size_t)j];
        }
    return WEFT_OK;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_winograd_weights) = {
    .name = "winograd:" WF_ISA_NAME,
    .isa = WF_ISA,
    .amplification = WF_WINOGRAD_WEIGHTS_AMPLIFICATION,
    .fits = fits,
    .expect = expect,
    .create = create,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
