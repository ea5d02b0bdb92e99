/* The geometry of a pass: its axes, and how its channels meet. See gemm.h. The planning thread makes it;
 * it is constant afterwards. */
#include <limits.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm/gemm.h"

/* ---- axes ------------------------------------------------------------------------------------ */

static void add_tap(gemm_axis *a, int tap, int offset)
{
    int first = offset >= 0 ? 0 : (-offset + a->input_step - 1) / a->input_step;
    if (first >= a->outputs || first * a->input_step + offset >= a->inputs)
        return; /* it meets padding only */
    a->tap[a->taps] = tap;
    a->offset[a->taps++] = offset;
}

/* Sorts taps by input class, then by position: the products then read memory forward. */
static void sort_taps(gemm_axis *a)
{
    for (int i = 1; i < a->taps; i++)
        for (int t = i; t > 0; t--) {
            const int class = a->input_class[t] - a->input_class[t - 1];
            if (class > 0 || (class == 0 && a->position[t] >= a->position[t - 1]))
                break;
            int *const of[] = {a->tap, a->offset, a->input_class, a->position};
            for (int j = 0; j < 4; j++) {
                const int other = of[j][t];
                of[j][t] = of[j][t - 1];
                of[j][t - 1] = other;
            }
        }
}

/* Lets all residue classes of backward-data read one packed input: its position 0 is the least input
 * that any of them reads. */
static void share_packed_input(gemm_axis *axes, int count)
{
    int first = INT_MAX, last = INT_MIN;
    for (int i = 0; i < count; i++) {
        axes[i].room = axes[0].outputs;
        for (int t = 0; t < axes[i].taps; t++) {
            first = axes[i].offset[t] < first ? axes[i].offset[t] : first;
            last = axes[i].offset[t] > last ? axes[i].offset[t] : last;
        }
    }
    for (int i = 0; i < count; i++) {
        gemm_axis *a = &axes[i];
        if (a->taps == 0)
            continue;
        for (int t = 0; t < a->taps; t++)
            a->position[t] = a->offset[t] - first;
        a->origin[0] = first;
        a->last_position = last - first;
    }
}

static int remainder_of(int offset, int step)
{
    return (offset % step + step) % step;
}

/* Gives every tap its input class and position. */
static void place_taps(gemm_axis *a)
{
    for (int t = 0; t < a->taps; t++) {
        int residue = remainder_of(a->offset[t], a->input_step), z = 0;
        while (z < a->input_classes && remainder_of(a->origin[z], a->input_step) != residue)
            z++;
        if (z == a->input_classes)
            a->origin[a->input_classes++] = a->offset[t];
        if (a->offset[t] < a->origin[z])
            a->origin[z] = a->offset[t];
        a->input_class[t] = z;
    }
    for (int t = 0; t < a->taps; t++) {
        a->position[t] = (a->offset[t] - a->origin[a->input_class[t]]) / a->input_step;
        a->last_position = a->position[t] > a->last_position ? a->position[t] : a->last_position;
    }
}

/* The axes along one dimension: one for forward and backward-weights; for backward-data one for each
 * remainder modulo the stride. `in` and `out` are the pass's. NULL when memory runs out. */
static gemm_axis *axes_create(wf_conv2d_pass pass, int in, int out, int kernel, int stride,
                              int padding, int dilation)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int count = data ? stride : 1;
    gemm_axis *axes = calloc((size_t)count, sizeof *axes);
    int *store = calloc((size_t)count * (size_t)kernel, 5 * sizeof *store);
    if (!axes || !store) {
        free(axes);
        free(store);
        return NULL;
    }
    axes[0].tap = store; /* axes_destroy frees it */
    for (int i = 0; i < count; i++, store += 5 * (size_t)kernel) {
        gemm_axis *a = &axes[i];
        a->inputs = in;
        a->input_step = data ? 1 : stride;
        a->first_output = i;
        a->output_step = count;
        a->outputs = i < out ? (out - i + count - 1) / count : 0;
        a->tap = store;
        a->offset = store + kernel;
        a->input_class = store + 2 * (size_t)kernel;
        a->position = store + 3 * (size_t)kernel;
        a->origin = store + 4 * (size_t)kernel;
        for (int t = 0; t < kernel; t++) {
            int offset = data ? i + padding - t * dilation : t * dilation - padding;
            if (!data)
                add_tap(a, t, offset);
            else if (offset % stride == 0)
                add_tap(a, t, offset / stride);
        }
        a->room = a->outputs;
        place_taps(a);
        if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
            sort_taps(a);
    }
    if (data)
        share_packed_input(axes, count);
    return axes;
}

static void axes_destroy(gemm_axis *axes)
{
    if (axes)
        free(axes[0].tap);
    free(axes);
}

/* ---- channels -------------------------------------------------------------------------------- */

gemm_kind gemm_kind_of(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int inputs = (data ? d->K : d->C) / d->groups, outputs = (data ? d->C : d->K) / d->groups;
    const int block = data ? d->dst_block : d->src_block;
    if (d->groups > 1 && outputs % L != 0)
        return inputs == outputs && L % outputs == 0 && block == L ? GEMM_ROTATE : GEMM_LANES;
    return block == 1 ? GEMM_PLAIN : GEMM_DENSE;
}

bool gemm_reads(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool bytes = d->src_type == WEFT_U8 && d->src_block == 1 &&
                       pass != WF_CONV2D_BACKWARD_DATA && gemm_kind_of(d, pass) == GEMM_PLAIN;
    return (d->src_type == WEFT_F32 || bytes) && d->weights_type == WEFT_F32 &&
           d->dst_type == WEFT_F32;
}

static double axis_share_met(int in, int out, int kernel, int stride, int padding, int dilation)
{
    double met = 0;
    for (int t = 0; t < kernel; t++) {
        int begin, end;
        wf_conv2d_range(in, out, stride, padding, dilation, t, &begin, &end);
        met += end - begin;
    }
    return met / ((double)out * kernel);
}

double gemm_share_met(const wf_conv2d_desc *d)
{
    return axis_share_met(d->H, d->P, d->R, d->stride[0], d->padding[0], d->dilation[0]) *
           axis_share_met(d->W, d->Q, d->S, d->stride[1], d->padding[1], d->dilation[1]);
}

int gemm_channel(const gemm_geometry *g, int set, int v, int c)
{
    if (g->kind == GEMM_LANES) {
        int o = set * L + c;
        return o < g->out.C ? o / g->group_outputs * g->group_inputs + v : -1;
    }
    if (g->kind == GEMM_ROTATE)
        return set * L + c < g->in.C ? set * L + c : -1;
    int i = v * g->vector_channels + c;
    return i < g->group_inputs ? set * g->group_inputs + i : -1;
}

bool gemm_geometry_init(gemm_geometry *g, const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    *g = (gemm_geometry){.kind = gemm_kind_of(d, pass),
                         .in = data ? wf_conv2d_dst(d) : wf_conv2d_src(d),
                         .out = data ? wf_conv2d_src(d) : wf_conv2d_dst(d),
                         .groups = d->groups,
                         .row_classes = data ? d->stride[0] : 1,
                         .column_classes = data ? d->stride[1] : 1};
    g->group_inputs = g->in.C / d->groups;
    g->group_outputs = g->out.C / d->groups;
    if (g->kind >= GEMM_LANES) {
        g->sets = (g->out.C + L - 1) / L;
        g->output_vectors = 1;
        g->input_vectors = g->kind == GEMM_ROTATE ? 1 : g->group_inputs;
    } else {
        g->sets = d->groups;
        g->output_vectors = (g->group_outputs + L - 1) / L;
        g->input_vectors = g->kind == GEMM_PLAIN ? g->group_inputs : (g->group_inputs + L - 1) / L;
    }
    g->vector_channels = g->kind == GEMM_DENSE ? L : g->kind == GEMM_ROTATE ? g->group_outputs : 1;
    g->pixel_floats = g->kind == GEMM_PLAIN ? 1 : L;
    g->row_axis =
        axes_create(pass, g->in.H, g->out.H, d->R, d->stride[0], d->padding[0], d->dilation[0]);
    g->column_axis =
        axes_create(pass, g->in.W, g->out.W, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    if (g->row_axis && g->column_axis)
        return true;
    gemm_geometry_done(g);
    return false;
}

void gemm_geometry_done(gemm_geometry *g)
{
    axes_destroy(g->row_axis);
    axes_destroy(g->column_axis);
    g->row_axis = g->column_axis = NULL;
}
