/* Forward, and backward-data as convolutions of ddst, over bf16 images: the plan. Loops around a product in
 * registers (Note [Terms] in forward.h): groups of pixels, whose panels stay in the second-level cache;
 * units of output blocks, whose weights do, too; and pixel groups again, which pass by the unit's weights.
 * Stateless but for the plan.
 *
 * Packed weights: units; phases; input blocks; taps; pairs of channels; output blocks; L outputs; 2
 * channels. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/dot/forward.h"
#include "kernels/machine.h"

enum {
    TILES = 16,           /* that a small batch is cut into, if it is worth it */
    PART_FLOPS = 4000000, /* of a part, at least */
    PANELS = 384 * 1024,  /* bytes, in the second-level cache beside the weights of a unit */
    FRAME_ROW = 7,        /* pixels of a row, from which on frames pay */
    OUTPUTS = 4096        /* pixels whose places are there at once, where terms are read in place */
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
    const bool panels = !data && d->stride[0] * d->stride[1] > 1; /* a frame serves all taps */
    const double copies = c->dot_copy / (panels ? O : (double)O * d->R * d->S);
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
    free(s->phases);
    free(s->places);
    free(s->tap);
    free(s);
    k->state = NULL;
}

static int at_most(int64_t n, int64_t most)
{
    return (int)(n < most ? n : most);
}

/* Parts of an image, where there are too few images to keep many cores at work. */
static int parts_wanted(const wf_conv2d_desc *d)
{
    const double worth = wf_conv2d_flops(d) / d->N / PART_FLOPS;
    const int few = (TILES + d->N - 1) / d->N;
    return worth < 1 ? 1 : worth < few ? (int)worth : few;
}

/* Where each tap of each output is: `step` elements for an input. Returns the end. */
static int32_t *place_axis(const dot_axis *a, int step, int32_t *place)
{
    for (int t = 0; t < a->taps; t++)
        for (int i = 0; i < a->n; i++) {
            const int at = a->offset[t] + i * a->in_step;
            *place++ = at < 0 || at >= a->in ? DOT_OUTSIDE : at * step;
        }
    return place;
}

static void plan_direct(dot_forward *s, dot_phase *f, int32_t *place)
{
    f->tap = place;
    f->tap[0] = 0;
    f->vector = (size_t)s->in.H * (size_t)s->in.W * L;
    f->at_once = at_most(((int64_t)f->h->n * f->w->n + DOT_N - 1) / DOT_N, OUTPUTS / DOT_N);
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

static void plan_frame(dot_forward *s, dot_phase *f, int32_t *place)
{
    const dot_axis *h = f->h, *w = f->w;
    f->first_row = least(h->offset, h->taps);
    f->first_column = least(w->offset, w->taps);
    f->row_span = largest(h->offset, h->taps) - f->first_row;
    f->pitch = (size_t)(w->n + largest(w->offset, w->taps) - f->first_column) * L;
    f->tap = place;
    for (int t = 0; t < f->taps; t++)
        f->tap[t] = (int32_t)((size_t)(h->offset[t / w->taps] - f->first_row) * f->pitch) +
                    (w->offset[t % w->taps] - f->first_column) * L;
    const size_t row = f->pitch * (size_t)s->vectors * sizeof(uint16_t);
    const int64_t rows = PANELS / (int64_t)row - f->row_span;
    f->at_once = rows < 1 ? 1 : at_most(h->n, rows);
    f->vector = (size_t)(f->at_once + f->row_span) * f->pitch;
    const size_t bytes = f->vector * (size_t)s->vectors * sizeof(uint16_t);
    s->x_bytes = bytes > s->x_bytes ? bytes : s->x_bytes;
}

static void plan_panel(dot_forward *s, dot_phase *f, int32_t *place)
{
    f->row = place;
    f->column = place = place_axis(f->h, s->in.W * L, place);
    f->tap = place = place_axis(f->w, L, place);
    for (int t = 0; t < f->taps; t++)
        f->tap[t] = t * DOT_N * L;
    f->vector = (size_t)f->taps * DOT_N * L;
    const size_t panel = f->vector * (size_t)s->vectors * sizeof(uint16_t);
    const int64_t room = PANELS / (int64_t)panel;
    f->at_once = room < 1 ? 1 : at_most(((int64_t)f->h->n * f->w->n + DOT_N - 1) / DOT_N, room);
    const size_t bytes = panel * (size_t)f->at_once, index = (size_t)f->taps * DOT_N * 4;
    s->x_bytes = bytes > s->x_bytes ? bytes : s->x_bytes;
    s->index_bytes = index > s->index_bytes ? index : s->index_bytes;
}

/* Where packed weights are. */
static void plan_weights(dot_forward *s, dot_phase *f, int S)
{
    f->weights = s->packed_block;
    for (int t = 0; t < f->taps; t++)
        s->tap[f->h->tap[t / f->w->taps] * S + f->w->tap[t % f->w->taps]] =
            (dot_place){.start = (int64_t)f->weights + (int64_t)t * DOT_SQUARE,
                        .step = (int64_t)f->taps * DOT_SQUARE};
    s->packed_block += (size_t)f->taps * (size_t)s->vectors * DOT_SQUARE;
}

/* Integers that describe a phase. */
static size_t places_of(const dot_phase *f)
{
    return (size_t)f->taps + (size_t)f->h->n * (size_t)f->h->taps +
           (size_t)f->w->n * (size_t)f->w->taps;
}

static dot_how how_of(const dot_phase *f)
{
    const dot_axis *h = f->h, *w = f->w;
    if (h->in_step > 1 || w->in_step > 1)
        return DOT_PANEL;
    if (f->taps == 1 && h->offset[0] == 0 && w->offset[0] == 0 && h->n <= h->in && w->n == w->in)
        return DOT_DIRECT;
    return w->n >= FRAME_ROW ? DOT_FRAME : DOT_PANEL;
}

static bool plan_phases(wf_conv2d *k, dot_forward *s)
{
    size_t count = 1, outputs = DOT_N;
    for (int i = 0; i < s->n_phases; i++)
        count += places_of(&s->phases[i]);
    int32_t *place = s->places = malloc(count * sizeof *place);
    if (!place)
        return false;
    for (int i = 0; i < s->n_phases; i++) {
        dot_phase *f = &s->phases[i];
        f->at_once = 1;
        if (f->taps == 0)
            continue;
        plan_weights(s, f, k->desc.S);
        f->how = how_of(f);
        (f->how == DOT_DIRECT  ? plan_direct
         : f->how == DOT_FRAME ? plan_frame
                               : plan_panel)(s, f, place);
        place += places_of(f);
        if (f->how != DOT_FRAME && (size_t)f->at_once * DOT_N > outputs)
            outputs = (size_t)f->at_once * DOT_N;
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
    s->wide = (data ? d->src_type : d->dst_type) == WEFT_F32;
    s->groups = d->groups;
    s->IG = s->in.C / d->groups;
    s->OG = s->out.C / d->groups;
    s->blocks = (s->OG + L - 1) / L;
    s->vectors = (s->IG + L - 1) / L;
    s->units = (s->blocks + DOT_NV - 1) / DOT_NV;
    const int rows = data ? d->stride[0] : 1, columns = data ? d->stride[1] : 1;
    s->n_phases = rows * columns;
    s->rows =
        dot_axes(k->pass, s->in.H, s->out.H, d->R, d->stride[0], d->padding[0], d->dilation[0]);
    s->columns =
        dot_axes(k->pass, s->in.W, s->out.W, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    s->phases = calloc((size_t)s->n_phases, sizeof *s->phases);
    s->tap = malloc((size_t)d->R * (size_t)d->S * sizeof *s->tap);
    if (!s->rows || !s->columns || !s->phases || !s->tap)
        goto fail;
    for (int t = 0; t < d->R * d->S; t++)
        s->tap[t].start = -1;
    for (int i = 0; i < s->n_phases; i++) {
        const dot_axis *h = &s->rows[i / columns], *w = &s->columns[i % columns];
        s->phases[i] = (dot_phase){.h = h, .w = w, .taps = h->taps * w->taps};
    }
    if (!plan_phases(k, s))
        goto fail;
    const int wanted = parts_wanted(d);
    s->by_pixels =
        wanted > 1 && wf_act_count(s->in) + wf_act_count(s->out) > wf_conv2d_weights_count(d);
    k->parts = at_most(wanted, s->by_pixels ? s->rows[0].n : s->groups * s->units);
    k->pack_tiles = s->groups * dot_pack_tiles(s, k->pass);
    k->packed_bytes = (size_t)s->groups * (size_t)s->blocks * s->packed_block * sizeof(uint16_t);
    if (k->packed_bytes == 0) /* the kernel meets nothing */
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
