/* Implicit im2col and matrix product: backward-weights, a weight's products summed in registers.
 *
 * A slot (Note [Weight gradient slots]) holds output vectors; input vectors; taps; channels of a
 * vector; L outputs: for blocked activations without groups K/L, C/L, R, S, L, L. A part is a range of
 * input vectors and a range of groups of up to MAX_NB output vectors. Images come one after the other,
 * or several small ones at once, in chunks of rows: of a group's ddst the chunk stays in the
 * first-level cache while the part's input vectors, in frames (gemm.h) or where they are, pass by.
 * Every weight adds its products in the order image, row, column, wherever the chunks end: the bits
 * follow from shape and ISA. Stateless but for the plan.
 *
 * The inner loop is an outer product: some values of src, channels or taps, times some vectors of
 * ddst, for each pixel; or, lane by lane (Note [How channels meet]), some vectors of src times one. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm.h"

enum {
    CHUNK = 200,           /* pixels that are taken through all taps before the next, at most */
    FIRST = 10 * 1024,     /* floats of src and ddst for those: in the first-level cache */
    FRAMES = 32 * 1024,    /* floats of frames: in the second-level cache */
    PART_FLOPS = 16000000, /* a tile that is worth its share of reading the operands */
    LEAST_FLOPS = 2000000, /* one that is worth handing out */
    TILES = 128,           /* cores that should find work */
    PART_VECTORS = 4,      /* input vectors of a part, at least; of frames half as many */
    MAX_NX = 16,
    MAX_TERMS = 9, /* a pointer each */
    MAX_NB = 4,
    MAX_J = 8 /* rotations: half a vector of the widest */
};

typedef struct tap {
    int row, column; /* its offsets, gemm_axis */
    size_t place;    /* among all R * S */
    size_t frame;    /* where it meets the first pixel in a frame */
} tap;

typedef struct state {
    gemm_plan *plan;
    bool in_place;    /* src needs no frame: where a tap meets no pixel, it is not asked */
    int rows, images; /* of a chunk */
    int frame_rows;   /* of a frame, a multiple */
    int NB;           /* output vectors of a group, at most */
    int groups;       /* of a set */
    int vector_parts, group_parts;
    int taps; /* that meet the image, in the order of the weights */
    tap *tap;
    int32_t rotation[MAX_J][L]; /* ROTATE: where ddst's lanes come from, by j */
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
    /* As measured, docs/kernels.md; where lanes meet, src has to be made for every product. */
    const int IG = d->C / d->groups, OG = d->K / d->groups;
    const bool rotates = IG == OG && L % OG == 0 && d->src_block == L;
    const bool strided = d->stride[0] > 1 || d->stride[1] > 1;
    double share = d->S >= 5 ? 1 : d->S >= 3 ? 0.93 : 0.8;
    if (d->groups > 1 && OG % L != 0)
        share = rotates ? 0.7 : 0.4;
    else if (d->src_block == 1)
        share = 0.78;
    else if (strided)
        share *= d->groups > 1 ? 0.6 : 0.78;
    return wf_conv2d_expect(d, WF_ISA, share);
}

static void destroy(wf_conv2d *k)
{
    state *s = k->state;
    if (!s)
        return;
    gemm_plan_destroy(s->plan);
    free(s->tap);
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

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* How a slot is cut into parts: into as many vectors of inputs as of outputs, so that a part reads
 * least; but frames are made once for each range of outputs. */
static void cut_parts(state *s, const wf_conv2d *k)
{
    const gemm_plan *p = s->plan;
    const double flops = wf_conv2d_flops(&k->desc) / k->desc.N * k->slot_images;
    double parts = flops / PART_FLOPS, wanted = (double)TILES / k->slots;
    if (parts < wanted)
        parts = flops / LEAST_FLOPS < wanted ? flops / LEAST_FLOPS : wanted;
    const int64_t most = parts < 1 ? 1 : (int64_t)(parts < 4096 ? parts : 4096);
    const int64_t groups = (int64_t)p->sets * s->groups;
    /* Copying a pixel into frames costs as much as products with so many output vectors, ten times. */
    const int taps = k->desc.R * k->desc.S, copies = p->row->slots * p->column->slots;
    int64_t most_groups = s->in_place ? groups : groups * s->NB * taps / (16 * (copies + 1)) + 1;
    most_groups = at_most(at_most(most_groups, groups), most);
    s->vector_parts = 1;
    if (p->kind == GEMM_DENSE)
        while (p->vectors / (s->vector_parts + 1) >= PART_VECTORS / (s->in_place ? 1 : 2) &&
               s->vector_parts *
                       at_most(s->vector_parts * p->blocks / p->vectors + 1, most_groups) <
                   most)
            s->vector_parts++;
    s->group_parts = (int)at_most((most + s->vector_parts - 1) / s->vector_parts, most_groups);
}

/* Floats of an input vector that a chunk of rows reads of one image. */
static int64_t vector_of(const state *s, const wf_conv2d *k, int rows)
{
    const gemm_axis *h = s->plan->row, *w = s->plan->column;
    return s->in_place ? (int64_t)(rows + h->span) * k->desc.W * L
                       : (int64_t)gemm_vector(s->plan, h, w, rows);
}

static void cut_chunks(state *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    gemm_plan *p = s->plan;
    const int64_t pixels = (int64_t)d->P * d->Q, block = (int64_t)s->NB * L;
    int rows = d->Q < CHUNK ? CHUNK / d->Q : 1;
    while (rows > 1 && rows * d->Q * block + vector_of(s, k, rows) > FIRST)
        rows--;
    s->rows = even(d->P, rows);
    s->images = 1;
    if (s->rows == d->P)
        s->images = (int)at_most(FIRST / (pixels * block + vector_of(s, k, rows)), CHUNK / pixels);
    s->images = s->images > 1 ? even(k->slot_images, (int)at_most(s->images, k->slot_images)) : 1;
    s->frame_rows = s->rows;
    const int64_t vectors = (p->vectors + s->vector_parts - 1) / s->vector_parts;
    int64_t most = FRAMES / (vector_of(s, k, s->rows) * s->images + 1);
    p->chunk = even((int)vectors, (int)at_most(most > 1 ? most : 1, vectors));
    while (!s->in_place && s->frame_rows < d->P &&
           vector_of(s, k, s->frame_rows + s->rows) * p->chunk < FRAMES)
        s->frame_rows += s->rows;
}

static void fill_taps(state *s, const wf_conv2d_desc *d)
{
    const gemm_plan *p = s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    for (int r = 0; r < h->taps; r++)
        for (int t = 0; t < w->taps; t++)
            s->tap[s->taps++] = (tap){.row = h->offset[r],
                                      .column = w->offset[t],
                                      .place = (size_t)(h->tap[r] * d->S + w->tap[t]),
                                      .frame = gemm_tap(p, h, w, s->frame_rows, r, t)};
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    state *s = k->state = calloc(1, sizeof *s);
    if (!s || !(s->plan = gemm_plan_create(d, k->pass)) ||
        !(s->tap = calloc((size_t)d->R * (size_t)d->S, sizeof *s->tap))) {
        snprintf(why, size, "out of memory");
        destroy(k);
        return false;
    }
    const gemm_plan *p = s->plan;
    s->in_place = p->kind == GEMM_DENSE && (p->groups == 1 || p->IG % L == 0) &&
                  d->stride[0] == 1 && d->stride[1] == 1;
    s->NB = p->kind >= GEMM_LANES ? 1 : p->kind == GEMM_PLAIN ? 4 : 3;
    s->groups = (p->blocks + s->NB - 1) / s->NB;
    cut_parts(s, k);
    cut_chunks(s, k);
    fill_taps(s, d);
    for (int j = 0; p->kind == GEMM_ROTATE && j < p->OG; j++)
        gemm_rotation(p->OG, p->OG - j, s->rotation[j]);
    k->parts = s->vector_parts * s->group_parts;
    k->slot_bytes = slot_block(d, p) * (size_t)(p->sets * p->blocks) * sizeof(float);
    k->reduce_tiles = p->sets * p->blocks;
    if (!s->in_place)
        k->scratch_bytes = (size_t)s->images * (size_t)p->chunk *
                           gemm_vector(p, p->row, p->column, s->frame_rows) * sizeof(float);
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

/* The same, rotated (ROTATE): w[i][j] += x[i] * what ddst is rotated by j. */
WF_INLINE void rotated_product(const int NX, const int J, const pixels *p, const float *const *taps,
                               const float *dy, const int32_t (*rotation)[L], float *w)
{
    if (NX * J > GEMM_SUMS)
        return; /* is never asked for: no code */
    wf_vf sum[MAX_TERMS][MAX_J];
    wf_vi from[MAX_J];
    for (int j = 0; j < J; j++)
        from[j] = wf_vi_load(rotation[j]);
    for (int i = 0; i < NX; i++)
        for (int j = 0; j < J; j++)
            sum[i][j] = wf_vload(w + (i * J + j) * L);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *x[MAX_TERMS];
            for (int i = 0; i < NX; i++)
                x[i] = taps[i] + (size_t)n * p->x_image + (size_t)r * p->x_row;
            const float *dr = dy + (size_t)n * p->dy_image + (size_t)r * p->dy_row;
            for (size_t c = 0; c < (size_t)p->columns; c++) {
                wf_vf v[MAX_TERMS], d = wf_vload(dr + c * L);
                for (int i = 0; i < NX; i++)
                    v[i] = wf_vload(x[i] + c * L);
                for (int j = 0; j < J; j++) {
                    wf_vf dj = j == 0 ? d : wf_vpermute(d, from[j]);
                    for (int i = 0; i < NX; i++)
                        sum[i][j] = wf_vfma(v[i], dj, sum[i][j]);
                }
            }
        }
    for (int i = 0; i < NX; i++)
        for (int j = 0; j < J; j++)
            wf_vstore(w + (i * J + j) * L, sum[i][j]);
}

WF_INLINE void rotated_n(const int J, int n, const pixels *p, const float *const *x,
                         const float *dy, const int32_t (*rotation)[L], float *w)
{
    switch (n) {
    case 1: rotated_product(1, J, p, x, dy, rotation, w); break;
    case 2: rotated_product(2, J, p, x, dy, rotation, w); break;
    case 3: rotated_product(3, J, p, x, dy, rotation, w); break;
    case 4: rotated_product(4, J, p, x, dy, rotation, w); break;
    case 5: rotated_product(5, J, p, x, dy, rotation, w); break;
    case 6: rotated_product(6, J, p, x, dy, rotation, w); break;
    case 7: rotated_product(7, J, p, x, dy, rotation, w); break;
    case 8: rotated_product(8, J, p, x, dy, rotation, w); break;
    case 9: rotated_product(9, J, p, x, dy, rotation, w); break;
    }
}

static void rotate_product(int J, int n, const pixels *p, const float *const *x, const float *dy,
                           const int32_t (*rotation)[L], float *w)
{
    switch (J) {
    case 1: rotated_n(1, n, p, x, dy, rotation, w); break;
    case 2: rotated_n(2, n, p, x, dy, rotation, w); break;
    case 4: rotated_n(4, n, p, x, dy, rotation, w); break;
    case 8: rotated_n(8, n, p, x, dy, rotation, w); break;
    }
}

/* ---- one chunk ------------------------------------------------------------------------------- */

/* Some rows of some images, and the input vectors [v0, v1) of a set. */
typedef struct chunk {
    const wf_conv2d_desc *d;
    const state *s;
    const float *x; /* of frames, or of the first image, input vector v0 */
    size_t vector;  /* floats of x from vector to vector */
    int set, v0, v1;
    int frame_row;     /* the output row that frames start with */
    int row, end;      /* the output rows of the chunk */
    pixels at;         /* all of them; x_row and x_image as x has them */
    const float *ddst; /* of the first image */
    float *slot;
    size_t block; /* floats of a slot for one output vector */
} chunk;

/* Where tap t meets the first pixel of the chunk in frames. */
static const float *tap_in_frame(const chunk *c, int t)
{
    return c->x + c->s->tap[t].frame + (size_t)(c->row - c->frame_row) * c->at.x_row;
}

/* Outputs of an axis, from `begin` to `end`, for which the tap at `offset` meets the input. */
static void meeting(const gemm_axis *a, int offset, int *begin, int *end)
{
    int first = offset >= 0 ? 0 : (-offset + a->in_step - 1) / a->in_step;
    int stop = offset >= a->in ? 0 : (a->in - 1 - offset) / a->in_step + 1;
    *begin = first > *begin ? first : *begin;
    *end = stop < *end ? stop : *end;
}

/* Tap t against the pixels of the chunk that it meets, without which padding would be multiplied: they
 * are at *x of input vector v0 and `dy` floats behind the chunk's first. False: none. */
static bool tap_pixels(const chunk *c, int t, pixels *at, const float **x, size_t *dy)
{
    const gemm_plan *p = c->s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    const int oh = c->s->tap[t].row, ow = c->s->tap[t].column;
    int row = c->row, end = c->end, column = 0, stop = w->n;
    *at = c->at;
    *dy = 0;
    if (c->at.rows == 1 && c->end - c->row > 1) { /* flat */
        *x = c->s->in_place ? c->x + (size_t)row * c->at.x_row : tap_in_frame(c, t);
        return true;
    }
    meeting(h, oh, &row, &end);
    meeting(w, ow, &column, &stop);
    if (row >= end || column >= stop)
        return false;
    at->rows = end - row;
    at->columns = stop - column;
    *dy = (size_t)(row - c->row) * at->dy_row + (size_t)column * L;
    *x = c->s->in_place
             ? c->x + (size_t)(row + oh) * at->x_row + (size_t)(column + ow) * L
             : tap_in_frame(c, t) + (size_t)(row - c->row) * at->x_row + (size_t)column * L;
    return true;
}

static void run_dense(const chunk *c, int NB, const float *dy, float *w)
{
    const int taps = c->s->taps;
    const size_t all = (size_t)c->d->R * (size_t)c->d->S;
    for (int v = c->v0; v < c->v1; v++)
        for (int t = 0; t < taps; t++) {
            pixels at;
            const float *x;
            size_t first;
            float *to = w + ((size_t)v * all + c->s->tap[t].place) * L * L;
            for (int b = 0; b < NB; b++) /* the next sums */
                for (int i = 0; i < L * L; i += 16)
                    __builtin_prefetch(to + L * L + (size_t)b * c->block + i, 1, 2);
            if (tap_pixels(c, t, &at, &x, &first))
                dense_product(NB, &at, x + (size_t)(v - c->v0) * c->vector, dy + first, to,
                              c->block);
        }
}

/* Input vector by input vector, as many taps at once as are neighbours among the weights and as the
 * registers hold. */
static void run_taps(const chunk *c, int NB, const float *dy, float *w)
{
    const gemm_plan *p = c->s->plan;
    const int taps = c->s->taps, terms = (c->v1 - c->v0) * taps;
    const bool rotates = p->kind == GEMM_ROTATE;
    const int J = rotates ? p->depth : 1, room = GEMM_SUMS / (NB * J);
    const int most = even(terms, room < MAX_TERMS ? room : MAX_TERMS);
    const size_t all = (size_t)c->d->R * (size_t)c->d->S;
    for (int done = 0, v = 0, t = 0; done < terms;) {
        const float *x[MAX_TERMS];
        const size_t first = (size_t)(c->v0 + v) * all + c->s->tap[t].place;
        int n = 0;
        while (n < most && v < c->v1 - c->v0 &&
               (size_t)(c->v0 + v) * all + c->s->tap[t].place == first + (size_t)n) {
            x[n++] = tap_in_frame(c, t) + (size_t)v * c->vector;
            if (++t == taps) {
                t = 0;
                v++;
            }
        }
        done += n;
        if (rotates)
            rotate_product(J, n, &c->at, x, dy, c->s->rotation, w + first * (size_t)J * L);
        else if (p->kind == GEMM_LANES)
            lanes_product(n, &c->at, x, dy, w + first * L);
        else
            plain_product(NB, n, &c->at, x, dy, w + first * L, c->block);
    }
}

/* Groups [g0, g1) of the set's output vectors. */
static void run_groups(const chunk *c, int g0, int g1)
{
    const gemm_plan *p = c->s->plan;
    for (int g = g0; g < g1; g++) {
        const int b = group_begin(c->s, g), NB = group_begin(c->s, g + 1) - b;
        const int channel = gemm_first(p, c->set, b);
        const float *dy = c->ddst + wf_act_index(p->out, channel, c->row, 0);
        float *w = c->slot + (size_t)(c->set * p->blocks + b) * c->block;
        if (p->kind == GEMM_DENSE)
            run_dense(c, NB, dy, w);
        else
            run_taps(c, NB, dy, w);
    }
}

/* ---- one tile -------------------------------------------------------------------------------- */

/* Some images, and a part of a slot. */
typedef struct work {
    const char *src, *ddst;
    size_t src_stride, ddst_stride;
    int images;
    bool first;         /* of the slot's */
    int v_begin, v_end; /* input vectors */
    int g_begin, g_end; /* groups, counted through all sets */
    float *slot, *scratch;
} work;

/* The frames of input vectors [c->v0, c->v1) from output row c->frame_row on, or where they are. */
static void fill_frames(chunk *c, const work *m, int rows)
{
    const gemm_plan *p = c->s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    if (c->s->in_place) {
        c->x = (const float *)m->src + wf_act_index(p->in, c->set * p->IG + c->v0 * L, 0, 0);
        return;
    }
    const gemm_part part = {c->set, c->v0, c->v1, c->frame_row, rows};
    for (int i = 0; i < m->images; i++) {
        const float *x = (const float *)(m->src + (size_t)i * m->src_stride);
        gemm_frame(p, h, w, part, c->s->frame_rows, x, m->scratch + (size_t)i * c->at.x_image);
    }
    c->x = m->scratch;
}

/* The chunks of rows that frames from c->frame_row on have, for groups [g0, g1). */
static void run_rows(chunk *c, const work *m, int g0, int g1)
{
    const gemm_plan *p = c->s->plan;
    const int left = p->row->n - c->frame_row;
    const int rows = left < c->s->frame_rows ? left : c->s->frame_rows;
    const bool flat =
        gemm_flat(p->row, p->column) && (!c->s->in_place || gemm_direct(p, p->row, p->column));
    fill_frames(c, m, rows);
    for (int row = 0; row < rows; row += c->s->rows) {
        const int n = rows - row < c->s->rows ? rows - row : c->s->rows;
        c->row = c->frame_row + row;
        c->end = c->row + n;
        c->at.rows = flat ? 1 : n;
        c->at.columns = flat ? n * p->column->n : p->column->n;
        c->at.first = m->first && c->row == 0;
        run_groups(c, g0, g1);
    }
}

static void run_images(const wf_conv2d *k, const work *m)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const size_t frame = gemm_vector(p, p->row, p->column, s->frame_rows);
    chunk c = {.d = &k->desc, .s = s, .ddst = (const float *)m->ddst, .slot = m->slot};
    c.block = slot_block(&k->desc, p);
    c.vector = s->in_place ? (size_t)p->in.H * (size_t)p->in.W * L : frame;
    c.at =
        (pixels){.images = m->images,
                 .x_image = s->in_place ? m->src_stride / sizeof(float) : (size_t)p->chunk * frame,
                 .x_row = s->in_place ? (size_t)p->in.W * L : gemm_row(p, p->row, p->column),
                 .dy_image = m->ddst_stride / sizeof(float),
                 .dy_row = (size_t)p->out.W * L,
                 .dy_block = (size_t)p->out.H * (size_t)p->out.W * L};
    for (c.frame_row = 0; c.frame_row < p->row->n; c.frame_row += s->frame_rows)
        for (int g = m->g_begin, n; g < m->g_end; g += n) {
            const int g0 = g % s->groups, left = m->g_end - g;
            n = s->groups - g0 < left ? s->groups - g0 : left;
            c.set = g / s->groups;
            for (int v = m->v_begin; v < m->v_end; v += p->chunk) {
                c.v0 = v;
                c.v1 = v + p->chunk < m->v_end ? v + p->chunk : m->v_end;
                run_rows(&c, m, g0, g0 + n);
            }
        }
}

/* Taps that never meet the image, and those that a chunk may leave out, start with zero. */
static void clear(const wf_conv2d *k, const work *m)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const size_t block = slot_block(&k->desc, p), vector = block / (size_t)p->vectors;
    for (int g = m->g_begin; g < m->g_end; g++) {
        const int set = g / s->groups * p->blocks;
        for (int b = group_begin(s, g % s->groups); b < group_begin(s, g % s->groups + 1); b++)
            memset(m->slot + (size_t)(set + b) * block + (size_t)m->v_begin * vector, 0,
                   (size_t)(m->v_end - m->v_begin) * vector * sizeof(float));
    }
}

static void backward_weights(const wf_conv2d *k, int worker, const void *src, size_t src_stride,
                             const void *ddst, size_t ddst_stride, int n, void *slot, int part,
                             void *scratch)
{
    const state *s = k->state;
    const gemm_plan *p = s->plan;
    const int64_t groups = (int64_t)p->sets * s->groups, vectors = p->vectors;
    const int v = part % s->vector_parts, g = part / s->vector_parts;
    work m = {.src_stride = src_stride,
              .ddst_stride = ddst_stride,
              .v_begin = (int)(vectors * v / s->vector_parts),
              .v_end = (int)(vectors * (v + 1) / s->vector_parts),
              .g_begin = (int)(groups * g / s->group_parts),
              .g_end = (int)(groups * (g + 1) / s->group_parts),
              .slot = slot,
              .scratch = scratch};
    /* Otherwise the first chunk writes every weight. */
    const bool cleared = k->desc.R * k->desc.S > 1 || !gemm_direct(p, p->row, p->column);
    if (cleared)
        clear(k, &m);
    for (int i = 0; i < n && p->row->taps > 0 && p->column->taps > 0; i += s->images) {
        m.src = (const char *)src + (size_t)i * src_stride;
        m.ddst = (const char *)ddst + (size_t)i * ddst_stride;
        m.images = n - i < s->images ? n - i : s->images;
        m.first = i == 0 && !cleared;
        run_images(k, &m);
    }
}

/* One output vector. */
static void reduce(const wf_conv2d *k, int worker, void *slots, size_t slot_stride, void *dweights,
                   int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const gemm_plan *p = ((const state *)k->state)->plan;
    const size_t taps = (size_t)d->R * (size_t)d->S, block = slot_block(d, p);
    const int set = tile / p->blocks, first = gemm_first(p, set, tile % p->blocks);
    const int end = gemm_end(p, set);
    const float *w = (const float *)slots + (size_t)tile * block;
    wf_conv2d_sum_slots(WEFT_F32, (float *)slots + (size_t)tile * block, slot_stride, k->slots,
                        block);
    if (p->kind == GEMM_ROTATE) {
        for (int i = first; i < first + L && i < end; i++)
            for (int j = 0; j < p->depth; j++) {
                float *out =
                    (float *)dweights +
                    ((size_t)gemm_output(p, i, j) * (size_t)p->IG + (size_t)(i % p->IG)) * taps;
                for (size_t t = 0; t < taps; t++)
                    out[t] = w[(t * (size_t)p->depth + (size_t)j) * L + (size_t)(i % L)];
            }
        return;
    }
    for (int v = 0; v < p->vectors; v++, w += taps * (size_t)p->depth * L) {
        const int i = v * p->depth, inputs = p->IG - i < p->depth ? p->IG - i : p->depth;
        for (int l = 0; l < L && first + l < end; l++) {
            float *out =
                (float *)dweights + ((size_t)(first + l) * (size_t)p->IG + (size_t)i) * taps;
            for (int c = 0; c < inputs; c++)
                for (size_t t = 0; t < taps; t++)
                    *out++ = w[(t * (size_t)p->depth + (size_t)c) * L + (size_t)l];
        }
    }
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm_weights) = {
    .name = "gemm:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
