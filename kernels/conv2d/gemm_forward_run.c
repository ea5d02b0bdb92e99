/* Implicit im2col and matrix product, forward and backward-data: the loops around the products, from a
 * part of some images (wf_conv2d_impl.batch) down to a group of pixels. A worker writes what no other
 * does: its part of the outputs, and its scratch, a frame. */
#include "kernels/conv2d/gemm_forward.h"

typedef struct image {
    const gemm_plan *p;
    gemm_input in;
    const float *packed, *bias;
    size_t packed_block;
    int rows;           /* what frames are laid out for */
    int row, end;       /* of each phase: the part of the tile */
    int unit, unit_end; /* groups of NV output vectors, counted through all sets: the same */
    float *y, *frame;
    const int32_t (*rotation)[L];
} image;

/* NV vectors of the bias, zero where there is none. */
static void load_bias(const image *m, int channel, int NV, float *bias)
{
    for (int b = 0; b < NV; b++, channel += L) {
        int n = m->p->out.C - channel < L ? m->p->out.C - channel : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

/* The weights that come after those of the outputs before b. */
static const float *next_weights(const image *m, const gemm_phase *f, gemm_part part, int b)
{
    const gemm_plan *p = m->p;
    const size_t vector = gemm_phase_taps(f) * (size_t)p->depth * L;
    const float *w = m->packed + (size_t)(part.set * p->blocks) * m->packed_block + f->weights;
    if (b < p->blocks)
        return w + (size_t)b * m->packed_block + (size_t)part.v0 * vector;
    return part.v1 < p->vectors ? w + (size_t)part.v1 * vector : w;
}

/* What is wanted soon, over the calls that one set of weights makes: the next weights, and where the
 * input is the frame the next part's; for ROTATE, which passes over its input but once, the next set's. */
typedef struct wanted {
    const float *w;           /* of each of NV output vectors, its depth * L for each term */
    const float *x;           /* NULL: nothing */
    size_t x_row, x_pixel;    /* steps of it: ROTATE */
    int64_t x_lines, x_calls; /* lines of each term, and calls among which they are shared out */
} wanted;

static wanted wanted_after(const image *m, const gemm_phase *f, gemm_part part, int b, int NV,
                           const float *x)
{
    const gemm_plan *p = m->p;
    wanted a = {.w = next_weights(m, f, part, b + NV)};
    if (f->direct) {
        a.x = x + (size_t)part.rows * (size_t)f->w->n * L;
        a.x_lines = ((int64_t)part.rows * f->w->n * L + 15) / 16;
    } else if (p->kind == GEMM_ROTATE && part.set + 1 < p->sets) {
        a.x = (const float *)m->in.x +
              wf_act_index(p->in, (part.set + 1) * L, part.first_row * f->h->in_step, 0);
        a.x_row = (size_t)f->h->in_step * (size_t)p->in.W * L;
        a.x_pixel = (size_t)f->w->in_step * L;
    }
    return a;
}

/* Call `call` of those that one set of weights makes; `done` are those of the part before. */
static gemm_ahead bring(const image *m, const wanted *a, int NV, int64_t call, int64_t done,
                        const gemm_product *q, const float *x)
{
    gemm_ahead next = {x, q->w};
    if (a->x_lines)
        next.x = a->x + (size_t)(a->x_lines * (done + call) / a->x_calls) * 16;
    if (call < (int64_t)NV * m->p->depth * L / 16)
        next.w = a->w + (size_t)(call % NV) * m->packed_block + (size_t)(call / NV) * 16;
    return next;
}

/* One part of one phase, whose frame is x. */
static void run_part(const image *m, const gemm_phase *f, gemm_part part, const float *x)
{
    const gemm_plan *p = m->p;
    const size_t taps = gemm_phase_taps(f), depth = (size_t)p->depth;
    const int lines = f->flat ? 1 : part.rows;
    const int pixels = f->flat ? part.rows * f->w->n : f->w->n;
    const size_t x_row = gemm_row(p, f->h, f->w);
    const size_t y_row = (size_t)f->h->out_step * (size_t)p->out.W * L;
    gemm_product q = {.offset = f->offset, .n = (size_t)(part.v1 - part.v0) * taps};
    q.w_block = m->packed_block;
    q.rotation = m->rotation;
    q.y_pixel = (size_t)f->w->out_step * L;
    q.y_block = (size_t)p->out.H * (size_t)p->out.W * L;
    const int units = gemm_units(p), unit = part.set * units;
    const int end = m->unit_end - unit < units ? (m->unit_end - unit) * p->NV : p->blocks;
    for (int b = m->unit > unit ? (m->unit - unit) * p->NV : 0, NV; b < end; b += NV) {
        float bias[GEMM_NV * L];
        NV = p->blocks - b < p->NV ? p->blocks - b : p->NV;
        const int width = p->kind == GEMM_ROTATE ? p->depth : NV;
        const int groups = gemm_groups(pixels, width), channel = gemm_first(p, part.set, b);
        gemm_product_fn *fn = gemm_product_of(p->kind, width);
        load_bias(m, channel, NV, bias);
        q.bias = part.v0 == 0 ? bias : NULL;
        q.w = m->packed + (size_t)(part.set * p->blocks + b) * m->packed_block + f->weights +
              (size_t)part.v0 * taps * depth * L;
        float *y = m->y + wf_act_index(p->out, channel, f->h->out + part.first_row * f->h->out_step,
                                       f->w->out);
        wanted a = wanted_after(m, f, part, b, NV, x);
        a.x_calls = (int64_t)lines * groups * ((p->blocks + NV - 1) / NV);
        for (int i = 0; i < lines; i++)
            for (int g = 0, first = 0, n; g < groups; g++, first += n) {
                const float *from = x + (size_t)i * x_row + (size_t)first * p->unit;
                n = pixels / groups + (g < pixels % groups);
                gemm_ahead next = bring(m, &a, NV, (int64_t)i * groups + g,
                                        (int64_t)(b / NV) * lines * groups, &q, from);
                if (a.x_pixel)
                    next.x = a.x + (size_t)i * a.x_row + (size_t)first * a.x_pixel;
                fn(n, &q, next, from, y + (size_t)i * y_row + (size_t)first * q.y_pixel);
            }
    }
}

/* Rows of a phase without taps: the bias alone. */
static void run_empty(const image *m, const gemm_phase *f, int first, int end)
{
    const gemm_plan *p = m->p;
    const size_t pixel = (size_t)f->w->out_step * L;
    for (int unit = m->unit; unit < m->unit_end; unit++) {
        const int set = unit / gemm_units(p), b0 = unit % gemm_units(p) * p->NV;
        for (int b = b0; b < b0 + p->NV && b < p->blocks; b++) {
            const int channel = gemm_first(p, set, b);
            float bias[L];
            load_bias(m, channel, 1, bias);
            for (int i = first; i < end; i++) {
                float *y =
                    m->y + wf_act_index(p->out, channel, f->h->out + i * f->h->out_step, f->w->out);
                for (int j = 0; j < f->w->n; j++)
                    wf_vstore(y + (size_t)j * pixel, wf_vload(bias));
            }
        }
    }
}

/* Rows [first, first + rows) of a phase, or as many as there are. */
static void run_rows(const image *m, const gemm_phase *f, int first, int rows)
{
    const gemm_plan *p = m->p;
    const int left = (f->h->n < m->end ? f->h->n : m->end) - first, units = gemm_units(p);
    rows = rows < left ? rows : left;
    if (gemm_phase_taps(f) == 0) {
        run_empty(m, f, first, first + rows);
        return;
    }
    for (int set = m->unit / units; rows > 0 && set * units < m->unit_end; set++)
        for (int v = 0; v < p->vectors; v += p->chunk) {
            gemm_part part = {set, v, v + p->chunk, first, rows};
            part.v1 = part.v1 < p->vectors ? part.v1 : p->vectors;
            run_part(m, f, part, gemm_frame(p, f->h, f->w, part, m->rows, m->in, m->frame));
        }
}

/* Part `part` of the images. The phases take turns, row by row: between them they write every line of
 * the output. */
void gemm_forward_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                      void *scratch)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    const int rows = s->phases[0].h->n, units = p->sets * gemm_units(p);
    image m = {.p = p,
               .packed = io->weights,
               .bias = io->bias,
               .packed_block = gemm_packed_block(k),
               .rows = s->rows,
               .end = rows,
               .unit_end = units,
               .frame = scratch,
               .rotation = s->rotation};
    if (s->by_rows) {
        m.row = (int)((int64_t)rows * part / k->parts);
        m.end = (int)((int64_t)rows * (part + 1) / k->parts);
    } else {
        m.unit = (int)((int64_t)units * part / k->parts);
        m.unit_end = (int)((int64_t)units * (part + 1) / k->parts);
    }
    for (int i = 0; i < n; i++) {
        m.in = (gemm_input){(const char *)io->in + (size_t)i * io->in_stride, io->table};
        m.y = (float *)((char *)io->out + (size_t)i * io->out_stride);
        for (int row = m.row; row < m.end; row += s->rows)
            for (int f = 0; f < s->n_phases; f++)
                run_rows(&m, &s->phases[f], row, s->rows);
    }
}
