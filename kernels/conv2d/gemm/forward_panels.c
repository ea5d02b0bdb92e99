/* Implicit im2col and matrix product, forward and backward-data, over panels: Note [Panels] in
 * forward.h. The panels are the worker's own; nothing else is written but its part of the outputs. */
#include "kernels/conv2d/gemm/forward.h"

size_t gemm_panel_floats(const gemm_forward *s, const gemm_phase *f, int rows)
{
    const size_t pixels = (size_t)rows * (size_t)f->w->n, most = (size_t)s->most;
    const size_t groups = (pixels + most - 1) / most;
    return groups * most * gemm_phase_taps(f) * (size_t)f->chunk * L + wf_round_up((int)pixels, L);
}

/* Where the part's pixels are in the output, from its first row on. */
static void place_outputs(const gemm_image *m, const gemm_phase *f, int rows, int32_t *y_at)
{
    const int row = f->h->out_step * m->p->out.W * L, pixel = f->w->out_step * L;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < f->w->n; j++)
            *y_at++ = i * row + j * pixel;
}

/* Where each tap of pixels [first, first + n) of the part is, `most` for a tap; -1: nothing, zero. */
static void place_inputs(const gemm_image *m, const gemm_phase *f, gemm_part part, int first, int n,
                         int32_t *at)
{
    const int R = f->h->taps, S = f->w->taps, most = m->s->most;
    int row = part.first_row + first / f->w->n, column = first % f->w->n;
    for (int i = 0; i < most; i++) {
        for (int r = 0, t = i; r < R; r++)
            for (int s = 0; s < S; s++, t += most)
                at[t] = i < n ? f->row[r * f->h->n + row] + f->column[s * f->w->n + column] : -1;
        if (++column == f->w->n) {
            column = 0;
            row++;
        }
    }
}

static void fill(const gemm_ahead *a, int vectors)
{
    static const float zero[L];
    const int places = a->taps * a->most;
    const float *x = a->from;
    float *panel = a->panel;
    for (int v = 0; v < vectors; v++, x += a->plane)
        for (int t = 0; t < places; t++, panel += L)
            wf_vstore(panel, wf_vload(a->at[t] < 0 ? zero : x + a->at[t]));
}

void gemm_run_panels(const gemm_image *m, const gemm_phase *f, gemm_part part, gemm_part next)
{
    const gemm_plan *p = m->p;
    const int most = m->s->most, pixels = part.rows * f->w->n, groups = (pixels + most - 1) / most;
    const int units = gemm_units(p), first_unit = part.set * units;
    const int begin = m->unit > first_unit ? m->unit - first_unit : 0;
    const int end = m->unit_end - first_unit < units ? m->unit_end - first_unit : units;
    const size_t terms = (size_t)(part.v1 - part.v0) * gemm_phase_taps(f);
    const size_t panel = terms * (size_t)most * L;
    int32_t *y_at = (int32_t *)(m->frame + (size_t)groups * panel);
    gemm_product q = {
        .offset = f->offset, .n = terms, .y_block = (size_t)p->out.H * (size_t)p->out.W * L};
    gemm_source s = gemm_source_of(m, f, next);
    int64_t wait = (int64_t)(end - begin) * groups - 2 * gemm_calls_for(&s, terms);
    int32_t at[GEMM_TAPS * GEMM_N];
    gemm_ahead ahead = {.x_step = 16,
                        .plane = s.plane,
                        .from = (const float *)m->in.x +
                                (size_t)(part.set * p->IG / L + part.v0) * s.plane,
                        .at = at,
                        .taps = (int)gemm_phase_taps(f),
                        .most = most};
    place_outputs(m, f, part.rows, y_at);
    for (int unit = begin; unit < end; unit++) {
        float bias[GEMM_NV * L];
        const int b = gemm_unit_first(p, unit), NV = gemm_unit_first(p, unit + 1) - b;
        const int channel = gemm_first(p, part.set, b);
        gemm_product_fn *fn = gemm_product_of(p->kind, NV);
        gemm_load_bias(m, channel, NV, bias);
        q.bias = part.v0 == 0 ? bias : NULL;
        q.w = gemm_weights_of(m, f, part.set, unit, part.v0);
        const float *w = unit + 1 < end ? gemm_weights_of(m, f, part.set, unit + 1, part.v0)
                                        : gemm_weights_of(m, f, next.set, begin, next.v0);
        float *y = m->y + wf_act_index(p->out, channel, f->h->out + part.first_row * f->h->out_step,
                                       f->w->out);
        float *x = m->frame;
        for (int g = 0, first = 0, n; g < groups; g++, first += n, x += panel) {
            n = pixels / groups + (g < pixels % groups);
            ahead.x = --wait >= 0 ? x : gemm_lines_after(&s, terms, x);
            ahead.w = g < p->NV * L * L / 16 ? w + (size_t)g * terms * 16 : q.w;
            ahead.panel = NULL;
            if (unit == begin && g == 0) {
                ahead.panel = x;
                place_inputs(m, f, part, first, n, at);
                fill(&ahead, part.v1 - part.v0);
            }
            if (unit == begin && g + 1 < groups) {
                ahead.panel = x + panel;
                place_inputs(m, f, part, first + n, pixels / groups + (g + 1 < pixels % groups),
                             at);
            }
            q.y_at = y_at + first;
            fn(n, &q, &ahead, x, y);
        }
    }
}
