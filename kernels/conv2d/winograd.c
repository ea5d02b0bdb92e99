/* Winograd F(4x4, 3x3): forward, and backward-data as the forward of the rotated filter.
 *
 * A tile of work is a few images and a range of output channels. It takes as many 4 x 4 tiles as keep
 * the filter's way from memory short: transforms their input for all channels, multiplies at each of
 * the 36 points by the filter for a group of output-channel blocks, and transforms those back.
 * winograd.h has the transforms. Small filters: V stays in the second-level cache and a group is two
 * blocks. Large ones (Note [Staging]): more tiles, all blocks in one group, point by point.
 *
 * A product sums over channels in order, whatever is taken together: the bits follow from shape and
 * ISA. Stateless but for the plan.
 *
 * Packed weights: output blocks, 36 points, input channels, L outputs. V: points, tiles, channels. M:
 * points, pairs of blocks, tiles, two blocks, L.
 * Letters as seen by the pass: I input channels, O output channels, H W input, P Q output. */
#include <stdio.h>

#include "kernels/conv2d/winograd.h"
#include "kernels/select.h"

/* Note [Staging]
 * From 128 channels a side on the transformed filter (36 C K floats) no longer stays in the
 * second-level cache, and each group of tiles reads it anew from the third level or from memory. So
 * the group must be large: STAGED_TILES tiles do 2 STAGED_TILES / 4 = 28 operations for each byte of
 * filter, whatever the channels. V and M of that many tiles no longer fit the second level themselves
 * and are staged through the third; but at one point V is T I floats and U I O floats, each read
 * once from there and then reused from the second level. Where an image has fewer tiles, several
 * are taken together; where that leaves few tiles of work, output channels are split, at the price of
 * transforming the input once for each part. */
enum {
    MAX_TILES = 6,
    MAX_BLOCKS = 2,
    STAGED_TILES = 56,
    STAGED_CHANNELS = 256, /* of a panel of the filter that the first-level cache holds */
    PART_CHANNELS = 128,   /* output channels of a part, at least: 7 % for another transform */
    ENOUGH_TILES = 32,     /* of work */
    PACK_CHANNELS = 16,
    PAST_CACHES = 16 << 20 /* bytes of a filter */
};

/* A pass as a forward convolution. */
typedef struct geometry {
    int I, O, H, W, P, Q, padding[2];
} geometry;

static geometry geometry_of(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    if (pass == WF_CONV2D_FORWARD)
        return (geometry){d->C, d->K, d->H, d->W, d->P, d->Q, {d->padding[0], d->padding[1]}};
    return (geometry){d->K, d->C, d->P, d->Q, d->H, d->W, {2 - d->padding[0], 2 - d->padding[1]}};
}

typedef struct plan {
    geometry g;
    wino_tiles cut;
    int I, blocks;     /* padded input channels; output blocks */
    int capacity;      /* tiles taken at once */
    int group;         /* output blocks multiplied before they are transformed back */
    int images, parts; /* of a tile of work */
    size_t v_point, m_point, m_pair, u_point, u_block;
} plan;

static plan plan_of(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    plan p = {.g = geometry_of(d, pass), .images = 1, .parts = 1};
    p.I = wf_round_up(p.g.I, L);
    p.blocks = (p.g.O + L - 1) / L;
    p.cut = wino_cut(p.g.P, p.g.Q);
    const int tiles = p.cut.rows * p.cut.columns;
    p.group = MAX_BLOCKS;
    p.capacity = wino_capacity(&p.cut, WINO_L2_FLOATS / (WINO_POINTS * p.I));
    if (wino_is_staged(d)) {
        int work = (int)(((int64_t)d->N * tiles + STAGED_TILES / 2) / STAGED_TILES);
        work = work < 1 ? 1 : work < d->N ? work : d->N;
        p.images = (d->N + work - 1) / work;
        work = (d->N + p.images - 1) / p.images;
        int most = p.blocks * L / PART_CHANNELS;
        p.parts = (ENOUGH_TILES + work - 1) / work;
        p.parts = p.parts < most ? p.parts : most > 1 ? most : 1;
        p.group = (p.blocks + p.parts - 1) / p.parts;
        p.capacity = wino_capacity(&p.cut, p.images > 1 ? p.images * tiles : STAGED_TILES);
    }
    if (p.capacity > p.images * tiles)
        p.capacity = p.images * tiles;
    p.v_point = (size_t)p.capacity * (size_t)p.I + WINO_SKEW;
    p.u_point = (size_t)p.I * L + WINO_SKEW;
    p.u_block = WINO_POINTS * p.u_point;
    p.m_pair = (size_t)p.capacity * MAX_BLOCKS * L;
    p.m_point = p.m_pair * (size_t)((p.group + 1) / MAX_BLOCKS) + WINO_SKEW;
    return p;
}

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    geometry g = geometry_of(d, pass);
    const char *reason = NULL;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32)
        reason = "f32 only";
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
    plan p = plan_of(d, pass);
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    double tiles = (double)d->N * p.cut.rows * p.cut.columns;
    double share = pass == WF_CONV2D_FORWARD ? c->winograd_forward : c->winograd_data;
    return wf_expect_fmas(WINO_POINTS * tiles * p.I * p.blocks * L, WF_ISA, share) +
           tiles * (p.parts * p.I / L * c->winograd_input + p.blocks * c->winograd_output) +
           (double)p.I * p.blocks * c->winograd_filter + wf_conv2d_expect_traffic(d) +
           /* the packed filter, written and read */
           wf_expect_bytes(c->winograd_packed * (double)p.blocks * (double)p.u_block *
                           sizeof(float));
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    plan p = plan_of(&k->desc, k->pass);
    k->packed_bytes = (size_t)p.blocks * p.u_block * sizeof(float);
    k->pack_tiles = p.blocks;
    k->images = p.images;
    k->parts = p.parts;
    k->scratch_bytes =
        (wino_frame_count(&p.cut, p.capacity) + WINO_POINTS * (p.v_point + p.m_point)) *
        sizeof(float);
    return true;
}

/* taps[s][l] = tap s from input channel i to output channel `first` + l, as the pass sees them. */
static void gather(const wf_conv2d *k, const float *weights, int first, int lanes, int i,
                   float taps[9][L])
{
    const size_t row = (size_t)k->desc.C * 9;
    if (k->pass == WF_CONV2D_FORWARD) {
        const float *w = weights + (size_t)first * row + (size_t)i * 9;
        for (int l = 0; l < lanes; l++, w += row)
            for (int s = 0; s < 9; s++)
                taps[s][l] = w[s];
    } else {
        const float *w = weights + (size_t)i * row + (size_t)first * 9;
        for (int l = 0; l < lanes; l++, w += 9)
            for (int s = 0; s < 9; s++)
                taps[s][l] = w[8 - s];
    }
}

/* n vectors; past the caches where the whole filter would only push others out of them. */
static void put_point(float *out, const float *some, int n, bool past)
{
    for (int i = 0; i < n * L; i += L) {
        if (past)
            wf_vstream(out + i, wf_vload(some + i));
        else
            wf_vstore(out + i, wf_vload(some + i));
    }
}

static weft_status pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const plan p = plan_of(&k->desc, k->pass);
    const int left = p.g.O - tile * L, lanes = left < L ? left : L;
    const bool past = k->packed_bytes > PAST_CACHES;
    float *out = (float *)packed + (size_t)tile * p.u_block, taps[9][L] = {{0}};
    _Alignas(64) float some[WINO_POINTS][PACK_CHANNELS * L];
    for (int first = 0; first < p.I; first += PACK_CHANNELS) {
        int n = p.I - first < PACK_CHANNELS ? p.I - first : PACK_CHANNELS;
        for (int i = 0; i < n; i++) {
            wf_vf f[9], t[18], u[WINO_POINTS];
            if (first + i < p.g.I)
                gather(k, weights, tile * L, lanes, first + i, taps);
            else
                memset(taps, 0, sizeof taps);
            for (int s = 0; s < 9; s++)
                f[s] = wf_vload(taps[s]);
            for (int s = 0; s < 3; s++)
                wino_filter(f + s, t + s, 3, 3);
            for (int r = 0; r < WINO_IN; r++)
                wino_filter(t + r * 3, u + r * WINO_IN, 1, 1);
            for (int j = 0; j < WINO_POINTS; j++)
                wf_vstore(some[j] + i * L, u[j]);
        }
        for (int j = 0; j < WINO_POINTS; j++)
            put_point(out + (size_t)j * p.u_point + (size_t)first * L, some[j], n, past);
    }
    if (past)
        wf_vstream_end();
    return WEFT_OK;
}

/* m[t][b] (+)= sum over channels of v[t][c] * u[b][c], for NT tiles and NB blocks: constants where
 * this is called. more: m holds the sum over earlier channels. */
WF_INLINE void multiply(const int NT, const int NB, bool more, int channels, const float *v,
                        size_t v_step, const float *u, size_t u_block, float *m)
{
    wf_vf sum[MAX_TILES][MAX_BLOCKS];
    for (int t = 0; t < NT; t++)
        for (int b = 0; b < NB; b++)
            sum[t][b] = more ? wf_vload(m + (t * MAX_BLOCKS + b) * L) : wf_vzero();
    for (int c = 0; c < channels; c++, u += L) {
        wf_vf w[MAX_BLOCKS];
        for (int b = 0; b < NB; b++)
            w[b] = wf_vload(u + (size_t)b * u_block);
        for (int t = 0; t < NT; t++) {
            wf_vf x = wf_vset1(v[(size_t)t * v_step + (size_t)c]);
            for (int b = 0; b < NB; b++)
                sum[t][b] = wf_vfma(x, w[b], sum[t][b]);
        }
    }
    for (int t = 0; t < NT; t++)
        for (int b = 0; b < NB; b++)
            wf_vstore(m + (t * MAX_BLOCKS + b) * L, sum[t][b]);
}

/* One point and pair of blocks: `tiles` tiles in even groups of at most MAX_TILES. */
static void multiply_pair(int tiles, int blocks, bool more, int channels, const float *v,
                          size_t v_step, const float *u, size_t u_block, float *m)
{
    int groups = (tiles + MAX_TILES - 1) / MAX_TILES;
    for (int i = 0; i < groups; i++) {
        int first = tiles * i / groups, n = tiles * (i + 1) / groups - first;
        const float *x = v + (size_t)first * v_step;
        float *y = m + (size_t)first * MAX_BLOCKS * L;
        switch (blocks * 8 + n) {
        case 8 + 1: multiply(1, 1, more, channels, x, v_step, u, u_block, y); break;
        case 8 + 2: multiply(2, 1, more, channels, x, v_step, u, u_block, y); break;
        case 8 + 3: multiply(3, 1, more, channels, x, v_step, u, u_block, y); break;
        case 8 + 4: multiply(4, 1, more, channels, x, v_step, u, u_block, y); break;
        case 8 + 5: multiply(5, 1, more, channels, x, v_step, u, u_block, y); break;
        case 8 + 6: multiply(6, 1, more, channels, x, v_step, u, u_block, y); break;
        case 16 + 1: multiply(1, 2, more, channels, x, v_step, u, u_block, y); break;
        case 16 + 2: multiply(2, 2, more, channels, x, v_step, u, u_block, y); break;
        case 16 + 3: multiply(3, 2, more, channels, x, v_step, u, u_block, y); break;
        case 16 + 4: multiply(4, 2, more, channels, x, v_step, u, u_block, y); break;
        case 16 + 5: multiply(5, 2, more, channels, x, v_step, u, u_block, y); break;
        case 16 + 6: multiply(6, 2, more, channels, x, v_step, u, u_block, y); break;
        }
    }
}

/* Every point, for the group of n output blocks whose filter is at u. */
static void multiply_group(const plan *p, int tiles, int n, const float *v, const float *u,
                           float *m)
{
    for (int i = 0; i < WINO_POINTS; i++, u += p->u_point, v += p->v_point, m += p->m_point)
        for (int c = 0; c < p->I; c += STAGED_CHANNELS) {
            int channels = p->I - c < STAGED_CHANNELS ? p->I - c : STAGED_CHANNELS;
            for (int b = 0; b < n; b += MAX_BLOCKS)
                multiply_pair(tiles, n - b < MAX_BLOCKS ? 1 : MAX_BLOCKS, c > 0, channels, v + c,
                              (size_t)p->I, u + (size_t)b * p->u_block + (size_t)c * L, p->u_block,
                              m + (size_t)(b / MAX_BLOCKS) * p->m_pair);
        }
}

/* Transforms one tile's products back, adds the bias, and stores what lies inside the image. */
static void tile_output(const float *m, size_t point, wf_vf bias, float *y, int rows, int columns,
                        size_t y_row)
{
    wf_vf p[WINO_POINTS], t[WINO_OUT * WINO_IN], o[WINO_OUT * WINO_OUT];
    for (int i = 0; i < WINO_POINTS; i++)
        p[i] = wf_vload(m + (size_t)i * point);
    for (int j = 0; j < WINO_IN; j++)
        wino_output(p + j, t + j, WINO_IN, WINO_IN);
    for (int i = 0; i < WINO_OUT; i++)
        wino_output(t + i * WINO_IN, o + i * WINO_OUT, 1, 1);
    for (int i = 0; i < WINO_OUT; i++)
        for (int j = 0; j < WINO_OUT; j++)
            if (i < rows && j < columns)
                wf_vstore(y + (size_t)i * y_row + (size_t)j * L,
                          wf_vadd(o[i * WINO_OUT + j], bias));
}

/* The rows of tiles `r` of an image y, of which m is the first tile's products. */
static void output_rows(const plan *p, wino_rows r, const float *m, wf_vf bias, float *y)
{
    const size_t y_row = (size_t)p->g.Q * L;
    for (int i = 0; i < r.n; i++)
        for (int j = 0; j < p->cut.columns; j++, m += MAX_BLOCKS * L) {
            int top = (r.first + i) * WINO_OUT, left = j * WINO_OUT;
            tile_output(m, p->m_point, bias, y + (size_t)top * y_row + (size_t)left * L,
                        p->g.P - top, p->g.Q - left, y_row);
        }
}

/* Transforms n output blocks from `block` on back, for all rows of tiles from `at` on that were taken
 * together. */
static void output_group(const plan *p, const wf_conv2d_io *io, wino_rows at, int tiles, int block,
                         int n, const float *m)
{
    const size_t y_plane = (size_t)p->g.P * (size_t)p->g.Q * L;
    for (int done = 0; done < tiles; done += at.n * p->cut.columns, at = wino_after(&p->cut, at)) {
        at = wino_take(&p->cut, at, tiles - done);
        float *y = (float *)((char *)io->out + (size_t)at.image * io->out_stride);
        for (int b = 0; b < n; b++) {
            int o = (block + b) * L, inside = p->g.O - o < L ? p->g.O - o : L;
            wf_vf add = io->bias ? wf_vload_n((const float *)io->bias + o, inside) : wf_vzero();
            output_rows(p, at,
                        m + (size_t)(b / MAX_BLOCKS) * p->m_pair +
                            (size_t)(done * MAX_BLOCKS + b % MAX_BLOCKS) * L,
                        add, y + (size_t)(block + b) * y_plane);
        }
    }
}

static weft_status batch(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                         void *scratch)
{
    const plan p = plan_of(&k->desc, k->pass);
    const int begin = p.blocks * part / p.parts, end = p.blocks * (part + 1) / p.parts;
    float *frame = scratch, *v = frame + wino_frame_count(&p.cut, p.capacity);
    float *m = v + WINO_POINTS * p.v_point;
    for (wino_rows at = {0}, from; at.image < n;) {
        int tiles = 0;
        from = at;
        while (at.image < n && tiles + p.cut.columns <= p.capacity) {
            const char *x = (const char *)io->in + (size_t)at.image * io->in_stride;
            at = wino_take(&p.cut, at, p.capacity - tiles);
            wino_transform_input(&p.cut, at, (const float *)x, p.g.H, p.g.W, p.g.padding, p.I,
                                 frame, v + (size_t)tiles * (size_t)p.I, p.v_point);
            tiles += at.n * p.cut.columns;
            at = wino_after(&p.cut, at);
        }
        for (int b = begin; b < end; b += p.group) {
            int blocks = end - b < p.group ? end - b : p.group;
            multiply_group(&p, tiles, blocks, v, (const float *)io->weights + (size_t)b * p.u_block,
                           m);
            output_group(&p, io, from, tiles, b, blocks, m);
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
