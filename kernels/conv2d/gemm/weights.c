/* Implicit im2col and matrix product, backward-weights: a weight's products summed in registers.
 *
 * A slot (Note [Splits of weight gradients]) is cut into ranges of pixels, each with sums of its own, which
 * reduce adds up before it adds the slots. Sums hold output vectors; input vectors; taps; channels of a
 * vector; L outputs: for blocked activations without groups K/L, C/L, R, S, L, L. A part is a range of
 * pixels, a range of input vectors and one of groups of up to GEMM_NV output vectors. Images come one
 * after the other, or several small ones at once, in chunks of rows: of a group's ddst the chunk stays in
 * the first-level cache while the part's input vectors, in frames (gemm.h) or where they are, pass by.
 * Of operands in planes a page and more apart the hardware foresees little: the products of one chunk
 * bring in what the next one reads (weights_run.c).
 * Every weight adds its products in the order image, row, column, wherever the chunks end: the bits
 * follow from shape and ISA. Stateless but for the plan.
 *
 * The inner loop is an outer product: some values of src, channels or taps, times some vectors of
 * ddst, for each pixel; or, lane by lane (Note [How channels meet]), some vectors of src times one. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm/weights.h"
#include "kernels/machine.h"
#include "kernels/simd/transpose.h"

enum {
    /* Pixels that are taken through all taps before the next, at most. */
    CHUNK = L == 16 ? 400 : 200,
    /* What sums of a range's own cost, as measured: passes over them; the same of a frame, over what is copied. */
    OWN_SUMS = L == 16 ? 12 : 6,
    FRAME = L == 16 ? 8 : 3,
    TILES = 64,            /* cores that should find work, if it takes them */
    SMALL_FLOPS = 8000000, /* so long: the smaller a tile, the more often operands are read; */
    TILE_FLOPS = 16000000, /* beyond that; */
    FEW = 16,              /* cores that should find work of */
    LEAST_FLOPS = 2000000, /* that little */
    MOST = L == 16 ? 128 : 4096, /* tiles */
    PART_VECTORS = 2             /* input vectors of a part, at least */
};

/* Floats of src and ddst of a chunk, near the first-level cache; */
static int64_t chunk_floats(bool strided)
{
    return L == 16 ? gemm_l1() * 3 : gemm_l1() * (strided ? 7 : 10) / 8;
}
/* of frames, in the second-level cache; */
static int64_t frames_floats(void)
{
    return gemm_l2() / (L == 16 ? 8 : 4);
}
/* and of a part's sums there, beside the operands of two steps. */
static int64_t sums_floats(void)
{
    return gemm_l2() * 3 / (L == 16 ? 16 : 8);
}

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "backward-weights only";
    else if (!gemm_reads(d, pass))
        reason = GEMM_TYPES;
    else if (d->dst_block != L || (d->src_block != 1 && d->src_block != L))
        reason = "needs dst in blocks of a vector, src in the same or plain";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

/* Whether src needs no frame: where it is read in strides, only if taps want what lies between. */
static bool reads_in_place(const wf_conv2d_desc *d, gemm_kind kind)
{
    const int strides = d->stride[0] * d->stride[1];
    return kind == GEMM_DENSE && (d->groups == 1 || d->C / d->groups % L == 0) &&
           (strides == 1 || d->R * d->S > strides);
}

/* Of n outputs by kernel taps along an axis, the share that meets the input; the rest is left out. */
static double meeting(int in, int out, int kernel, int stride, int padding, int dilation)
{
    double met = 0;
    for (int t = 0; t < kernel; t++) {
        int begin, end;
        wf_conv2d_range(in, out, stride, padding, dilation, t, &begin, &end);
        met += end - begin;
    }
    return met / ((double)out * kernel);
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    /* Where lanes meet, src has to be made for every product. */
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    const gemm_kind kind = gemm_kind_of(d, pass);
    const bool strided = d->stride[0] > 1 || d->stride[1] > 1;
    double share = d->S >= 5   ? c->gemm_weights_5
                   : d->S >= 3 ? c->gemm_weights_3
                               : c->gemm_weights_point;
    if (kind >= GEMM_LANES)
        return wf_conv2d_expect(
            d, WF_ISA, kind == GEMM_ROTATE ? c->gemm_weights_rotate : c->gemm_weights_lanes);
    if (kind == GEMM_PLAIN)
        return wf_conv2d_expect(d, WF_ISA, c->gemm_weights_plain);
    if (strided)
        share *= d->groups > 1             ? c->gemm_weights_strided_grouped
                 : reads_in_place(d, kind) ? c->gemm_weights_strided_in_place
                                           : c->gemm_weights_strided;
    share /= meeting(d->H, d->P, d->R, d->stride[0], d->padding[0], d->dilation[0]) *
             meeting(d->W, d->Q, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    return wf_conv2d_expect(d, WF_ISA, share);
}

static void destroy(wf_conv2d *k)
{
    gemm_weights *s = k->state;
    if (!s)
        return;
    gemm_plan_destroy(s->plan);
    free(s->tap);
    free(s);
    k->state = NULL;
}

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* Floats of an input vector that a chunk of rows reads of one image. */
static int64_t vector_of(const gemm_weights *s, const wf_conv2d *k, int rows)
{
    const gemm_axis *h = s->plan->row, *w = s->plan->column;
    return s->in_place ? (int64_t)(rows + h->span) * h->in_step * k->desc.W * L
                       : (int64_t)gemm_vector(s->plan, h, w, rows);
}

static void cut_chunks(gemm_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const int64_t pixels = (int64_t)d->P * d->Q, block = (int64_t)s->NB * L;
    const bool strided = s->in_place && d->stride[0] * d->stride[1] > 1;
    const int64_t first = chunk_floats(strided);
    int rows = d->Q < CHUNK ? CHUNK / d->Q : 1;
    while (rows > 1 && rows * d->Q * block + vector_of(s, k, rows) > first)
        rows--;
    s->rows = gemm_even(d->P, rows);
    s->images = 1;
    if (s->rows == d->P)
        s->images =
            (int)at_most(first / (pixels * block + vector_of(s, k, s->rows)), CHUNK / pixels);
    s->images =
        s->images > 1 ? gemm_even(k->split_images, (int)at_most(s->images, k->split_images)) : 1;
}

static bool has_halo(const gemm_weights *s, const wf_conv2d_desc *d)
{
    return !s->in_place && d->R * d->S > 1;
}

static double wanted_tiles(double flops)
{
    double tiles = flops / TILE_FLOPS, most = flops / SMALL_FLOPS, few = flops / LEAST_FLOPS;
    if (tiles < TILES)
        tiles = most < TILES ? most : TILES;
    if (tiles < FEW)
        tiles = few < FEW ? few : FEW;
    return tiles < MOST ? tiles : MOST;
}

/* How a slot is cut into as many parts as are wanted: ranges of pixels, each with sums of its own, ranges of
 * input vectors, ranges of groups. Of those ways the one that brings least into the second-level cache:
 * either operand once for each range of the other's vectors, and the sums. */
static void cut_parts(gemm_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const gemm_plan *p = s->plan;
    const double most = wanted_tiles(wf_conv2d_flops(d)) / k->splits;
    const bool dense = p->kind == GEMM_DENSE;
    /* Frames of every range would hold a halo: there are ranges only as long as a core may lack work. */
    const double split = has_halo(s, d) ? at_most((int64_t)most, TILES / k->splits) : most;
    const int groups = p->sets * s->groups, row_steps = gemm_parts(d->P, s->rows);
    const int steps = gemm_parts(k->split_images, s->images) * row_steps;
    /* In vectors. */
    const double pixels = (double)k->split_images * d->P * d->Q,
                 outputs = (double)p->sets * p->blocks;
    const double sums = outputs * p->vectors * d->R * d->S * p->depth;
    const double src = pixels * p->sets * p->vectors * (s->in_place ? 1 : FRAME),
                 dst = pixels * outputs;
    double found = 0, cost = 0;
    for (int v = 1; v == 1 || (dense && p->vectors / v >= PART_VECTORS); v++)
        for (int g = 1; g <= groups && (g == 1 || v * g <= most); g++) {
            const int wanted = (int)at_most((int64_t)(split / v / g + 0.5), steps);
            const int ranges = wanted > 1 ? wanted : 1;
            const double parts = (double)v * g * ranges, enough = 0.75 * most;
            /* The sums pass by with every chunk. */
            const bool streams = sums / v / g * L > (double)sums_floats();
            const double again = g > p->sets ? (double)g / p->sets : 1;
            const double passes = ranges * OWN_SUMS + (streams ? 2.0 * steps : 0);
            const double bytes = src * again + dst * v + sums * passes;
            const double has = parts < enough ? parts : enough;
            if (has < found || (has == found && bytes >= cost))
                continue;
            found = has;
            cost = bytes;
            s->vector_parts = v;
            s->group_parts = g;
            s->ranges = ranges;
        }
}

static void cut_frames(gemm_weights *s, const wf_conv2d *k)
{
    gemm_plan *p = s->plan;
    const int64_t vectors = (p->vectors + s->vector_parts - 1) / s->vector_parts;
    const int64_t most = frames_floats() / (vector_of(s, k, s->rows) * s->images + 1);
    p->chunk = gemm_even((int)vectors, (int)at_most(most > 1 ? most : 1, vectors));
    s->frame_rows = s->rows;
    const int steps = gemm_parts(k->split_images, s->images);
    while (!s->in_place && (s->ranges == 1 || has_halo(s, &k->desc)) && s->frame_rows < p->row->n &&
           steps * gemm_parts(p->row->n, s->frame_rows + s->rows) >= s->ranges &&
           vector_of(s, k, s->frame_rows + s->rows) * p->chunk < frames_floats())
        s->frame_rows += s->rows;
    s->row_steps = gemm_parts(p->row->n, s->frame_rows);
}

static void fill_taps(gemm_weights *s, const wf_conv2d_desc *d)
{
    const gemm_plan *p = s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    for (int r = 0; r < h->taps; r++) {
        s->row_first = r == 0 || h->offset[r] < s->row_first ? h->offset[r] : s->row_first;
        s->row_last = r == 0 || h->offset[r] > s->row_last ? h->offset[r] : s->row_last;
    }
    for (int r = 0; r < h->taps; r++)
        for (int t = 0; t < w->taps; t++)
            s->tap[s->taps++] = (gemm_weights_tap){.row = h->offset[r],
                                                   .column = w->offset[t],
                                                   .place = (size_t)(h->tap[r] * d->S + w->tap[t]),
                                                   .frame = gemm_tap(p, h, w, s->frame_rows, r, t)};
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    gemm_weights *s = k->state = calloc(1, sizeof *s);
    if (!s || !(s->plan = gemm_plan_create(d, k->pass)) ||
        !(s->tap = calloc((size_t)d->R * (size_t)d->S, sizeof *s->tap))) {
        snprintf(why, size, "out of memory");
        destroy(k);
        return false;
    }
    const gemm_plan *p = s->plan;
    s->in_place = reads_in_place(d, p->kind);
    s->NB = p->kind >= GEMM_LANES ? 1 : p->kind == GEMM_PLAIN ? GEMM_NV : 3;
    s->groups = (p->blocks + s->NB - 1) / s->NB;
    cut_chunks(s, k);
    cut_parts(s, k);
    cut_frames(s, k);
    fill_taps(s, d);
    for (int j = 0; p->kind == GEMM_ROTATE && j < p->OG; j++)
        gemm_rotation(p->OG, p->OG - j, s->rotation[j]);
    k->parts = s->vector_parts * s->group_parts * s->ranges;
    s->range = gemm_partial_sum_block(d, p) * (size_t)(p->sets * p->blocks);
    k->partial_sum_bytes = s->range * (size_t)s->ranges * sizeof(float);
    k->reduce_tiles = p->sets * p->blocks;
    if (!s->in_place)
        k->scratch_bytes = (size_t)s->images * (size_t)p->chunk *
                           gemm_vector(p, p->row, p->column, s->frame_rows) * sizeof(float);
    return true;
}

/* The sums of an input vector, [tap][channel][lane], to where plain weights have them: for each lane by
 * channel and tap. */
static void write_vector(const gemm_plan *p, const float *w, int taps, int inputs, int lanes,
                         float *out)
{
    const size_t out_step = (size_t)p->IG * (size_t)taps;
    const int n = inputs * taps;
    for (int q = 0, t = 0, c = 0; q < n; q += 8) {
        const int rows = n - q < 8 ? n - q : 8;
        float row[8 * L];
        for (int j = 0; j < rows; j++) {
            wf_vstore(row + j * L, wf_vload(w + (t * p->depth + c) * L));
            t = t + 1 == taps ? 0 : t + 1;
            c += t == 0;
        }
        for (int l = 0; l < lanes; l++) /* more rows than the hardware follows */
            __builtin_prefetch(out + (size_t)l * out_step + q + 32, 1, 3);
        int l = 0;
        for (; rows == 8 && l + 8 <= lanes; l += 8)
            wf_transpose8(row + l, L, out + (size_t)l * out_step + q, out_step);
        for (; l < lanes; l++)
            for (int j = 0; j < rows; j++)
                out[(size_t)l * out_step + (size_t)(q + j)] = row[j * L + l];
    }
}

/* One output vector. */
static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const gemm_weights *s = k->state;
    const gemm_plan *p = s->plan;
    const size_t taps = (size_t)d->R * (size_t)d->S, block = gemm_partial_sum_block(d, p);
    const int set = tile / p->blocks, first = gemm_first(p, set, tile % p->blocks);
    const int end = gemm_end(p, set);
    float *w = (float *)partial_sums + (size_t)tile * block;
    for (int i = 0; i < k->splits; i++)
        wf_conv2d_add_partial_sums(WEFT_F32, (char *)w + (size_t)i * partial_sum_stride,
                                   s->range * sizeof(float), s->ranges, block);
    wf_conv2d_add_partial_sums(WEFT_F32, w, partial_sum_stride, k->splits, block);
    if (p->kind == GEMM_ROTATE) {
        for (int i = first; i < first + L && i < end; i++)
            for (int j = 0; j < p->depth; j++) {
                float *out =
                    (float *)dweights +
                    ((size_t)gemm_output(p, i, j) * (size_t)p->IG + (size_t)(i % p->IG)) * taps;
                for (size_t t = 0; t < taps; t++)
                    out[t] = w[(t * (size_t)p->depth + (size_t)j) * L + (size_t)(i % L)];
            }
        return WEFT_OK;
    }
    const int lanes = end - first < L ? end - first : L;
    float *out = (float *)dweights + (size_t)first * (size_t)p->IG * taps;
    for (int v = 0; v < p->vectors; v++, w += taps * (size_t)p->depth * L) {
        const int i = v * p->depth, inputs = p->IG - i < p->depth ? p->IG - i : p->depth;
        write_vector(p, w, (int)taps, inputs, lanes, out + (size_t)i * taps);
    }
    return WEFT_OK;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm_weights) = {
    .name = "gemm:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .backward_weights = gemm_weights_run,
    .reduce = reduce,
};
