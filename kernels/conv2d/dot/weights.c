/* Backward-weights over bf16 images: the plan, the slots and their sum; Note [Panels of pixel pairs].
 *
 * A slot (Note [Splits of weight gradients]) holds output blocks; input blocks; taps; 16 inputs; 16 outputs, of
 * f32. A part is a range of input blocks and one of units of output blocks. Chunk by chunk, every weight adds
 * its pairs in the order row, image, column; where chunks end follows from the shape. The panels of ddst stay
 * in the second-level cache, while a panel of src stays in the first. Stateless but for the plan. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/dot/weights.h"
#include "kernels/machine.h"
#include "kernels/simd/transpose.h"

enum {
    CHUNK = 400,             /* pixels: a panel of src is half a first-level cache */
    DDST_BYTES = 512 * 1024, /* of a chunk's panels, in the second-level cache */
    LEAST_CHUNK = 128,       /* pixels; below, loading and storing sums costs more */
    TILES = 64,              /* cores that should find work, if it takes them */
    TILE_FLOPS = 8000000,    /* so long */
    OWN_SUMS = 4 /* what sums of a range's own cost, in copies of a pair's block for a vector */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = dot_misfit(d);
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "backward-weights only";
    else if (d->src_type != WEFT_BF16 || d->dst_type != WEFT_BF16)
        reason = "reads images of bf16";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const int I = d->C / d->groups, O = d->K / d->groups;
    const double waste = (double)wf_round_up(I, L) / I * wf_round_up(O, L) / O;
    const wf_costs *c = wf_machine_class_of(WEFT_ISA_AVX512)->cost;
    const double copies = c->dot_pairs / O + c->dot_pairs / ((double)I * d->R * d->S);
    return dot_expect(d, wf_conv2d_flops(d) / 2 * waste, c->dot_weights / (1 + copies));
}

static void destroy(wf_conv2d *k)
{
    free(k->state);
    k->state = NULL;
}

static int parts_of(int n, int most)
{
    return (n + most - 1) / most;
}

/* What a part has of n that is cut evenly, into as few parts as may have `most`. */
static int even(int n, int most)
{
    return parts_of(n, parts_of(n, most));
}

/* How a slot is cut into as many parts as are wanted: ranges of chunks, each with sums of its own, ranges of
 * input blocks, ranges of units. Of those ways the one that copies least: either operand's panels once for
 * each range of the other's blocks, and the sums. */
static void cut_parts(dot_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const double flops = wf_conv2d_flops(d) / TILE_FLOPS;
    const double most = (flops < TILES ? flops : TILES) / k->splits, enough = 0.75 * most;
    const int units = d->groups * s->units, taps = d->R * d->S;
    const int chunks = parts_of(k->split_images, s->images) * s->row_chunks;
    const double pairs = (double)k->split_images * d->P * d->Q / 2; /* the rest is of a group */
    const double sums = (double)s->vectors * s->blocks * taps * L;
    double found = 0, cost = 0;
    for (int v = 1; v <= s->vectors && (v == 1 || v <= most); v++)
        for (int u = 1; u <= units && (u == 1 || (double)v * u <= most); u++) {
            const double wanted = most / v / u + 0.5, again = (double)u / d->groups;
            const int ranges = wanted < 1 ? 1 : wanted < chunks ? (int)wanted : chunks;
            const double copies =
                pairs * ((again > 1 ? again : 1) * s->vectors * taps + (double)v * s->blocks) +
                sums * ranges * OWN_SUMS;
            const double parts = (double)v * u * ranges, has = parts < enough ? parts : enough;
            if (has < found || (has == found && copies >= cost))
                continue;
            found = has;
            cost = copies;
            s->vector_parts = v;
            s->unit_parts = u;
            s->ranges = ranges;
        }
}

/* As if all of a group's output blocks were in one part. */
static void cut_chunks(dot_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const int room = DDST_BYTES / (s->blocks * L * (int)sizeof(uint16_t));
    const int pixels = room > CHUNK ? CHUNK : room > LEAST_CHUNK ? room : LEAST_CHUNK;
    s->rows = even(d->P, d->Q < pixels ? pixels / d->Q : 1);
    s->images = 1;
    if (s->rows == d->P && d->P * d->Q < pixels)
        s->images = even(k->split_images, pixels / (d->P * d->Q));
    s->pairs = (int)(((int64_t)s->rows * s->images * d->Q + 1) / 2);
    s->row_chunks = parts_of(d->P, s->rows);
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    dot_weights *s = k->state = calloc(1, sizeof *s);
    if (!s) {
        snprintf(why, size, "out of memory");
        return false;
    }
    s->IG = d->C / d->groups;
    s->OG = d->K / d->groups;
    s->vectors = parts_of(s->IG, L);
    s->blocks = parts_of(s->OG, L);
    s->units = parts_of(s->blocks, DOT_NB);
    cut_chunks(s, k);
    cut_parts(s, k);
    const int units = parts_of(d->groups * s->units, s->unit_parts);
    s->src_bytes = (size_t)s->pairs * 2 * L * sizeof(uint16_t);
    s->ddst_bytes = s->src_bytes * (size_t)(units * parts_of(s->blocks, s->units));
    k->parts = s->vector_parts * s->unit_parts * s->ranges;
    s->range = dot_partial_sum_block(d, s) * (size_t)(d->groups * s->blocks);
    k->partial_sum_bytes = s->range * (size_t)s->ranges * sizeof(float);
    k->reduce_tiles = d->groups * s->blocks;
    k->scratch_bytes =
        s->src_bytes + s->ddst_bytes + ((size_t)s->pairs * 2 + 1) * sizeof(const uint16_t *);
    return true;
}

/* The sums of an input block, [tap][input][lane], to where plain weights have them: for each lane by input and
 * tap. */
static void write_square(const float *w, int taps, int inputs, int lanes, size_t out_step,
                         float *out)
{
    const int n = inputs * taps;
    for (int q = 0, t = 0, c = 0; q < n; q += 8) {
        const int rows = n - q < 8 ? n - q : 8;
        float row[8 * L];
        for (int j = 0; j < rows; j++) {
            wf_vstore(row + j * L, wf_vload(w + (t * L + c) * L));
            t = t + 1 == taps ? 0 : t + 1;
            c += t == 0;
        }
        int l = 0;
        for (; rows == 8 && l + 8 <= lanes; l += 8)
            wf_transpose8(row + l, L, out + (size_t)l * out_step + q, out_step);
        for (; l < lanes; l++)
            for (int j = 0; j < rows; j++)
                out[(size_t)l * out_step + (size_t)(q + j)] = row[j * L + l];
    }
}

/* One output block. */
static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const dot_weights *s = k->state;
    const size_t taps = (size_t)d->R * (size_t)d->S, block = dot_partial_sum_block(d, s);
    const size_t output = (size_t)s->IG * taps;
    const int group = tile / s->blocks, first = tile % s->blocks * L;
    const int lanes = s->OG - first < L ? s->OG - first : L;
    float *w = (float *)partial_sums + (size_t)tile * block;
    float *out = (float *)dweights + ((size_t)group * (size_t)s->OG + (size_t)first) * output;
    for (int i = 0; i < k->splits; i++)
        wf_conv2d_add_partial_sums(WEFT_F32, (char *)w + (size_t)i * partial_sum_stride,
                                   s->range * sizeof(float), s->ranges, block);
    wf_conv2d_add_partial_sums(WEFT_F32, w, partial_sum_stride, k->splits, block);
    for (int v = 0; v < s->vectors; v++, w += taps * DOT_SQUARE) {
        const int left = s->IG - v * L;
        write_square(w, (int)taps, left < L ? left : L, lanes, output,
                     out + (size_t)(v * L) * taps);
    }
    return WEFT_OK;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_dot_weights) = {
    .name = "dot:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .backward_weights = dot_weights_run,
    .reduce = reduce,
};
