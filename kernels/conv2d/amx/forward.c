/* Forward, and backward-data as convolutions of ddst, by AMX tiles: the plan. The loops around a subblock's product
 * (Note [Order of sums] in forward.h) are, from the outside in:
 *   1. a block of rows, or of images, whose frame stays in L2;
 *   2. the output subblocks, the weights of one of which stay in L1 or L2;
 *   3. the block's subblocks of pixels.
 * Everything but the plan is stateless.
 *
 * Packed weights: [output subblock][class][input block][tap][output block][16 pairs of inputs][16 outputs][2]. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/amx/forward.h"
#include "kernels/select.h"

enum {
    MIN_TILES = 16, /* tiles that a small batch should give, if its images are worth cutting */
    MIN_PART_FLOPS = 32000000, /* operations that make a part of an image worth a tile */
    MERGED_PIXELS = 512,       /* images are taken together up to so many outputs, */
    MERGED_IMAGES = 8,         /* and so many images, */
    SMALL_IMAGE = 256          /* if one has no more outputs than this */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason =
        pass == WF_CONV2D_BACKWARD_WEIGHTS ? "forward and backward-data only" : amx_misfit(d, pass);
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

/* A multiply-add of f32 vectors is 32 products, one of tiles 512 in a cycle. What padding of channels wastes
 * counts as work. */
static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int I = (data ? d->K : d->C) / d->groups, O = (data ? d->C : d->K) / d->groups;
    const wf_costs *c = amx_costs();
    const double outputs = (double)wf_round_up(O, L) / O;
    if (amx_reads_patches(d)) {
        const int n = I * d->R * d->S;
        return wf_expect_fmas(wf_conv2d_flops(d) / 2 * outputs * wf_round_up(n, AMX_STEP) / n,
                              WEFT_ISA_AVX512, c->amx_forward) +
               (double)d->N * d->P * d->Q * n * c->amx_patch + wf_conv2d_expect_traffic(d);
    }
    const double products = wf_conv2d_flops(d) / 2 * outputs * wf_round_up(I, AMX_STEP) / (double)I;
    const bool few = d->P * d->Q < SMALL_IMAGE / 4; /* junk between rows counts most */
    const double share =
        (d->R * d->S == 1 ? c->amx_point : c->amx_forward) * (few ? c->amx_small : 1);
    return wf_expect_fmas(products, WEFT_ISA_AVX512, share) + wf_conv2d_expect_traffic(d);
}

static void destroy(wf_conv2d *k)
{
    amx_forward *s = k->state;
    if (!s)
        return;
    free(s->rows);
    free(s->columns);
    free(s->classes);
    free(s->taps);
    free(s->place);
    free(s);
    k->state = NULL;
}

/* Into how many parts a tile of so many images is worth cutting, if the batch gives `tiles` of them. */
static int parts_wanted(const wf_conv2d_desc *d, int images, int tiles)
{
    const double worth = wf_conv2d_flops(d) / d->N * images / MIN_PART_FLOPS;
    const int few = amx_pieces(MIN_TILES, tiles);
    return worth < 1 ? 1 : worth < few ? (int)worth : few;
}

/* How many images a tile should take: small ones fill tiles better together, and read the weights once. */
static int images_wanted(const wf_conv2d_desc *d, int subblocks)
{
    if (d->P * d->Q > SMALL_IMAGE)
        return 1;
    int images = MERGED_PIXELS / (d->P * d->Q);
    images = images > MERGED_IMAGES ? MERGED_IMAGES : images > d->N ? d->N : images;
    while (images > 1 && amx_pieces(d->N, images) * subblocks < MIN_TILES)
        images /= 2;
    return images;
}

/* Gives each class its places among the packed weights, and its taps their cells. */
static bool plan_taps(amx_forward *s, int S, int filter_taps)
{
    size_t count = 1;
    for (int i = 0; i < s->n_classes; i++)
        count += (size_t)s->classes[i].taps;
    int32_t *tap = s->taps = malloc(count * sizeof *tap);
    s->place = malloc((size_t)filter_taps * sizeof *s->place);
    if (!tap || !s->place)
        return false;
    for (int t = 0; t < filter_taps; t++)
        s->place[t].start = -1;
    for (int i = 0; i < s->n_classes; i++) {
        amx_class *c = &s->classes[i];
        c->weights = s->packed_block_elements;
        c->tap = tap;
        for (int t = 0; t < c->taps; t++) {
            const int r = t / c->w->taps, q = t % c->w->taps;
            s->place[c->h->tap[r] * S + c->w->tap[q]] =
                (amx_place){.start = (int64_t)c->weights + (int64_t)t * AMX_TILE,
                            .step = (int64_t)c->taps * AMX_TILE};
            *tap++ = (int32_t)(amx_tap_cell(&s->frame, c->h, c->w, r, q) * AMX_STEP);
        }
        s->packed_block_elements += (size_t)c->taps * (size_t)s->input_blocks * AMX_TILE;
    }
    return true;
}

static bool has_taps(const amx_forward *s)
{
    for (int i = 0; i < s->n_classes; i++)
        if (s->classes[i].taps > 0)
            return true;
    return false;
}

/* Cuts the work into tiles and parts, and plans the frame for them. */
static void plan_blocks(wf_conv2d *k, amx_forward *s, int n_rows, int n_columns)
{
    const wf_conv2d_desc *d = &k->desc;
    const int subblocks = s->groups * s->output_subblocks;
    const int images = images_wanted(d, subblocks);
    const int wanted = parts_wanted(d, images, amx_pieces(d->N, images));
    const int rows = s->rows[0].outputs; /* the most of all classes */
    s->parts_are_rows = images == 1 && wanted > 1 &&
                        wf_act_count(s->in) + wf_act_count(s->out) > wf_conv2d_weights_count(d);
    int64_t cells = amx_blocking()->amx_input_kib * INT64_C(1024) /
                    (AMX_STEP * (int64_t)sizeof(uint16_t) * s->input_blocks);
    if (has_taps(s)) {
        int phases = 1, columns = 1;
        for (int i = 0; i < n_rows; i++)
            phases = s->rows[i].phases > phases ? s->rows[i].phases : phases;
        for (int i = 0; i < n_columns; i++)
            columns = s->columns[i].phases > columns ? s->columns[i].phases : columns;
        amx_plan_frame(&s->frame, s->in, s->rows, n_rows, s->columns, n_columns,
                       cells / (phases * columns),
                       s->parts_are_rows ? amx_pieces(rows, wanted) : rows, images);
        s->block_elements =
            (size_t)(s->frame.h->phases * s->frame.w->phases) * s->frame.plane_cells * AMX_STEP;
    } else {
        s->frame = (amx_frame){.whole = !s->parts_are_rows,
                               .images = 1,
                               .block_rows = s->parts_are_rows ? 1 : rows,
                               .image_rows = rows,
                               .pitch = s->columns[0].outputs,
                               .columns.most_outputs = s->columns[0].outputs};
    }
    s->row_blocks = amx_pieces(rows, s->frame.block_rows);
    k->images = s->frame.images;
    k->parts = s->parts_are_rows    ? s->row_blocks < wanted ? s->row_blocks : wanted
               : subblocks < wanted ? subblocks
                                    : wanted;
}

static bool plan_axes(wf_conv2d *k, amx_forward *s)
{
    const wf_conv2d_desc *d = &k->desc;
    const bool data = k->pass == WF_CONV2D_BACKWARD_DATA;
    if (s->patched) {
        s->rows = amx_axes(k->pass, d->P, d->P, 1, 1, 0, 1);
        s->columns = amx_axes(k->pass, d->Q, d->Q, 1, 1, 0, 1);
    } else {
        s->rows =
            amx_axes(k->pass, s->in.H, s->out.H, d->R, d->stride[0], d->padding[0], d->dilation[0]);
        s->columns =
            amx_axes(k->pass, s->in.W, s->out.W, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    }
    const int n_rows = data ? d->stride[0] : 1, n_columns = data ? d->stride[1] : 1;
    s->n_classes = n_rows * n_columns;
    s->classes = calloc((size_t)s->n_classes, sizeof *s->classes);
    if (!s->rows || !s->columns || !s->classes)
        return false;
    for (int i = 0; i < s->n_classes; i++) {
        const amx_axis *h = &s->rows[i / n_columns], *w = &s->columns[i % n_columns];
        s->classes[i] = (amx_class){.h = h, .w = w, .taps = h->taps * w->taps};
    }
    plan_blocks(k, s, n_rows, n_columns);
    return plan_taps(s, s->patched ? 1 : d->S, s->patched ? 1 : d->R * d->S);
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    const bool data = k->pass == WF_CONV2D_BACKWARD_DATA;
    amx_forward *s = k->state = calloc(1, sizeof *s);
    snprintf(why, size, "out of memory");
    if (!s)
        return false;
    s->in = data ? wf_conv2d_dst(d) : wf_conv2d_src(d);
    s->out = data ? wf_conv2d_src(d) : wf_conv2d_dst(d);
    s->out_f32 = (data ? d->src_type : d->dst_type) == WEFT_F32;
    s->patched = amx_reads_patches(d);
    s->groups = d->groups;
    s->group_inputs = s->in.C / d->groups * (s->patched ? d->R * d->S : 1);
    s->group_outputs = s->out.C / d->groups;
    s->output_blocks = amx_pieces(s->group_outputs, L);
    s->output_subblocks = amx_pieces(s->output_blocks, 2);
    s->input_blocks = amx_pieces(s->group_inputs, AMX_STEP);
    if (!plan_axes(k, s)) {
        destroy(k);
        return false;
    }
    const amx_rows block = {s->frame.images, 0, s->frame.block_rows};
    s->max_outputs = wf_round_up(amx_outputs(&s->frame, block), AMX_PIXELS);
    s->frame_bytes = s->block_elements * (size_t)s->input_blocks * sizeof(uint16_t);
    s->sums_bytes = 2 * 4 * AMX_SUMS * sizeof(float);
    s->place_bytes = (size_t)s->max_outputs * sizeof(int64_t);
    s->tiles_bytes = amx_aligned((size_t)(s->max_outputs / AMX_PIXELS));
    k->scratch_bytes = s->frame_bytes + s->sums_bytes + s->place_bytes + s->tiles_bytes;
    if (s->patched) {
        amx_plan_patches(&s->patches, d);
        s->patches.d = &k->desc;
        k->scratch_bytes += amx_patch_scratch(&s->patches, s->frame.block_rows);
    }
    k->pack_tiles = s->groups * s->output_subblocks;
    k->packed_bytes =
        (size_t)s->groups * (size_t)s->output_blocks * s->packed_block_elements * sizeof(uint16_t);
    if (k->packed_bytes == 0) /* no tap meets anything */
        k->packed_bytes = L;
    return true;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_amx) = {
    .name = "amx:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = amx_pack,
    .batch = amx_run,
};
