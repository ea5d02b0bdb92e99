/* Implicit im2col and matrix product, backward-weights: the plan, and the sum of the partial sums.
 *
 * A weight gradient is a sum over pixels: the gradient of a weight is the product, summed over all output
 * pixels, of the input that the weight met and of ddst. The inner loop is an outer product: it multiplies
 * some values of src (channels, or taps) by some output vectors of ddst, pixel after pixel, and keeps the
 * sums in registers. LANES and ROTATE multiply vectors of src by one vector of ddst, lane by lane.
 *
 * A split (Note [Splits of weight gradients]) is cut into subsplits, ranges of its pixels, each with a
 * partial sum of its own; reduce adds those up before it adds the splits. A part of a split is a subsplit,
 * a range of channel vectors and a range of output subblocks. Its loops, from the outside in:
 *   1. images one by one, or several small ones at once; a packed input of src (gemm.h), or src in place:
 *      as much as L2 holds;
 *   2. a block of rows;
 *   3. the output subblocks, up to GEMM_MAX_OUTPUT_VECTORS output vectors of ddst: L1 keeps the block's
 *      pixels of one subblock while the kernel multiplies them by
 *   4. each channel vector and tap of src.
 * Channel planes lie more than a page apart, so the hardware prefetcher misses them. While a block is
 * multiplied, its products prefetch what the next block reads (weights_prefetch.c).
 *
 * Every weight adds its products in the order image, row, column, wherever the blocks end: its bits follow
 * from the shape and the instruction set. Everything but the plan is stateless.
 *
 * A partial sum: [set][output vector][channel vector][tap][channel][L]. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm/weights.h"
#include "kernels/machine.h"
#include "kernels/simd/transpose.h"

enum {
    /* A large gradient is cut into tiles of TILE_FLOPS operations. A smaller one gives work to
     * MANY_CORES, with tiles of at least SMALL_TILE_FLOPS, since smaller tiles read their operands more
     * often; or to FEW_CORES, with tiles of at least LEAST_TILE_FLOPS. */
    TILE_FLOPS = 16000000,
    MANY_CORES = 64,
    SMALL_TILE_FLOPS = 8000000,
    FEW_CORES = 16,
    LEAST_TILE_FLOPS = 2000000,
    MIN_PART_VECTORS = 2 /* channel vectors of a part */
};

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

/* Whether the kernel reads src in place. With a stride it does so only if the taps read what lies between
 * the strides, too; else a packed input leaves that out. */
static bool reads_in_place(const wf_conv2d_desc *d, gemm_kind kind)
{
    const int strides = d->stride[0] * d->stride[1];
    return kind == GEMM_DENSE && (d->groups == 1 || d->C / d->groups % L == 0) &&
           (strides == 1 || d->R * d->S > strides);
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
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
    return wf_conv2d_expect(d, WF_ISA, share / gemm_share_met(d));
}

static void destroy(wf_conv2d *k)
{
    gemm_weights *s = k->state;
    if (!s)
        return;
    gemm_geometry_done(&s->geometry);
    free(s->tap);
    free(s);
    k->state = NULL;
}

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* ---- blocking -------------------------------------------------------------------------------- */

/* Floats of one channel vector that a block of rows reads of one image. */
static int64_t src_floats(const gemm_weights *s, const wf_conv2d *k, int rows)
{
    const gemm_axis *h = s->geometry.row_axis, *w = s->geometry.column_axis;
    return s->blocking.in_place ? (int64_t)(rows + h->last_position) * h->input_step * k->desc.W * L
                                : (int64_t)gemm_vector_stride(&s->geometry, h, w, rows);
}

/* Sets the rows and images of a block. */
static void plan_block(gemm_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    gemm_weights_blocking *b = &s->blocking;
    const int64_t pixels = (int64_t)d->P * d->Q;
    const int64_t channels = (int64_t)b->output_vectors_subblock_size * L;
    const bool strided = b->in_place && d->stride[0] * d->stride[1] > 1;
    const wf_blocking *size = gemm_blocking();
    const int64_t room = gemm_floats(strided ? size->gemm_gradient_block_strided_kib
                                             : size->gemm_gradient_block_kib);
    const int most_pixels = size->gemm_gradient_pixels;
    int rows = d->Q < most_pixels ? most_pixels / d->Q : 1;
    while (rows > 1 && rows * d->Q * channels + src_floats(s, k, rows) > room)
        rows--;
    b->rows_block_size = gemm_even(d->P, rows);
    int64_t images = 1;
    if (b->rows_block_size == d->P)
        images = at_most(room / (pixels * channels + src_floats(s, k, d->P)), most_pixels / pixels);
    b->images_block_size =
        images > 1 ? gemm_even(k->split_images, (int)at_most(images, k->split_images)) : 1;
}

/* Whether neighbouring packed inputs hold some input rows twice. */
static bool has_halo(const gemm_weights *s, const wf_conv2d_desc *d)
{
    return !s->blocking.in_place && d->R * d->S > 1;
}

static double wanted_tiles(double flops)
{
    double tiles = flops / TILE_FLOPS, many = flops / SMALL_TILE_FLOPS,
           few = flops / LEAST_TILE_FLOPS;
    if (tiles < MANY_CORES)
        tiles = many < MANY_CORES ? many : MANY_CORES;
    if (tiles < FEW_CORES)
        tiles = few < FEW_CORES ? few : FEW_CORES;
    const double most = gemm_blocking()->gemm_gradient_max_tiles;
    return tiles < most ? tiles : most;
}

/* Cuts the work on a split into about as many parts as are wanted: subsplits, ranges of channel vectors,
 * ranges of output subblocks. Of all ways that give enough parts it takes the one that moves the fewest
 * vectors between L2 and memory: src and ddst each once for every range of the other's vectors, and the
 * partial sums. */
static void plan_parts(gemm_weights *s, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    const gemm_geometry *g = &s->geometry;
    const gemm_weights_blocking *b = &s->blocking;
    const wf_blocking *size = gemm_blocking();
    const double wanted = wanted_tiles(wf_conv2d_flops(d)) / k->splits;
    const bool dense = g->kind == GEMM_DENSE;
    /* With a halo each subsplit packs some rows again, so there are no more than keep cores busy. */
    const double subsplits_wanted =
        has_halo(s, d) ? at_most((int64_t)wanted, MANY_CORES / k->splits) : wanted;
    const int subblocks = g->sets * b->output_subblocks;
    const int row_blocks = gemm_pieces(d->P, b->rows_block_size);
    const int blocks = gemm_pieces(k->split_images, b->images_block_size) * row_blocks;
    /* Traffic, in vectors. */
    const double pixels = (double)k->split_images * d->P * d->Q,
                 outputs = (double)g->sets * g->output_vectors;
    const double sums = outputs * g->input_vectors * d->R * d->S * g->vector_channels;
    const double src = pixels * g->sets * g->input_vectors *
                       (b->in_place ? 1 : size->gemm_gradient_packing_passes);
    const double ddst = pixels * outputs;
    double best_parts = 0, best_traffic = 0;
    for (int i = 1; i == 1 || (dense && g->input_vectors / i >= MIN_PART_VECTORS); i++)
        for (int o = 1; o <= subblocks && (o == 1 || i * o <= wanted); o++) {
            const int most = (int)at_most((int64_t)(subsplits_wanted / i / o + 0.5), blocks);
            const int subsplits = most > 1 ? most : 1;
            const double parts = (double)i * o * subsplits, enough = 0.75 * wanted;
            /* A partial sum that L2 does not hold is read and written for every block. */
            const bool streams =
                sums / i / o * L > (double)gemm_floats(size->gemm_gradient_sums_kib);
            const double src_passes = o > g->sets ? (double)o / g->sets : 1;
            const double sum_passes =
                subsplits * size->gemm_gradient_sum_passes + (streams ? 2.0 * blocks : 0);
            const double traffic = src * src_passes + ddst * i + sums * sum_passes;
            const double useful = parts < enough ? parts : enough;
            if (useful < best_parts || (useful == best_parts && traffic >= best_traffic))
                continue;
            best_parts = useful;
            best_traffic = traffic;
            s->parts.input_parts = i;
            s->parts.output_parts = o;
            s->parts.subsplits = subsplits;
        }
}

/* Sets how many channel vectors and rows a packed input has. */
static void plan_packed_input(gemm_weights *s, const wf_conv2d *k)
{
    const gemm_geometry *g = &s->geometry;
    gemm_weights_blocking *b = &s->blocking;
    const int outputs = g->row_axis->outputs;
    const int64_t room = gemm_floats(gemm_blocking()->gemm_gradient_packed_kib);
    const int64_t vectors = gemm_pieces(g->input_vectors, s->parts.input_parts);
    const int64_t most = room / (src_floats(s, k, b->rows_block_size) * b->images_block_size + 1);
    b->input_vectors_block_size =
        gemm_even((int)vectors, (int)at_most(most > 1 ? most : 1, vectors));
    b->packed_rows = b->rows_block_size;
    const int blocks = gemm_pieces(k->split_images, b->images_block_size);
    for (int rows = b->packed_rows + b->rows_block_size;
         !b->in_place && (s->parts.subsplits == 1 || has_halo(s, &k->desc)) &&
         b->packed_rows < outputs && blocks * gemm_pieces(outputs, rows) >= s->parts.subsplits &&
         src_floats(s, k, rows) * b->input_vectors_block_size < room;
         rows += b->rows_block_size)
        b->packed_rows = rows;
    b->packed_blocks = gemm_pieces(outputs, b->packed_rows);
}

/* ---- the plan -------------------------------------------------------------------------------- */

static void fill_taps(gemm_weights *s, const wf_conv2d_desc *d)
{
    const gemm_geometry *g = &s->geometry;
    const gemm_axis *h = g->row_axis, *w = g->column_axis;
    for (int r = 0; r < h->taps; r++) {
        const int offset = h->offset[r];
        s->first_row_offset = r == 0 || offset < s->first_row_offset ? offset : s->first_row_offset;
        s->last_row_offset = r == 0 || offset > s->last_row_offset ? offset : s->last_row_offset;
    }
    for (int r = 0; r < h->taps; r++)
        for (int t = 0; t < w->taps; t++)
            s->tap[s->taps++] = (gemm_weights_tap){
                .row_offset = h->offset[r],
                .column_offset = w->offset[t],
                .index = (size_t)(h->tap[r] * d->S + w->tap[t]),
                .packed_offset = gemm_tap_offset(g, h, w, s->blocking.packed_rows, r, t)};
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    gemm_weights *s = k->state = calloc(1, sizeof *s);
    if (!s || !gemm_geometry_init(&s->geometry, d, k->pass) ||
        !(s->tap = calloc((size_t)d->R * (size_t)d->S, sizeof *s->tap))) {
        snprintf(why, size, "out of memory");
        destroy(k);
        return false;
    }
    const gemm_geometry *g = &s->geometry;
    gemm_weights_blocking *b = &s->blocking;
    b->in_place = reads_in_place(d, g->kind);
    b->output_vectors_subblock_size = g->kind >= GEMM_LANES   ? 1
                                      : g->kind == GEMM_PLAIN ? GEMM_MAX_OUTPUT_VECTORS
                                                              : 3;
    b->output_subblocks = gemm_pieces(g->output_vectors, b->output_vectors_subblock_size);
    plan_block(s, k);
    plan_parts(s, k);
    plan_packed_input(s, k);
    fill_taps(s, d);
    for (int j = 0; g->kind == GEMM_ROTATE && j < g->group_outputs; j++)
        gemm_rotation(g->group_outputs, g->group_outputs - j, s->rotation[j]);
    k->parts = s->parts.input_parts * s->parts.output_parts * s->parts.subsplits;
    s->parts.sum_floats = gemm_sum_vector_floats(d, g) * (size_t)(g->sets * g->output_vectors);
    k->partial_sum_bytes = s->parts.sum_floats * (size_t)s->parts.subsplits * sizeof(float);
    k->reduce_tiles = g->sets * g->output_vectors;
    if (!b->in_place)
        k->scratch_bytes = (size_t)b->images_block_size * (size_t)b->input_vectors_block_size *
                           gemm_vector_stride(g, g->row_axis, g->column_axis, b->packed_rows) *
                           sizeof(float);
    return true;
}

/* ---- adding up ------------------------------------------------------------------------------- */

/* Writes the sums of a channel vector, [tap][channel][lane], as plain weights: [lane][channel][tap]. */
static void write_vector(const gemm_geometry *g, const float *w, int taps, int inputs, int lanes,
                         float *out)
{
    const size_t out_step = (size_t)g->group_inputs * (size_t)taps;
    const int n = inputs * taps;
    for (int q = 0, t = 0, c = 0; q < n; q += 8) {
        const int rows = n - q < 8 ? n - q : 8;
        float row[8 * L];
        for (int j = 0; j < rows; j++) {
            wf_vstore(row + j * L, wf_vload(w + (t * g->vector_channels + c) * L));
            t = t + 1 == taps ? 0 : t + 1;
            c += t == 0;
        }
        for (int l = 0; l < lanes; l++) /* more rows than the hardware prefetcher follows */
            __builtin_prefetch(out + (size_t)l * out_step + q + 32, 1, 3);
        int l = 0;
        for (; rows == 8 && l + 8 <= lanes; l += 8)
            wf_transpose8(row + l, L, out + (size_t)l * out_step + q, out_step);
        for (; l < lanes; l++)
            for (int j = 0; j < rows; j++)
                out[(size_t)l * out_step + (size_t)(q + j)] = row[j * L + l];
    }
}

/* ROTATE: writes the sums [tap][rotation][lane] of input channels [first, end) as plain weights. */
static void write_rotated(const gemm_geometry *g, const float *w, size_t taps, int first, int end,
                          float *dweights)
{
    for (int i = first; i < first + L && i < end; i++)
        for (int j = 0; j < g->vector_channels; j++) {
            float *out =
                dweights + ((size_t)gemm_rotated_output(g, i, j) * (size_t)g->group_inputs +
                            (size_t)(i % g->group_inputs)) *
                               taps;
            for (size_t t = 0; t < taps; t++)
                out[t] = w[(t * (size_t)g->vector_channels + (size_t)j) * L + (size_t)(i % L)];
        }
}

/* A tile is one output vector. */
static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const gemm_weights *s = k->state;
    const gemm_geometry *g = &s->geometry;
    const size_t taps = (size_t)d->R * (size_t)d->S, count = gemm_sum_vector_floats(d, g);
    const int set = tile / g->output_vectors;
    const int first = gemm_first_output(g, set, tile % g->output_vectors);
    const int end = gemm_end_output(g, set);
    float *w = (float *)partial_sums + (size_t)tile * count;
    for (int i = 0; i < k->splits; i++)
        wf_conv2d_add_partial_sums(WEFT_F32, (char *)w + (size_t)i * partial_sum_stride,
                                   s->parts.sum_floats * sizeof(float), s->parts.subsplits, count);
    wf_conv2d_add_partial_sums(WEFT_F32, w, partial_sum_stride, k->splits, count);
    if (g->kind == GEMM_ROTATE) {
        write_rotated(g, w, taps, first, end, dweights);
        return WEFT_OK;
    }
    const int lanes = end - first < L ? end - first : L;
    float *out = (float *)dweights + (size_t)first * (size_t)g->group_inputs * taps;
    for (int v = 0; v < g->input_vectors; v++, w += taps * (size_t)g->vector_channels * L) {
        const int i = v * g->vector_channels, left = g->group_inputs - i;
        const int inputs = left < g->vector_channels ? left : g->vector_channels;
        write_vector(g, w, (int)taps, inputs, lanes, out + (size_t)i * taps);
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
    .reads = gemm_weights_reads,
    .reduce = reduce,
};
