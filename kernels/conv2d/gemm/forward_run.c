/* Implicit im2col and matrix product, forward and backward-data: the loops around the products, from a
 * part of some images (wf_conv2d_impl.batch) down to a group of pixels. A worker writes what no other
 * does: its part of the outputs, and its scratch, a frame. */
#include "kernels/conv2d/gemm/forward.h"

void gemm_load_bias(const gemm_image *m, int channel, int NV, float *bias)
{
    for (int b = 0; b < NV; b++, channel += L) {
        int n = m->p->out.C - channel < L ? m->p->out.C - channel : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

const float *gemm_weights_of(const gemm_image *m, const gemm_phase *f, int set, int unit, int v)
{
    const gemm_plan *p = m->p;
    const int first = gemm_unit_first(p, unit), NV = gemm_unit_first(p, unit + 1) - first;
    const size_t vector = gemm_phase_taps(f) * (size_t)p->depth * L;
    return m->packed + (size_t)(set * p->blocks + first) * m->s->packed_block +
           (f->weights + (size_t)v * vector) * (size_t)NV;
}

/* The weights that come after those of a unit. */
static const float *next_weights(const gemm_image *m, const gemm_phase *f, gemm_part part, int unit)
{
    if (unit + 1 < gemm_units(m->p))
        return gemm_weights_of(m, f, part.set, unit + 1, part.v0);
    return gemm_weights_of(m, f, part.set, 0, part.v1 < m->p->vectors ? part.v1 : 0);
}

/* What is wanted soon, over the calls that one set of weights makes: the next weights, and where the
 * input is the frame the next part's. */
typedef struct wanted {
    const float *w;           /* one after the other */
    int64_t w_calls;          /* that they are brought by */
    const float *x;           /* NULL: nothing */
    size_t x_step;            /* from term to term */
    int64_t x_lines, x_calls; /* lines of each term, and calls among which they are shared out */
} wanted;

static wanted wanted_after(const gemm_image *m, const gemm_phase *f, gemm_part part, int unit,
                           const float *x)
{
    const gemm_plan *p = m->p;
    wanted a = {.w = next_weights(m, f, part, unit), .w_calls = (int64_t)p->NV * p->depth * L / 16};
    if (f->direct) {
        a.x = x + (size_t)part.rows * (size_t)f->w->n * L;
        a.x_step = (size_t)p->in.H * (size_t)p->in.W * L;
        a.x_lines = ((int64_t)part.rows * f->w->n * L + 15) / 16;
    }
    return a;
}

/* Call `call` of those that one set of weights makes; `done` are those of the units before. */
static gemm_ahead bring(const wanted *a, int64_t call, int64_t done, const gemm_product *q,
                        const float *x)
{
    gemm_ahead next = {.x = x, .w = q->w, .x_step = a->x_step};
    if (a->x_lines)
        next.x = a->x + (size_t)(a->x_lines * (done + call) / a->x_calls) * 16;
    if (call < a->w_calls)
        next.w = a->w + (size_t)call * q->n * 16;
    return next;
}

/* Groups of pixels that a row is cut into; lines that are rows are one after the other. */
static int groups_of(const gemm_plan *p, int pixels, int NV)
{
    return gemm_groups(pixels, p->kind == GEMM_ROTATE ? 1 : NV);
}

/* What the frame of the next part is made from, as the products of this one bring it in. */
typedef struct coming {
    gemm_source from;
    int lines; /* a call */
} coming;

/* One part of one phase, whose frame is x. */
static void run_part(const gemm_image *m, const gemm_phase *f, gemm_part part, const float *x,
                     coming *c)
{
    const gemm_plan *p = m->p;
    const int lines = f->flat ? 1 : part.rows;
    const int pixels = f->flat ? part.rows * f->w->n : f->w->n;
    const size_t x_row = gemm_row(p, f->h, f->w), y_pixel = (size_t)f->w->out_step * L;
    const size_t y_row = (size_t)f->h->out_step * (size_t)p->out.W * L;
    gemm_product q = {.offset = f->offset,
                      .n = (size_t)(part.v1 - part.v0) * gemm_phase_taps(f),
                      .y_block = (size_t)p->out.H * (size_t)p->out.W * L,
                      .rotation = m->s->rotation};
    const int units = gemm_units(p), first_unit = part.set * units;
    const int end = m->unit_end - first_unit < units ? m->unit_end - first_unit : units;
    int32_t y_at[GEMM_N];
    for (int i = 0; i < GEMM_N; i++)
        y_at[i] = (int32_t)((size_t)i * y_pixel);
    q.y_at = y_at;
    for (int unit = m->unit > first_unit ? m->unit - first_unit : 0; unit < end; unit++) {
        float bias[GEMM_NV * L];
        const int b = gemm_unit_first(p, unit), NV = gemm_unit_first(p, unit + 1) - b;
        const int groups = groups_of(p, pixels, NV), channel = gemm_first(p, part.set, b);
        gemm_product_fn *fn = gemm_product_of(p->kind, p->kind == GEMM_ROTATE ? p->depth : NV);
        gemm_load_bias(m, channel, NV, bias);
        q.bias = part.v0 == 0 ? bias : NULL;
        q.w = gemm_weights_of(m, f, part.set, unit, part.v0);
        float *y = m->y + wf_act_index(p->out, channel, f->h->out + part.first_row * f->h->out_step,
                                       f->w->out);
        wanted a = wanted_after(m, f, part, unit, x);
        a.x_calls = (int64_t)lines * groups * units;
        for (int i = 0; i < lines; i++)
            for (int g = 0, first = 0, n; g < groups; g++, first += n) {
                const float *from = x + (size_t)i * x_row + (size_t)first * p->unit;
                n = pixels / groups + (g < pixels % groups);
                gemm_ahead next =
                    bring(&a, (int64_t)i * groups + g, (int64_t)unit * lines * groups, &q, from);
                if (!f->direct && c->from.left > 0) {
                    next.more = gemm_lines_after(&c->from, (size_t)c->lines, from);
                    next.lines = c->lines;
                }
                fn(n, &q, &next, from, y + (size_t)i * y_row + (size_t)first * y_pixel);
            }
    }
}

/* Row i of the phases without taps, of the output vector at channel: the bias alone. */
static void run_empty_row(const gemm_image *m, int channel, int i, wf_vf bias)
{
    const gemm_plan *p = m->p;
    for (int j = 0; j < m->s->n_phases; j++) {
        const gemm_phase *f = &m->s->phases[j];
        if (gemm_phase_taps(f) > 0 || i >= f->h->n)
            continue;
        const size_t pixel = (size_t)f->w->out_step * L;
        float *y = m->y + wf_act_index(p->out, channel, f->h->out + i * f->h->out_step, f->w->out);
        for (int l = 0; l < f->w->n; l++, y += pixel)
            wf_vstore(y, bias);
    }
}

/* Rows of the phases without taps: side by side, since memory comes in more than a line. */
static void run_empty(const gemm_image *m, int first, int end)
{
    const gemm_plan *p = m->p;
    for (int unit = m->unit; unit < m->unit_end; unit++) {
        const int set = unit / gemm_units(p), u = unit % gemm_units(p);
        for (int b = gemm_unit_first(p, u); b < gemm_unit_first(p, u + 1); b++) {
            const int channel = gemm_first(p, set, b);
            float bias[L];
            gemm_load_bias(m, channel, 1, bias);
            for (int i = first; i < end; i++)
                run_empty_row(m, channel, i, wf_vload(bias));
        }
    }
}

/* The part that comes after this one: the next vectors, the next set, the next rows. */
static gemm_part part_after(const gemm_image *m, const gemm_phase *f, gemm_part part)
{
    const gemm_plan *p = m->p;
    gemm_part next = part;
    next.v0 = part.v1;
    if (part.v1 == p->vectors) {
        next.v0 = 0;
        next.set = part.set + 1;
        if (next.set * gemm_units(p) >= m->unit_end) {
            next.set = m->unit / gemm_units(p);
            next.first_row = part.first_row + part.rows;
        }
    }
    const int left = (f->h->n < m->end ? f->h->n : m->end) - next.first_row;
    next.v1 = next.v0 + f->chunk < p->vectors ? next.v0 + f->chunk : p->vectors;
    next.rows = left < m->s->rows ? left : m->s->rows;
    return next;
}

/* Rows of a phase from `first` on, of those that are taken at once. */
static int rows_from(const gemm_image *m, const gemm_phase *f, int first)
{
    const int left = (f->h->n < m->end ? f->h->n : m->end) - first;
    return m->s->rows < left ? m->s->rows : left;
}

static gemm_part part_of(const gemm_image *m, const gemm_phase *f, int set, int v, int first)
{
    const int V = m->p->vectors;
    return (gemm_part){set, v, v + f->chunk < V ? v + f->chunk : V, first, rows_from(m, f, first)};
}

/* What to bring in for the part that comes after this one, among the calls that its phases make. */
static coming coming_after(const gemm_image *m, gemm_part part)
{
    const gemm_plan *p = m->p;
    const gemm_phase *most = &m->s->phases[0];
    int64_t calls = 0;
    for (int i = 0; i < m->s->n_phases; i++) {
        const gemm_phase *f = &m->s->phases[i];
        most = gemm_phase_taps(f) > gemm_phase_taps(most) ? f : most;
        if (f->direct || gemm_phase_taps(f) == 0)
            continue;
        const int pixels = f->flat ? part.rows * f->w->n : f->w->n;
        calls += (int64_t)(f->flat ? 1 : rows_from(m, f, part.first_row)) *
                 groups_of(p, pixels, p->NV) * gemm_units(p);
    }
    const bool vectors =
        p->kind == GEMM_ROTATE || (p->kind == GEMM_DENSE && (p->groups == 1 || p->IG % L == 0));
    coming c = {.lines = 1};
    if (calls <= 0 || !vectors)
        return c;
    c.from = gemm_source_of(m, most, part_after(m, most, part));
    c.lines = (int)((gemm_calls_for(&c.from, 1) + calls - 1) / calls);
    return c;
}

/* Rows of all phases from `first` on, in panels. */
static void run_in_panels(const gemm_image *m, int first)
{
    const gemm_plan *p = m->p;
    const int units = gemm_units(p);
    for (int i = 0; i < m->s->n_phases; i++) {
        const gemm_phase *f = &m->s->phases[i];
        if (gemm_phase_taps(f) == 0 || rows_from(m, f, first) <= 0)
            continue;
        for (int set = m->unit / units; set * units < m->unit_end; set++)
            for (int v = 0; v < p->vectors; v += f->chunk) {
                const gemm_part part = part_of(m, f, set, v, first);
                gemm_run_panels(m, f, part, part_after(m, f, part));
            }
    }
}

/* The same over frames, of which all phases share one; the first phase has the most rows. */
static void run_in_frames(const gemm_image *m, int first)
{
    const gemm_plan *p = m->p;
    const int units = gemm_units(p);
    for (int set = m->unit / units; set * units < m->unit_end; set++)
        for (int v = 0; v < p->vectors; v += p->chunk) {
            const gemm_part all = part_of(m, &m->s->phases[0], set, v, first);
            coming c = coming_after(m, all);
            const float *frame = NULL;
            for (int i = 0; i < m->s->n_phases; i++) {
                const gemm_phase *f = &m->s->phases[i];
                const gemm_part part = part_of(m, f, set, v, first);
                if (gemm_phase_taps(f) == 0 || part.rows <= 0)
                    continue;
                const float *x = frame;
                if (f->direct || !frame)
                    x = gemm_frame(p, f->h, f->w, f->direct ? part : all, m->s->rows, m->in,
                                   m->frame);
                if (!f->direct)
                    frame = x;
                run_part(m, f, part, x, &c);
            }
        }
}

/* Rows of all phases from `first` on: between them they write every line of the output. */
static void run_rows(const gemm_image *m, int first)
{
    bool empty = false;
    for (int i = 0; i < m->s->n_phases; i++)
        empty |= gemm_phase_taps(&m->s->phases[i]) == 0;
    if (empty)
        run_empty(m, first, first + rows_from(m, &m->s->phases[0], first));
    if (m->s->most)
        run_in_panels(m, first);
    else
        run_in_frames(m, first);
}

/* Part `part` of the images. */
weft_status gemm_forward_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                             int part, void *scratch)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    const int rows = s->phases[0].h->n, units = p->sets * gemm_units(p);
    gemm_image m = {.s = s,
                    .p = p,
                    .packed = io->weights,
                    .bias = io->bias,
                    .end = rows,
                    .unit_end = units,
                    .frame = scratch};
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
            run_rows(&m, row);
    }
    return WEFT_OK;
}
