/* Implicit im2col and matrix product: forward, and backward-data as convolutions of ddst.
 *
 * Goto and van de Geijn's loops ("Anatomy of High-Performance Matrix Multiplication", 2008) around
 * a product in registers: for a chunk of output rows, whose frame (gemm.h) stays in the second-level
 * cache; for a chunk of input channels, whose weights for a few output vectors stay in the first;
 * for those output vectors; for the pixels in groups that fill the registers. A group's sums start
 * as the bias, or go on where the last chunk of channels left them in the output: every output adds
 * its products in the order vector, tap, channel, wherever the chunks end, so the bits follow from
 * shape and ISA. Stateless but for the plan.
 *
 * Packed weights: output vectors; phases; input vectors; taps; channels of a vector; L outputs. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm.h"

enum {
    MAX_J = 8,            /* rotations: half a vector of the widest */
    TILES = 16,           /* that a small batch is cut into, if it is worth it */
    PART_FLOPS = 2000000, /* of a part, at least */
};

typedef struct phase {
    const gemm_axis *h, *w;
    size_t weights;    /* where its weights start within those of an output vector */
    bool direct, flat; /* the input is the frame; rows follow on each other as pixels do */
    size_t *offset;    /* of each tap and vector of a chunk, in the order of the weights */
} phase;

typedef struct state {
    gemm_plan *plan;
    phase *phases;
    size_t *offsets; /* of all phases */
    int n_phases;
    int rows;     /* of each phase at once */
    bool by_rows; /* parts of an image are rows, not outputs */
    int32_t rotation[MAX_J][L];
} state;

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32)
        reason = "f32 only";
    else if (d->dst_block != L || (d->src_block != L && d->src_block != 1))
        reason = "needs dst in blocks of a vector, src in the same or plain";
    else if (d->src_block == 1 && pass == WF_CONV2D_BACKWARD_DATA)
        reason = "backward-data needs src in blocks of a vector";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    return wf_conv2d_expect(d, WF_ISA, gemm_share(d, pass));
}

static void destroy(wf_conv2d *k)
{
    state *s = k->state;
    if (!s)
        return;
    gemm_plan_destroy(s->plan);
    free(s->phases);
    free(s->offsets);
    free(s);
    k->state = NULL;
}

static void describe_phase(const gemm_plan *p, int rows, phase *f)
{
    f->direct = gemm_direct(p, f->h, f->w);
    f->flat = gemm_flat(f->h, f->w);
    const size_t vector = gemm_vector(p, f->h, f->w, rows);
    size_t *offset = f->offset;
    for (int v = 0; v < p->chunk; v++)
        for (int r = 0; r < f->h->taps; r++)
            for (int s = 0; s < f->w->taps; s++)
                *offset++ = (size_t)v * vector + gemm_tap(p, f->h, f->w, rows, r, s);
}

static size_t phase_taps(const phase *f)
{
    return (size_t)f->h->taps * (size_t)f->w->taps;
}

/* Groups of output vectors of a set. */
static int gemm_units(const gemm_plan *p)
{
    return (p->blocks + p->NV - 1) / p->NV;
}

static int at_most(int n, int most)
{
    return n < most ? n : most;
}

/* Parts of an image, where there are too few images to keep many cores at work. With enough of them a
 * tile is an image, which goes from layer to layer while it is in a cache. */
static int parts_wanted(const wf_conv2d_desc *d)
{
    const double worth = wf_conv2d_flops(d) / d->N / PART_FLOPS;
    const int few = (TILES + d->N - 1) / d->N;
    return worth < 1 ? 1 : worth < few ? (int)worth : few;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    state *s = k->state = calloc(1, sizeof *s);
    snprintf(why, size, "out of memory");
    if (!s || !(s->plan = gemm_plan_create(&k->desc, k->pass)))
        goto fail;
    const gemm_plan *p = s->plan;
    s->n_phases = p->rows * p->columns;
    s->phases = calloc((size_t)s->n_phases, sizeof *s->phases);
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S; /* of all phases together, at most */
    s->offsets = calloc((size_t)p->chunk * taps, sizeof *s->offsets);
    if (!s->phases || !s->offsets)
        goto fail;
    for (int j = 0; p->kind == GEMM_ROTATE && j < p->OG; j++)
        gemm_rotation(p->OG, j, s->rotation[j]);
    size_t weights = 0, *offset = s->offsets;
    const int wanted = parts_wanted(&k->desc);
    s->by_rows = wanted > 1 &&
                 wf_act_count(p->in) + wf_act_count(p->out) > wf_conv2d_weights_count(&k->desc);
    s->rows = p->row[0].n; /* the largest of all */
    if (s->by_rows) {
        k->parts = at_most(wanted, s->rows);
        s->rows = (s->rows + k->parts - 1) / k->parts;
    }
    for (int i = 0; i < s->n_phases; i++) {
        int rows = gemm_rows(p, &p->row[i / p->columns], &p->column[i % p->columns]);
        s->rows = rows < s->rows && rows > 0 ? rows : s->rows;
    }
    for (int i = 0; i < s->n_phases; i++) {
        phase *f = &s->phases[i];
        *f = (phase){.h = &p->row[i / p->columns], .w = &p->column[i % p->columns]};
        f->weights = weights;
        f->offset = offset;
        if (phase_taps(f) == 0)
            continue;
        describe_phase(p, s->rows, f);
        weights += phase_taps(f) * (size_t)p->vectors * (size_t)p->depth * L;
        offset += phase_taps(f) * (size_t)p->chunk;
        size_t frame = (size_t)p->chunk * gemm_vector(p, f->h, f->w, s->rows) * sizeof(float);
        if (!f->direct && frame > k->scratch_bytes)
            k->scratch_bytes = frame;
    }
    if (!s->by_rows)
        k->parts = at_most(wanted, p->sets * gemm_units(p));
    k->pack_tiles = p->sets * p->blocks;
    k->packed_bytes = (weights ? weights : L) * (size_t)k->pack_tiles * sizeof(float);
    return true;
fail:
    destroy(k);
    return false;
}

/* Floats of an output vector's packed weights. */
static size_t packed_block(const wf_conv2d *k)
{
    return k->packed_bytes / sizeof(float) / (size_t)k->pack_tiles;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Plain weights as the pass sees them: the taps of output channel o and input channel i start at
 * o / OG * group + o % OG * output + i % IG * input, in elements. */
typedef struct plain {
    const float *w;
    size_t output, input, group;
} plain;

static plain plain_of(const wf_conv2d *k, const gemm_plan *p, const float *w)
{
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S;
    const size_t group = (size_t)p->OG * (size_t)p->IG * taps;
    if (k->pass == WF_CONV2D_FORWARD)
        return (plain){w, (size_t)p->IG * taps, taps, group};
    return (plain){w, taps, (size_t)p->OG * taps, group};
}

/* The taps of a phase, from those of one output and `n` input channels: out[tap][channel] is a lane
 * of a vector, the next channel's a vector further. */
static void pack_lane(const phase *f, int S, const float *w, size_t input, int n, int depth,
                      float *out)
{
    for (int r = 0; r < f->h->taps; r++)
        for (int t = 0; t < f->w->taps; t++, out += depth * L) {
            const float *from = w + f->h->tap[r] * S + f->w->tap[t];
            for (int c = 0; c < n; c++)
                out[c * L] = from[(size_t)c * input];
        }
}

/* The same of ROTATE, lane l of each vector. */
static void pack_rotated(const wf_conv2d *k, plain w, int i, float *block)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    for (int j = 0; j < p->depth; j++) {
        const int o = gemm_output(p, i, j);
        const float *from = w.w + (size_t)(o / p->OG) * w.group + (size_t)(o % p->OG) * w.output +
                            (size_t)(i % p->IG) * w.input;
        for (int f = 0; f < s->n_phases; f++)
            pack_lane(&s->phases[f], k->desc.S, from, 0, 1, p->depth,
                      block + s->phases[f].weights + (size_t)j * L + i % L);
    }
}

/* An output vector: lane by lane, so that the plain weights are read as they lie. */
static void pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const int set = tile / p->blocks, first = gemm_first(p, set, tile % p->blocks);
    const int left = gemm_end(p, set) - first, n = left < L ? left : L;
    const plain w = plain_of(k, p, weights);
    float *block = (float *)packed + (size_t)tile * packed_block(k);
    if (n < L || (p->kind == GEMM_DENSE && p->IG % L))
        memset(block, 0, packed_block(k) * sizeof *block);
    for (int l = 0; p->kind == GEMM_ROTATE && l < n; l++)
        pack_rotated(k, w, first + l, block);
    for (int v = 0; p->kind != GEMM_ROTATE && v < p->vectors; v++) {
        const int i = v * p->depth, inputs = p->IG - i < p->depth ? p->IG - i : p->depth;
        for (int l = 0; l < n; l++) {
            const int o = first + l;
            const float *from = w.w + (size_t)(o / p->OG) * w.group +
                                (size_t)(o % p->OG) * w.output + (size_t)i * w.input;
            for (int j = 0; j < s->n_phases; j++) {
                const phase *f = &s->phases[j];
                float *out = block + f->weights + (size_t)v * phase_taps(f) * (size_t)p->depth * L;
                pack_lane(f, k->desc.S, from, w.input, inputs, p->depth, out + l);
            }
        }
    }
}

/* ---- in registers ---------------------------------------------------------------------------- */

/* What a group of pixels and its vectors of outputs are summed from; steps in floats. */
typedef struct product {
    const size_t *offset; /* of x for each of n terms */
    size_t n;
    const float *w; /* n * depth * L */
    size_t w_block;
    const float *bias; /* what the sums start with: GEMM_NV vectors; NULL: with y */
    size_t y_pixel, y_block;
    const int32_t (*rotation)[L]; /* ROTATE: where lanes come from, by j */
} product;

/* What is brought into the second-level cache meanwhile: the lines at x + offset[t] and w + t * depth
 * * L for each of the terms. */
typedef struct ahead {
    const float *x, *w;
} ahead;

/* y[i][b] += sum over terms t and channels c of x[offset[t] + i * unit + c] * w[b][t][c], for N
 * pixels and NV vectors. N, NV, DEPTH (channels of a term) and UNIT are constants where this is
 * called, so that the sums stay in registers. */
WF_INLINE void multiply(const int N, const int NV, const int DEPTH, const int UNIT,
                        const product *p, ahead next, const float *x, float *y)
{
    if (N * NV > GEMM_SUMS)
        return; /* is never asked for: no code */
    wf_vf sum[GEMM_N][GEMM_NV];
    for (int i = 0; i < N; i++)
        for (int b = 0; b < NV; b++)
            sum[i][b] = wf_vload(p->bias ? p->bias + b * L
                                         : y + (size_t)i * p->y_pixel + (size_t)b * p->y_block);
    const float *w = p->w;
    const size_t w_block = p->w_block;
    for (size_t t = 0; t < p->n; t++) {
        const float *xt = x + p->offset[t];
        if (DEPTH > 1) {
            __builtin_prefetch(next.x + p->offset[t], 0, 2);
            __builtin_prefetch(next.w + t * (size_t)DEPTH * L, 0, 2);
        }
#pragma GCC unroll 4
        for (int c = 0; c < DEPTH; c++, w += L) {
            if (N < NV) {
                wf_vf v[GEMM_N]; /* N < NV */
                for (int i = 0; i < N; i++)
                    v[i] = wf_vset1(xt[i * UNIT + c]);
                for (int b = 0; b < NV; b++) {
                    wf_vf f = wf_vload(w + (size_t)b * w_block);
                    for (int i = 0; i < N; i++)
                        sum[i][b] = wf_vfma(v[i], f, sum[i][b]);
                }
            } else {
                wf_vf f[GEMM_NV];
                for (int b = 0; b < NV; b++)
                    f[b] = wf_vload(w + (size_t)b * w_block);
                for (int i = 0; i < N; i++) {
                    wf_vf v = wf_vset1(xt[i * UNIT + c]);
                    for (int b = 0; b < NV; b++)
                        sum[i][b] = wf_vfma(v, f[b], sum[i][b]);
                }
            }
        }
    }
    for (int i = 0; i < N; i++)
        for (int b = 0; b < NV; b++)
            wf_vstore(y + (size_t)i * p->y_pixel + (size_t)b * p->y_block, sum[i][b]);
}

/* The same lane by lane: y[i] += sum over terms of x[offset[t] + i * L] * w[t]. */
WF_INLINE void multiply_lanes(const int N, const product *p, const float *x, float *y)
{
    wf_vf sum[GEMM_N];
    for (int i = 0; i < N; i++)
        sum[i] = wf_vload(p->bias ? p->bias : y + (size_t)i * p->y_pixel);
    for (size_t t = 0; t < p->n; t++) {
        const float *xt = x + p->offset[t];
        wf_vf f = wf_vload(p->w + t * L);
        for (int i = 0; i < N; i++)
            sum[i] = wf_vfma(wf_vload(xt + i * L), f, sum[i]);
    }
    for (int i = 0; i < N; i++)
        wf_vstore(y + (size_t)i * p->y_pixel, sum[i]);
}

/* The same, rotated: y[i] = bias + sum over j of what terms of x[offset[t] + i * L] * w[t][j] add up to,
 * rotated by j. J, the size of a group, is a constant, too. */
WF_INLINE void multiply_rotated(const int N, const int J, const product *p, ahead next,
                                const float *x, float *y)
{
    if (N * J > GEMM_SUMS)
        return; /* is never asked for: no code */
    for (int i = 0; i <= N * L; i += 16)
        __builtin_prefetch(next.x + i, 0, 2);
    wf_vf sum[GEMM_N][MAX_J];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < J; j++)
            sum[i][j] = j == 0 ? wf_vload(p->bias) : wf_vzero();
    const float *w = p->w;
    for (size_t t = 0; t < p->n; t++, w += J * L) {
        const float *xt = x + p->offset[t];
        wf_vf v[GEMM_N];
        for (int i = 0; i < N; i++)
            v[i] = wf_vload(xt + i * L);
        for (int j = 0; j < J; j++) {
            wf_vf f = wf_vload(w + j * L);
            for (int i = 0; i < N; i++)
                sum[i][j] = wf_vfma(v[i], f, sum[i][j]);
        }
    }
    for (int j = 1; j < J; j++) {
        wf_vi from = wf_vi_load(p->rotation[j]);
        for (int i = 0; i < N; i++)
            sum[i][0] = wf_vadd(sum[i][0], wf_vpermute(sum[i][j], from));
    }
    for (int i = 0; i < N; i++)
        wf_vstore(y + (size_t)i * p->y_pixel, sum[i][0]);
}

WF_INLINE void multiply_n(const int KIND, const int NV, int n, const product *p, ahead next,
                          const float *x, float *y)
{
#define CASE(N)                                                                                    \
    case N:                                                                                        \
        if (KIND == GEMM_LANES)                                                                    \
            multiply_lanes(N, p, x, y);                                                            \
        else if (KIND == GEMM_ROTATE)                                                              \
            multiply_rotated(N, NV, p, next, x, y);                                                \
        else                                                                                       \
            multiply(N, NV, KIND == GEMM_DENSE ? L : 1, KIND == GEMM_DENSE ? L : 1, p, next, x,    \
                     y);                                                                           \
        break;
    switch (n) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
#if WF_LANES == 16
        CASE(13)
        CASE(14)
#endif
    }
#undef CASE
}

typedef void multiply_fn(int n, const product *p, ahead next, const float *x, float *y);

static void dense_1(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 1, n, p, next, x, y);
}
static void dense_2(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 2, n, p, next, x, y);
}
static void dense_3(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 3, n, p, next, x, y);
}
static void dense_4(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 4, n, p, next, x, y);
}
static void plain_1(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 1, n, p, next, x, y);
}
static void plain_2(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 2, n, p, next, x, y);
}
static void plain_3(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 3, n, p, next, x, y);
}
static void plain_4(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 4, n, p, next, x, y);
}
static void lanes_1(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_LANES, 1, n, p, next, x, y);
}

static void rotate_1(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_ROTATE, 1, n, p, next, x, y);
}
static void rotate_2(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_ROTATE, 2, n, p, next, x, y);
}
static void rotate_4(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_ROTATE, 4, n, p, next, x, y);
}
static void rotate_8(int n, const product *p, ahead next, const float *x, float *y)
{
    multiply_n(GEMM_ROTATE, 8, n, p, next, x, y);
}

/* By how many vectors each pixel has: of outputs, or of rotations. */
static multiply_fn *const multiply_fns[][MAX_J + 1] = {
    [GEMM_DENSE] = {NULL, dense_1, dense_2, dense_3, dense_4},
    [GEMM_PLAIN] = {NULL, plain_1, plain_2, plain_3, plain_4},
    [GEMM_LANES] = {NULL, lanes_1},
    [GEMM_ROTATE] = {[1] = rotate_1, [2] = rotate_2, [4] = rotate_4, [8] = rotate_8},
};

/* ---- one image ------------------------------------------------------------------------------- */

typedef struct image {
    const gemm_plan *p;
    const float *x, *packed, *bias;
    size_t packed_block;
    int rows;           /* what frames are laid out for */
    int row, end;       /* of each phase: the part of the tile */
    int unit, unit_end; /* groups of NV output vectors, counted through all sets: the same */
    float *y, *frame;
    const int32_t (*rotation)[L];
} image;

/* NV vectors of the bias, zero where there is none. */
static void load_bias(const image *m, int channel, int NV, float *bias)
{
    for (int b = 0; b < NV; b++, channel += L) {
        int n = m->p->out.C - channel < L ? m->p->out.C - channel : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

/* The weights that come after those of the outputs before b. */
static const float *next_weights(const image *m, const phase *f, gemm_part part, int b)
{
    const gemm_plan *p = m->p;
    const size_t vector = phase_taps(f) * (size_t)p->depth * L;
    const float *w = m->packed + (size_t)(part.set * p->blocks) * m->packed_block + f->weights;
    if (b < p->blocks)
        return w + (size_t)b * m->packed_block + (size_t)part.v0 * vector;
    return part.v1 < p->vectors ? w + (size_t)part.v1 * vector : w;
}

/* What is wanted soon, over the calls that one set of weights makes: the next weights, and where the
 * input is the frame the next part's; for ROTATE, which passes over its input but once, the next set's. */
typedef struct wanted {
    const float *w;           /* of each of NV output vectors, its depth * L for each term */
    const float *x;           /* NULL: nothing */
    size_t x_row, x_pixel;    /* steps of it: ROTATE */
    int64_t x_lines, x_calls; /* lines of each term, and calls among which they are shared out */
} wanted;

static wanted wanted_after(const image *m, const phase *f, gemm_part part, int b, int NV,
                           const float *x)
{
    const gemm_plan *p = m->p;
    wanted a = {.w = next_weights(m, f, part, b + NV)};
    if (f->direct) {
        a.x = x + (size_t)part.rows * (size_t)f->w->n * L;
        a.x_lines = ((int64_t)part.rows * f->w->n * L + 15) / 16;
    } else if (p->kind == GEMM_ROTATE && part.set + 1 < p->sets) {
        a.x = m->x + wf_act_index(p->in, (part.set + 1) * L, part.first_row * f->h->in_step, 0);
        a.x_row = (size_t)f->h->in_step * (size_t)p->in.W * L;
        a.x_pixel = (size_t)f->w->in_step * L;
    }
    return a;
}

/* Call `call` of those that one set of weights makes; `done` are those of the part before. */
static ahead bring(const image *m, const wanted *a, int NV, int64_t call, int64_t done,
                   const product *q, const float *x)
{
    ahead next = {x, q->w};
    if (a->x_lines)
        next.x = a->x + (size_t)(a->x_lines * (done + call) / a->x_calls) * 16;
    if (call < (int64_t)NV * m->p->depth * L / 16)
        next.w = a->w + (size_t)(call % NV) * m->packed_block + (size_t)(call / NV) * 16;
    return next;
}

/* One part of one phase, whose frame is x. */
static void run_part(const image *m, const phase *f, gemm_part part, const float *x)
{
    const gemm_plan *p = m->p;
    const size_t taps = phase_taps(f), depth = (size_t)p->depth;
    const int lines = f->flat ? 1 : part.rows;
    const int pixels = f->flat ? part.rows * f->w->n : f->w->n;
    const size_t x_row = gemm_row(p, f->h, f->w);
    const size_t y_row = (size_t)f->h->out_step * (size_t)p->out.W * L;
    product q = {.offset = f->offset, .n = (size_t)(part.v1 - part.v0) * taps};
    q.w_block = m->packed_block;
    q.rotation = m->rotation;
    q.y_pixel = (size_t)f->w->out_step * L;
    q.y_block = (size_t)p->out.H * (size_t)p->out.W * L;
    const int units = gemm_units(p), unit = part.set * units;
    const int end = m->unit_end - unit < units ? (m->unit_end - unit) * p->NV : p->blocks;
    for (int b = m->unit > unit ? (m->unit - unit) * p->NV : 0, NV; b < end && b < p->blocks;
         b += NV) {
        float bias[GEMM_NV * L];
        NV = p->blocks - b < p->NV ? p->blocks - b : p->NV;
        const int width = p->kind == GEMM_ROTATE ? p->depth : NV;
        const int groups = gemm_groups(pixels, width), channel = gemm_first(p, part.set, b);
        multiply_fn *fn = multiply_fns[p->kind][width];
        load_bias(m, channel, NV, bias);
        q.bias = part.v0 == 0 ? bias : NULL;
        q.w = m->packed + (size_t)(part.set * p->blocks + b) * m->packed_block + f->weights +
              (size_t)part.v0 * taps * depth * L;
        float *y = m->y + wf_act_index(p->out, channel, f->h->out + part.first_row * f->h->out_step,
                                       f->w->out);
        wanted a = wanted_after(m, f, part, b, NV, x);
        a.x_calls = (int64_t)lines * groups * ((p->blocks + NV - 1) / NV);
        for (int i = 0; i < lines; i++)
            for (int g = 0, first = 0, n; g < groups; g++, first += n) {
                const float *from = x + (size_t)i * x_row + (size_t)first * p->unit;
                n = pixels / groups + (g < pixels % groups);
                ahead next = bring(m, &a, NV, (int64_t)i * groups + g,
                                   (int64_t)(b / NV) * lines * groups, &q, from);
                if (a.x_pixel)
                    next.x = a.x + (size_t)i * a.x_row + (size_t)first * a.x_pixel;
                fn(n, &q, next, from, y + (size_t)i * y_row + (size_t)first * q.y_pixel);
            }
    }
}

/* Rows of a phase without taps: the bias alone. */
static void run_empty(const image *m, const phase *f, int first, int end)
{
    const gemm_plan *p = m->p;
    const size_t pixel = (size_t)f->w->out_step * L;
    for (int unit = m->unit; unit < m->unit_end; unit++) {
        const int set = unit / gemm_units(p), b0 = unit % gemm_units(p) * p->NV;
        for (int b = b0; b < b0 + p->NV && b < p->blocks; b++) {
            const int channel = gemm_first(p, set, b);
            float bias[L];
            load_bias(m, channel, 1, bias);
            for (int i = first; i < end; i++) {
                float *y =
                    m->y + wf_act_index(p->out, channel, f->h->out + i * f->h->out_step, f->w->out);
                for (int j = 0; j < f->w->n; j++)
                    wf_vstore(y + (size_t)j * pixel, wf_vload(bias));
            }
        }
    }
}

/* Rows [first, first + rows) of a phase, or as many as there are. */
static void run_rows(const image *m, const phase *f, int first, int rows)
{
    const gemm_plan *p = m->p;
    const int left = (f->h->n < m->end ? f->h->n : m->end) - first, units = gemm_units(p);
    rows = rows < left ? rows : left;
    if (phase_taps(f) == 0) {
        run_empty(m, f, first, first + rows);
        return;
    }
    for (int set = m->unit / units; rows > 0 && set * units < m->unit_end; set++)
        for (int v = 0; v < p->vectors; v += p->chunk) {
            gemm_part part = {set, v, v + p->chunk, first, rows};
            part.v1 = part.v1 < p->vectors ? part.v1 : p->vectors;
            run_part(m, f, part, gemm_frame(p, f->h, f->w, part, m->rows, m->x, m->frame));
        }
}

/* Part `part` of the images. The phases take turns, row by row: between them they write every line of
 * the output. */
static void run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                void *scratch)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const int rows = s->phases[0].h->n, units = p->sets * gemm_units(p);
    image m = {.p = p,
               .packed = io->weights,
               .bias = io->bias,
               .packed_block = packed_block(k),
               .rows = s->rows,
               .end = rows,
               .unit_end = units,
               .frame = scratch,
               .rotation = s->rotation};
    if (s->by_rows) {
        m.row = (int)((int64_t)rows * part / k->parts);
        m.end = (int)((int64_t)rows * (part + 1) / k->parts);
    } else {
        m.unit = (int)((int64_t)units * part / k->parts);
        m.unit_end = (int)((int64_t)units * (part + 1) / k->parts);
    }
    for (int i = 0; i < n; i++) {
        m.x = (const float *)((const char *)io->in + (size_t)i * io->in_stride);
        m.y = (float *)((char *)io->out + (size_t)i * io->out_stride);
        for (int row = m.row; row < m.end; row += s->rows)
            for (int f = 0; f < s->n_phases; f++)
                run_rows(&m, &s->phases[f], row, s->rows);
    }
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm) = {
    .name = "gemm:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = pack,
    .batch = run,
};
