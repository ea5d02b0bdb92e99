/* Winograd F(4x4, 3x3), backward-weights: dW = GT [sum over tiles of (A dy AT) * (BT x B)] G.
 *
 * A tile of work is a slot's images and a range of input and of output channels. It transforms input
 * and output gradient of some tiles, adds their products at each of the 36 points, in the order of
 * images and tiles, and transforms the sums back once, into a slot: output blocks, C, R, S, L.
 * winograd.h has the transforms. The bits follow from shape and ISA. Stateless but for the plan.
 *
 * V: chunks of channels, points, tiles, WINO_CHUNK channels. D: pairs of output blocks, points, tiles, two
 * blocks. Sums: points, pairs, chunks, channels of a chunk, two blocks. Both C and K are padded. */
#include <math.h>
#include <stdio.h>

#include "kernels/conv2d/winograd/winograd.h"
#include "kernels/select.h"
#include "kernels/simd/transpose.h"

/* Staged as in Note [Staging] of forward.c: V and D of many tiles, and the sums where those are not
 * all of the slot's, wait in the third-level cache. A part's input and gradient are transformed
 * for it alone, so parts are as large as that cache's share of a core allows. */
enum {
    PART = 64,                        /* output channels of a part */
    STAGED_PART = 256,                /* channels either way, or half of it */
    SUMS = WINO_CHUNK * WINO_PAIR * L /* of a point, chunk of channels and pair of blocks */
};

typedef struct plan {
    wino_tiles cut;
    int C, blocks; /* padded channels; output blocks */
    int capacity;  /* tiles that V and D hold */
    int part_channels, part_blocks;
    int c_parts, o_parts;
    bool once; /* the tiles of a slot are taken all at once: one pair and chunk of sums at a time */
    int pieces; /* chunks by pairs whose sums are there at a time */
    size_t v_point, v_chunk, d_point, d_pair, s_point;
} plan;

/* Bytes that wait for a part of so many input and output channels. */
static int64_t staged_bytes(const plan *p, int64_t inputs, int64_t outputs)
{
    int64_t sums = p->once ? 0 : inputs * outputs;
    return (int64_t)sizeof(float) * WINO_POINTS * (p->capacity * (inputs + outputs) + sums);
}

static int min(int a, int b)
{
    return a < b ? a : b;
}

/* What a part has of `all` in as few parts as can be, of at most `most` (a multiple of `unit`). They
 * are as even as whole units allow: each is some worker's, and the others wait for the largest. */
static int even_part(int all, int most, int unit)
{
    const int parts = (all + most - 1) / most;
    return min(wf_round_up((all + parts - 1) / parts, unit), all);
}

static plan plan_of(const wf_conv2d_desc *d)
{
    plan p = {.cut = wino_cut(d->P, d->Q), .C = wf_round_up(d->C, L)};
    const int64_t tiles = (int64_t)wf_conv2d_split_images(d) * p.cut.rows * p.cut.columns;
    p.blocks = (d->K + L - 1) / L;
    p.part_channels = p.C;
    p.part_blocks = PART / L;
    p.capacity = wino_capacity(&p.cut, wino_blocking()->winograd_v_kib * 1024 /
                                           (WINO_POINTS * p.C * (int)sizeof(float)));
    if (wino_is_staged(d))
        p.capacity = wino_capacity(&p.cut, wino_blocking()->winograd_gradient_patches);
    p.once = tiles <= p.capacity;
    if (p.once)
        p.capacity = (int)tiles;
    if (wino_is_staged(d)) {
        p.part_channels = p.once ? STAGED_PART : STAGED_PART / 2;
        p.part_blocks = (staged_bytes(&p, p.part_channels, STAGED_PART) >
                                 (int64_t)wino_blocking()->winograd_gradient_kib * 1024
                             ? STAGED_PART / 2
                             : STAGED_PART) /
                        L;
    }
    p.part_channels = even_part(p.C, p.part_channels, WINO_CHUNK);
    p.part_blocks = even_part(p.blocks, p.part_blocks, WINO_PAIR);
    p.c_parts = (p.C + p.part_channels - 1) / p.part_channels;
    p.o_parts = (p.blocks + p.part_blocks - 1) / p.part_blocks;
    p.v_point = wino_v_point(p.capacity);
    p.v_chunk = wino_v_chunk(p.capacity);
    p.d_point = (size_t)p.capacity * WINO_PAIR * L + WINO_SKEW;
    p.d_pair = WINO_POINTS * p.d_point;
    const int chunks = (p.part_channels + WINO_CHUNK - 1) / WINO_CHUNK;
    p.pieces = p.once ? 1 : chunks * ((p.part_blocks + WINO_PAIR - 1) / WINO_PAIR);
    p.s_point = (size_t)p.pieces * SUMS + WINO_SKEW;
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
    plan p = plan_of(d);
    int images = wf_conv2d_split_images(d), splits = (d->N + images - 1) / images;
    double tiles = (double)d->N * p.cut.rows * p.cut.columns;
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    /* The slots; and, of tiles that are not taken at once, the sums, cleared, added to and transformed
     * back. */
    double passed = p.once ? 2.0 * 9 : c->winograd_weights_sums * WINO_POINTS;
    return wf_expect_fmas(WINO_POINTS * tiles * p.C * p.blocks * L, WF_ISA, c->winograd_weights) +
           tiles * ((double)p.o_parts * p.C / L * c->winograd_input +
                    (double)p.c_parts * p.blocks * c->winograd_output) +
           splits * (double)p.C * p.blocks * c->winograd_filter + wf_conv2d_expect_traffic(d) +
           wf_expect_bytes(passed * splits * p.C * p.blocks * L * sizeof(float));
}

static size_t d_count(const plan *p)
{
    return (size_t)((p->part_blocks + WINO_PAIR - 1) / WINO_PAIR) * p->d_pair;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    plan p = plan_of(&k->desc);
    k->parts = p.c_parts * p.o_parts;
    k->partial_sum_bytes = (size_t)p.blocks * L * (size_t)p.C * 9 * sizeof(float);
    k->reduce_tiles = p.blocks;
    k->scratch_bytes =
        (wino_v_count(p.capacity, p.part_channels) + d_count(&p) + WINO_POINTS * p.s_point) *
        sizeof(float);
    return true;
}

/* The 4 x 4 gradients at (top, left), transformed, point i at z + i * point. */
WF_INLINE void tile_gradient(const bool LOW, const bool whole, const char *dy, int P, int Q,
                             int top, int left, float *z, size_t point)
{
    wf_vf y[WINO_OUT * WINO_OUT], t[WINO_IN * WINO_OUT], a[WINO_POINTS];
    wino_load(LOW, WINO_OUT, whole, dy, P, Q, top, left, y);
    for (int j = 0; j < WINO_OUT; j++)
        wino_output_t(y + j, t + j, WINO_OUT, WINO_OUT);
    for (int i = 0; i < WINO_IN; i++)
        wino_output_t(t + i * WINO_OUT, a + i * WINO_IN, 1, 1);
    for (int i = 0; i < WINO_POINTS; i++)
        wf_vstore(z + (size_t)i * point, a[i]);
}

WF_INLINE void transform_gradient(const bool LOW, const wf_conv2d_desc *d, const plan *p,
                                  wino_rows r, const char *dy, int blocks, float *z)
{
    const ptrdiff_t vector = WINO_VECTOR(LOW);
    for (int b = 0; b < blocks; b++, dy += (ptrdiff_t)d->P * d->Q * vector) {
        float *out = z + (size_t)(b / WINO_PAIR) * p->d_pair + b % WINO_PAIR * L;
        const ptrdiff_t ahead = wino_ahead(r, b + 1 < blocks, blocks, d->P, d->Q);
        for (int i = 0; i < r.n; i++)
            for (int j = 0; j < p->cut.columns; j++, out += WINO_PAIR * L) {
                int top = (r.first + i) * WINO_OUT, left = j * WINO_OUT;
                wino_fetch(LOW, dy + ((ptrdiff_t)top * d->Q + left) * vector, ahead, d->Q);
                if (wino_is_whole(WINO_OUT, d->P, d->Q, top, left))
                    tile_gradient(LOW, true, dy, d->P, d->Q, top, left, out, p->d_point);
                else
                    tile_gradient(LOW, false, dy, d->P, d->Q, top, left, out, p->d_point);
            }
    }
}

/* s[c][b] (+)= sum over tiles of v[t][c] * d[t][b], for NC channels and NB blocks: constants where
 * this is called. more: s holds the sum over earlier tiles. */
WF_INLINE void accumulate(const int NC, const int NB, bool more, int tiles, const float *v,
                          const float *d, float *s)
{
    wf_vf sum[WINO_ROWS][WINO_PAIR];
    WF_UNROLL
    for (int c = 0; c < NC; c++)
        for (int b = 0; b < NB; b++)
            sum[c][b] = more ? wf_vload(s + (c * WINO_PAIR + b) * L) : wf_vzero();
    for (int t = 0; t < tiles; t++, v += WINO_CHUNK, d += WINO_PAIR * L) {
        wf_vf y[WINO_PAIR];
        for (int b = 0; b < NB; b++)
            y[b] = wf_vload(d + b * L);
        WF_UNROLL
        for (int c = 0; c < NC; c++) {
            wf_vf x = wf_vset1(v[c]);
            for (int b = 0; b < NB; b++)
                sum[c][b] = wf_vfma(x, y[b], sum[c][b]);
        }
    }
    WF_UNROLL
    for (int c = 0; c < NC; c++)
        for (int b = 0; b < NB; b++)
            wf_vstore(s + (c * WINO_PAIR + b) * L, sum[c][b]);
}

WF_INLINE void accumulate_rows(const int NB, int channels, bool more, int tiles, const float *v,
                               const float *d, float *s)
{
    switch (channels) {
    case 1: accumulate(1, NB, more, tiles, v, d, s); break;
    case 2: accumulate(2, NB, more, tiles, v, d, s); break;
    case 3: accumulate(3, NB, more, tiles, v, d, s); break;
    case 4: accumulate(4, NB, more, tiles, v, d, s); break;
    case 5: accumulate(5, NB, more, tiles, v, d, s); break;
    case 6: accumulate(6, NB, more, tiles, v, d, s); break;
#if WF_LANES == 16
    case 7: accumulate(7, NB, more, tiles, v, d, s); break;
    case 8: accumulate(8, NB, more, tiles, v, d, s); break;
    case 9: accumulate(9, NB, more, tiles, v, d, s); break;
    case 10: accumulate(10, NB, more, tiles, v, d, s); break;
    case 11: accumulate(11, NB, more, tiles, v, d, s); break;
    case 12: accumulate(12, NB, more, tiles, v, d, s); break;
    case 13: accumulate(13, NB, more, tiles, v, d, s); break;
    case 14: accumulate(14, NB, more, tiles, v, d, s); break;
#endif
    }
}

/* One point of a chunk of channels and pair of blocks; channels in even groups of at most WINO_ROWS. */
static void accumulate_point(int tiles, int channels, int blocks, bool more, const float *v,
                             const float *z, float *sums)
{
    const int groups = (channels + WINO_ROWS - 1) / WINO_ROWS;
    for (int g = 0; g < groups; g++) {
        int c = channels * g / groups, n = channels * (g + 1) / groups - c;
        float *s = sums + (size_t)c * WINO_PAIR * L;
        if (blocks == 1)
            accumulate_rows(1, n, more, tiles, v + c, z, s);
        else
            accumulate_rows(2, n, more, tiles, v + c, z, s);
    }
}

/* One channel's sums of an output block back to 3 x 3 weights, into a slot. */
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

/* What is worked on: a part, tiles taken, whether there were some before, whether these are the last. */
typedef struct part {
    int channel, channels, block, blocks;
    bool more, last;
} part;

/* Points [first, end) of a chunk of channels and pair of output blocks. */
static void accumulate_pair(const plan *p, const part *a, int tiles, int first, int end, int chunk,
                            int pair, const float *v, const float *z, float *sums)
{
    const int channels = min(a->channels - chunk * WINO_CHUNK, WINO_CHUNK);
    const int blocks = min(a->blocks - pair * WINO_PAIR, WINO_PAIR);
    for (int i = first; i < end; i++)
        accumulate_point(tiles, channels, blocks, a->more,
                         v + (size_t)chunk * p->v_chunk + (size_t)i * p->v_point,
                         z + (size_t)pair * p->d_pair + (size_t)i * p->d_point,
                         sums + (size_t)i * p->s_point);
}

static void back_pair(const plan *p, const part *a, int chunk, int pair, const float *sums,
                      float *partial_sum)
{
    const int channels = min(a->channels - chunk * WINO_CHUNK, WINO_CHUNK);
    const int blocks = min(a->blocks - pair * WINO_PAIR, WINO_PAIR);
    float *w = partial_sum + ((size_t)(a->block + pair * WINO_PAIR) * (size_t)p->C +
                              (size_t)(a->channel + chunk * WINO_CHUNK)) *
                                 9 * L;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < blocks; i++)
            transform_back(sums + (c * WINO_PAIR + i) * L, p->s_point,
                           w + ((size_t)i * (size_t)p->C + (size_t)c) * 9 * L);
}

/* Taken at once, all points of a chunk and pair, and those back, before the next; else point by point,
 * so that V and D of a point are read from the third-level cache once. */
static void accumulate_all(const plan *p, const part *a, int tiles, const float *v, const float *z,
                           float *sums, float *partial_sum)
{
    const int chunks = (a->channels + WINO_CHUNK - 1) / WINO_CHUNK;
    const int pairs = (a->blocks + WINO_PAIR - 1) / WINO_PAIR;
    for (int i = 0; i < (p->once ? 0 : WINO_POINTS); i++)
        for (int j = 0; j < pairs * chunks; j++)
            accumulate_pair(p, a, tiles, i, i + 1, j % chunks, j / chunks, v, z,
                            sums + (size_t)j * SUMS);
    for (int j = 0; a->last && j < pairs * chunks; j++) {
        float *s = sums + (p->once ? 0 : (size_t)j * SUMS);
        if (p->once)
            accumulate_pair(p, a, tiles, 0, WINO_POINTS, j % chunks, j / chunks, v, z, s);
        back_pair(p, a, j % chunks, j / chunks, s, partial_sum);
    }
}

static weft_status backward_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int tile, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const plan p = plan_of(d);
    part a = {.channel = tile % p.c_parts * p.part_channels,
              .block = tile / p.c_parts * p.part_blocks};
    a.channels = min(p.C - a.channel, p.part_channels);
    a.blocks = min(p.blocks - a.block, p.part_blocks);
    const bool low_x = d->src_type == WEFT_BF16, low_dy = d->dst_type == WEFT_BF16;
    const size_t x_first =
        (size_t)a.channel * (size_t)d->H * (size_t)d->W * weft_dtype_size(d->src_type);
    const size_t dy_first =
        (size_t)a.block * (size_t)d->P * (size_t)d->Q * L * weft_dtype_size(d->dst_type);
    float *v = scratch, *z = v + wino_v_count(p.capacity, p.part_channels), *sums = z + d_count(&p);
    int tiles = 0;
    for (wino_rows at = {0}; at.image < n; at = wino_after(&p.cut, at)) {
        if (tiles + p.cut.columns > p.capacity) {
            accumulate_all(&p, &a, tiles, v, z, sums, partial_sum);
            a.more = true;
            tiles = 0;
        }
        at = wino_take(&p.cut, at, p.capacity - tiles);
        const char *x = (const char *)io->src + (size_t)at.image * io->src_stride;
        const char *dy = (const char *)io->ddst + (size_t)at.image * io->ddst_stride;
        wino_transform_input(low_x, &p.cut, at, x + x_first, d->H, d->W, d->padding, a.channels,
                             v + (size_t)tiles * WINO_CHUNK, p.v_point, p.v_chunk);
        float *to = z + (size_t)tiles * WINO_PAIR * L;
        if (low_dy)
            transform_gradient(true, d, &p, at, dy + dy_first, a.blocks, to);
        else
            transform_gradient(false, d, &p, at, dy + dy_first, a.blocks, to);
        tiles += at.n * p.cut.columns;
    }
    a.last = true;
    accumulate_all(&p, &a, tiles, v, z, sums, partial_sum);
    return WEFT_OK;
}

/* One output block: from channels, taps, L outputs to outputs, channels, taps. */
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
