/* Implicit im2col and matrix product: the plan of forward, and of backward-data as convolutions of ddst.
 *
 * The loops are Goto and van de Geijn's ("Anatomy of High-Performance Matrix Multiplication", 2008).
 * From the outside in:
 *   1. a block of output rows, whose packed input (gemm.h) or panels (Note [Panels]) stay in L2;
 *   2. a block of channel vectors, whose weights for one output subblock stay in L1, or with AVX-512 in L2;
 *   3. the output subblocks;
 *   4. where rows are short, rows of taps, whose weights stay in L1;
 *   5. the subblocks of pixels: the product in registers.
 * A subblock's sums start with the bias. With the second block of channel vectors they go on from what the
 * first one left in the output. So every output adds its products in the order channel vector, tap,
 * channel, wherever the blocks end, and its bits follow from the shape and the instruction set.
 * Everything but the plan is stateless.
 *
 * Packed weights: [output subblock][residue class][channel vector][tap][channel][output vector][L]. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm/forward.h"
#include "kernels/machine.h"

enum {
    MIN_TILES = 16, /* tiles that a small batch should give, if its images are worth cutting */
    MIN_PART_FLOPS = 2000000, /* operations that make a part of an image worth a tile */
    MIN_PANEL_OUTPUTS = 64,   /* output channels of a group with which filling panels pays */
    SHORT_PIXELS = 9          /* of a product: those with less want their weights in L1 */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (!gemm_reads(d, pass))
        reason = GEMM_TYPES;
    else if (d->dst_block != L || (d->src_block != L && d->src_block != 1))
        reason = "needs dst in blocks of a vector, src in the same or plain";
    else if (d->src_block == 1 && pass == WF_CONV2D_BACKWARD_DATA)
        reason = "backward-data needs src in blocks of a vector";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

/* Whether panels pay, Note [Panels]. Filling a panel takes as long as the products with some two output
 * vectors, so there must be many. Without a stride a packed input is cheaper: it copies each input once
 * for all taps. */
static bool panels_pay(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int I = (data ? d->K : d->C) / d->groups, O = (data ? d->C : d->K) / d->groups;
    return gemm_kind_of(d, pass) == GEMM_DENSE && (d->groups == 1 || I % L == 0) &&
           O >= MIN_PANEL_OUTPUTS && d->stride[0] * d->stride[1] > 1 &&
           d->R * d->S <= GEMM_MAX_PANEL_TAPS && (int64_t)d->H * d->W < GEMM_MAX_PLANE_FLOATS / L &&
           (int64_t)d->P * d->Q < GEMM_MAX_PLANE_FLOATS / L;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool panels = panels_pay(d, pass);
    const int O = (pass == WF_CONV2D_BACKWARD_DATA ? d->C : d->K) / d->groups;
    const bool in_place = d->R * d->S * d->stride[0] * d->stride[1] == 1 && O > 64 &&
                          gemm_kind_of(d, pass) == GEMM_DENSE;
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    const bool point = d->R * d->S == 1, strided = d->stride[0] * d->stride[1] > 1;
    double better = panels ? c->gemm_panels : in_place ? c->gemm_in_place : 1;
    if (point && !strided && O <= 64)
        better = c->gemm_narrow;
    if (point && strided)
        better *= c->gemm_strided_point;
    if (!panels && gemm_kind_of(d, pass) == GEMM_DENSE) { /* Note [Borders] */
        const double met = gemm_share_met(d);
        better /= met + (1 - met) * c->gemm_padding;
    }
    return wf_conv2d_expect(d, WF_ISA, gemm_share(d, pass, panels) * better);
}

static void destroy(wf_conv2d *k)
{
    gemm_forward *s = k->state;
    if (!s)
        return;
    gemm_geometry_done(&s->geometry);
    free(s->classes);
    free(s->term_offsets);
    free(s->places);
    free(s);
    k->state = NULL;
}

static int at_most(int n, int most)
{
    return n < most ? n : most;
}

/* ---- blocking -------------------------------------------------------------------------------- */

/* Into how many parts an image is cut. A tile is a whole image where there are enough of them: it then
 * goes from layer to layer while it is in a cache. A small batch has too few to keep many cores busy. */
static int parts_wanted(const wf_conv2d_desc *d)
{
    const double worth = wf_conv2d_flops(d) / d->N / MIN_PART_FLOPS;
    const int few = (MIN_TILES + d->N - 1) / d->N;
    return worth < 1 ? 1 : worth < few ? (int)worth : few;
}

/* n cut into blocks of at most `most`: the size of one, if all are about equal. */
static int even_block(int64_t n, int64_t most)
{
    const int64_t blocks = (n + most - 1) / most;
    return (int)((n + blocks - 1) / blocks);
}

/* The most taps that a row (column) axis has. */
static int most_taps(const gemm_axis *axes, int n)
{
    int most = 1;
    for (int i = 0; i < n; i++)
        most = axes[i].taps > most ? axes[i].taps : most;
    return most;
}

/* Blocks of a pass that reads a packed input, as large as the caches allow. All residue classes have
 * about as many outputs, so the first one decides. */
static void plan_packed_input(gemm_forward *s)
{
    const gemm_geometry *g = &s->geometry;
    gemm_forward_blocking *b = &s->blocking;
    const gemm_axis *h = &g->row_axis[0], *w = &g->column_axis[0];
    const int64_t pixels = gemm_contiguous(h, w) ? (int64_t)h->outputs * w->outputs : w->outputs;
    b->output_vectors_subblock_size = gemm_best_output_vectors(pixels, g->output_vectors);
    const int vectors = b->output_vectors_subblock_size;
    const int tap_rows = most_taps(g->row_axis, g->row_classes);
    const int64_t tap_row = (int64_t)most_taps(g->column_axis, g->column_classes) *
                            g->vector_channels * vectors * L; /* floats of weights */
    const bool short_rows = pixels / gemm_pixel_subblocks((int)pixels, vectors) < SHORT_PIXELS;
    const int64_t weights = gemm_floats(short_rows ? gemm_blocking()->gemm_short_weights_kib
                                                   : gemm_blocking()->gemm_weights_kib);
    int64_t most = weights / (tap_rows * tap_row);
    b->taps_block_size = tap_rows;
    if (most < 1 && short_rows)
        b->taps_block_size = even_block(tap_rows, weights > tap_row ? weights / tap_row : 1);
    most = most > 1 ? most : 1;
    const int64_t row = (int64_t)gemm_vector_stride(g, h, w, 1),
                  room = gemm_floats(gemm_blocking()->gemm_packed_input_kib);
    if (most * row > room &&
        !gemm_reads_in_place(g, h, w)) /* a row's packed input should fit, too */
        most = room / row > 1 ? room / row : 1;
    b->input_vectors_block_size = even_block(g->input_vectors, most);
    for (int i = 0; i < s->n_classes; i++) {
        gemm_residue_class *c = &s->classes[i];
        c->input_vectors_block_size = b->input_vectors_block_size;
        int rows = gemm_packed_rows(g, c->h, c->w, b->input_vectors_block_size);
        b->rows_block_size = rows < b->rows_block_size && rows > 0 ? rows : b->rows_block_size;
    }
}

/* Writes where the image has each tap of each output of an axis, `step` floats for an input. */
static void place_axis(const gemm_axis *a, int step, int32_t *place)
{
    for (int t = 0; t < a->taps; t++)
        for (int i = 0; i < a->outputs; i++) {
            int at = a->offset[t] + i * a->input_step;
            *place++ = at < 0 || at >= a->inputs ? GEMM_OUTSIDE : at * step;
        }
}

/* Blocks and places of a pass that fills panels. False when memory runs out. */
static bool plan_panels(gemm_forward *s)
{
    const gemm_geometry *g = &s->geometry;
    gemm_forward_blocking *b = &s->blocking;
    const int vectors = b->output_vectors_subblock_size = gemm_best_output_vectors(
        (int64_t)g->row_axis[0].outputs * g->column_axis[0].outputs, g->output_vectors);
    size_t count = 0;
    for (int i = 0; i < s->n_classes; i++)
        count += (size_t)s->classes[i].h->outputs * (size_t)s->classes[i].h->taps +
                 (size_t)s->classes[i].w->outputs * (size_t)s->classes[i].w->taps;
    int32_t *place = s->places = calloc(count + 1, sizeof *s->places);
    if (!place)
        return false;
    const int64_t panels_room = gemm_floats(gemm_blocking()->gemm_panels_kib);
    b->panel_pixels = at_most(GEMM_MAX_SUMS / vectors, GEMM_MAX_PIXELS);
    for (int i = 0; i < s->n_classes; i++) {
        gemm_residue_class *c = &s->classes[i];
        if (gemm_class_taps(c) == 0)
            continue;
        c->row_place = place;
        place_axis(c->h, g->in.W * L, c->row_place);
        c->column_place = place += (size_t)c->h->outputs * (size_t)c->h->taps;
        place_axis(c->w, L, c->column_place);
        place += (size_t)c->w->outputs * (size_t)c->w->taps;
        int64_t most = gemm_floats(gemm_blocking()->gemm_panel_weights_kib) /
                       ((int64_t)gemm_class_taps(c) * L * L * vectors);
        /* Floats of one channel vector in the panels of a row. */
        int64_t row = (int64_t)gemm_class_taps(c) * c->w->outputs * L;
        most = most * row > panels_room ? panels_room / row : most;
        c->input_vectors_block_size = most > 1 ? even_block(g->input_vectors, most) : 1;
        int64_t rows = panels_room / (row * c->input_vectors_block_size);
        b->rows_block_size = at_most(
            b->rows_block_size, rows > 1 ? (int)(rows < c->h->outputs ? rows : c->h->outputs) : 1);
    }
    return true;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Completes a residue class, whose term_offset has memory, once the blocks are known. */
static void describe_class(const gemm_forward *s, gemm_residue_class *c)
{
    const gemm_geometry *g = &s->geometry;
    const int rows = s->blocking.rows_block_size, pixels = s->blocking.panel_pixels;
    c->in_place = gemm_reads_in_place(g, c->h, c->w);
    c->contiguous = gemm_contiguous(c->h, c->w);
    const size_t vector = gemm_vector_stride(g, c->h, c->w, rows);
    size_t *offset = c->term_offset, in_panel = 0;
    for (int v = 0; v < c->input_vectors_block_size; v++)
        for (int r = 0; r < c->h->taps; r++)
            for (int t = 0; t < c->w->taps; t++, in_panel += (size_t)pixels * L)
                *offset++ = pixels
                                ? in_panel
                                : (size_t)v * vector + gemm_tap_offset(g, c->h, c->w, rows, r, t);
}

/* Bytes of scratch that a residue class needs. */
static size_t scratch_of(const gemm_forward *s, const gemm_residue_class *c)
{
    const int rows = s->blocking.rows_block_size;
    if (s->blocking.panel_pixels)
        return gemm_panel_floats(s, c, rows) * sizeof(float);
    if (c->in_place || s->geometry.kind == GEMM_ROTATE)
        return 0;
    return (size_t)c->input_vectors_block_size *
           gemm_vector_stride(&s->geometry, c->h, c->w, rows) * sizeof(float);
}

/* Gives the residue classes their term offsets and their places among the packed weights. False when
 * memory runs out. */
static bool plan_classes(wf_conv2d *k, gemm_forward *s)
{
    const gemm_geometry *g = &s->geometry;
    size_t terms = 0;
    for (int i = 0; i < s->n_classes; i++)
        terms += gemm_class_taps(&s->classes[i]) * (size_t)s->classes[i].input_vectors_block_size;
    size_t *offset = s->term_offsets = calloc(terms + 1, sizeof *s->term_offsets);
    if (!offset)
        return false;
    size_t weights = 0;
    for (int i = 0; i < s->n_classes; i++) {
        gemm_residue_class *c = &s->classes[i];
        c->weights_offset = weights;
        c->term_offset = offset;
        if (gemm_class_taps(c) == 0)
            continue;
        describe_class(s, c);
        weights += gemm_class_taps(c) * (size_t)g->input_vectors * (size_t)g->vector_channels * L;
        offset += gemm_class_taps(c) * (size_t)c->input_vectors_block_size;
        const size_t scratch = scratch_of(s, c);
        k->scratch_bytes = scratch > k->scratch_bytes ? scratch : k->scratch_bytes;
    }
    s->packed_vector_floats = weights ? weights : L;
    return true;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    gemm_forward *s = k->state = calloc(1, sizeof *s);
    snprintf(why, size, "out of memory");
    if (!s || !gemm_geometry_init(&s->geometry, &k->desc, k->pass))
        goto fail;
    const gemm_geometry *g = &s->geometry;
    s->n_classes = g->row_classes * g->column_classes;
    s->classes = calloc((size_t)s->n_classes, sizeof *s->classes);
    if (!s->classes)
        goto fail;
    for (int j = 0; g->kind == GEMM_ROTATE && j < g->group_outputs; j++)
        gemm_rotation(g->group_outputs, j, s->rotation[j]);
    for (int i = 0; i < s->n_classes; i++)
        s->classes[i] = (gemm_residue_class){.h = &g->row_axis[i / g->column_classes],
                                             .w = &g->column_axis[i % g->column_classes]};
    const int wanted = parts_wanted(&k->desc), rows = g->row_axis[0].outputs; /* the most of all */
    s->parts_are_rows = wanted > 1 && wf_act_count(g->in) + wf_act_count(g->out) >
                                          wf_conv2d_weights_count(&k->desc);
    s->blocking.rows_block_size = rows;
    if (s->parts_are_rows) {
        k->parts = at_most(wanted, rows);
        s->blocking.rows_block_size = (rows + k->parts - 1) / k->parts;
    }
    if (!panels_pay(&k->desc, k->pass))
        plan_packed_input(s);
    else if (!plan_panels(s))
        goto fail;
    if (!plan_classes(k, s))
        goto fail;
    k->pack_tiles = g->sets * gemm_output_subblocks(s);
    if (!s->parts_are_rows)
        k->parts = at_most(wanted, k->pack_tiles);
    k->packed_bytes =
        s->packed_vector_floats * (size_t)g->sets * (size_t)g->output_vectors * sizeof(float);
    return true;
fail:
    destroy(k);
    return false;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm) = {
    .name = "gemm:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = gemm_forward_pack,
    .batch = gemm_forward_run,
};
