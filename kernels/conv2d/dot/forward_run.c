/* Forward and backward-data over bf16: the loops around the products, from a part of some images
 * (wf_conv2d_impl.batch) down to a group of pixels. A worker writes what no other does: its part of the
 * outputs, and its scratch: a frame or panels, places of inputs, places of outputs. */
#include "kernels/conv2d/dot/forward.h"

enum { LINE = 64 /* bytes */ };

typedef struct image {
    const dot_forward *s;
    const uint16_t *x;
    void *y;
    const uint16_t *packed;
    const float *bias;
    int part, parts;    /* of the pixels; or else of the units, */
    int unit, unit_end; /* which are counted through all groups */
    uint16_t *panels;   /* or a frame */
    int32_t *x_at, *y_at;
} image;

/* What the products of a unit have in common. */
typedef struct unit {
    dot_product q;
    int NV;
    float bias[DOT_NV * L];
} unit;

static void load_bias(const image *m, int channel, int NV, float *bias)
{
    for (int b = 0; b < NV; b++, channel += L) {
        const int left = m->s->out.C - channel, n = left < L ? left : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

static unit unit_of(const image *m, const dot_phase *f, int group, int u)
{
    const dot_forward *s = m->s;
    const int b = dot_unit_first(s, u), block = group * s->blocks + b;
    const size_t plane = (size_t)s->out.H * (size_t)s->out.W * L;
    unit t = {.NV = dot_unit_first(s, u + 1) - b};
    load_bias(m, block * L, t.NV, t.bias);
    t.q =
        (dot_product){.vector = f->vector,
                      .tap = f->tap,
                      .vectors = s->vectors,
                      .taps = f->taps,
                      .t1 = f->taps,
                      .w = m->packed + (size_t)block * s->packed_block + f->weights * (size_t)t.NV,
                      .y = (char *)m->y + (size_t)block * plane * (s->wide ? 4 : 2),
                      .y_block = plane,
                      .wide = s->wide};
    return t;
}

/* Shares the weights that come after a unit's out among its `calls` products; this is call i. */
static void bring_weights(unit *t, int calls, int i)
{
    const int lines = DOT_PAIRS * t->NV, each = (lines + calls - 1) / calls; /* of a term */
    const size_t terms = (size_t)t->q.vectors * (size_t)t->q.taps;
    t->q.next_w = (const char *)t->q.w + terms * (size_t)(lines + i * each) * LINE;
    t->q.next_w_lines = i * each < lines ? each : 0;
}

/* Where pixels [first, end) of a phase are in the output's plane. */
static void place_outputs(const image *m, const dot_phase *f, int first, int end)
{
    const int W = m->s->out.W;
    int row = first / f->w->n, column = first % f->w->n;
    int32_t *at = m->y_at;
    for (int i = first; i < end; i++) {
        *at++ = ((f->h->out + row * f->h->out_step) * W + f->w->out + column * f->w->out_step) * L;
        if (++column == f->w->n) {
            column = 0;
            row++;
        }
    }
}

/* Pixels [first, end) of a phase, counted through the rows, in groups: in place or from panels, which are
 * there all at once. For units [u0, u1) of a group of channels. */
static void run_pixels(const image *m, const dot_phase *f, int group, int u0, int u1, int first,
                       int end)
{
    const dot_forward *s = m->s;
    const int pixels = end - first, groups = (pixels + DOT_N - 1) / DOT_N;
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const uint16_t *x = m->x + (size_t)(group * s->vectors) * plane;
    place_outputs(m, f, first, end);
    for (int u = u0; u < u1; u++) {
        unit t = unit_of(m, f, group, u);
        t.q.bias = t.bias;
        for (int g = 0; g < groups; g++) {
            const int from = (int)((int64_t)pixels * g / groups);
            const int n = (int)((int64_t)pixels * (g + 1) / groups) - from;
            uint16_t *panel = m->panels + (size_t)g * (size_t)s->vectors * f->vector;
            bring_weights(&t, groups, g);
            t.q.next_x_lines = 0;
            if (f->how == DOT_DIRECT) {
                t.q.x = x + (size_t)(first + from) * L;
                t.q.next_x = (const char *)(t.q.x + (size_t)n * L);
                t.q.next_vector = plane * sizeof *x;
                t.q.next_x_lines = u == u0 ? (n + 1) / 2 : 0;
            } else {
                if (u == u0)
                    dot_fill_panel(s, f, x, first + from, n, m->x_at, panel);
                t.q.x = panel;
            }
            t.q.y_at = m->y_at + from;
            dot_product_of(n, t.NV, &t.q);
        }
    }
}

/* The taps that meet the image in row i of a phase; all, where none does. */
static void meet(const dot_phase *f, int i, dot_product *q)
{
    const dot_axis *h = f->h;
    int first = h->taps, end = 0;
    for (int r = 0; r < h->taps; r++) {
        const int at = h->offset[r] + i;
        if (at >= 0 && at < h->in) {
            first = r < first ? r : first;
            end = r + 1;
        }
    }
    q->t0 = first < end ? first * f->w->taps : 0;
    q->t1 = first < end ? end * f->w->taps : f->taps;
}

/* Rows [first, end) of a phase from a frame, which is filled row by row, just before the first unit needs it. */
static void run_rows(const image *m, const dot_phase *f, int group, int u0, int u1, int first,
                     int end)
{
    const dot_forward *s = m->s;
    const int Q = f->w->n, groups = (Q + DOT_N - 1) / DOT_N, calls = (end - first) * groups;
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L, pixel = (size_t)f->w->out_step * L;
    const uint16_t *x = m->x + (size_t)(group * s->vectors) * plane;
    const int row_lines = (s->in.W + 1) / 2;
    int filled = 0; /* rows of the frame */
    for (int i = 0; i < DOT_N; i++)
        m->y_at[i] = (int32_t)((size_t)i * pixel);
    for (int u = u0; u < u1; u++) {
        unit t = unit_of(m, f, group, u);
        char *y = t.q.y;
        t.q.bias = t.bias;
        t.q.y_at = m->y_at;
        for (int i = 0; i < end - first; i++) {
            for (; filled <= i + f->row_span; filled++)
                dot_fill_row(s, f, x, first + filled + f->first_row,
                             m->panels + (size_t)filled * f->pitch);
            meet(f, first + i, &t.q);
            const size_t at =
                ((size_t)(f->h->out + (first + i) * f->h->out_step) * (size_t)s->out.W +
                 (size_t)f->w->out) *
                L;
            const int next = first + filled + f->first_row; /* row of the image */
            const int each = (row_lines + groups * f->taps - 1) / (groups * f->taps);
            for (int g = 0; g < groups; g++) {
                const int from = Q * g / groups, n = Q * (g + 1) / groups - from;
                bring_weights(&t, calls, i * groups + g);
                t.q.next_x_lines = u == u0 && next >= 0 && next < s->in.H ? each : 0;
                t.q.next_x = (const char *)(x + (ptrdiff_t)next * s->in.W * L) +
                             (ptrdiff_t)(g * f->taps * each) * LINE;
                t.q.next_vector = plane * sizeof *x;
                t.q.x = m->panels + (size_t)i * f->pitch + (size_t)from * L;
                t.q.y = y + (at + (size_t)from * pixel) * (s->wide ? 4 : 2);
                dot_product_of(n, t.NV, &t.q);
            }
        }
    }
}

/* Pixels [first, end) of a phase without taps: the bias alone. */
static void run_empty(const image *m, const dot_phase *f, int group, int u0, int u1, int first,
                      int end)
{
    const dot_forward *s = m->s;
    const size_t plane = (size_t)s->out.H * (size_t)s->out.W * L;
    for (int at = first, n; at < end; at += n) {
        n = end - at < DOT_N ? end - at : DOT_N;
        place_outputs(m, f, at, at + n);
        for (int b = dot_unit_first(s, u0); b < dot_unit_first(s, u1); b++) {
            float bias[L];
            const size_t block = (size_t)(group * s->blocks + b);
            load_bias(m, (int)block * L, 1, bias);
            const wf_vf value = wf_vload(bias);
            for (int i = 0; i < n; i++) {
                const size_t to = block * plane + (size_t)m->y_at[i];
                if (s->wide)
                    wf_vstore((float *)m->y + to, value);
                else
                    wf_vstore_bf16((uint16_t *)m->y + to, value);
            }
        }
    }
}

static int share(int n, int i, int of)
{
    return (int)((int64_t)n * i / of);
}

static void run_phase(const image *m, const dot_phase *f)
{
    const dot_forward *s = m->s;
    const bool rows = f->how == DOT_FRAME;
    const int all = rows ? f->h->n : f->h->n * f->w->n;
    const int first = share(all, m->part, m->parts), end = share(all, m->part + 1, m->parts);
    const int most = rows ? f->at_once : f->at_once * DOT_N,
              times = (end - first + most - 1) / most;
    for (int group = m->unit / s->units; group * s->units < m->unit_end; group++) {
        const int u = group * s->units;
        const int u0 = m->unit > u ? m->unit - u : 0;
        const int u1 = m->unit_end - u < s->units ? m->unit_end - u : s->units;
        if (f->taps == 0)
            run_empty(m, f, group, u0, u1, first, end);
        else
            for (int i = 0; i < times; i++)
                (rows ? run_rows : run_pixels)(m, f, group, u0, u1,
                                               first + share(end - first, i, times),
                                               first + share(end - first, i + 1, times));
    }
}

weft_status dot_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                    void *scratch)
{
    const dot_forward *s = k->state;
    const int units = s->groups * s->units;
    image m = {.s = s,
               .packed = io->weights,
               .bias = io->bias,
               .parts = 1,
               .unit_end = units,
               .panels = scratch,
               .x_at = (int32_t *)((char *)scratch + s->x_bytes),
               .y_at = (int32_t *)((char *)scratch + s->x_bytes + s->index_bytes)};
    if (s->by_pixels) {
        m.part = part;
        m.parts = k->parts;
    } else {
        m.unit = (int)((int64_t)units * part / k->parts);
        m.unit_end = (int)((int64_t)units * (part + 1) / k->parts);
    }
    for (int i = 0; i < n; i++) {
        m.x = (const uint16_t *)((const char *)io->in + (size_t)i * io->in_stride);
        m.y = (char *)io->out + (size_t)i * io->out_stride;
        for (int f = 0; f < s->n_phases; f++)
            run_phase(&m, &s->phases[f]);
    }
    return WEFT_OK;
}
