/* Forward, and backward-data as convolutions of ddst, over bf16 images: the plan. The loops around a product
 * in registers (Note [Terms] in forward.h) are, from the outside in:
 *   1. a block of pixels, whose packed input or panels stay in L2;
 *   2. the output subblocks, the weights of one of which stay in L2, too;
 *   3. the block's subblocks of pixels.
 * Everything but the plan is stateless.
 *
 * Packed weights: [output subblock][residue class][input block][tap][pair of channels][output block][L
 * outputs][2 channels]. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/dot/forward.h"
#include "kernels/machine.h"

enum {
    MIN_TILES = 16, /* tiles that a small batch should give, if its images are worth cutting */
    MIN_PART_FLOPS = 4000000,  /* operations that make a part of an image worth a tile */
    MIN_PACKED_ROW_PIXELS = 7, /* pixels of a row with which a packed input pays */
    MAX_OUTPUT_PLACES = 4096   /* pixels of a block that is read in place */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const weft_dtype in = data ? d->dst_type : d->src_type, out = data ? d->src_type : d->dst_type;
    const char *reason = dot_misfit(d);
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (in != WEFT_BF16 || (out != WEFT_BF16 && out != WEFT_F32))
        reason = "reads images of bf16, writes bf16 or f32";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static bool in_place(const wf_conv2d_desc *d, bool data)
{
    return d->R * d->S == 1 && (data || d->stride[0] * d->stride[1] == 1) && d->padding[0] == 0 &&
           d->padding[1] == 0;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int I = (data ? d->K : d->C) / d->groups, O = (data ? d->C : d->K) / d->groups;
    const double waste = (double)wf_round_up(I, L) / I * wf_round_up(O, L) / O;
    const wf_costs *c = wf_machine_class_of(WEFT_ISA_AVX512)->cost;
    const bool packed_input =
        !data && d->stride[0] * d->stride[1] > 1; /* a packed input serves all taps */
    const double copies = c->dot_copy / (packed_input ? O : (double)O * d->R * d->S);
    const double share = in_place(d, data) ? c->dot_point : c->dot_forward / (1 + copies);
    return dot_expect(d, wf_conv2d_flops(d) / 2 * waste, share);
}

static void destroy(wf_conv2d *k)
{
    dot_forward *s = k->state;
    if (!s)
        return;
    free(s->rows);
    free(s->columns);
    free(s->classes);
    free(s->places);
    free(s->tap);
    free(s);
    k->state = NULL;
}

static int at_most(int64_t n, int64_t most)
{
    return (int)(n < most ? n : most);
}

/* Into how many parts an image is cut: more than one if the batch has too few images for many cores. */
static int parts_wanted(const wf_conv2d_desc *d)
{
    const double worth = wf_conv2d_flops(d) / d->N / MIN_PART_FLOPS;
    const int few = (MIN_TILES + d->N - 1) / d->N;
    return worth < 1 ? 1 : worth < few ? (int)worth : few;
}

/* Writes where the image has each tap of each output of an axis, `step` elements for an input. Returns the
 * end. */
static int32_t *place_axis(const dot_axis *a, int step, int32_t *place)
{
    for (int t = 0; t < a->taps; t++)
        for (int i = 0; i < a->outputs; i++) {
            const int at = a->offset[t] + i * a->input_step;
            *place++ = at < 0 || at >= a->inputs ? DOT_OUTSIDE : at * step;
        }
    return place;
}

static void plan_direct(dot_forward *s, dot_residue_class *c, int32_t *place)
{
    c->tap = place;
    c->tap[0] = 0;
    c->block_stride = (size_t)s->in.H * (size_t)s->in.W * L;
    c->block_size =
        at_most(((int64_t)c->h->outputs * c->w->outputs + DOT_MAX_PIXELS - 1) / DOT_MAX_PIXELS,
                MAX_OUTPUT_PLACES / DOT_MAX_PIXELS);
}

static int least(const int *v, int n)
{
    int x = v[0];
    for (int i = 1; i < n; i++)
        x = v[i] < x ? v[i] : x;
    return x;
}

static int largest(const int *v, int n)
{
    int x = v[0];
    for (int i = 1; i < n; i++)
        x = v[i] > x ? v[i] : x;
    return x;
}

static void plan_packed_input(dot_forward *s, dot_residue_class *c, int32_t *place)
{
    const dot_axis *h = c->h, *w = c->w;
    c->row_origin = least(h->offset, h->taps);
    c->column_origin = least(w->offset, w->taps);
    c->extra_rows = largest(h->offset, h->taps) - c->row_origin;
    c->row_stride = (size_t)(w->outputs + largest(w->offset, w->taps) - c->column_origin) * L;
    c->tap = place;
    for (int t = 0; t < c->taps; t++)
        c->tap[t] = (int32_t)((size_t)(h->offset[t / w->taps] - c->row_origin) * c->row_stride) +
                    (w->offset[t % w->taps] - c->column_origin) * L;
    const size_t row = c->row_stride * (size_t)s->input_blocks * sizeof(uint16_t);
    const int64_t rows =
        dot_blocking()->dot_input_kib * INT64_C(1024) / (int64_t)row - c->extra_rows;
    c->block_size = rows < 1 ? 1 : at_most(h->outputs, rows);
    c->block_stride = (size_t)(c->block_size + c->extra_rows) * c->row_stride;
    const size_t bytes = c->block_stride * (size_t)s->input_blocks * sizeof(uint16_t);
    s->x_bytes = bytes > s->x_bytes ? bytes : s->x_bytes;
}

static void plan_panel(dot_forward *s, dot_residue_class *c, int32_t *place)
{
    c->row = place;
    c->column = place = place_axis(c->h, s->in.W * L, place);
    c->tap = place = place_axis(c->w, L, place);
    for (int t = 0; t < c->taps; t++)
        c->tap[t] = t * DOT_MAX_PIXELS * L;
    c->block_stride = (size_t)c->taps * DOT_MAX_PIXELS * L;
    const size_t panel = c->block_stride * (size_t)s->input_blocks * sizeof(uint16_t);
    const int64_t room = dot_blocking()->dot_input_kib * INT64_C(1024) / (int64_t)panel;
    c->block_size = room < 1
                        ? 1
                        : at_most(((int64_t)c->h->outputs * c->w->outputs + DOT_MAX_PIXELS - 1) /
                                      DOT_MAX_PIXELS,
                                  room);
    const size_t bytes = panel * (size_t)c->block_size,
                 index = (size_t)c->taps * DOT_MAX_PIXELS * 4;
    s->x_bytes = bytes > s->x_bytes ? bytes : s->x_bytes;
    s->index_bytes = index > s->index_bytes ? index : s->index_bytes;
}

/* Gives a residue class its place among the packed weights. */
static void plan_weights(dot_forward *s, dot_residue_class *c, int S)
{
    c->weights = s->packed_block_elements;
    for (int t = 0; t < c->taps; t++)
        s->tap[c->h->tap[t / c->w->taps] * S + c->w->tap[t % c->w->taps]] =
            (wf_dot_place){.start = (int64_t)c->weights + (int64_t)t * DOT_SQUARE,
                           .step = (int64_t)c->taps * DOT_SQUARE};
    s->packed_block_elements += (size_t)c->taps * (size_t)s->input_blocks * DOT_SQUARE;
}

/* How many places a residue class has. */
static size_t places_of(const dot_residue_class *c)
{
    return (size_t)c->taps + (size_t)c->h->outputs * (size_t)c->h->taps +
           (size_t)c->w->outputs * (size_t)c->w->taps;
}

static dot_how how_of(const dot_residue_class *c)
{
    const dot_axis *h = c->h, *w = c->w;
    if (h->input_step > 1 || w->input_step > 1)
        return DOT_PANEL;
    if (c->taps == 1 && h->offset[0] == 0 && w->offset[0] == 0 && h->outputs <= h->inputs &&
        w->outputs == w->inputs)
        return DOT_DIRECT;
    return w->outputs >= MIN_PACKED_ROW_PIXELS ? DOT_PACKED_INPUT : DOT_PANEL;
}

static bool plan_classes(wf_conv2d *k, dot_forward *s)
{
    size_t count = 1, outputs = DOT_MAX_PIXELS;
    for (int i = 0; i < s->n_classes; i++)
        count += places_of(&s->classes[i]);
    int32_t *place = s->places = malloc(count * sizeof *place);
    if (!place)
        return false;
    for (int i = 0; i < s->n_classes; i++) {
        dot_residue_class *c = &s->classes[i];
        c->block_size = 1;
        if (c->taps == 0)
            continue;
        plan_weights(s, c, k->desc.S);
        c->how = how_of(c);
        (c->how == DOT_DIRECT         ? plan_direct
         : c->how == DOT_PACKED_INPUT ? plan_packed_input
                                      : plan_panel)(s, c, place);
        place += places_of(c);
        if (c->how != DOT_PACKED_INPUT && (size_t)c->block_size * DOT_MAX_PIXELS > outputs)
            outputs = (size_t)c->block_size * DOT_MAX_PIXELS;
    }
    k->scratch_bytes = s->x_bytes + s->index_bytes + outputs * sizeof(int32_t);
    return true;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    const bool data = k->pass == WF_CONV2D_BACKWARD_DATA;
    dot_forward *s = k->state = calloc(1, sizeof *s);
    snprintf(why, size, "out of memory");
    if (!s)
        return false;
    s->in = data ? wf_conv2d_dst(d) : wf_conv2d_src(d);
    s->out = data ? wf_conv2d_src(d) : wf_conv2d_dst(d);
    s->out_f32 = (data ? d->src_type : d->dst_type) == WEFT_F32;
    s->groups = d->groups;
    s->group_inputs = s->in.C / d->groups;
    s->group_outputs = s->out.C / d->groups;
    s->output_blocks = (s->group_outputs + L - 1) / L;
    s->input_blocks = (s->group_inputs + L - 1) / L;
    s->output_subblocks = (s->output_blocks + DOT_MAX_OUTPUT_BLOCKS - 1) / DOT_MAX_OUTPUT_BLOCKS;
    const int rows = data ? d->stride[0] : 1, columns = data ? d->stride[1] : 1;
    s->n_classes = rows * columns;
    s->rows =
        dot_axes(k->pass, s->in.H, s->out.H, d->R, d->stride[0], d->padding[0], d->dilation[0]);
    s->columns =
        dot_axes(k->pass, s->in.W, s->out.W, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    s->classes = calloc((size_t)s->n_classes, sizeof *s->classes);
    s->tap = malloc((size_t)d->R * (size_t)d->S * sizeof *s->tap);
    if (!s->rows || !s->columns || !s->classes || !s->tap)
        goto fail;
    for (int t = 0; t < d->R * d->S; t++)
        s->tap[t].start = -1;
    for (int i = 0; i < s->n_classes; i++) {
        const dot_axis *h = &s->rows[i / columns], *w = &s->columns[i % columns];
        s->classes[i] = (dot_residue_class){.h = h, .w = w, .taps = h->taps * w->taps};
    }
    if (!plan_classes(k, s))
        goto fail;
    const int wanted = parts_wanted(d);
    s->parts_are_pixels =
        wanted > 1 && wf_act_count(s->in) + wf_act_count(s->out) > wf_conv2d_weights_count(d);
    k->parts =
        at_most(wanted, s->parts_are_pixels ? s->rows[0].outputs : s->groups * s->output_subblocks);
    k->pack_tiles = s->groups * dot_pack_tiles(s, k->pass);
    k->packed_bytes =
        (size_t)s->groups * (size_t)s->output_blocks * s->packed_block_elements * sizeof(uint16_t);
    if (k->packed_bytes == 0) /* no tap meets anything */
        k->packed_bytes = L;
    return true;
fail:
    destroy(k);
    return false;
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_dot) = {
    .name = "dot:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = dot_pack,
    .batch = dot_run,
};
