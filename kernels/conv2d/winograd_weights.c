/* Winograd F(4x4, 3x3), backward-weights: dW = GT [sum over tiles of (A dy AT) * (BT x B)] G.
 *
 * A tile of work is a slot's images and up to 64 or 128 output channels. It transforms input and output
 * gradient of as many tiles as the second-level cache holds, adds their products at each of the 36
 * points, in the order of images and tiles, and transforms the sums back once, into a slot: output
 * blocks, C/L, R, S, L input channels, L. winograd.h has the transforms. The bits follow from shape and
 * ISA. Stateless but for the plan.
 *
 * V: points, tiles, C. D: points, tiles, output blocks, L. Sums: points, output blocks by twos, C,
 * two blocks, L. Both C and K are padded. */
#include <stdio.h>

#include "kernels/conv2d/winograd.h"
#include "kernels/select.h"

/* Staged as in Note [Staging] of winograd.c: more tiles at once, and larger parts, for each of which
 * the input is transformed anew. */
enum { MAX_CHANNELS = 6, PAIR = 2, PART = 64, STAGED_PART = 128, STAGED_TILES = 64 };

typedef struct plan {
    wino_tiles cut;
    int C, blocks; /* padded channels; output blocks */
    int capacity;  /* tiles that V and D hold */
    int part_blocks;
    size_t v_point, d_point, d_step, s_pair, s_point;
} plan;

static plan plan_of(const wf_conv2d_desc *d)
{
    plan p = {.cut = wino_cut(d->P, d->Q), .C = wf_round_up(d->C, L)};
    const bool staged = wino_is_staged(d);
    p.blocks = (d->K + L - 1) / L;
    p.part_blocks = (staged ? STAGED_PART : PART) / L;
    p.part_blocks = p.part_blocks < p.blocks ? p.part_blocks : p.blocks;
    p.capacity =
        wino_capacity(&p.cut, staged ? STAGED_TILES : WINO_L2_FLOATS / (WINO_POINTS * p.C));
    p.v_point = (size_t)p.capacity * (size_t)p.C + WINO_SKEW;
    p.d_step = (size_t)p.part_blocks * L;
    p.d_point = (size_t)p.capacity * p.d_step + WINO_SKEW;
    p.s_pair = (size_t)p.C * PAIR * L;
    p.s_point = (size_t)((p.part_blocks + PAIR - 1) / PAIR) * p.s_pair;
    return p;
}

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "backward-weights only";
    else if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32)
        reason = "f32 only";
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
    int images = wf_conv2d_slot_images(d), slots = (d->N + images - 1) / images;
    double tiles = (double)d->N * p.cut.rows * p.cut.columns;
    double parts = (p.blocks + p.part_blocks - 1) / p.part_blocks;
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    return wf_expect_fmas(WINO_POINTS * tiles * p.C * p.blocks * L, WF_ISA, c->winograd_weights) +
           tiles * (parts * p.C / L * c->winograd_input + p.blocks * c->winograd_output) +
           slots * (double)p.C * p.blocks * c->winograd_filter + wf_conv2d_expect_traffic(d) +
           /* the sums, cleared, added to and transformed back */
           wf_expect_bytes(c->winograd_weights_sums * slots * WINO_POINTS * p.C * p.blocks * L *
                           sizeof(float));
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    plan p = plan_of(&k->desc);
    k->parts = (p.blocks + p.part_blocks - 1) / p.part_blocks;
    k->slot_bytes = (size_t)p.blocks * L * (size_t)p.C * 9 * sizeof(float);
    k->reduce_tiles = p.blocks;
    k->scratch_bytes =
        (wino_frame_count(&p.cut, p.capacity) + WINO_POINTS * (p.v_point + p.d_point + p.s_point)) *
        sizeof(float);
    return true;
}

/* The 4 x 4 gradients at `frame`, transformed, point i at d + i * point. */
static void tile_gradient(const float *frame, size_t frame_row, float *d, size_t point)
{
    wf_vf y[WINO_OUT * WINO_OUT], t[WINO_IN * WINO_OUT], z[WINO_POINTS];
    for (int i = 0; i < WINO_OUT; i++)
        for (int j = 0; j < WINO_OUT; j++)
            y[i * WINO_OUT + j] = wf_vload(frame + (size_t)i * frame_row + (size_t)j * L);
    for (int j = 0; j < WINO_OUT; j++)
        wino_output_t(y + j, t + j, WINO_OUT, WINO_OUT);
    for (int i = 0; i < WINO_IN; i++)
        wino_output_t(t + i * WINO_OUT, z + i * WINO_IN, 1, 1);
    for (int i = 0; i < WINO_POINTS; i++)
        wf_vstore(d + (size_t)i * point, z[i]);
}

static void transform_gradient(const wf_conv2d_desc *desc, const plan *p, wino_rows r,
                               const float *dy, int blocks, float *frame, float *d)
{
    static const int none[2] = {0, 0};
    const wino_tiles *t = &p->cut;
    for (int b = 0; b < blocks; b++, dy += (size_t)desc->P * (size_t)desc->Q * L) {
        wino_fill_frame(t, r, dy, desc->P, desc->Q, none, frame);
        for (int i = 0; i < r.n; i++)
            for (int j = 0; j < t->columns; j++)
                tile_gradient(
                    frame + (size_t)i * WINO_OUT * t->frame_row + (size_t)j * WINO_OUT * L,
                    t->frame_row, d + (size_t)(i * t->columns + j) * p->d_step + (size_t)b * L,
                    p->d_point);
    }
}

/* s[c][b] += sum over tiles of v[t][c] * d[t][b], for NC channels and NB blocks: constants where
 * this is called. */
WF_INLINE void accumulate(const int NC, const int NB, int tiles, const float *v, size_t v_step,
                          const float *d, size_t d_step, float *s)
{
    wf_vf sum[MAX_CHANNELS][PAIR];
    for (int c = 0; c < NC; c++)
        for (int b = 0; b < NB; b++)
            sum[c][b] = wf_vload(s + (c * PAIR + b) * L);
    for (int t = 0; t < tiles; t++, v += v_step, d += d_step) {
        wf_vf y[PAIR];
        for (int b = 0; b < NB; b++)
            y[b] = wf_vload(d + b * L);
        for (int c = 0; c < NC; c++) {
            wf_vf x = wf_vset1(v[c]);
            for (int b = 0; b < NB; b++)
                sum[c][b] = wf_vfma(x, y[b], sum[c][b]);
        }
    }
    for (int c = 0; c < NC; c++)
        for (int b = 0; b < NB; b++)
            wf_vstore(s + (c * PAIR + b) * L, sum[c][b]);
}

/* One point and pair of blocks, channels by sixes, then fours and twos (C is a multiple of 8). */
static void accumulate_point(const plan *p, int tiles, int blocks, const float *v, const float *d,
                             float *s)
{
    for (int c = 0; c < p->C;) {
        int left = p->C - c, n = left >= 6 && left != 8 ? 6 : left >= 4 ? 4 : 2;
        float *sc = s + (size_t)c * PAIR * L;
        switch (blocks * 8 + n) {
        case 16 + 6: accumulate(6, 2, tiles, v + c, (size_t)p->C, d, p->d_step, sc); break;
        case 16 + 4: accumulate(4, 2, tiles, v + c, (size_t)p->C, d, p->d_step, sc); break;
        case 16 + 2: accumulate(2, 2, tiles, v + c, (size_t)p->C, d, p->d_step, sc); break;
        case 8 + 6: accumulate(6, 1, tiles, v + c, (size_t)p->C, d, p->d_step, sc); break;
        case 8 + 4: accumulate(4, 1, tiles, v + c, (size_t)p->C, d, p->d_step, sc); break;
        case 8 + 2: accumulate(2, 1, tiles, v + c, (size_t)p->C, d, p->d_step, sc); break;
        }
        c += n;
    }
}

static void accumulate_all(const plan *p, int tiles, int blocks, const float *v, const float *d,
                           float *sums)
{
    for (int i = 0; i < WINO_POINTS; i++, v += p->v_point, d += p->d_point, sums += p->s_point)
        for (int b = 0; b < blocks; b += PAIR)
            accumulate_point(p, tiles, blocks - b < PAIR ? 1 : PAIR, v, d + b * L,
                             sums + (size_t)(b / PAIR) * p->s_pair);
}

/* The sums of one output block back to 3 x 3 weights, into a slot. */
static void transform_back(const plan *p, const float *sums, float *w)
{
    for (int c = 0; c < p->C; c++) {
        wf_vf u[WINO_POINTS], t[18], g[9];
        for (int i = 0; i < WINO_POINTS; i++)
            u[i] = wf_vload(sums + (size_t)i * p->s_point + (size_t)c * PAIR * L);
        for (int j = 0; j < WINO_IN; j++)
            wino_filter_t(u + j, t + j, WINO_IN, WINO_IN);
        for (int r = 0; r < 3; r++)
            wino_filter_t(t + r * WINO_IN, g + r * 3, 1, 1);
        for (int s = 0; s < 9; s++)
            wf_vstore(w + ((size_t)(c / L * 9 + s) * L + (size_t)(c % L)) * L, g[s]);
    }
}

static weft_status backward_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *slot, int part, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const plan p = plan_of(d);
    const int first = part * p.part_blocks;
    const int blocks = p.blocks - first < p.part_blocks ? p.blocks - first : p.part_blocks;
    const size_t w_block = (size_t)p.C * 9 * L;
    float *frame = scratch, *v = frame + wino_frame_count(&p.cut, p.capacity);
    float *z = v + WINO_POINTS * p.v_point, *sums = z + WINO_POINTS * p.d_point;
    int tiles = 0;
    memset(sums, 0, WINO_POINTS * p.s_point * sizeof *sums);
    for (wino_rows at = {0}; at.image < n; at = wino_after(&p.cut, at)) {
        if (tiles + p.cut.columns > p.capacity) {
            accumulate_all(&p, tiles, blocks, v, z, sums);
            tiles = 0;
        }
        at = wino_take(&p.cut, at, p.capacity - tiles);
        const char *x = (const char *)io->src + (size_t)at.image * io->src_stride;
        const char *dy = (const char *)io->ddst + (size_t)at.image * io->ddst_stride;
        wino_transform_input(&p.cut, at, (const float *)x, d->H, d->W, d->padding, p.C, frame,
                             v + (size_t)tiles * (size_t)p.C, p.v_point);
        transform_gradient(d, &p, at,
                           (const float *)dy + (size_t)first * (size_t)d->P * (size_t)d->Q * L,
                           blocks, frame, z + (size_t)tiles * p.d_step);
        tiles += at.n * p.cut.columns;
    }
    accumulate_all(&p, tiles, blocks, v, z, sums);
    for (int b = 0; b < blocks; b++)
        transform_back(&p, sums + (size_t)(b / PAIR) * p.s_pair + b % PAIR * L,
                       (float *)slot + (size_t)(first + b) * w_block);
    return WEFT_OK;
}

/* One output block. */
static weft_status reduce(const wf_conv2d *k, int worker, void *slots, size_t slot_stride,
                          void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t block = (size_t)wf_round_up(d->C, L) * 9 * L;
    const int outputs = d->K - tile * L < L ? d->K - tile * L : L;
    const float *w = (const float *)slots + (size_t)tile * block;
    float *out = (float *)dweights + (size_t)tile * L * (size_t)d->C * 9;
    wf_conv2d_sum_slots(WEFT_F32, (float *)slots + (size_t)tile * block, slot_stride, k->slots,
                        block);
    for (int c0 = 0; c0 < d->C; c0 += L) {
        const int inputs = d->C - c0 < L ? d->C - c0 : L;
        for (int t = 0; t < 9; t++, w += L * L)
            for (int o = 0; o < outputs; o++)
                for (int c = 0; c < inputs; c++)
                    out[((size_t)o * (size_t)d->C + (size_t)(c0 + c)) * 9 + (size_t)t] =
                        w[c * L + o];
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
