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
    SUMS = L == 16 ? 28 : 12, /* vectors of sums in registers, at most */
    MAX_N = L == 16 ? 14 : 12, /* pixels in a group */
    MAX_NV = 4                 /* vectors of outputs of a pixel */
};

typedef struct phase {
    const gemm_axis *h, *w;
    size_t weights; /* where its weights start within those of an output vector */
    int rows;       /* output rows at once */
    bool direct, flat; /* the input is the frame; rows follow on each other as pixels do */
    size_t *offset; /* of each tap and vector of a chunk, in the order of the weights */
} phase;

typedef struct state {
    gemm_plan *plan;
    phase *phases;
    size_t *offsets; /* of all phases */
    int n_phases;
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

static void describe_phase(const gemm_plan *p, phase *f)
{
    const bool contiguous = f->h->out_step == 1 && f->w->out_step == 1;
    f->direct = gemm_direct(p, f->h, f->w);
    f->flat = contiguous && f->w->slots == 1 && f->w->span == 0;
    f->rows = gemm_rows(p, f->h, f->w);
    const size_t vector = gemm_vector(p, f->h, f->w, f->rows);
    size_t *offset = f->offset;
    for (int v = 0; v < p->chunk; v++)
        for (int r = 0; r < f->h->taps; r++)
            for (int s = 0; s < f->w->taps; s++)
                *offset++ = (size_t)v * vector + gemm_tap(p, f->h, f->w, f->rows, r, s);
}

static size_t phase_taps(const phase *f)
{
    return (size_t)f->h->taps * (size_t)f->w->taps;
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
    size_t weights = 0, *offset = s->offsets;
    for (int i = 0; i < s->n_phases; i++) {
        phase *f = &s->phases[i];
        *f = (phase){.h = &p->row[i / p->columns], .w = &p->column[i % p->columns]};
        f->weights = weights;
        f->offset = offset;
        if (phase_taps(f) == 0)
            continue;
        describe_phase(p, f);
        weights += phase_taps(f) * (size_t)p->vectors * (size_t)p->depth * L;
        offset += phase_taps(f) * (size_t)p->chunk;
        size_t frame = (size_t)p->chunk * gemm_vector(p, f->h, f->w, f->rows) * sizeof(float);
        if (!f->direct && frame > k->scratch_bytes)
            k->scratch_bytes = frame;
    }
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

/* Plain weights as the pass sees them: of output channel o and input channel i the taps start at
 * o * output + (i within its group) * input, in elements. */
typedef struct plain {
    const float *w;
    size_t output, input, group; /* group: added for each group of outputs */
} plain;

static plain plain_of(const wf_conv2d *k, const gemm_plan *p, const float *w)
{
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S;
    if (k->pass == WF_CONV2D_FORWARD)
        return (plain){w, (size_t)p->IG * taps, taps, (size_t)p->OG * (size_t)p->IG * taps};
    return (plain){w, taps, (size_t)p->OG * taps, (size_t)p->IG * (size_t)p->OG * taps};
}

/* Vector v, position c of the inputs against the outputs of a vector: where lane l's taps start;
 * returns how many lanes there are. */
static int lanes_of(const gemm_plan *p, plain w, int set, int first, int v, int c, size_t *at)
{
    int n = 0;
    for (int l = 0; l < L; l++) {
        int o = first + l, end = p->kind == GEMM_LANES ? p->out.C : (set + 1) * p->OG;
        int i = gemm_channel(p, set, v, p->kind == GEMM_LANES ? l : c);
        if (o >= end || i < 0)
            break;
        at[n++] = (size_t)(o / p->OG) * w.group + (size_t)(o % p->OG) * w.output +
                  (size_t)(i % p->IG) * w.input;
    }
    return n;
}

static void pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const int set = tile / p->blocks, first = set * (p->kind == GEMM_LANES ? L : p->OG) +
                                              tile % p->blocks * L;
    const plain w = plain_of(k, p, weights);
    float *block = (float *)packed + (size_t)tile * packed_block(k);
    for (int v = 0; v < p->vectors; v++)
        for (int c = 0; c < p->depth; c++) {
            size_t at[L];
            const int n = lanes_of(p, w, set, first, v, c, at);
            for (int i = 0; i < s->n_phases; i++) {
                const phase *f = &s->phases[i];
                const size_t taps = phase_taps(f), depth = (size_t)p->depth;
                float *out = block + f->weights + ((size_t)v * taps * depth + (size_t)c) * L;
                for (int r = 0; r < f->h->taps; r++)
                    for (int t = 0; t < f->w->taps; t++, out += depth * L) {
                        const float *from = w.w + f->h->tap[r] * k->desc.S + f->w->tap[t];
                        for (int l = 0; l < n; l++)
                            out[l] = from[at[l]];
                        for (int l = n; l < L; l++)
                            out[l] = 0;
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
    const float *bias; /* what the sums start with: MAX_NV vectors; NULL: with y */
    size_t y_pixel, y_block;
} product;

/* y[i][b] += sum over terms t and channels c of x[offset[t] + i * unit + c] * w[b][t][c], for N
 * pixels and NV vectors. N, NV, DEPTH (channels of a term) and UNIT are constants where this is
 * called, so that the sums stay in registers. */
WF_INLINE void multiply(const int N, const int NV, const int DEPTH, const int UNIT,
                        const product *p, const float *x, float *y)
{
    if (N * NV > SUMS)
        return; /* is never asked for: no code */
    wf_vf sum[MAX_N][MAX_NV];
    for (int i = 0; i < N; i++)
        for (int b = 0; b < NV; b++)
            sum[i][b] = wf_vload(p->bias ? p->bias + b * L
                                         : y + (size_t)i * p->y_pixel + (size_t)b * p->y_block);
    const float *w = p->w;
    const size_t w_block = p->w_block;
    for (size_t t = 0; t < p->n; t++) {
        const float *xt = x + p->offset[t];
        for (int c = 0; c < DEPTH; c++, w += L) {
            if (N < NV) {
                wf_vf v[MAX_N]; /* N < NV */
                for (int i = 0; i < N; i++)
                    v[i] = wf_vset1(xt[i * UNIT + c]);
                for (int b = 0; b < NV; b++) {
                    wf_vf f = wf_vload(w + (size_t)b * w_block);
                    for (int i = 0; i < N; i++)
                        sum[i][b] = wf_vfma(v[i], f, sum[i][b]);
                }
            } else {
                wf_vf f[MAX_NV];
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
    wf_vf sum[MAX_N];
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

WF_INLINE void multiply_n(const int KIND, const int NV, int n, const product *p, const float *x,
                          float *y)
{
#define CASE(N)                                                                                    \
    case N:                                                                                        \
        if (KIND == GEMM_LANES)                                                                    \
            multiply_lanes(N, p, x, y);                                                            \
        else                                                                                       \
            multiply(N, NV, KIND == GEMM_DENSE ? L : 1, KIND == GEMM_DENSE ? L : 1, p, x, y);      \
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

typedef void multiply_fn(int n, const product *p, const float *x, float *y);

static void dense_1(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 1, n, p, x, y);
}
static void dense_2(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 2, n, p, x, y);
}
static void dense_3(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 3, n, p, x, y);
}
static void dense_4(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_DENSE, 4, n, p, x, y);
}
static void plain_1(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 1, n, p, x, y);
}
static void plain_2(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 2, n, p, x, y);
}
static void plain_3(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 3, n, p, x, y);
}
static void plain_4(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_PLAIN, 4, n, p, x, y);
}
static void lanes_1(int n, const product *p, const float *x, float *y)
{
    multiply_n(GEMM_LANES, 1, n, p, x, y);
}

static multiply_fn *const multiply_fns[3][MAX_NV + 1] = {
    [GEMM_DENSE] = {NULL, dense_1, dense_2, dense_3, dense_4},
    [GEMM_PLAIN] = {NULL, plain_1, plain_2, plain_3, plain_4},
    [GEMM_LANES] = {NULL, lanes_1},
};

/* Groups that `n` pixels in a row are cut into, evenly, for NV vectors of outputs. */
static int groups_of(int n, int NV)
{
    int most = SUMS / NV < MAX_N ? SUMS / NV : MAX_N;
    return (n + most - 1) / most;
}

/* Quarters of a cycle for a term of n pixels and NV vectors: two multiply-adds or two loads a cycle,
 * and no sum more often than every fourth. */
static int row_cost(int n, int NV)
{
    int groups = groups_of(n, NV), cost = 0;
    for (int size = n / groups, i = 0; i < 2; i++, size++) {
        int count = i == 0 ? groups - n % groups : n % groups, loads = 2 * (size + NV);
        int one = 2 * size * NV > loads ? 2 * size * NV : loads;
        cost += count * (one > 16 ? one : 16);
    }
    return cost;
}

/* How many vectors of outputs to take at once, of `blocks`, for rows of n pixels. */
static int best_vectors(int n, int blocks)
{
    int best = 1, best_cost = INT32_MAX;
    for (int NV = 1; NV <= MAX_NV; NV++) {
        int rest = blocks % NV;
        int cost = blocks / NV * row_cost(n, NV) + (rest ? row_cost(n, rest) : 0);
        if (cost < best_cost) {
            best = NV;
            best_cost = cost;
        }
    }
    return best;
}

/* ---- one image ------------------------------------------------------------------------------- */

typedef struct image {
    const gemm_plan *p;
    const float *x, *packed, *bias;
    size_t packed_block;
    float *y, *frame;
} image;

/* Output vector b of a set: its first channel. */
static int first_channel(const gemm_plan *p, int set, int b)
{
    return set * (p->kind == GEMM_LANES ? L : p->OG) + b * L;
}

/* NV vectors of the bias, zero where there is none. */
static void load_bias(const image *m, int channel, int NV, float *bias)
{
    for (int b = 0; b < NV; b++, channel += L) {
        int n = m->p->out.C - channel < L ? m->p->out.C - channel : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

/* One part of one phase, whose frame is x. */
static void run_part(const image *m, const phase *f, gemm_part part, const float *x)
{
    const gemm_plan *p = m->p;
    const size_t taps = phase_taps(f), depth = (size_t)p->depth;
    const int lines = f->flat ? 1 : part.rows;
    const int pixels = f->flat ? part.rows * f->w->n : f->w->n;
    const int most = best_vectors(pixels, p->blocks);
    const size_t x_row = gemm_row(p, f->h, f->w), y_row = (size_t)f->h->out_step * (size_t)p->out.W * L;
    product q = {.offset = f->offset, .n = (size_t)(part.v1 - part.v0) * taps};
    q.w_block = m->packed_block;
    q.y_pixel = (size_t)f->w->out_step * L;
    q.y_block = (size_t)p->out.H * (size_t)p->out.W * L;
    for (int b = 0, NV; b < p->blocks; b += NV) {
        float bias[MAX_NV * L];
        NV = p->blocks - b < most ? p->blocks - b : most;
        const int groups = groups_of(pixels, NV), channel = first_channel(p, part.set, b);
        multiply_fn *fn = multiply_fns[p->kind][NV];
        load_bias(m, channel, NV, bias);
        q.bias = part.v0 == 0 ? bias : NULL;
        q.w = m->packed + (size_t)(part.set * p->blocks + b) * m->packed_block + f->weights +
              (size_t)part.v0 * taps * depth * L;
        float *y = m->y + wf_act_index(p->out, channel, f->h->out + part.first_row * f->h->out_step,
                                       f->w->out);
        for (int i = 0; i < lines; i++)
            for (int g = 0; g < groups; g++) {
                int first = (int)((int64_t)pixels * g / groups);
                int n = (int)((int64_t)pixels * (g + 1) / groups) - first;
                fn(n, &q, x + (size_t)i * x_row + (size_t)first * p->unit,
                   y + (size_t)i * y_row + (size_t)first * q.y_pixel);
            }
    }
}

/* A phase without taps: the bias alone. */
static void run_empty(const image *m, const phase *f)
{
    const gemm_plan *p = m->p;
    for (int channel = 0; channel < p->out.C; channel += L) {
        float bias[L];
        load_bias(m, channel, 1, bias);
        for (int i = 0; i < f->h->n; i++)
            for (int j = 0; j < f->w->n; j++)
                wf_vstore(m->y + wf_act_index(p->out, channel, f->h->out + i * f->h->out_step,
                                              f->w->out + j * f->w->out_step),
                          wf_vload(bias));
    }
}

static void run(const wf_conv2d *k, const float *x, const float *packed, const float *bias,
                float *y, float *scratch)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const image m = {p, x, packed, bias, packed_block(k), y, scratch};
    for (int i = 0; i < s->n_phases; i++) {
        const phase *f = &s->phases[i];
        if (phase_taps(f) == 0) {
            run_empty(&m, f);
            continue;
        }
        for (int set = 0; set < p->sets; set++)
            for (int row = 0; row < f->h->n; row += f->rows)
                for (int v = 0; v < p->vectors; v += p->chunk) {
                    gemm_part part = {set, v, v + p->chunk, row, f->rows};
                    part.v1 = part.v1 < p->vectors ? part.v1 : p->vectors;
                    part.rows = part.rows < f->h->n - row ? part.rows : f->h->n - row;
                    run_part(&m, f, part, gemm_frame(p, f->h, f->w, part, f->rows, x, scratch));
                }
    }
}

static void forward(const wf_conv2d *k, int worker, const void *src, const void *weights,
                    const void *bias, void *dst, void *scratch)
{
    run(k, src, weights, bias, dst, scratch);
}

static void backward_data(const wf_conv2d *k, int worker, const void *ddst, const void *weights,
                          void *dsrc, void *scratch)
{
    run(k, ddst, weights, NULL, dsrc, scratch);
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm) = {
#if WF_LANES == 16
    .name = "gemm:avx512",
    .isa = WEFT_ISA_AVX512,
#else
    .name = "gemm:avx2",
    .isa = WEFT_ISA_AVX2,
#endif
    .fits = fits,
    .create = create,
    .destroy = destroy,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
};
