/* Implicit im2col and matrix product, forward and backward-data: the loops around the products, from a
 * part of some images (wf_conv2d_impl.batch) down to a subblock. A worker writes its part of the outputs
 * and its scratch, which holds a packed input or panels; no other worker writes either. */
#include "kernels/conv2d/gemm/forward.h"

void gemm_load_bias(const gemm_image_part *m, int channel, int vectors, float *bias)
{
    for (int b = 0; b < vectors; b++, channel += L) {
        int n = m->g->out.C - channel < L ? m->g->out.C - channel : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

const float *gemm_weights_of(const gemm_image_part *m, const gemm_residue_class *c, int set,
                             int subblock, int v)
{
    const gemm_geometry *g = m->g;
    const int first = gemm_subblock_begin(m->s, subblock);
    const int vectors = gemm_subblock_begin(m->s, subblock + 1) - first;
    const size_t channel_vector = gemm_class_taps(c) * (size_t)g->vector_channels * L;
    return m->packed_weights +
           (size_t)(set * g->output_vectors + first) * m->s->packed_vector_floats +
           (c->weights_offset + (size_t)v * channel_vector) * (size_t)vectors;
}

/* ---- what the products prefetch -------------------------------------------------------------- */

/* The weights that the kernel needs after those of an output subblock. */
static const float *weights_after(const gemm_image_part *m, const gemm_residue_class *c,
                                  gemm_region region, int subblock)
{
    if (subblock + 1 < gemm_output_subblocks(m->s))
        return gemm_weights_of(m, c, region.set, subblock + 1, region.vector_begin);
    const int v = region.vector_end;
    return gemm_weights_of(m, c, region.set, 0, v < m->g->input_vectors ? v : 0);
}

/* What the products with one output subblock prefetch: the weights of the next subblock, and, where the
 * input itself is the packed input, a share of the next region's. */
typedef struct next_operands {
    const float *weights, *weights_end; /* what is left of them: one line after the other */
    const float *input;                 /* NULL: none */
    size_t input_step;                  /* floats from term to term */
    int64_t input_lines, input_calls;   /* lines of each term, and products that share them */
    int64_t input_done;                 /* such products so far */
} next_operands;

static next_operands operands_after(const gemm_image_part *m, const gemm_residue_class *c,
                                    gemm_region region, int subblock, const float *x)
{
    const gemm_geometry *g = m->g;
    const float *weights = weights_after(m, c, region, subblock);
    next_operands a = {.weights = weights,
                       .weights_end =
                           weights + (size_t)(region.vector_end - region.vector_begin) *
                                         gemm_class_taps(c) * (size_t)g->vector_channels * L *
                                         (size_t)m->s->blocking.output_vectors_subblock_size};
    if (c->in_place) {
        const int pixels = region.rows * c->w->outputs; /* in place all rows are one */
        const int vectors =
            gemm_subblock_begin(m->s, subblock + 1) - gemm_subblock_begin(m->s, subblock);
        const int64_t calls = gemm_pixel_subblocks(pixels, vectors);
        a.input = x + (size_t)pixels * L;
        a.input_step = (size_t)g->in.H * (size_t)g->in.W * L;
        a.input_lines = ((int64_t)pixels * L + 15) / 16;
        a.input_calls = calls * gemm_output_subblocks(m->s);
        a.input_done = calls * subblock;
    }
    return a;
}

/* The share of a product. Where nothing is left, the product prefetches operands that it reads itself. */
static gemm_forward_prefetch take_share(next_operands *a, const gemm_product *p, const float *x)
{
    gemm_forward_prefetch next = {.input = x, .weights = p->weights, .input_step = a->input_step};
    if (a->input_lines)
        next.input = a->input + (size_t)(a->input_lines * a->input_done++ / a->input_calls) * 16;
    if (a->weights < a->weights_end) {
        next.weights = a->weights;
        a->weights += p->terms * 16;
    }
    return next;
}

/* The image lines that the next packed input is made from: the products with this one prefetch them. */
typedef struct next_packed_input {
    gemm_input_lines lines;
    int lines_per_call;
} next_packed_input;

/* ---- one region ------------------------------------------------------------------------------ */

/* What a region's products with one output subblock have in common. */
typedef struct subblock_run {
    const gemm_residue_class *class;
    gemm_product_fn *product;
    gemm_product p;
    size_t pixel_floats, out_pixel;
    next_operands next;
    next_packed_input *next_input;
} subblock_run;

/* Multiplies `pixels` pixels in a row, the first of which is at x and out, a subblock at a time. */
static void multiply_row(subblock_run *r, int pixels, int vectors, const float *x, float *out)
{
    const gemm_residue_class *c = r->class;
    const int subblocks = gemm_pixel_subblocks(pixels, vectors);
    gemm_border border[GEMM_MAX_BORDERS];
    for (int j = 0, first = 0, n; j < subblocks; j++, first += n) {
        const float *from = x + (size_t)first * r->pixel_floats;
        n = pixels / subblocks + (j < pixels % subblocks);
        r->p.border = !c->contiguous && gemm_find_borders(c->w, first, n, border) ? border : NULL;
        gemm_forward_prefetch next = take_share(&r->next, &r->p, from);
        if (!c->in_place && r->next_input->lines.vectors_left > 0) {
            next.extra_lines = r->next_input->lines_per_call;
            next.extra = gemm_take_lines(&r->next_input->lines, (size_t)next.extra_lines, from);
        }
        r->product(n, &r->p, &next, from, out + (size_t)first * r->out_pixel);
    }
}

/* Multiplies a region of one residue class, whose packed input is x: output subblock by output subblock,
 * row by row, a subblock of pixels at a time. */
static void run_region(const gemm_image_part *m, const gemm_residue_class *c, gemm_region region,
                       const float *x, next_packed_input *next_input)
{
    const gemm_forward *s = m->s;
    const gemm_geometry *g = m->g;
    const size_t x_row = gemm_row_stride(g, c->h, c->w);
    const size_t out_row = (size_t)c->h->output_step * (size_t)g->out.W * L;
    subblock_run r = {.class = c,
                      .pixel_floats = g->pixel_floats,
                      .out_pixel = (size_t)c->w->output_step * L,
                      .next_input = next_input,
                      .p = {.term_offset = c->term_offset,
                            .columns = c->w->taps,
                            .output_vector_stride = (size_t)g->out.H * (size_t)g->out.W * L}};
    const int subblocks = gemm_output_subblocks(s), first_subblock = region.set * subblocks;
    const int left = m->subblock_end - first_subblock, end = left < subblocks ? left : subblocks;
    int32_t output_offset[GEMM_MAX_PIXELS];
    for (int i = 0; i < GEMM_MAX_PIXELS; i++)
        output_offset[i] = (int32_t)((size_t)i * r.out_pixel);
    r.p.output_offset = output_offset;
    int subblock = m->subblock_begin > first_subblock ? m->subblock_begin - first_subblock : 0;
    for (; subblock < end; subblock++) {
        float bias[GEMM_MAX_OUTPUT_VECTORS * L];
        const int b = gemm_subblock_begin(s, subblock);
        const int vectors = gemm_subblock_begin(s, subblock + 1) - b;
        const int channel = gemm_first_output(g, region.set, b);
        gemm_load_bias(m, channel, vectors, bias);
        r.product = gemm_product_of(g->kind, vectors);
        r.p.weights = gemm_weights_of(m, c, region.set, subblock, region.vector_begin);
        r.next = operands_after(m, c, region, subblock, x);
        float *out =
            m->out + wf_act_index(g->out, channel,
                                  c->h->first_output + region.row_begin * c->h->output_step,
                                  c->w->first_output);
        gemm_row_run run;
        for (int t = 0; t < c->h->taps; t += s->blocking.taps_block_size)
            for (int i = 0; i < region.rows; i += run.rows) {
                run = gemm_rows_at(c, region, vectors, i);
                const int last = t + s->blocking.taps_block_size;
                const int taps_begin = t > run.taps_begin ? t : run.taps_begin;
                const int taps_end = last < run.taps_end ? last : run.taps_end;
                if (taps_begin >= taps_end)
                    continue;
                gemm_take_taps(&r.p, c, region, taps_begin, taps_end);
                r.p.bias = region.vector_begin == 0 && taps_begin == run.taps_begin ? bias : NULL;
                multiply_row(&r, run.rows * c->w->outputs, vectors, x + (size_t)i * x_row,
                             out + (size_t)i * out_row);
            }
    }
}

/* ---- residue classes without taps ------------------------------------------------------------ */

/* Writes the bias of an output vector to row i of the residue classes that no tap reaches. */
static void run_empty_row(const gemm_image_part *m, int channel, int i, wf_vf bias)
{
    for (int j = 0; j < m->s->n_classes; j++) {
        const gemm_residue_class *c = &m->s->classes[j];
        if (gemm_class_taps(c) > 0 || i >= c->h->outputs)
            continue;
        const size_t pixel = (size_t)c->w->output_step * L;
        float *out =
            m->out + wf_act_index(m->g->out, channel, c->h->first_output + i * c->h->output_step,
                                  c->w->first_output);
        for (int l = 0; l < c->w->outputs; l++, out += pixel)
            wf_vstore(out, bias);
    }
}

/* The same for rows [first, end) and all output vectors. All residue classes' rows take turns, since their
 * pixels lie side by side in memory, which comes in lines. */
static void run_empty(const gemm_image_part *m, int first, int end)
{
    const int subblocks = gemm_output_subblocks(m->s);
    for (int i = m->subblock_begin; i < m->subblock_end; i++) {
        const int set = i / subblocks, subblock = i % subblocks;
        for (int b = gemm_subblock_begin(m->s, subblock);
             b < gemm_subblock_begin(m->s, subblock + 1); b++) {
            const int channel = gemm_first_output(m->g, set, b);
            float bias[L];
            gemm_load_bias(m, channel, 1, bias);
            for (int row = first; row < end; row++)
                run_empty_row(m, channel, row, wf_vload(bias));
        }
    }
}

/* ---- the order of regions -------------------------------------------------------------------- */

static int rows_left(const gemm_image_part *m, const gemm_residue_class *c, int first)
{
    return (c->h->outputs < m->row_end ? c->h->outputs : m->row_end) - first;
}

/* The rows of a block that starts with row `first`; 0 or less: the residue class has none. */
static int rows_from(const gemm_image_part *m, const gemm_residue_class *c, int first)
{
    const int left = rows_left(m, c, first), most = m->s->blocking.rows_block_size;
    return most < left ? most : left;
}

static gemm_region region_at(const gemm_image_part *m, const gemm_residue_class *c, int set, int v,
                             int first)
{
    const int V = m->g->input_vectors, end = v + c->input_vectors_block_size;
    return (gemm_region){set, v, end < V ? end : V, first, rows_from(m, c, first)};
}

/* The region that the kernel multiplies after this one: the next channel vectors, else the next set, else
 * the next rows. */
static gemm_region region_after(const gemm_image_part *m, const gemm_residue_class *c,
                                gemm_region region)
{
    const int V = m->g->input_vectors, subblocks = gemm_output_subblocks(m->s);
    gemm_region next = region;
    next.vector_begin = region.vector_end;
    if (region.vector_end == V) {
        next.vector_begin = 0;
        next.set = region.set + 1;
        if (next.set * subblocks >= m->subblock_end) {
            next.set = m->subblock_begin / subblocks;
            next.row_begin = region.row_begin + region.rows;
        }
    }
    const int end = next.vector_begin + c->input_vectors_block_size;
    next.vector_end = end < V ? end : V;
    next.rows = rows_from(m, c, next.row_begin);
    return next;
}

/* The lines of the packed input after this region's, shared out among the products that all residue
 * classes make of this one. */
static next_packed_input packed_input_after(const gemm_image_part *m, gemm_region region)
{
    const gemm_geometry *g = m->g;
    const gemm_residue_class *most = &m->s->classes[0]; /* the one that reads most of it */
    int64_t calls = 0;
    for (int i = 0; i < m->s->n_classes; i++) {
        const gemm_residue_class *c = &m->s->classes[i];
        most = gemm_class_taps(c) > gemm_class_taps(most) ? c : most;
        if (c->in_place || gemm_class_taps(c) == 0)
            continue;
        const int pixels = c->contiguous ? region.rows * c->w->outputs : c->w->outputs;
        calls += (int64_t)(c->contiguous ? 1 : rows_from(m, c, region.row_begin)) *
                 gemm_pixel_subblocks(pixels, m->s->blocking.output_vectors_subblock_size) *
                 gemm_output_subblocks(m->s);
    }
    const bool whole_vectors =
        g->kind == GEMM_ROTATE ||
        (g->kind == GEMM_DENSE && (g->groups == 1 || g->group_inputs % L == 0));
    next_packed_input next = {.lines_per_call = 1};
    if (calls <= 0 || !whole_vectors)
        return next;
    next.lines = gemm_input_lines_of(m, most, region_after(m, most, region));
    next.lines_per_call = (int)((gemm_calls_for(&next.lines, 1) + calls - 1) / calls);
    return next;
}

/* Computes the block of rows that starts with row `first`, by way of panels. */
static void run_by_panels(const gemm_image_part *m, int first)
{
    const int subblocks = gemm_output_subblocks(m->s);
    for (int i = 0; i < m->s->n_classes; i++) {
        const gemm_residue_class *c = &m->s->classes[i];
        if (gemm_class_taps(c) == 0 || rows_from(m, c, first) <= 0)
            continue;
        for (int set = m->subblock_begin / subblocks; set * subblocks < m->subblock_end; set++)
            for (int v = 0; v < m->g->input_vectors; v += c->input_vectors_block_size) {
                const gemm_region region = region_at(m, c, set, v, first);
                gemm_run_panels(m, c, region, region_after(m, c, region));
            }
    }
}

/* The same from packed inputs. All residue classes read one; the first has the most rows. */
static void run_by_packed_input(const gemm_image_part *m, int first)
{
    const gemm_geometry *g = m->g;
    const int subblocks = gemm_output_subblocks(m->s), rows = m->s->blocking.rows_block_size;
    for (int set = m->subblock_begin / subblocks; set * subblocks < m->subblock_end; set++)
        for (int v = 0; v < g->input_vectors; v += m->s->blocking.input_vectors_block_size) {
            const gemm_region all = region_at(m, &m->s->classes[0], set, v, first);
            next_packed_input next = packed_input_after(m, all);
            if (g->kind == GEMM_ROTATE) {
                gemm_run_rotated(m, all, &next.lines, next.lines_per_call);
                continue;
            }
            const float *packed = NULL;
            for (int i = 0; i < m->s->n_classes; i++) {
                const gemm_residue_class *c = &m->s->classes[i];
                const gemm_region region = region_at(m, c, set, v, first);
                if (gemm_class_taps(c) == 0 || region.rows <= 0)
                    continue;
                const float *x = packed;
                if (c->in_place || !packed)
                    x = gemm_pack_input(g, c->h, c->w, c->in_place ? region : all, rows, m->in,
                                        m->scratch);
                if (!c->in_place)
                    packed = x;
                run_region(m, c, region, x, &next);
            }
        }
}

/* Computes the block of rows that starts with row `first`, of all residue classes: they write every
 * pixel of the output between them. */
static void run_rows(const gemm_image_part *m, int first)
{
    bool empty = false;
    for (int i = 0; i < m->s->n_classes; i++)
        empty |= gemm_class_taps(&m->s->classes[i]) == 0;
    if (empty)
        run_empty(m, first, first + rows_from(m, &m->s->classes[0], first));
    if (m->s->blocking.panel_pixels)
        run_by_panels(m, first);
    else
        run_by_packed_input(m, first);
}

weft_status gemm_forward_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                             int part, void *scratch)
{
    const gemm_forward *s = k->state;
    const gemm_geometry *g = &s->geometry;
    const int rows = s->classes[0].h->outputs, subblocks = g->sets * gemm_output_subblocks(s);
    gemm_image_part m = {.s = s,
                         .g = g,
                         .packed_weights = io->weights,
                         .bias = io->bias,
                         .row_end = rows,
                         .subblock_end = subblocks,
                         .scratch = scratch};
    if (s->parts_are_rows) {
        m.row_begin = (int)((int64_t)rows * part / k->parts);
        m.row_end = (int)((int64_t)rows * (part + 1) / k->parts);
    } else {
        m.subblock_begin = (int)((int64_t)subblocks * part / k->parts);
        m.subblock_end = (int)((int64_t)subblocks * (part + 1) / k->parts);
    }
    for (int i = 0; i < n; i++) {
        m.in = (gemm_input){(const char *)io->in + (size_t)i * io->in_stride, io->table};
        m.out = (float *)((char *)io->out + (size_t)i * io->out_stride);
        for (int row = m.row_begin; row < m.row_end; row += s->blocking.rows_block_size)
            run_rows(&m, row);
    }
    return WEFT_OK;
}
