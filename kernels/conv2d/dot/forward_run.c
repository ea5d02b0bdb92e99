/* Forward and backward-data over bf16: the loops around the products, from a part of some images
 * (wf_conv2d_impl.batch) down to a subblock. A worker writes its part of the outputs and its scratch: a packed
 * input or panels, places of inputs, places of outputs. No other worker writes either. */
#include "kernels/conv2d/dot/forward.h"

enum { LINE = 64 /* bytes */ };

typedef struct image {
    const dot_forward *s;
    const uint16_t *x;
    void *y;
    const uint16_t *packed;
    const float *bias;
    int part, parts;                  /* of the pixels; or else a range of output subblocks, */
    int subblock_begin, subblock_end; /* counted through all groups */
    uint16_t *packed_input;           /* or panels */
    int32_t *place, *output_offset;
} image;

/* What the products with one output subblock have in common. */
typedef struct subblock {
    dot_product q;
    int output_blocks;
    float bias[DOT_MAX_OUTPUT_BLOCKS * L];
} subblock;

static void load_bias(const image *m, int channel, int output_blocks, float *bias)
{
    for (int b = 0; b < output_blocks; b++, channel += L) {
        const int left = m->s->out.C - channel, n = left < L ? left : L;
        wf_vstore(bias + b * L, m->bias ? wf_vload_n(m->bias + channel, n) : wf_vzero());
    }
}

static subblock subblock_of(const image *m, const dot_residue_class *c, int group, int u)
{
    const dot_forward *s = m->s;
    const int b = dot_subblock_begin(s, u), block = group * s->output_blocks + b;
    const size_t plane = (size_t)s->out.H * (size_t)s->out.W * L;
    subblock t = {.output_blocks = dot_subblock_begin(s, u + 1) - b};
    load_bias(m, block * L, t.output_blocks, t.bias);
    t.q = (dot_product){.block_stride = c->block_stride,
                        .tap = c->tap,
                        .input_blocks = s->input_blocks,
                        .taps = c->taps,
                        .tap_end = c->taps,
                        .w = m->packed + (size_t)block * s->packed_block_elements +
                             c->weights * (size_t)t.output_blocks,
                        .y = (char *)m->y + (size_t)block * plane * (s->out_f32 ? 4 : 2),
                        .output_block_stride = plane,
                        .out_f32 = s->out_f32};
    return t;
}

/* Lets call i of `calls`, the products with one output subblock, prefetch its share of the weights after
 * the subblock's. */
static void prefetch_weights_after(subblock *t, int calls, int i)
{
    const int lines = DOT_PAIRS * t->output_blocks,
              each = (lines + calls - 1) / calls; /* of a term */
    const size_t terms = (size_t)t->q.input_blocks * (size_t)t->q.taps;
    t->q.prefetch_weights = (const char *)t->q.w + terms * (size_t)(lines + i * each) * LINE;
    t->q.prefetch_weights_lines = i * each < lines ? each : 0;
}

/* Writes where a plane of the output has pixels [first, end) of a residue class. */
static void place_outputs(const image *m, const dot_residue_class *c, int first, int end)
{
    const int W = m->s->out.W;
    int row = first / c->w->outputs, column = first % c->w->outputs;
    int32_t *at = m->output_offset;
    for (int i = first; i < end; i++) {
        *at++ = ((c->h->first_output + row * c->h->output_step) * W + c->w->first_output +
                 column * c->w->output_step) *
                L;
        if (++column == c->w->outputs) {
            column = 0;
            row++;
        }
    }
}

/* Computes pixels [first, end) of a residue class, counted through the rows, and output subblocks [u0, u1) of
 * a group: reads the input in place, or from panels, which scratch holds all at once. */
static void run_pixels(const image *m, const dot_residue_class *c, int group, int u0, int u1,
                       int first, int end)
{
    const dot_forward *s = m->s;
    const int pixels = end - first, groups = (pixels + DOT_MAX_PIXELS - 1) / DOT_MAX_PIXELS;
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const uint16_t *x = m->x + (size_t)(group * s->input_blocks) * plane;
    place_outputs(m, c, first, end);
    for (int u = u0; u < u1; u++) {
        subblock t = subblock_of(m, c, group, u);
        t.q.bias = t.bias;
        for (int g = 0; g < groups; g++) {
            const int from = (int)((int64_t)pixels * g / groups);
            const int n = (int)((int64_t)pixels * (g + 1) / groups) - from;
            uint16_t *panel =
                m->packed_input + (size_t)g * (size_t)s->input_blocks * c->block_stride;
            prefetch_weights_after(&t, groups, g);
            t.q.prefetch_input_lines = 0;
            if (c->how == DOT_DIRECT) {
                t.q.x = x + (size_t)(first + from) * L;
                t.q.prefetch_input = (const char *)(t.q.x + (size_t)n * L);
                t.q.prefetch_block_stride = plane * sizeof *x;
                t.q.prefetch_input_lines = u == u0 ? (n + 1) / 2 : 0;
            } else {
                if (u == u0)
                    dot_fill_panel(s, c, x, first + from, n, m->place, panel);
                t.q.x = panel;
            }
            t.q.output_offset = m->output_offset + from;
            dot_product_of(n, t.output_blocks, &t.q);
        }
    }
}

/* Narrows a product to the taps that meet the image in row i of a residue class; to all, if none does. */
static void meet(const dot_residue_class *c, int i, dot_product *q)
{
    const dot_axis *h = c->h;
    int first = h->taps, end = 0;
    for (int r = 0; r < h->taps; r++) {
        const int at = h->offset[r] + i;
        if (at >= 0 && at < h->inputs) {
            first = r < first ? r : first;
            end = r + 1;
        }
    }
    q->tap_begin = first < end ? first * c->w->taps : 0;
    q->tap_end = first < end ? end * c->w->taps : c->taps;
}

/* Computes rows [first, end) of a residue class from a packed input, whose rows it fills just before the first
 * output subblock needs them. */
static void run_rows(const image *m, const dot_residue_class *c, int group, int u0, int u1,
                     int first, int end)
{
    const dot_forward *s = m->s;
    const int Q = c->w->outputs, groups = (Q + DOT_MAX_PIXELS - 1) / DOT_MAX_PIXELS,
              calls = (end - first) * groups;
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L,
                 pixel = (size_t)c->w->output_step * L;
    const uint16_t *x = m->x + (size_t)(group * s->input_blocks) * plane;
    const int row_lines = (s->in.W + 1) / 2;
    int filled = 0; /* rows of the packed input */
    for (int i = 0; i < DOT_MAX_PIXELS; i++)
        m->output_offset[i] = (int32_t)((size_t)i * pixel);
    for (int u = u0; u < u1; u++) {
        subblock t = subblock_of(m, c, group, u);
        char *y = t.q.y;
        t.q.bias = t.bias;
        t.q.output_offset = m->output_offset;
        for (int i = 0; i < end - first; i++) {
            for (; filled <= i + c->extra_rows; filled++)
                dot_fill_row(s, c, x, first + filled + c->row_origin,
                             m->packed_input + (size_t)filled * c->row_stride);
            meet(c, first + i, &t.q);
            const size_t at =
                ((size_t)(c->h->first_output + (first + i) * c->h->output_step) * (size_t)s->out.W +
                 (size_t)c->w->first_output) *
                L;
            const int next = first + filled + c->row_origin; /* the image row that is packed next */
            const int each = (row_lines + groups * c->taps - 1) / (groups * c->taps);
            for (int g = 0; g < groups; g++) {
                const int from = Q * g / groups, n = Q * (g + 1) / groups - from;
                prefetch_weights_after(&t, calls, i * groups + g);
                t.q.prefetch_input_lines = u == u0 && next >= 0 && next < s->in.H ? each : 0;
                t.q.prefetch_input = (const char *)(x + (ptrdiff_t)next * s->in.W * L) +
                                     (ptrdiff_t)(g * c->taps * each) * LINE;
                t.q.prefetch_block_stride = plane * sizeof *x;
                t.q.x = m->packed_input + (size_t)i * c->row_stride + (size_t)from * L;
                t.q.y = y + (at + (size_t)from * pixel) * (s->out_f32 ? 4 : 2);
                dot_product_of(n, t.output_blocks, &t.q);
            }
        }
    }
}

/* Writes the bias to pixels [first, end) of a residue class without taps. */
static void run_empty(const image *m, const dot_residue_class *c, int group, int u0, int u1,
                      int first, int end)
{
    const dot_forward *s = m->s;
    const size_t plane = (size_t)s->out.H * (size_t)s->out.W * L;
    for (int at = first, n; at < end; at += n) {
        n = end - at < DOT_MAX_PIXELS ? end - at : DOT_MAX_PIXELS;
        place_outputs(m, c, at, at + n);
        for (int b = dot_subblock_begin(s, u0); b < dot_subblock_begin(s, u1); b++) {
            float bias[L];
            const size_t block = (size_t)(group * s->output_blocks + b);
            load_bias(m, (int)block * L, 1, bias);
            const wf_vf value = wf_vload(bias);
            for (int i = 0; i < n; i++) {
                const size_t to = block * plane + (size_t)m->output_offset[i];
                if (s->out_f32)
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

static void run_class(const image *m, const dot_residue_class *c)
{
    const dot_forward *s = m->s;
    const bool rows = c->how == DOT_PACKED_INPUT;
    const int all = rows ? c->h->outputs : c->h->outputs * c->w->outputs;
    const int first = share(all, m->part, m->parts), end = share(all, m->part + 1, m->parts);
    const int most = rows ? c->block_size : c->block_size * DOT_MAX_PIXELS,
              times = (end - first + most - 1) / most;
    for (int group = m->subblock_begin / s->output_subblocks;
         group * s->output_subblocks < m->subblock_end; group++) {
        const int u = group * s->output_subblocks;
        const int u0 = m->subblock_begin > u ? m->subblock_begin - u : 0;
        const int u1 =
            m->subblock_end - u < s->output_subblocks ? m->subblock_end - u : s->output_subblocks;
        if (c->taps == 0)
            run_empty(m, c, group, u0, u1, first, end);
        else
            for (int i = 0; i < times; i++)
                (rows ? run_rows : run_pixels)(m, c, group, u0, u1,
                                               first + share(end - first, i, times),
                                               first + share(end - first, i + 1, times));
    }
}

weft_status dot_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                    void *scratch)
{
    const dot_forward *s = k->state;
    const int subblocks = s->groups * s->output_subblocks;
    image m = {.s = s,
               .packed = io->weights,
               .bias = io->bias,
               .parts = 1,
               .subblock_end = subblocks,
               .packed_input = scratch,
               .place = (int32_t *)((char *)scratch + s->x_bytes),
               .output_offset = (int32_t *)((char *)scratch + s->x_bytes + s->index_bytes)};
    if (s->parts_are_pixels) {
        m.part = part;
        m.parts = k->parts;
    } else {
        m.subblock_begin = (int)((int64_t)subblocks * part / k->parts);
        m.subblock_end = (int)((int64_t)subblocks * (part + 1) / k->parts);
    }
    for (int i = 0; i < n; i++) {
        m.x = (const uint16_t *)((const char *)io->in + (size_t)i * io->in_stride);
        m.y = (char *)io->out + (size_t)i * io->out_stride;
        for (int j = 0; j < s->n_classes; j++)
            run_class(&m, &s->classes[j]);
    }
    return WEFT_OK;
}
