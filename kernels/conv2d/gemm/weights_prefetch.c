/* Implicit im2col and matrix product, backward-weights: which lines the products of one block prefetch for
 * the next block. Computes addresses only, and reads no operand. */
#include <limits.h>

#include "kernels/conv2d/gemm/weights.h"

/* Begins the present row of the present region. After the last region the same line is prefetched over
 * and over. */
static void begin_row(gemm_weights_prefetch *a)
{
    if (a->current == a->count) {
        a->next.step = a->share_bytes = 0;
        a->shares_left = INT_MAX;
        return;
    }
    const gemm_prefetch_region *r = &a->region[a->current];
    a->next = (gemm_prefetch_lines){.at = r->at, .step = r->step};
    for (int j = 0; j < 3; j++)
        a->next.at += (size_t)r->i[j] * r->stride[j];
    a->share_bytes = r->share_bytes;
    a->shares_left = r->shares;
}

void gemm_next_row(gemm_weights_prefetch *a)
{
    gemm_prefetch_region *r = &a->region[a->current];
    int j = 0;
    while (j < 3 && ++r->i[j] == r->n[j])
        r->i[j++] = 0;
    if (j == 3)
        a->current++;
    begin_row(a);
}

/* The rows of src that a block reads. */
static gemm_prefetch_region src_region(const gemm_weights_part *m, const gemm_weights_block *t)
{
    const gemm_weights *s = m->k->state;
    const gemm_geometry *g = &s->geometry;
    const size_t row = (size_t)g->in.W * L * sizeof(float);
    const int step = g->row_axis->input_step;
    const int extent = s->last_row_offset - s->first_row_offset + 1; /* rows that an output meets */
    const int first = t->row * step + s->first_row_offset;
    const int last = first + (t->rows - 1) * step + extent - 1;
    const int begin = first > 0 ? first : 0, end = last < g->in.H ? last + 1 : g->in.H;
    const int channel = gemm_channel(g, t->set, t->vector_begin, 0);
    gemm_prefetch_region r = {.at = t->src + wf_act_index(g->in, channel, begin, 0) * sizeof(float),
                              .bytes = begin < end ? row * (size_t)(end - begin) : 0,
                              .n = {1, t->vector_end - t->vector_begin, t->images},
                              .stride = {0, row * (size_t)g->in.H, m->io->src_stride}};
    if (step > extent) { /* the rows between are not read */
        r.bytes = row * (size_t)extent;
        r.n[0] = t->rows;
        r.stride[0] = row * (size_t)step;
    }
    return r;
}

static gemm_prefetch_region ddst_region(const gemm_weights_part *m, const gemm_weights_block *t)
{
    const gemm_weights *s = m->k->state;
    const gemm_geometry *g = &s->geometry;
    const size_t row = (size_t)g->out.W * L * sizeof(float);
    const int b = gemm_weights_subblock_begin(s, t->subblock_begin);
    const int end = gemm_weights_subblock_begin(s, t->subblock_end);
    const int channel = gemm_first_output(g, t->set, b);
    return (gemm_prefetch_region){.at = t->ddst +
                                        wf_act_index(g->out, channel, t->row, 0) * sizeof(float),
                                  .bytes = row * (size_t)t->rows,
                                  .n = {1, end - b, t->images},
                                  .stride = {0, row * (size_t)g->out.H, m->io->ddst_stride}};
}

static int64_t rows_of(const gemm_prefetch_region *r)
{
    return (int64_t)r->n[0] * r->n[1] * r->n[2];
}

/* Shares out the rows of a region among so many products, of `pixels` each. */
static void share_out(gemm_prefetch_region *r, int64_t products, int pixels)
{
    const int64_t most = (int64_t)pixels * GEMM_LINE_BYTES;
    const int64_t least = ((int64_t)r->bytes + most - 1) / most;
    int64_t shares = products / rows_of(r);
    shares = shares > least ? shares : least;
    r->shares = (int)(shares > 1 ? shares : 1);
    r->share_bytes = r->bytes / (size_t)r->shares;
    r->step = r->share_bytes / (size_t)pixels + 1;
}

/* The shares that the products of a block can prefetch; DENSE: those of one tap. */
static int64_t shares_of(const gemm_weights *s, const gemm_weights_block *t)
{
    const int row_blocks = gemm_pieces(t->rows, s->blocking.rows_block_size);
    const int vectors = t->vector_end - t->vector_begin;
    if (s->geometry.kind == GEMM_ROTATE)
        return (int64_t)row_blocks * gemm_pieces(s->taps, gemm_taps_at_once(s, 1, s->taps)) * 2;
    const int halves = gemm_weights_subblock_begin(s, 1) > 1 ? 2 : 1;
    return (int64_t)row_blocks * (t->subblock_end - t->subblock_begin) * vectors * halves;
}

gemm_weights_prefetch gemm_weights_prefetch_of(const gemm_weights_part *m,
                                               const gemm_weights_block *now,
                                               const gemm_weights_block *next)
{
    const gemm_weights *s = m->k->state;
    const gemm_geometry *g = &s->geometry;
    const bool same_ddst = now->ddst == next->ddst && now->row == next->row &&
                           now->set == next->set && now->subblock_begin == next->subblock_begin;
    gemm_weights_prefetch a = {
        .region = {[GEMM_SRC] = src_region(m, next), [GEMM_DDST] = ddst_region(m, next)},
        .count = same_ddst ? GEMM_DDST : GEMM_REGIONS};
    const int pixels = now->images * s->blocking.rows_block_size * g->column_axis->outputs;
    int64_t products = shares_of(s, now), rows = 0, lines = 0;
    for (int i = 0; i < a.count; i++) {
        rows += rows_of(&a.region[i]);
        lines += rows_of(&a.region[i]) * (int64_t)(a.region[i].bytes / GEMM_LINE_BYTES + 1);
    }
    /* Twice as many products as needed, since taps at the border meet fewer pixels. */
    a.taps = (int)(2 * lines / (products * pixels)) + 1;
    a.taps = a.taps < s->taps ? a.taps : s->taps;
    products *= g->kind == GEMM_DENSE ? a.taps : 1;
    for (int i = 0; i < a.count; i++)
        share_out(&a.region[i], products * rows_of(&a.region[i]) / rows, pixels);
    a.extra_rows = (int)((rows - 1) / products);
    begin_row(&a);
    return a;
}
