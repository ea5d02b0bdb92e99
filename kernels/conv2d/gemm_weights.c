/* Implicit im2col and matrix product: backward-weights, a weight's products summed in registers.
 *
 * A slot (Note [Weight gradient slots]) holds output vectors; input vectors; taps; channels of a
 * vector; L outputs: for blocked activations without groups K/L, C/L, R, S, L, L. A part is a run of
 * groups of up to MAX_NB output vectors. The images come one after the other, or several small ones at
 * once, in chunks of rows: of a group's ddst the chunk stays in the first-level cache while all input
 * vectors that the frame (gemm.h) holds pass by. Every weight adds its products in the order image,
 * row, column, wherever the chunks end: the bits follow from shape and ISA. Stateless but for the
 * plan.
 *
 * The inner loop is an outer product: some values of src, channels or taps, times some vectors of
 * ddst, for each pixel; or, lane by lane (Note [How channels meet]), some vectors of src times one. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm.h"

enum {
    CHUNK = 150,          /* pixels that are taken through all taps before the next */
    FRAMES = 32 * 1024,   /* floats of src for such a chunk: in the second-level cache */
    PART_FLOPS = 4000000, /* a tile of less is not worth handing out */
    MAX_NX = L == 16 ? 16 : 9,
    MAX_TERMS = 9, /* a pointer each */
    MAX_NB = 4
};

typedef struct state {
    gemm_plan *plan;
    int rows, images; /* of a chunk */
    int NB;           /* output vectors of a group, at most */
    int groups;       /* of a set */
} state;

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "backward-weights only";
    else if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32)
        reason = "f32 only";
    else if (d->dst_block != L || (d->src_block != 1 && d->src_block != L))
        reason = "needs dst in blocks of a vector, src in the same or plain";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    return wf_conv2d_expect(d, GEMM_ISA, 0.8);
}

static void destroy(wf_conv2d *k)
{
    state *s = k->state;
    if (s)
        gemm_plan_destroy(s->plan);
    free(s);
    k->state = NULL;
}

/* Floats of a slot for one output vector. */
static size_t slot_block(const wf_conv2d_desc *d, const gemm_plan *p)
{
    return (size_t)p->vectors * (size_t)d->R * (size_t)d->S * (size_t)p->depth * L;
}

/* The first output vector of group g, of a set's; of g = groups the end. */
static int group_begin(const state *s, int g)
{
    return (int)((int64_t)s->plan->blocks * g / s->groups);
}

static int even(int n, int most)
{
    int parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

static void cut(state *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    gemm_plan *p = s->plan;
    const int64_t pixels = (int64_t)d->P * d->Q;
    s->rows = even(d->P, d->Q < CHUNK ? CHUNK / d->Q : 1);
    s->images = pixels * 2 <= CHUNK ? (int)(CHUNK / pixels) : 1;
    s->images = even(k->slot_images, s->images < k->slot_images ? s->images : k->slot_images);
    s->NB = p->kind == GEMM_LANES ? 1 : p->kind == GEMM_PLAIN ? 4 : 3;
    s->groups = (p->blocks + s->NB - 1) / s->NB;
    const gemm_axis *h = p->row, *w = p->column;
    size_t one = gemm_direct(p, h, w) ? (size_t)s->rows * (size_t)d->W * L
                                      : gemm_vector(p, h, w, s->rows);
    size_t most = one ? FRAMES / (one * (size_t)s->images) : 1;
    most = most < 1 ? 1 : most < (size_t)p->vectors ? most : (size_t)p->vectors;
    p->chunk = even(p->vectors, (int)most);
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    state *s = k->state = calloc(1, sizeof *s);
    if (!s || !(s->plan = gemm_plan_create(d, k->pass))) {
        snprintf(why, size, "out of memory");
        destroy(k);
        return false;
    }
    cut(s, k);
    const gemm_plan *p = s->plan;
    double parts = wf_conv2d_flops(d) / d->N * k->slot_images / PART_FLOPS;
    int groups = p->sets * s->groups;
    k->parts = parts < 1 ? 1 : parts < groups ? (int)parts : groups;
    k->slot_bytes = slot_block(d, p) * (size_t)(p->sets * p->blocks) * sizeof(float);
    k->reduce_tiles = p->sets * p->blocks;
    if (!gemm_direct(p, p->row, p->column))
        k->scratch_bytes = (size_t)s->images * (size_t)p->chunk *
                           gemm_vector(p, p->row, p->column, s->rows) * sizeof(float);
    return true;
}

/* ---- in registers ---------------------------------------------------------------------------- */

/* The pixels of a chunk as a frame and ddst have them; steps in floats. */
typedef struct pixels {
    int images, rows, columns;
    size_t x_image, x_row, dy_image, dy_row, dy_block;
    bool first; /* sums start with zero, not with what is there */
} pixels;

/* w[i][b] += sum over pixels of x[i] * dy[b], for NX channels of an input vector and NB vectors of
 * outputs; both are constants where this is called, so that the sums stay in registers. */
WF_INLINE void channels_product(const int NX, const int NB, const pixels *p, const float *x,
                                const float *dy, float *w, size_t w_block)
{
    wf_vf sum[MAX_NX][MAX_NB];
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            sum[i][b] = p->first ? wf_vzero() : wf_vload(w + i * L + (size_t)b * w_block);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *xr = x + (size_t)n * p->x_image + (size_t)r * p->x_row;
            const float *dr = dy + (size_t)n * p->dy_image + (size_t)r * p->dy_row;
            for (int c = 0; c < p->columns; c++, xr += L, dr += L) {
                wf_vf v[MAX_NB];
                for (int b = 0; b < NB; b++)
                    v[b] = wf_vload(dr + (size_t)b * p->dy_block);
                for (int i = 0; i < NX; i++) {
                    wf_vf xi = wf_vset1(xr[i]);
                    for (int b = 0; b < NB; b++)
                        sum[i][b] = wf_vfma(xi, v[b], sum[i][b]);
                }
            }
        }
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            wf_vstore(w + i * L + (size_t)b * w_block, sum[i][b]);
}

static void dense_product(int NB, const pixels *p, const float *x, const float *dy, float *w,
                          size_t w_block)
{
    enum { SOME = L / 2, ALL = L };
    switch (NB) {
    case 1: channels_product(ALL, 1, p, x, dy, w, w_block); break;
    case 2:
        for (int i = 0; i < L; i += SOME)
            channels_product(SOME, 2, p, x + i, dy, w + i * L, w_block);
        break;
    case 3:
        for (int i = 0; i < L; i += SOME)
            channels_product(SOME, 3, p, x + i, dy, w + i * L, w_block);
        break;
    }
}

/* The same for NX taps, whose src is at x[i]: single values, UNIT 1; or vectors, UNIT L, of which lane
 * meets lane. */
WF_INLINE void taps_product(const int NX, const int NB, const int UNIT, const pixels *p,
                            const float *const *taps, const float *dy, float *w, size_t w_block)
{
    if (NX * NB > GEMM_SUMS)
        return; /* is never asked for: no code */
    wf_vf sum[MAX_TERMS][MAX_NB];
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            sum[i][b] = p->first ? wf_vzero() : wf_vload(w + i * L + (size_t)b * w_block);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *x[MAX_TERMS];
            for (int i = 0; i < NX; i++)
                x[i] = taps[i] + (size_t)n * p->x_image + (size_t)r * p->x_row;
            const float *dr = dy + (size_t)n * p->dy_image + (size_t)r * p->dy_row;
            for (size_t c = 0; c < (size_t)p->columns; c++) {
                wf_vf v[MAX_TERMS];
                for (int i = 0; i < NX; i++)
                    v[i] = UNIT == 1 ? wf_vset1(x[i][c]) : wf_vload(x[i] + c * L);
                for (int b = 0; b < NB; b++) {
                    wf_vf d = wf_vload(dr + c * L + (size_t)b * p->dy_block);
                    for (int i = 0; i < NX; i++)
                        sum[i][b] = wf_vfma(v[i], d, sum[i][b]);
                }
            }
        }
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            wf_vstore(w + i * L + (size_t)b * w_block, sum[i][b]);
}

WF_INLINE void taps_n(const int NB, const int UNIT, int n, const pixels *p, const float *const *x,
                      const float *dy, float *w, size_t w_block)
{
    switch (n) {
    case 1: taps_product(1, NB, UNIT, p, x, dy, w, w_block); break;
    case 2: taps_product(2, NB, UNIT, p, x, dy, w, w_block); break;
    case 3: taps_product(3, NB, UNIT, p, x, dy, w, w_block); break;
    case 4: taps_product(4, NB, UNIT, p, x, dy, w, w_block); break;
    case 5: taps_product(5, NB, UNIT, p, x, dy, w, w_block); break;
    case 6: taps_product(6, NB, UNIT, p, x, dy, w, w_block); break;
    case 7: taps_product(7, NB, UNIT, p, x, dy, w, w_block); break;
    case 8: taps_product(8, NB, UNIT, p, x, dy, w, w_block); break;
    case 9: taps_product(9, NB, UNIT, p, x, dy, w, w_block); break;
    }
}

static void plain_product(int NB, int n, const pixels *p, const float *const *x, const float *dy,
                          float *w, size_t w_block)
{
    switch (NB) {
    case 1: taps_n(1, 1, n, p, x, dy, w, w_block); break;
    case 2: taps_n(2, 1, n, p, x, dy, w, w_block); break;
    case 3: taps_n(3, 1, n, p, x, dy, w, w_block); break;
    case 4: taps_n(4, 1, n, p, x, dy, w, w_block); break;
    }
}

static void lanes_product(int n, const pixels *p, const float *const *x, const float *dy, float *w)
{
    taps_n(1, L, n, p, x, dy, w, 0);
}

/* ---- one chunk ------------------------------------------------------------------------------- */

typedef struct chunk {
    const wf_conv2d_desc *d;
    const state *s;
    gemm_part part;
    const float *x;  /* of the frames */
    size_t vector;   /* floats from vector to vector of a frame */
    pixels at;
    size_t block; /* floats of a slot for one output vector */
} chunk;

/* Tap t of those that meet the image, in the order of the weights: where it is in a vector of the
 * frame, and its place among all R * S. */
static size_t tap_at(const chunk *c, int t, int *place)
{
    const gemm_plan *p = c->s->plan;
    const int r = t / p->column->taps, s = t % p->column->taps;
    *place = p->row->tap[r] * c->d->S + p->column->tap[s];
    return gemm_tap(p, p->row, p->column, c->s->rows, r, s);
}

static void run_dense(const chunk *c, int NB, const float *dy, float *w)
{
    const gemm_plan *p = c->s->plan;
    const int taps = p->row->taps * p->column->taps, all = c->d->R * c->d->S;
    for (int v = c->part.v0; v < c->part.v1; v++)
        for (int t = 0; t < taps; t++) {
            int place;
            const float *x = c->x + (size_t)(v - c->part.v0) * c->vector + tap_at(c, t, &place);
            dense_product(NB, &c->at, x, dy, w + ((size_t)v * (size_t)all + (size_t)place) * L * L,
                          c->block);
        }
}

/* Input vector by input vector, as many taps at once as are neighbours among the weights and as the
 * registers hold. */
static void run_taps(const chunk *c, int NB, const float *dy, float *w)
{
    const gemm_plan *p = c->s->plan;
    const int taps = p->row->taps * p->column->taps, all = c->d->R * c->d->S;
    const int terms = (c->part.v1 - c->part.v0) * taps;
    int most = GEMM_SUMS / NB < MAX_TERMS ? GEMM_SUMS / NB : MAX_TERMS;
    most = even(terms, most);
    for (int t = 0; t < terms;) {
        const float *x[MAX_TERMS];
        size_t first = 0;
        int n = 0;
        for (; n < most && t < terms; n++, t++) {
            int place, v = t / taps;
            x[n] = c->x + (size_t)v * c->vector + tap_at(c, t % taps, &place);
            size_t at = (size_t)(c->part.v0 + v) * (size_t)all + (size_t)place;
            if (n == 0)
                first = at;
            else if (at != first + (size_t)n)
                break;
        }
        if (p->kind == GEMM_LANES)
            lanes_product(n, &c->at, x, dy, w + first * L);
        else
            plain_product(NB, n, &c->at, x, dy, w + first * L, c->block);
    }
}

/* Groups [g0, g1) of one set's output vectors, for the frames that c has. */
static void run_groups(const chunk *c, int g0, int g1, const float *dy, float *slot)
{
    const gemm_plan *p = c->s->plan;
    for (int g = g0; g < g1; g++) {
        const int b = group_begin(c->s, g), NB = group_begin(c->s, g + 1) - b;
        const int channel = c->part.set * (p->kind == GEMM_LANES ? L : p->OG) + b * L;
        const float *y = dy + wf_act_index(p->out, channel, c->part.first_row, 0);
        float *w = slot + (size_t)(c->part.set * p->blocks + b) * c->block;
        if (p->kind == GEMM_DENSE)
            run_dense(c, NB, y, w);
        else
            run_taps(c, NB, y, w);
    }
}

/* ---- one tile -------------------------------------------------------------------------------- */

typedef struct images {
    const char *src, *ddst;
    size_t src_stride, ddst_stride;
    int n;
    bool first;
} images;

/* Fills the frames of a part of some images, or finds it in them. */
static void prepare(chunk *c, const images *m, float *scratch)
{
    const gemm_plan *p = c->s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    const size_t frame = (size_t)p->chunk * gemm_vector(p, h, w, c->s->rows);
    c->vector = gemm_vector(p, h, w, c->s->rows);
    for (int i = 0; i < m->n; i++) {
        const float *x = (const float *)(m->src + (size_t)i * m->src_stride);
        const float *at = gemm_frame(p, h, w, c->part, c->s->rows, x, scratch + (size_t)i * frame);
        c->x = i == 0 ? at : c->x;
    }
    const bool flat = gemm_flat(h, w);
    c->at = (pixels){.images = m->n,
                     .rows = flat ? 1 : c->part.rows,
                     .columns = flat ? c->part.rows * w->n : w->n,
                     .x_image = gemm_direct(p, h, w) ? m->src_stride / sizeof(float) : frame,
                     .x_row = gemm_row(p, h, w),
                     .dy_image = m->ddst_stride / sizeof(float),
                     .dy_row = (size_t)p->out.W * L,
                     .dy_block = (size_t)p->out.H * (size_t)p->out.W * L,
                     .first = m->first && c->part.first_row == 0};
}

/* Groups [begin, end), counted through all sets, for some images. */
static void run_images(const wf_conv2d *k, const images *m, int begin, int end, float *slot,
                       float *scratch)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    chunk c = {.d = &k->desc, .s = s, .block = slot_block(&k->desc, p)};
    for (int row = 0; row < p->row->n; row += s->rows)
        for (int g = begin; g < end;) {
            const int set = g / s->groups, g0 = g % s->groups;
            const int g1 = g0 + end - g < s->groups ? g0 + end - g : s->groups;
            const int left = p->row->n - row;
            for (int v = 0; v < p->vectors; v += p->chunk) {
                const int v1 = v + p->chunk < p->vectors ? v + p->chunk : p->vectors;
                c.part = (gemm_part){set, v, v1, row, left < s->rows ? left : s->rows};
                prepare(&c, m, scratch);
                run_groups(&c, g0, g1, (const float *)m->ddst, slot);
            }
            g += g1 - g0;
        }
}

static void backward_weights(const wf_conv2d *k, int worker, const void *src, size_t src_stride,
                             const void *ddst, size_t ddst_stride, int n, void *slot, int part,
                             void *scratch)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const int groups = p->sets * s->groups;
    const int begin = (int)((int64_t)groups * part / k->parts);
    const int end = (int)((int64_t)groups * (part + 1) / k->parts);
    if (p->row->taps < k->desc.R || p->column->taps < k->desc.S) { /* some are never written */
        const int b0 = begin / s->groups * p->blocks + group_begin(s, begin % s->groups);
        const int b1 = end / s->groups * p->blocks + group_begin(s, end % s->groups);
        const size_t block = slot_block(&k->desc, p);
        memset((float *)slot + (size_t)b0 * block, 0, (size_t)(b1 - b0) * block * sizeof(float));
    }
    if (p->row->taps == 0 || p->column->taps == 0)
        return;
    for (int i = 0; i < n; i += s->images) {
        images m = {.src = (const char *)src + (size_t)i * src_stride,
                    .ddst = (const char *)ddst + (size_t)i * ddst_stride,
                    .src_stride = src_stride,
                    .ddst_stride = ddst_stride,
                    .n = n - i < s->images ? n - i : s->images,
                    .first = i == 0};
        run_images(k, &m, begin, end, slot, scratch);
    }
}

/* One output vector. */
static void reduce(const wf_conv2d *k, int worker, void *slots, size_t slot_stride, void *dweights,
                   int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const gemm_plan *p = ((const state *)k->state)->plan;
    const size_t taps = (size_t)d->R * (size_t)d->S, block = slot_block(d, p);
    const bool lanes = p->kind == GEMM_LANES;
    const int set = tile / p->blocks;
    const int first = set * (lanes ? L : p->OG) + tile % p->blocks * L;
    const int end = lanes ? p->out.C : (set + 1) * p->OG;
    const float *w = (const float *)slots + (size_t)tile * block;
    wf_conv2d_sum_slots(WEFT_F32, (float *)slots + (size_t)tile * block, slot_stride, k->slots,
                        block);
    for (int v = 0; v < p->vectors; v++, w += taps * (size_t)p->depth * L) {
        const int i = v * p->depth, inputs = p->IG - i < p->depth ? p->IG - i : p->depth;
        for (int l = 0; l < L && first + l < end; l++) {
            float *out = (float *)dweights + ((size_t)(first + l) * (size_t)p->IG + (size_t)i) * taps;
            for (int c = 0; c < inputs; c++)
                for (size_t t = 0; t < taps; t++)
                    *out++ = w[(t * (size_t)p->depth + (size_t)c) * L + (size_t)l];
        }
    }
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm_weights) = {
#if WF_LANES == 16
    .name = "gemm:avx512",
#else
    .name = "gemm:avx2",
#endif
    .isa = GEMM_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
