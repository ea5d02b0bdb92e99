/* Backward-weights over bf16 images: the plan, and the sum of the partial sums.
 *
 * A part of a split (Note [Splits of weight gradients]) is a subsplit, a range of input blocks and a range of
 * output subblocks. It runs pixel block by pixel block (Note [Panels of pixel pairs]): L2 holds the panels
 * of ddst, L1 the one panel of src that they are multiplied by. Every weight adds its pairs in the order
 * row, image, column, and the shape decides where pixel blocks end. Everything but the plan is stateless.
 *
 * A partial sum, of f32: [group][output block][input block][tap][16 inputs][16 outputs]. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/dot/weights.h"
#include "kernels/machine.h"
#include "kernels/simd/transpose.h"

enum {
    MIN_PIXELS = 128, /* pixels of a block; with fewer, loading and storing sums takes too long */
    MANY_CORES = 64,  /* a gradient gives work to so many, with tiles of at least */
    TILE_FLOPS = 8000000,
    /* Giving a subsplit its own partial sum takes as long as so many copies of one block of a pair for
     * each of its vectors. */
    COPIES_PER_OWN_SUM = 4
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

static int pieces(int n, int most)
{
    return (n + most - 1) / most;
}

/* n cut into pieces of at most `most`: the size of one, if all are about equal. */
static int even(int n, int most)
{
    return pieces(n, pieces(n, most));
}

/* Cuts the work on a split into about as many parts as are wanted: subsplits, ranges of input blocks,
 * ranges of output subblocks. Of all ways that give enough parts it takes the one that copies least: each
 * operand's panels once for every range of the other's blocks, and the partial sums. */
static void plan_parts(dot_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const double flops = wf_conv2d_flops(d) / TILE_FLOPS;
    const double most = (flops < MANY_CORES ? flops : MANY_CORES) / k->splits, enough = 0.75 * most;
    const int subblocks = d->groups * s->output_subblocks, taps = d->R * d->S;
    const int blocks = pieces(k->split_images, s->images_block_size) * s->blocks_of_image;
    const double pairs =
        (double)k->split_images * d->P * d->Q / 2; /* the counts below are of a group */
    const double sums = (double)s->input_blocks * s->output_blocks * taps * L;
    double found = 0, cost = 0;
    for (int v = 1; v <= s->input_blocks && (v == 1 || v <= most); v++)
        for (int u = 1; u <= subblocks && (u == 1 || (double)v * u <= most); u++) {
            const double wanted = most / v / u + 0.5, src_passes = (double)u / d->groups;
            const int subsplits = wanted < 1 ? 1 : wanted < blocks ? (int)wanted : blocks;
            const double copies =
                pairs * ((src_passes > 1 ? src_passes : 1) * s->input_blocks * taps +
                         (double)v * s->output_blocks) +
                sums * subsplits * COPIES_PER_OWN_SUM;
            const double parts = (double)v * u * subsplits, has = parts < enough ? parts : enough;
            if (has < found || (has == found && copies >= cost))
                continue;
            found = has;
            cost = copies;
            s->input_parts = v;
            s->output_parts = u;
            s->subsplits = subsplits;
        }
}

/* Sets the size of a pixel block, as if one part had all output blocks of a group. */
static void plan_block(dot_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const wf_blocking *size = dot_blocking();
    const int most = size->dot_gradient_pixels;
    const int room =
        size->dot_gradient_ddst_kib * 1024 / (s->output_blocks * L * (int)sizeof(uint16_t));
    const int pixels = room > most ? most : room > MIN_PIXELS ? room : MIN_PIXELS;
    s->rows_block_size = even(d->P, d->Q < pixels ? pixels / d->Q : 1);
    s->images_block_size = 1;
    if (s->rows_block_size == d->P && d->P * d->Q < pixels)
        s->images_block_size = even(k->split_images, pixels / (d->P * d->Q));
    s->max_pairs = (int)(((int64_t)s->rows_block_size * s->images_block_size * d->Q + 1) / 2);
    s->blocks_of_image = pieces(d->P, s->rows_block_size);
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    dot_weights *s = k->state = calloc(1, sizeof *s);
    if (!s) {
        snprintf(why, size, "out of memory");
        return false;
    }
    s->group_inputs = d->C / d->groups;
    s->group_outputs = d->K / d->groups;
    s->input_blocks = pieces(s->group_inputs, L);
    s->output_blocks = pieces(s->group_outputs, L);
    s->output_subblocks = pieces(s->output_blocks, DOT_MAX_GRADIENT_BLOCKS);
    plan_block(s, k);
    plan_parts(s, k);
    const int subblocks = pieces(d->groups * s->output_subblocks, s->output_parts);
    s->src_bytes = (size_t)s->max_pairs * 2 * L * sizeof(uint16_t);
    s->ddst_bytes =
        s->src_bytes * (size_t)(subblocks * pieces(s->output_blocks, s->output_subblocks));
    k->parts = s->input_parts * s->output_parts * s->subsplits;
    s->sum_floats = dot_sum_block_floats(d, s) * (size_t)(d->groups * s->output_blocks);
    k->partial_sum_bytes = s->sum_floats * (size_t)s->subsplits * sizeof(float);
    k->reduce_tiles = d->groups * s->output_blocks;
    k->scratch_bytes =
        s->src_bytes + s->ddst_bytes + ((size_t)s->max_pairs * 2 + 1) * sizeof(const uint16_t *);
    return true;
}

/* Writes the sums of an input block, [tap][input][lane], as plain weights: [lane][input][tap]. */
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

/* A tile is one output block. */
static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const dot_weights *s = k->state;
    const size_t taps = (size_t)d->R * (size_t)d->S, block = dot_sum_block_floats(d, s);
    const size_t output = (size_t)s->group_inputs * taps;
    const int group = tile / s->output_blocks, first = tile % s->output_blocks * L;
    const int lanes = s->group_outputs - first < L ? s->group_outputs - first : L;
    float *w = (float *)partial_sums + (size_t)tile * block;
    float *out =
        (float *)dweights + ((size_t)group * (size_t)s->group_outputs + (size_t)first) * output;
    for (int i = 0; i < k->splits; i++)
        wf_conv2d_add_partial_sums(WEFT_F32, (char *)w + (size_t)i * partial_sum_stride,
                                   s->sum_floats * sizeof(float), s->subsplits, block);
    wf_conv2d_add_partial_sums(WEFT_F32, w, partial_sum_stride, k->splits, block);
    for (int v = 0; v < s->input_blocks; v++, w += taps * DOT_SQUARE) {
        const int left = s->group_inputs - v * L;
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
