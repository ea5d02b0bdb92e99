/* Implicit im2col and matrix product, backward-weights: the loops around the products, from a part of a
 * slot down to the taps of an input vector. A worker writes what no other does: its part of a slot, and its
 * scratch, frames. */
#include <limits.h>

#include "kernels/conv2d/gemm/weights.h"

/* Some rows of some images, and the input vectors [v0, v1) of a set. */
typedef struct chunk {
    const wf_conv2d_desc *d;
    const gemm_weights *s;
    const float *x; /* of frames, or of the first image, input vector v0 */
    size_t vector;  /* floats of x from vector to vector */
    int set, v0, v1;
    int frame_row;     /* the output row that frames start with */
    int row, end;      /* the output rows of the chunk */
    gemm_pixels at;    /* all of them; x_row and x_image as x has them */
    const float *ddst; /* of the first image */
    float *partial_sum;
    size_t block; /* floats of a slot for one output vector */
    gemm_ahead next;
} chunk;

/* Where tap t meets the first pixel of the chunk in frames. */
static const float *tap_in_frame(const chunk *c, int t)
{
    return c->x + c->s->tap[t].frame + (size_t)(c->row - c->frame_row) * c->at.x_row;
}

/* Outputs of an axis, from `begin` to `end`, for which the tap at `offset` meets the input. */
static void meeting(const gemm_axis *a, int offset, int *begin, int *end)
{
    int first = offset >= 0 ? 0 : (-offset + a->in_step - 1) / a->in_step;
    int stop = offset >= a->in ? 0 : (a->in - 1 - offset) / a->in_step + 1;
    *begin = first > *begin ? first : *begin;
    *end = stop < *end ? stop : *end;
}

/* Tap t against the pixels of the chunk that it meets, without which padding would be multiplied: they
 * are at *x of input vector v0 and `dy` floats behind the chunk's first. False: none. */
static bool tap_pixels(const chunk *c, int t, gemm_pixels *at, const float **x, size_t *dy)
{
    const gemm_plan *p = c->s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    const int oh = c->s->tap[t].row, ow = c->s->tap[t].column;
    int row = c->row, end = c->end, column = 0, stop = w->n;
    *at = c->at;
    *dy = 0;
    if (c->at.rows == 1 && c->end - c->row > 1) { /* flat */
        *x = c->s->in_place ? c->x + (size_t)row * c->at.x_row : tap_in_frame(c, t);
        return true;
    }
    meeting(h, oh, &row, &end);
    meeting(w, ow, &column, &stop);
    if (row >= end || column >= stop)
        return false;
    at->rows = end - row;
    at->columns = stop - column;
    *dy = (size_t)(row - c->row) * at->dy_row + (size_t)column * L;
    *x = c->s->in_place
             ? c->x + (size_t)(row * h->in_step + oh) * (size_t)p->in.W * L +
                   (size_t)(column * w->in_step + ow) * L
             : tap_in_frame(c, t) + (size_t)(row - c->row) * at->x_row + (size_t)column * L;
    return true;
}

static void run_dense(chunk *c, int NB, const float *dy, float *w)
{
    const int taps = c->s->taps;
    const size_t all = (size_t)c->d->R * (size_t)c->d->S;
    for (int v = c->v0; v < c->v1; v++)
        for (int t = 0; t < taps; t++) {
            gemm_pixels at;
            const float *x;
            size_t first;
            float *to = w + ((size_t)v * all + c->s->tap[t].place) * L * L;
            for (int b = 0; L == 8 && b < NB;
                 b++) /* the next sums; on AVX-512 it costs more than it saves */
                for (int i = 0; i < L * L; i += 16)
                    __builtin_prefetch(to + L * L + (size_t)b * c->block + i, 1, 2);
            if (!tap_pixels(c, t, &at, &x, &first))
                continue;
            x += (size_t)(v - c->v0) * c->vector;
            if (t < c->next.taps && c->next.current < c->next.count) {
                gemm_stretch next[2] = {gemm_next_stretch(&c->next)};
                if (NB > 1)
                    next[1] = gemm_next_stretch(&c->next);
                gemm_channels_product(NB, &at, next, x, dy + first, to, c->block);
            } else {
                gemm_channels_product(NB, &at, NULL, x, dy + first, to, c->block);
            }
        }
}

/* Input vector by input vector, as many taps at once as are neighbours among the weights and as the
 * registers hold. */
static void run_taps(chunk *c, int NB, const float *dy, float *w)
{
    const gemm_plan *p = c->s->plan;
    const int taps = c->s->taps, terms = (c->v1 - c->v0) * taps;
    const int J = p->kind == GEMM_ROTATE ? p->depth : 1;
    const int most = gemm_taps_at_once(c->s, NB, terms);
    const size_t all = (size_t)c->d->R * (size_t)c->d->S;
    for (int done = 0, v = 0, t = 0; done < terms;) {
        const float *x[GEMM_TERMS];
        const size_t first = (size_t)(c->v0 + v) * all + c->s->tap[t].place;
        int n = 0;
        while (n < most && v < c->v1 - c->v0 &&
               (size_t)(c->v0 + v) * all + c->s->tap[t].place == first + (size_t)n) {
            x[n++] = tap_in_frame(c, t) + (size_t)v * c->vector;
            if (++t == taps) {
                t = 0;
                v++;
            }
        }
        done += n;
        gemm_stretch next[2] = {{.at = (const char *)dy}, {.at = (const char *)dy}};
        for (int i = 0; i < 2 && c->next.current < c->next.count; i++)
            next[i] = gemm_next_stretch(&c->next);
        gemm_taps_product(p->kind, NB * J, n, &c->at, next, x, dy, c->s->rotation,
                          w + first * (size_t)J * L, c->block);
    }
}

/* Groups [g0, g1) of the set's output vectors. */
static void run_groups(chunk *c, int g0, int g1)
{
    const gemm_plan *p = c->s->plan;
    for (int g = g0; g < g1; g++) {
        const int b = gemm_group_begin(c->s, g), NB = gemm_group_begin(c->s, g + 1) - b;
        const int channel = gemm_first(p, c->set, b);
        const float *dy = c->ddst + wf_act_index(p->out, channel, c->row, 0);
        float *w = c->partial_sum + (size_t)(c->set * p->blocks + b) * c->block;
        if (p->kind == GEMM_DENSE)
            run_dense(c, NB, dy, w);
        else
            run_taps(c, NB, dy, w);
    }
}

/* ---- one tile -------------------------------------------------------------------------------- */

static gemm_step step_at(const gemm_tile *m, int i)
{
    const gemm_weights *s = m->k->state;
    const gemm_plan *p = s->plan;
    const int v = m->v_begin + i % m->chunks * p->chunk,
              pixels = m->step_begin + i / m->chunks / m->sets;
    const int set = m->g_begin / s->groups + i / m->chunks % m->sets;
    const int image = pixels / s->row_steps * s->images,
              row = pixels % s->row_steps * s->frame_rows;
    const int g0 = set * s->groups, g1 = g0 + s->groups;
    return (gemm_step){.src = (const char *)m->io->src + (size_t)image * m->io->src_stride,
                       .ddst = (const char *)m->io->ddst + (size_t)image * m->io->ddst_stride,
                       .images = m->images - image < s->images ? m->images - image : s->images,
                       .row = row,
                       .rows = p->row->n - row < s->frame_rows ? p->row->n - row : s->frame_rows,
                       .set = set,
                       .g0 = (m->g_begin > g0 ? m->g_begin : g0) - g0,
                       .g1 = (m->g_end < g1 ? m->g_end : g1) - g0,
                       .v0 = v,
                       .v1 = v + p->chunk < m->v_end ? v + p->chunk : m->v_end,
                       .first = pixels == m->step_begin && !m->cleared};
}

/* The frames of a step, or where they are. */
static void fill_frames(chunk *c, const gemm_tile *m, const gemm_step *t)
{
    const gemm_plan *p = c->s->plan;
    const gemm_axis *h = p->row, *w = p->column;
    if (c->s->in_place) {
        c->x = (const float *)t->src + wf_act_index(p->in, t->set * p->IG + t->v0 * L, 0, 0);
        return;
    }
    const gemm_part part = {t->set, t->v0, t->v1, t->row, t->rows};
    for (int i = 0; i < t->images; i++) {
        const gemm_input x = {t->src + (size_t)i * m->io->src_stride, m->io->table};
        gemm_frame(p, h, w, part, c->s->frame_rows, x, m->scratch + (size_t)i * c->at.x_image);
    }
    c->x = m->scratch;
}

static void run_step(chunk *c, const gemm_tile *m, const gemm_step *t)
{
    const gemm_plan *p = c->s->plan;
    const bool flat =
        gemm_flat(p->row, p->column) && (!c->s->in_place || gemm_direct(p, p->row, p->column));
    c->set = t->set;
    c->v0 = t->v0;
    c->v1 = t->v1;
    c->frame_row = t->row;
    c->ddst = (const float *)t->ddst;
    c->at.images = t->images;
    c->at.first = t->first;
    fill_frames(c, m, t);
    for (int row = 0; row < t->rows; row += c->s->rows) {
        const int n = t->rows - row < c->s->rows ? t->rows - row : c->s->rows;
        c->row = t->row + row;
        c->end = c->row + n;
        c->at.rows = flat ? 1 : n;
        c->at.columns = flat ? n * p->column->n : p->column->n;
        run_groups(c, t->g0, t->g1);
        c->at.first = false;
    }
}

static gemm_tile tile_of(const wf_conv2d *k, const wf_conv2d_gradient_io *io, int n, int part)
{
    const gemm_weights *s = k->state;
    const gemm_plan *p = s->plan;
    const int64_t groups = (int64_t)p->sets * s->groups, vectors = p->vectors;
    const int64_t steps = (int64_t)gemm_parts(n, s->images) * s->row_steps;
    const int v = part % s->vector_parts, g = part / s->vector_parts % s->group_parts;
    const int range = part / (s->vector_parts * s->group_parts);
    gemm_tile m = {.k = k,
                   .io = io,
                   .part = part,
                   .images = n,
                   .step_begin = (int)(steps * range / s->ranges),
                   .step_end = (int)(steps * (range + 1) / s->ranges),
                   .v_begin = (int)(vectors * v / s->vector_parts),
                   .v_end = (int)(vectors * (v + 1) / s->vector_parts),
                   .g_begin = (int)(groups * g / s->group_parts),
                   .g_end = (int)(groups * (g + 1) / s->group_parts)};
    if (p->row->taps == 0 || p->column->taps == 0)
        m.step_end = m.step_begin;
    m.sets = (m.g_end - 1) / s->groups - m.g_begin / s->groups + 1;
    m.chunks = gemm_parts(m.v_end - m.v_begin, p->chunk);
    /* Where each pixel meets each weight, the first step writes them all. */
    m.cleared = p->kind != GEMM_DENSE || k->desc.R * k->desc.S > 1 || k->desc.padding[0] > 0 ||
                k->desc.padding[1] > 0 || m.step_begin == m.step_end;
    return m;
}

/* Step i of `steps`; after the last the first of the tile that this worker will probably claim next, of the
 * same slot, as all claim one after the other. */
static bool next_step(const gemm_tile *m, int i, int steps, gemm_step *next)
{
    if (i < steps) {
        *next = step_at(m, i);
        return true;
    }
    if (m->part + m->k->workers >= m->k->parts)
        return false;
    const gemm_tile other = tile_of(m->k, m->io, m->images, m->part + m->k->workers);
    *next = step_at(&other, 0);
    return other.step_begin < other.step_end;
}

static void run_steps(const gemm_tile *m)
{
    const gemm_weights *s = m->k->state;
    const gemm_plan *p = s->plan;
    const size_t frame = gemm_vector(p, p->row, p->column, s->frame_rows);
    chunk c = {.d = &m->k->desc, .s = s, .partial_sum = m->partial_sum};
    c.block = gemm_partial_sum_block(&m->k->desc, p);
    c.vector = s->in_place ? (size_t)p->in.H * (size_t)p->in.W * L : frame;
    c.at = (gemm_pixels){.x_image = s->in_place ? m->io->src_stride / sizeof(float)
                                                : (size_t)p->chunk * frame,
                         .x_row = s->in_place ? (size_t)p->row->in_step * (size_t)p->in.W * L
                                              : gemm_row(p, p->row, p->column),
                         .x_column = s->in_place ? (size_t)p->column->in_step * L : L,
                         .dy_image = m->io->ddst_stride / sizeof(float),
                         .dy_row = (size_t)p->out.W * L,
                         .dy_block = (size_t)p->out.H * (size_t)p->out.W * L};
    const int steps = (m->step_end - m->step_begin) * m->sets * m->chunks;
    for (int i = 0; i < steps; i++) {
        const gemm_step now = step_at(m, i);
        c.next = (gemm_ahead){.count = 0};
        gemm_step next;
        if ((p->kind == GEMM_DENSE || p->kind == GEMM_ROTATE) && next_step(m, i + 1, steps, &next))
            c.next = gemm_ahead_of(m, &now, &next);
        run_step(&c, m, &now);
    }
}

/* Taps that never meet the image, and those that a chunk may leave out, start with zero. */
static void clear(const gemm_tile *m)
{
    const gemm_weights *s = m->k->state;
    const gemm_plan *p = s->plan;
    const size_t block = gemm_partial_sum_block(&m->k->desc, p),
                 vector = block / (size_t)p->vectors;
    for (int g = m->g_begin; g < m->g_end; g++) {
        const int set = g / s->groups * p->blocks;
        for (int b = gemm_group_begin(s, g % s->groups); b < gemm_group_begin(s, g % s->groups + 1);
             b++)
            memset(m->partial_sum + (size_t)(set + b) * block + (size_t)m->v_begin * vector, 0,
                   (size_t)(m->v_end - m->v_begin) * vector * sizeof(float));
    }
}

weft_status gemm_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                             void *partial_sum, int part, void *scratch)
{
    const gemm_weights *s = k->state;
    gemm_tile m = tile_of(k, io, n, part);
    const int range = part / (s->vector_parts * s->group_parts);
    m.partial_sum = (float *)partial_sum + (size_t)range * s->range;
    m.scratch = scratch;
    if (m.cleared)
        clear(&m);
    run_steps(&m);
    return WEFT_OK;
}
