/* Implicit im2col and matrix product, backward-weights: the loops around the products, from a part of a
 * split down to the taps of a channel vector. A worker writes its part of a partial sum and its scratch,
 * which holds packed inputs; no other worker writes either. */
#include <limits.h>

#include "kernels/conv2d/gemm/weights.h"

/* The block of rows that is multiplied, within a gemm_weights_block. */
typedef struct row_block {
    const wf_conv2d_desc *d;
    const gemm_weights *s;
    const float *src;     /* packed inputs, or the first image; at channel vector vector_begin */
    size_t vector_stride; /* floats from channel vector to channel vector */
    int set, vector_begin, vector_end;
    int packed_row;     /* the output row that the packed inputs start with */
    int row, end;       /* the output rows of this block */
    gemm_pixels pixels; /* all of them */
    const float *ddst;  /* of the first image */
    float *partial_sum;
    size_t sum_vector_floats; /* of the partial sum for one output vector */
    gemm_weights_prefetch prefetch;
} row_block;

/* ---- one block of rows ----------------------------------------------------------------------- */

/* Where tap t meets the first pixel of the block in the packed inputs. */
static const float *packed_at(const row_block *b, int t)
{
    return b->src + b->s->tap[t].packed_offset +
           (size_t)(b->row - b->packed_row) * b->pixels.src_row_stride;
}

/* Narrows [*begin, *end) to the outputs of an axis at which the tap at `offset` meets the input. */
static void narrow(const gemm_axis *a, int offset, int *begin, int *end)
{
    int first = offset >= 0 ? 0 : (-offset + a->input_step - 1) / a->input_step;
    int stop = offset >= a->inputs ? 0 : (a->inputs - 1 - offset) / a->input_step + 1;
    *begin = first > *begin ? first : *begin;
    *end = stop < *end ? stop : *end;
}

/* The pixels of the block at which tap t meets the input and not padding. Writes where src of the first
 * channel vector is, and how many floats ddst lies behind the block's first pixel. False: there are
 * none. */
static bool tap_pixels(const row_block *b, int t, gemm_pixels *pixels, const float **src,
                       size_t *ddst_offset)
{
    const gemm_geometry *g = &b->s->geometry;
    const gemm_axis *h = g->row_axis, *w = g->column_axis;
    const bool in_place = b->s->blocking.in_place;
    const int row_offset = b->s->tap[t].row_offset, column_offset = b->s->tap[t].column_offset;
    int row = b->row, end = b->end, column = 0, stop = w->outputs;
    *pixels = b->pixels;
    *ddst_offset = 0;
    if (b->pixels.rows == 1 && b->end - b->row > 1) { /* rows follow on each other: one long row */
        *src = in_place ? b->src + (size_t)row * b->pixels.src_row_stride : packed_at(b, t);
        return true;
    }
    narrow(h, row_offset, &row, &end);
    narrow(w, column_offset, &column, &stop);
    if (row >= end || column >= stop)
        return false;
    pixels->rows = end - row;
    pixels->columns = stop - column;
    *ddst_offset = (size_t)(row - b->row) * pixels->ddst_row_stride + (size_t)column * L;
    *src = in_place ? b->src + (size_t)(row * h->input_step + row_offset) * (size_t)g->in.W * L +
                          (size_t)(column * w->input_step + column_offset) * L
                    : packed_at(b, t) + (size_t)(row - b->row) * pixels->src_row_stride +
                          (size_t)column * L;
    return true;
}

/* DENSE: each channel vector and tap by the output vectors at ddst. */
static void run_dense(row_block *b, int vectors, const float *ddst, float *w)
{
    const int taps = b->s->taps;
    const size_t all = (size_t)b->d->R * (size_t)b->d->S;
    for (int v = b->vector_begin; v < b->vector_end; v++)
        for (int t = 0; t < taps; t++) {
            gemm_pixels pixels;
            const float *src;
            size_t ddst_offset;
            float *to = w + ((size_t)v * all + b->s->tap[t].index) * L * L;
            /* Prefetch the next sums. On AVX-512 that costs more than it saves. */
            for (int i = 0; L == 8 && i < vectors; i++)
                for (int j = 0; j < L * L; j += 16)
                    __builtin_prefetch(to + L * L + (size_t)i * b->sum_vector_floats + j, 1, 2);
            if (!tap_pixels(b, t, &pixels, &src, &ddst_offset))
                continue;
            src += (size_t)(v - b->vector_begin) * b->vector_stride;
            if (t < b->prefetch.taps && b->prefetch.current < b->prefetch.count) {
                gemm_prefetch_lines next[2] = {gemm_take_share(&b->prefetch)};
                if (vectors > 1)
                    next[1] = gemm_take_share(&b->prefetch);
                gemm_channels_product(vectors, &pixels, next, src, ddst + ddst_offset, to,
                                      b->sum_vector_floats);
            } else {
                gemm_channels_product(vectors, &pixels, NULL, src, ddst + ddst_offset, to,
                                      b->sum_vector_floats);
            }
        }
}

/* The other kinds: channel vector by channel vector, as many taps at once as registers hold and as are
 * neighbours among the weights. */
static void run_taps(row_block *b, int vectors, const float *ddst, float *w)
{
    const gemm_geometry *g = &b->s->geometry;
    const int taps = b->s->taps, terms = (b->vector_end - b->vector_begin) * taps;
    const int rotations = g->kind == GEMM_ROTATE ? g->vector_channels : 1;
    const int most = gemm_taps_at_once(b->s, vectors, terms);
    const size_t all = (size_t)b->d->R * (size_t)b->d->S;
    for (int done = 0, v = 0, t = 0; done < terms;) {
        const float *src[GEMM_MAX_TAPS_AT_ONCE];
        const size_t first = (size_t)(b->vector_begin + v) * all + b->s->tap[t].index;
        int n = 0;
        while (n < most && v < b->vector_end - b->vector_begin &&
               (size_t)(b->vector_begin + v) * all + b->s->tap[t].index == first + (size_t)n) {
            src[n++] = packed_at(b, t) + (size_t)v * b->vector_stride;
            if (++t == taps) {
                t = 0;
                v++;
            }
        }
        done += n;
        gemm_prefetch_lines next[2] = {{.at = (const char *)ddst}, {.at = (const char *)ddst}};
        for (int i = 0; i < 2 && b->prefetch.current < b->prefetch.count; i++)
            next[i] = gemm_take_share(&b->prefetch);
        gemm_taps_product(g->kind, vectors * rotations, n, &b->pixels, next, src, ddst,
                          b->s->rotation, w + first * (size_t)rotations * L, b->sum_vector_floats);
    }
}

/* Multiplies the block by output subblocks [begin, end) of the set. */
static void run_subblocks(row_block *b, int begin, int end)
{
    const gemm_geometry *g = &b->s->geometry;
    for (int i = begin; i < end; i++) {
        const int first = gemm_weights_subblock_begin(b->s, i);
        const int vectors = gemm_weights_subblock_begin(b->s, i + 1) - first;
        const int channel = gemm_first_output(g, b->set, first);
        const float *ddst = b->ddst + wf_act_index(g->out, channel, b->row, 0);
        float *w =
            b->partial_sum + (size_t)(b->set * g->output_vectors + first) * b->sum_vector_floats;
        if (g->kind == GEMM_DENSE)
            run_dense(b, vectors, ddst, w);
        else
            run_taps(b, vectors, ddst, w);
    }
}

/* ---- the blocks of a part -------------------------------------------------------------------- */

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Block i of the part. */
static gemm_weights_block block_at(const gemm_weights_part *m, int i)
{
    const gemm_weights *s = m->k->state;
    const gemm_geometry *g = &s->geometry;
    const gemm_weights_blocking *b = &s->blocking;
    const int v = m->vector_begin + i % m->vector_blocks * b->input_vectors_block_size,
              pixels = m->pixels_begin + i / m->vector_blocks / m->sets;
    const int set = m->subblock_begin / b->output_subblocks + i / m->vector_blocks % m->sets;
    const int image = pixels / b->packed_blocks * b->images_block_size,
              row = pixels % b->packed_blocks * b->packed_rows;
    const int first = set * b->output_subblocks, end = first + b->output_subblocks;
    return (gemm_weights_block){
        .src = (const char *)m->io->src + (size_t)image * m->io->src_stride,
        .ddst = (const char *)m->io->ddst + (size_t)image * m->io->ddst_stride,
        .images = smaller(m->images - image, b->images_block_size),
        .row = row,
        .rows = smaller(g->row_axis->outputs - row, b->packed_rows),
        .set = set,
        .subblock_begin = (m->subblock_begin > first ? m->subblock_begin : first) - first,
        .subblock_end = smaller(m->subblock_end, end) - first,
        .vector_begin = v,
        .vector_end = smaller(v + b->input_vectors_block_size, m->vector_end),
        .starts_sums = pixels == m->pixels_begin && !m->cleared};
}

/* Fills the packed inputs of a block, or finds the place in the image. */
static void pack_block(row_block *b, const gemm_weights_part *m, const gemm_weights_block *t)
{
    const gemm_geometry *g = &b->s->geometry;
    if (b->s->blocking.in_place) {
        b->src = (const float *)t->src +
                 wf_act_index(g->in, t->set * g->group_inputs + t->vector_begin * L, 0, 0);
        return;
    }
    const gemm_region region = {t->set, t->vector_begin, t->vector_end, t->row, t->rows};
    for (int i = 0; i < t->images; i++) {
        const gemm_input in = {t->src + (size_t)i * m->io->src_stride, m->io->table};
        gemm_pack_input(g, g->row_axis, g->column_axis, region, b->s->blocking.packed_rows, in,
                        m->scratch + (size_t)i * b->pixels.src_image_stride);
    }
    b->src = m->scratch;
}

static void run_block(row_block *b, const gemm_weights_part *m, const gemm_weights_block *t)
{
    const gemm_weights *s = b->s;
    const gemm_geometry *g = &s->geometry;
    const bool one_row =
        gemm_contiguous(g->row_axis, g->column_axis) &&
        (!s->blocking.in_place || gemm_reads_in_place(g, g->row_axis, g->column_axis));
    b->set = t->set;
    b->vector_begin = t->vector_begin;
    b->vector_end = t->vector_end;
    b->packed_row = t->row;
    b->ddst = (const float *)t->ddst;
    b->pixels.images = t->images;
    b->pixels.starts_sums = t->starts_sums;
    pack_block(b, m, t);
    for (int row = 0; row < t->rows; row += s->blocking.rows_block_size) {
        const int n = smaller(t->rows - row, s->blocking.rows_block_size);
        b->row = t->row + row;
        b->end = b->row + n;
        b->pixels.rows = one_row ? 1 : n;
        b->pixels.columns = one_row ? n * g->column_axis->outputs : g->column_axis->outputs;
        run_subblocks(b, t->subblock_begin, t->subblock_end);
        b->pixels.starts_sums = false;
    }
}

/* ---- one part -------------------------------------------------------------------------------- */

static gemm_weights_part part_of(const wf_conv2d *k, const wf_conv2d_gradient_io *io, int n,
                                 int index)
{
    const gemm_weights *s = k->state;
    const gemm_geometry *g = &s->geometry;
    const gemm_weights_blocking *b = &s->blocking;
    const gemm_weights_parts *cut = &s->parts;
    const int64_t subblocks = (int64_t)g->sets * b->output_subblocks, vectors = g->input_vectors;
    const int64_t pixels = (int64_t)gemm_pieces(n, b->images_block_size) * b->packed_blocks;
    const int input = index % cut->input_parts;
    const int output = index / cut->input_parts % cut->output_parts;
    const int subsplit = index / (cut->input_parts * cut->output_parts);
    gemm_weights_part m = {.k = k,
                           .io = io,
                           .index = index,
                           .images = n,
                           .pixels_begin = (int)(pixels * subsplit / cut->subsplits),
                           .pixels_end = (int)(pixels * (subsplit + 1) / cut->subsplits),
                           .vector_begin = (int)(vectors * input / cut->input_parts),
                           .vector_end = (int)(vectors * (input + 1) / cut->input_parts),
                           .subblock_begin = (int)(subblocks * output / cut->output_parts),
                           .subblock_end = (int)(subblocks * (output + 1) / cut->output_parts)};
    if (g->row_axis->taps == 0 || g->column_axis->taps == 0)
        m.pixels_end = m.pixels_begin;
    m.sets =
        (m.subblock_end - 1) / b->output_subblocks - m.subblock_begin / b->output_subblocks + 1;
    m.vector_blocks = gemm_pieces(m.vector_end - m.vector_begin, b->input_vectors_block_size);
    /* Where each pixel meets each weight, the first block writes all sums. */
    m.cleared = g->kind != GEMM_DENSE || k->desc.R * k->desc.S > 1 || k->desc.padding[0] > 0 ||
                k->desc.padding[1] > 0 || m.pixels_begin == m.pixels_end;
    return m;
}

wf_conv2d_reads gemm_weights_reads(const wf_conv2d *k, int n, int part)
{
    const gemm_weights *s = k->state;
    const gemm_geometry *g = &s->geometry;
    const gemm_weights_part m = part_of(k, NULL, n, part);
    const int subblocks = s->blocking.output_subblocks, last = m.subblock_end - 1;
    const int first_set = m.subblock_begin / subblocks, last_set = last / subblocks;
    const int image = m.pixels_begin / s->blocking.packed_blocks,
              end = gemm_pieces(m.pixels_end, s->blocking.packed_blocks);
    wf_conv2d_reads r = {
        .images = {image * s->blocking.images_block_size,
                   smaller(end * s->blocking.images_block_size, n)},
        .src = {0, g->in.C},
        .dst = {gemm_first_output(g, first_set,
                                  gemm_weights_subblock_begin(s, m.subblock_begin % subblocks)),
                smaller(gemm_first_output(g, last_set,
                                          gemm_weights_subblock_begin(s, last % subblocks + 1)),
                        g->out.C)}};
    if (g->kind == GEMM_DENSE) {
        r.src[0] = first_set * g->group_inputs + m.vector_begin * L;
        r.src[1] = last_set * g->group_inputs + smaller(m.vector_end * L, g->group_inputs);
    }
    return r;
}

/* Finds the block after block i - 1 of n, whose operands are to be prefetched. After the last block it is
 * the first one of the part that this worker will probably run next: workers claim the parts of a split in
 * order. */
static bool next_block(const gemm_weights_part *m, int i, int n, gemm_weights_block *next)
{
    if (i < n) {
        *next = block_at(m, i);
        return true;
    }
    if (m->index + m->k->workers >= m->k->parts)
        return false;
    const gemm_weights_part other = part_of(m->k, m->io, m->images, m->index + m->k->workers);
    *next = block_at(&other, 0);
    return other.pixels_begin < other.pixels_end;
}

static void run_blocks(const gemm_weights_part *m)
{
    const gemm_weights *s = m->k->state;
    const gemm_geometry *g = &s->geometry;
    const gemm_axis *h = g->row_axis, *w = g->column_axis;
    const bool in_place = s->blocking.in_place;
    const size_t packed = gemm_vector_stride(g, h, w, s->blocking.packed_rows);
    row_block b = {.d = &m->k->desc, .s = s, .partial_sum = m->partial_sum};
    b.sum_vector_floats = gemm_sum_vector_floats(&m->k->desc, g);
    b.vector_stride = in_place ? (size_t)g->in.H * (size_t)g->in.W * L : packed;
    b.pixels = (gemm_pixels){
        .src_image_stride = in_place ? m->io->src_stride / sizeof(float)
                                     : (size_t)s->blocking.input_vectors_block_size * packed,
        .src_row_stride =
            in_place ? (size_t)h->input_step * (size_t)g->in.W * L : gemm_row_stride(g, h, w),
        .src_column_stride = in_place ? (size_t)w->input_step * L : L,
        .ddst_image_stride = m->io->ddst_stride / sizeof(float),
        .ddst_row_stride = (size_t)g->out.W * L,
        .ddst_vector_stride = (size_t)g->out.H * (size_t)g->out.W * L};
    const int n = (m->pixels_end - m->pixels_begin) * m->sets * m->vector_blocks;
    for (int i = 0; i < n; i++) {
        const gemm_weights_block now = block_at(m, i);
        b.prefetch = (gemm_weights_prefetch){.count = 0};
        gemm_weights_block next;
        if ((g->kind == GEMM_DENSE || g->kind == GEMM_ROTATE) && next_block(m, i + 1, n, &next))
            b.prefetch = gemm_weights_prefetch_of(m, &now, &next);
        run_block(&b, m, &now);
    }
}

/* Sets the part's partial sum to zero: some taps never meet the input, and a block may leave out taps. */
static void clear(const gemm_weights_part *m)
{
    const gemm_weights *s = m->k->state;
    const gemm_geometry *g = &s->geometry;
    const int subblocks = s->blocking.output_subblocks;
    const size_t floats = gemm_sum_vector_floats(&m->k->desc, g),
                 vector = floats / (size_t)g->input_vectors;
    for (int i = m->subblock_begin; i < m->subblock_end; i++) {
        const int set = i / subblocks * g->output_vectors;
        for (int b = gemm_weights_subblock_begin(s, i % subblocks);
             b < gemm_weights_subblock_begin(s, i % subblocks + 1); b++)
            memset(m->partial_sum + (size_t)(set + b) * floats + (size_t)m->vector_begin * vector,
                   0, (size_t)(m->vector_end - m->vector_begin) * vector * sizeof(float));
    }
}

weft_status gemm_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                             void *partial_sum, int part, void *scratch)
{
    const gemm_weights *s = k->state;
    gemm_weights_part m = part_of(k, io, n, part);
    const int subsplit = part / (s->parts.input_parts * s->parts.output_parts);
    m.partial_sum = (float *)partial_sum + (size_t)subsplit * s->parts.sum_floats;
    m.scratch = scratch;
    if (m.cleared)
        clear(&m);
    run_blocks(&m);
    return WEFT_OK;
}
