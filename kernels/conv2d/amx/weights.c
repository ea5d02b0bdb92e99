/* Backward-weights by AMX tiles: the plan, and the sum of the partial sums.
 *
 * A part of a split (Note [Splits of weight gradients]) is a range of output blocks and one of input blocks. It runs
 * pixel block by pixel block, Note [Pixels as the inner dimension] in weights.h: L2 holds the block's transposed rows,
 * L1 the pairs of two blocks of the other operand, which are multiplied by all of them. Everything but the plan is
 * stateless.
 *
 * A partial sum, of f32: [group][output block][input block][tap that meets the input][16 of rows][16 of pairs]. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/amx/weights.h"
#include "kernels/select.h"

enum {
    MANY_CORES = 64,       /* a gradient gives work to so many, with tiles of at least */
    TILE_FLOPS = 64000000, /* operations */
    ROW_COPIES = 4,        /* what a transpose costs, in copies of a block into pairs */
    LARGE_SUMS =
        1 << 20 /* bytes of f32 that are loaded and stored with each pixel block outside L2 */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason =
        pass != WF_CONV2D_BACKWARD_WEIGHTS ? "backward-weights only" : amx_misfit(d, pass);
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool patches = amx_reads_patches(d);
    const int O = d->K / d->groups, I = d->C / d->groups * (patches ? d->R * d->S : 1);
    const double waste = (double)wf_round_up(I, L) / I * wf_round_up(O, L) / O;
    const wf_costs *c = amx_costs();
    const double share = d->R * d->S == 1 ? c->amx_weights_point : c->amx_weights;
    const double gather = patches ? (double)d->N * d->P * d->Q * I * c->amx_patch : 0;
    return wf_expect_fmas(wf_conv2d_flops(d) / 2 * waste, WEFT_ISA_AVX512, share) + gather +
           wf_conv2d_expect_traffic(d);
}

static void destroy(wf_conv2d *k)
{
    amx_weights *s = k->state;
    if (!s)
        return;
    free(s->rows);
    free(s->columns);
    free(s->cell);
    free(s->tap);
    free(s);
    k->state = NULL;
}

/* Cuts the work on a split into about as many parts as are wanted: of all ways that give enough the one that copies
 * least, pairs once for each range of rows, rows once for each range of pairs. */
static void plan_parts(amx_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const double flops = wf_conv2d_flops(d) / TILE_FLOPS;
    const double most = (flops < MANY_CORES ? flops : MANY_CORES) / k->splits, enough = 0.75 * most;
    const int rows = d->groups * amx_halves(s->row_blocks), pairs = amx_halves(s->pair_blocks);
    double found = 0, cost = 0;
    s->row_parts = s->pair_parts = 1;
    for (int v = 1; v <= pairs && (v == 1 || v <= most); v++)
        for (int u = 1; u <= rows && (u == 1 || (double)v * u <= most); u++) {
            const double passes = u > d->groups ? (double)u / d->groups : 1;
            const double copies = passes * (s->parity[0] + s->parity[1] + 1) * s->pair_blocks +
                                  (double)ROW_COPIES * v * s->row_blocks;
            const double parts = (double)v * u, has = parts < enough ? parts : enough;
            if (has < found || (has == found && found > 0 && copies >= cost))
                continue;
            found = has;
            cost = copies;
            s->pair_parts = v;
            s->row_parts = u;
        }
}

static bool plan_axes(wf_conv2d *k, amx_weights *s)
{
    const wf_conv2d_desc *d = &k->desc;
    const int *stride = d->stride;
    s->rows = s->patched
                  ? amx_axes(k->pass, d->P, d->P, 1, 1, 0, 1)
                  : amx_axes(k->pass, d->H, d->P, d->R, stride[0], d->padding[0], d->dilation[0]);
    s->columns =
        s->patched ? amx_axes(k->pass, d->Q, d->Q, 1, 1, 0, 1)
                   : amx_axes(k->pass, d->W, d->Q, d->S, stride[1], d->padding[1], d->dilation[1]);
    if (!s->rows || !s->columns)
        return false;
    s->taps = s->rows->taps * s->columns->taps;
    s->cell = malloc((size_t)(s->taps + 1) * sizeof *s->cell);
    s->tap = malloc((size_t)(s->taps + 1) * sizeof *s->tap);
    return s->cell && s->tap;
}

/* Sets the size of a pixel block, as if one part had all of a group. */
static void plan_block(wf_conv2d *k, amx_weights *s)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t sums = (size_t)s->output_blocks * s->block_floats * sizeof(float);
    const int pixels = amx_blocking()->amx_gradient_pixels * (sums > LARGE_SUMS ? 2 : 1);
    const int rows = d->Q < pixels ? pixels / d->Q : 1;
    const int images = (int64_t)d->P * d->Q < pixels ? pixels / (d->P * d->Q) : 1;
    const wf_act in = s->patched ? (wf_act){s->group_inputs, d->P, d->Q, L} : wf_conv2d_src(d);
    amx_plan_frame(&s->frame, in, s->rows, 1, s->columns, 1, INT32_MAX, rows,
                   images < k->split_images ? images : k->split_images);
    s->blocks_of_image = amx_pieces(d->P, s->frame.block_rows);
    s->frame_cells = (size_t)(s->rows->phases * s->columns->phases) * s->frame.plane_cells;
    const amx_rows block = {s->frame.images, 0, s->frame.block_rows};
    s->max_steps = amx_pieces(amx_outputs(&s->frame, block), AMX_STEP);
    for (int t = 0; t < s->taps; t++) {
        const int r = t / s->columns->taps, q = t % s->columns->taps;
        s->cell[t] = amx_tap_cell(&s->frame, s->rows, s->columns, r, q);
        s->tap[t] = s->patched ? 0 : s->rows->tap[r] * d->S + s->columns->tap[q];
        s->parity[s->swapped ? 0 : s->cell[t] % 2] = true;
    }
    const size_t steps = (size_t)s->max_steps * AMX_STEP;
    s->pair_cells = s->frame_cells > steps ? s->frame_cells : steps;
    s->in_place = s->taps == 1 && s->cell[0] == 0 && s->rows->offset[0] == 0 &&
                  s->columns->offset[0] == 0 && d->stride[0] * d->stride[1] == 1;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    amx_weights *s = k->state = calloc(1, sizeof *s);
    snprintf(why, size, "out of memory");
    if (!s)
        return false;
    s->patched = amx_reads_patches(d);
    s->group_inputs = d->C / d->groups * (s->patched ? d->R * d->S : 1);
    s->group_outputs = d->K / d->groups;
    s->input_blocks = amx_pieces(s->group_inputs, L);
    s->output_blocks = amx_pieces(s->group_outputs, L);
    if (!plan_axes(k, s)) {
        destroy(k);
        return false;
    }
    s->swapped = s->taps == 1 && s->output_blocks > s->input_blocks;
    s->row_blocks = s->swapped ? s->input_blocks : s->output_blocks;
    s->pair_blocks = s->swapped ? s->output_blocks : s->input_blocks;
    s->block_floats = (size_t)s->input_blocks * (size_t)s->taps * AMX_SUMS;
    if (s->taps)
        plan_block(k, s);
    plan_parts(s, k);
    const int rows = amx_pieces(d->groups * amx_halves(s->row_blocks), s->row_parts);
    const size_t cells = (size_t)(s->patched ? s->input_blocks : 1) * s->frame_cells + 2;
    const size_t ddst_cells = (size_t)s->max_steps * AMX_STEP;
    s->rows_bytes = (size_t)(2 * rows * s->max_steps) * AMX_TILE * sizeof(uint16_t);
    s->cells_bytes = amx_aligned((cells > ddst_cells ? cells : ddst_cells) * L * sizeof(uint16_t));
    s->pairs_bytes = amx_aligned(2 * 2 * s->pair_cells * L * sizeof(uint16_t));
    k->scratch_bytes = s->rows_bytes + s->cells_bytes + s->pairs_bytes;
    if (s->patched) {
        amx_plan_patches(&s->patches, d);
        k->scratch_bytes += amx_patch_scratch(&s->patches, s->frame.block_rows);
    }
    k->parts = s->row_parts * s->pair_parts;
    k->reduce_tiles = d->groups * s->output_blocks;
    k->partial_sum_bytes =
        (size_t)k->reduce_tiles * (s->block_floats ? s->block_floats : 1) * sizeof(float);
    return true;
}

/* A tile is one output block. Sums [input block][tap][output][input], of swapped operands [input][output], become
 * weights [output][input][tap]. */
static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const amx_weights *s = k->state;
    const int taps = s->patched ? 1 : k->desc.R * k->desc.S;
    const int group = tile / s->output_blocks, first = tile % s->output_blocks * L;
    const int outputs = s->group_outputs - first < L ? s->group_outputs - first : L;
    const size_t line = (size_t)s->group_inputs * (size_t)taps;
    const float *w = (const float *)partial_sums + (size_t)tile * s->block_floats;
    float *out = (float *)dweights + (size_t)(group * s->group_outputs + first) * line;
    wf_conv2d_add_partial_sums(WEFT_F32, (char *)partial_sums + (size_t)tile * s->block_floats * 4,
                               partial_sum_stride, k->splits, s->block_floats);
    if (s->taps < taps)
        memset(out, 0, (size_t)outputs * line * sizeof *out);
    for (int i = 0; i < outputs; i++)
        for (int v = 0; v < s->input_blocks; v++) {
            const int left = s->group_inputs - v * L, inputs = left < L ? left : L;
            float *to = out + (size_t)i * line + (size_t)(v * L * taps);
            for (int t = 0; t < s->taps; t++) {
                const float *from =
                    w + (size_t)(v * s->taps + t) * AMX_SUMS + i * (s->swapped ? 1 : L);
                const int step = s->swapped ? L : 1;
                for (int c = 0; c < inputs; c++)
                    to[c * taps + s->tap[t]] = from[c * step];
            }
        }
    return WEFT_OK;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_amx_weights) = {
    .name = "amx:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .backward_weights = amx_weights_run,
    .reduce = reduce,
};
