/* Forward and backward-data over bf16: the loops around the products, from a part of some images
 * (wf_conv2d_impl.batch) down to a group of pixels. A worker writes what no other does: its part of the
 * outputs, and its scratch: panels, places of inputs, places of outputs. */
#include "kernels/conv2d/dot_forward.h"

typedef struct image {
    const dot_forward *s;
    const uint16_t *x;
    void *y;
    const uint16_t *packed;
    const float *bias;
    int part, parts;    /* of the pixels; or else of the units, */
    int unit, unit_end; /* which are counted through all groups */
    uint16_t *panels;
    int32_t *x_at, *y_at;
} image;

static void load_bias(const image *m, int channel, int NV, float *bias)
{
    for (int b = 0; b < NV; b++, channel += L) {
        const int left = m->s->out.C - channel, n = left < L ? left : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

/* Where pixels [first, end) of a phase are in the output's plane. */
static void place_outputs(const image *m, const dot_phase *f, int first, int end)
{
    const wf_act out = m->s->out;
    int row = first / f->w->n, column = first % f->w->n;
    int32_t *at = m->y_at;
    for (int i = first; i < end; i++) {
        *at++ =
            ((f->h->out + row * f->h->out_step) * out.W + f->w->out + column * f->w->out_step) * L;
        if (++column == f->w->n) {
            column = 0;
            row++;
        }
    }
}

/* Where each tap of n pixels from `first` on is in the input's plane, n for a tap; negative: nowhere. */
static void place_inputs(const image *m, const dot_phase *f, int first, int n)
{
    const int R = f->h->taps, S = f->w->taps;
    int row = first / f->w->n, column = first % f->w->n;
    for (int i = 0; i < n; i++) {
        int32_t *at = m->x_at + i;
        for (int r = 0; r < R; r++) {
            const int32_t y = f->row[r * f->h->n + row];
            for (int t = 0; t < S; t++, at += n)
                *at = y + f->column[t * f->w->n + column];
        }
        if (++column == f->w->n) {
            column = 0;
            row++;
        }
    }
}

/* The panel of n pixels from `first` on, for the inputs of a group that start at x. */
static void fill(const image *m, const dot_phase *f, const uint16_t *x, int first, int n,
                 uint16_t *panel)
{
    static const uint16_t zero[L];
    const size_t plane = (size_t)m->s->in.H * (size_t)m->s->in.W * L;
    const int places = f->taps * n;
    place_inputs(m, f, first, n);
    bool inside = true;
    for (int i = 0; i < places; i++)
        inside &= m->x_at[i] >= 0;
    for (int v = 0; v < m->s->vectors; v++, x += plane)
        if (inside)
            for (int i = 0; i < places; i++, panel += L)
                dot_copy(panel, x + m->x_at[i]);
        else
            for (int i = 0; i < places; i++, panel += L)
                dot_copy(panel, m->x_at[i] < 0 ? zero : x + m->x_at[i]);
}

/* Pixels [first, end) of a phase, in groups whose panels are there at once, for units [u0, u1) of a group
 * of channels. */
static void run_pixels(const image *m, const dot_phase *f, int group, int u0, int u1, int first,
                       int end)
{
    const dot_forward *s = m->s;
    const int pixels = end - first, groups = (pixels + DOT_N - 1) / DOT_N;
    const int most = (pixels + groups - 1) / groups;
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const size_t terms = (size_t)s->vectors * (size_t)f->taps, y_size = s->wide ? 4 : 2;
    const size_t y_plane = (size_t)s->out.H * (size_t)s->out.W * L;
    const uint16_t *x = m->x + (size_t)(group * s->vectors) * plane;
    dot_product q = {.terms = terms, .wide = s->wide, .y_block = y_plane};
    place_outputs(m, f, first, end);
    for (int u = u0; u < u1; u++) {
        float bias[DOT_NV * L];
        const int b = dot_unit_first(s, u), NV = dot_unit_first(s, u + 1) - b;
        const int block = group * s->blocks + b;
        load_bias(m, block * L, NV, bias);
        q.bias = bias;
        q.w = m->packed + (size_t)block * s->packed_block + f->weights * (size_t)NV;
        q.y = (char *)m->y + (size_t)block * y_plane * y_size;
        for (int g = 0; g < groups; g++) {
            const int from = (int)((int64_t)pixels * g / groups);
            const int n = (int)((int64_t)pixels * (g + 1) / groups) - from;
            uint16_t *panel = m->panels + (size_t)g * terms * (size_t)most * L;
            if (f->direct) {
                q.x = x + (size_t)(first + from) * L;
                q.x_step = plane;
            } else {
                if (u == u0)
                    fill(m, f, x, first + from, n, panel);
                q.x = panel;
                q.x_step = (size_t)n * L;
            }
            q.y_at = m->y_at + from;
            dot_product_of(n, NV, &q);
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
        n = end - at < f->at_once * DOT_N ? end - at : f->at_once * DOT_N;
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

static void run_phase(const image *m, const dot_phase *f)
{
    const dot_forward *s = m->s;
    const int64_t all = (int64_t)f->h->n * f->w->n;
    const int first = (int)(all * m->part / m->parts), end = (int)(all * (m->part + 1) / m->parts);
    for (int group = m->unit / s->units; group * s->units < m->unit_end; group++) {
        const int u = group * s->units;
        const int u0 = m->unit > u ? m->unit - u : 0;
        const int u1 = m->unit_end - u < s->units ? m->unit_end - u : s->units;
        if (f->taps == 0) {
            run_empty(m, f, group, u0, u1, first, end);
            continue;
        }
        const int most = f->at_once * DOT_N, times = (end - first + most - 1) / most;
        for (int i = 0; i < times; i++)
            run_pixels(m, f, group, u0, u1, first + (int)((int64_t)(end - first) * i / times),
                       first + (int)((int64_t)(end - first) * (i + 1) / times));
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
               .x_at = (int32_t *)((char *)scratch + s->panel_bytes),
               .y_at = (int32_t *)((char *)scratch + s->panel_bytes + s->index_bytes)};
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
