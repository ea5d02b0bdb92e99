/* Implicit im2col and matrix product, backward-weights: which lines the products of a step bring in for the
 * next one. Reads no operand itself. */
#include <limits.h>

#include "kernels/conv2d/gemm/weights.h"

/* Begins the row that the current region is at; when all has been asked for, a line that is there. */
static void begin_row(gemm_ahead *a)
{
    if (a->current == a->count) {
        a->next.step = a->part = 0;
        a->left = INT_MAX;
        return;
    }
    const gemm_region *r = &a->region[a->current];
    a->next = (gemm_stretch){.at = r->at, .step = r->step};
    for (int j = 0; j < 3; j++)
        a->next.at += (size_t)r->i[j] * r->stride[j];
    a->part = r->part;
    a->left = r->parts;
}

void gemm_next_row(gemm_ahead *a)
{
    gemm_region *r = &a->region[a->current];
    int j = 0;
    while (j < 3 && ++r->i[j] == r->n[j])
        r->i[j++] = 0;
    if (j == 3)
        a->current++;
    begin_row(a);
}

/* The rows of src that a step reads. */
static gemm_region src_region(const gemm_tile *m, const gemm_step *t)
{
    const gemm_weights *s = m->k->state;
    const gemm_plan *p = s->plan;
    const size_t row = (size_t)p->in.W * L * sizeof(float);
    const int in_step = p->row->in_step, extent = s->row_last - s->row_first + 1;
    const int first = t->row * in_step + s->row_first;
    const int last = first + (t->rows - 1) * in_step + extent - 1;
    const int begin = first > 0 ? first : 0, end = last < p->in.H ? last + 1 : p->in.H;
    const int channel = gemm_channel(p, t->set, t->v0, 0);
    gemm_region r = {.at = t->src + wf_act_index(p->in, channel, begin, 0) * sizeof(float),
                     .bytes = begin < end ? row * (size_t)(end - begin) : 0,
                     .n = {1, t->v1 - t->v0, t->images},
                     .stride = {0, row * (size_t)p->in.H, m->io->src_stride}};
    if (in_step > extent) { /* not those between */
        r.bytes = row * (size_t)extent;
        r.n[0] = t->rows;
        r.stride[0] = row * (size_t)in_step;
    }
    return r;
}

static gemm_region ddst_region(const gemm_tile *m, const gemm_step *t)
{
    const gemm_weights *s = m->k->state;
    const gemm_plan *p = s->plan;
    const size_t row = (size_t)p->out.W * L * sizeof(float);
    const int b = gemm_group_begin(s, t->g0), end = gemm_group_begin(s, t->g1);
    const int channel = gemm_first(p, t->set, b);
    return (gemm_region){.at = t->ddst + wf_act_index(p->out, channel, t->row, 0) * sizeof(float),
                         .bytes = row * (size_t)t->rows,
                         .n = {1, end - b, t->images},
                         .stride = {0, row * (size_t)p->out.H, m->io->ddst_stride}};
}

static int64_t rows_of(const gemm_region *r)
{
    return (int64_t)r->n[0] * r->n[1] * r->n[2];
}

/* Cuts the rows of a region into parts for so many products of `pixels` each. */
static void cut_region(gemm_region *r, int64_t products, int pixels)
{
    const int64_t most = (int64_t)pixels * GEMM_LINE, least = ((int64_t)r->bytes + most - 1) / most;
    int64_t parts = products / rows_of(r);
    parts = parts > least ? parts : least;
    r->parts = (int)(parts > 1 ? parts : 1);
    r->part = r->bytes / (size_t)r->parts;
    r->step = r->part / (size_t)pixels + 1;
}

/* Stretches that the products of a step have room for: where channels meet densely, of one tap. */
static int64_t stretches_of(const gemm_weights *s, const gemm_step *t)
{
    const int chunks = gemm_parts(t->rows, s->rows), vectors = t->v1 - t->v0;
    if (s->plan->kind == GEMM_ROTATE)
        return (int64_t)chunks * gemm_parts(s->taps, gemm_taps_at_once(s, 1, s->taps)) * 2;
    const int halves = gemm_group_begin(s, 1) > 1 ? 2 : 1;
    return (int64_t)chunks * (t->g1 - t->g0) * vectors * halves;
}

gemm_ahead gemm_ahead_of(const gemm_tile *m, const gemm_step *now, const gemm_step *next)
{
    const gemm_weights *s = m->k->state;
    const bool same = now->ddst == next->ddst && now->row == next->row && now->set == next->set &&
                      now->g0 == next->g0;
    gemm_ahead a = {
        .region = {[GEMM_SRC] = src_region(m, next), [GEMM_DDST] = ddst_region(m, next)},
        .count = same ? GEMM_DDST : GEMM_REGIONS};
    const int pixels = now->images * s->rows * s->plan->column->n;
    int64_t products = stretches_of(s, now), rows = 0, lines = 0;
    for (int i = 0; i < a.count; i++) {
        rows += rows_of(&a.region[i]);
        lines += rows_of(&a.region[i]) * (int64_t)(a.region[i].bytes / GEMM_LINE + 1);
    }
    a.taps = (int)(2 * lines / (products * pixels)) + 1; /* those at borders meet fewer pixels */
    a.taps = a.taps < s->taps ? a.taps : s->taps;
    products *= s->plan->kind == GEMM_DENSE ? a.taps : 1;
    for (int i = 0; i < a.count; i++)
        cut_region(&a.region[i], products * rows_of(&a.region[i]) / rows, pixels);
    a.extra = (int)((rows - 1) / products);
    begin_row(&a);
    return a;
}
