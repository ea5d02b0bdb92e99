/* Implicit im2col and matrix product, forward and backward-data, by way of panels: Note [Panels] in
 * forward.h. The panels lie in the worker's scratch; besides them it writes only its part of the
 * outputs. */
#include "kernels/conv2d/gemm/forward.h"

size_t gemm_panel_floats(const gemm_forward *s, const gemm_residue_class *c, int rows)
{
    const size_t pixels = (size_t)rows * (size_t)c->w->outputs;
    const size_t panel_pixels = (size_t)s->blocking.panel_pixels;
    const size_t panels = (pixels + panel_pixels - 1) / panel_pixels;
    return panels * panel_pixels * gemm_class_taps(c) * (size_t)c->input_vectors_block_size * L +
           wf_round_up((int)pixels, L); /* for place_outputs */
}

/* Writes where the output has the region's pixels, counted from its first row. */
static void place_outputs(const gemm_image_part *m, const gemm_residue_class *c, int rows,
                          int32_t *output_offset)
{
    const int row = c->h->output_step * m->g->out.W * L, pixel = c->w->output_step * L;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < c->w->outputs; j++)
            *output_offset++ = i * row + j * pixel;
}

/* Writes where a plane of the input has what each tap of the region's pixels [first, first + n) meets:
 * panel_pixels places for each tap; -1: padding, or no pixel. */
static void place_inputs(const gemm_image_part *m, const gemm_residue_class *c, gemm_region region,
                         int first, int n, int32_t *place)
{
    const int R = c->h->taps, S = c->w->taps, panel_pixels = m->s->blocking.panel_pixels;
    int row = region.row_begin + first / c->w->outputs, column = first % c->w->outputs;
    for (int i = 0; i < panel_pixels; i++) {
        for (int r = 0, t = i; r < R; r++)
            for (int s = 0; s < S; s++, t += panel_pixels)
                place[t] = i < n ? c->row_place[r * c->h->outputs + row] +
                                       c->column_place[s * c->w->outputs + column]
                                 : -1;
        if (++column == c->w->outputs) {
            column = 0;
            row++;
        }
    }
}

/* Fills a panel at once: the first one of a region, before any product could. */
static void fill_panel(const gemm_panel_fill *f, int input_vectors)
{
    static const float zero[L];
    const int places = f->taps * f->pixels;
    const float *x = f->input;
    float *panel = f->panel;
    for (int v = 0; v < input_vectors; v++, x += f->vector_stride)
        for (int t = 0; t < places; t++, panel += L)
            wf_vstore(panel, wf_vload(f->place[t] < 0 ? zero : x + f->place[t]));
}

void gemm_run_panels(const gemm_image_part *m, const gemm_residue_class *c, gemm_region region,
                     gemm_region next)
{
    const gemm_forward *s = m->s;
    const gemm_geometry *g = m->g;
    const int panel_pixels = s->blocking.panel_pixels, pixels = region.rows * c->w->outputs;
    const int panels = (pixels + panel_pixels - 1) / panel_pixels;
    const int subblocks = gemm_output_subblocks(s), first_subblock = region.set * subblocks;
    const int begin = m->subblock_begin > first_subblock ? m->subblock_begin - first_subblock : 0;
    const int left = m->subblock_end - first_subblock, end = left < subblocks ? left : subblocks;
    const size_t terms = (size_t)(region.vector_end - region.vector_begin) * gemm_class_taps(c);
    const size_t panel_floats = terms * (size_t)panel_pixels * L;
    int32_t *output_offset = (int32_t *)(m->scratch + (size_t)panels * panel_floats);
    gemm_product p = {.term_offset = c->term_offset,
                      .terms = terms,
                      .run = terms,
                      .period = terms,
                      .output_vector_stride = (size_t)g->out.H * (size_t)g->out.W * L};
    /* The last products of this region prefetch the input of the next one, `terms` lines each. */
    gemm_input_lines lines = gemm_input_lines_of(m, c, next);
    int64_t wait = (int64_t)(end - begin) * panels - 2 * gemm_calls_for(&lines, terms);
    int32_t place[GEMM_MAX_PANEL_TAPS * GEMM_MAX_PIXELS];
    gemm_forward_prefetch prefetch = {
        .input_step = 16,
        .fill = {.vector_stride = lines.vector_stride,
                 .input = (const float *)m->in.x +
                          (size_t)(region.set * g->group_inputs / L + region.vector_begin) *
                              lines.vector_stride,
                 .place = place,
                 .taps = (int)gemm_class_taps(c),
                 .pixels = panel_pixels}};
    place_outputs(m, c, region.rows, output_offset);
    for (int subblock = begin; subblock < end; subblock++) {
        float bias[GEMM_MAX_OUTPUT_VECTORS * L];
        const int b = gemm_subblock_begin(s, subblock);
        const int vectors = gemm_subblock_begin(s, subblock + 1) - b;
        const int channel = gemm_first_output(g, region.set, b);
        gemm_product_fn *product = gemm_product_of(g->kind, vectors);
        gemm_load_bias(m, channel, vectors, bias);
        p.bias = region.vector_begin == 0 ? bias : NULL;
        p.weights = gemm_weights_of(m, c, region.set, subblock, region.vector_begin);
        const float *next_weights =
            subblock + 1 < end
                ? gemm_weights_of(m, c, region.set, subblock + 1, region.vector_begin)
                : gemm_weights_of(m, c, next.set, begin, next.vector_begin);
        float *out =
            m->out + wf_act_index(g->out, channel,
                                  c->h->first_output + region.row_begin * c->h->output_step,
                                  c->w->first_output);
        float *panel = m->scratch;
        for (int i = 0, first = 0, n; i < panels; i++, first += n, panel += panel_floats) {
            n = pixels / panels + (i < pixels % panels);
            prefetch.input = --wait >= 0 ? panel : gemm_take_lines(&lines, terms, panel);
            prefetch.weights = i < s->blocking.output_vectors_subblock_size * L * L / 16
                                   ? next_weights + (size_t)i * terms * 16
                                   : p.weights;
            prefetch.fill.panel = NULL;
            if (subblock == begin && i == 0) {
                prefetch.fill.panel = panel;
                place_inputs(m, c, region, first, n, place);
                fill_panel(&prefetch.fill, region.vector_end - region.vector_begin);
            }
            if (subblock == begin && i + 1 < panels) { /* the product fills the next panel */
                prefetch.fill.panel = panel + panel_floats;
                place_inputs(m, c, region, first + n, pixels / panels + (i + 1 < pixels % panels),
                             place);
            }
            p.output_offset = output_offset + first;
            product(n, &p, &prefetch, panel, out);
        }
    }
}
