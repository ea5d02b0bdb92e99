/* What both AMX kernels ask of a shape, its axes, and the plan of a frame: Note [Frames] in amx.h. Pure
 * functions. */
#include <stdlib.h>

#include "kernels/conv2d/amx/amx.h"

static const char *type_misfit(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const weft_dtype in = data ? d->dst_type : d->src_type, out = data ? d->src_type : d->dst_type;
    if (d->weights_type != WEFT_F32)
        return "needs weights of f32";
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS && d->dst_type != WEFT_BF16)
        return "reads ddst of bf16";
    if (pass != WF_CONV2D_BACKWARD_WEIGHTS && out != WEFT_BF16 && out != WEFT_F32)
        return "writes bf16 or f32";
    if (!amx_reads_patches(d))
        return in == WEFT_BF16 ? NULL : "reads blocked images of bf16";
    if (d->dst_type != WEFT_BF16)
        return "reads plain images where dst is bf16"; /* else the layer is one of f32 */
    return in == WEFT_F32 || in == WEFT_U8 ? NULL : "reads plain images of f32 or u8";
}

const char *amx_misfit(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
#if !defined(WF_SIMD_EMULATE) && !defined(WF_SIMD_TILE_EMUL)
    if (wf_cpu_bf16() < WF_BF16_AMX)
        return "needs amx";
#endif
    const bool patches = amx_reads_patches(d);
    if (d->dst_block != L || (d->src_block != L && !patches))
        return "needs dst in blocks of 16 channels, src too or plain";
    if (patches && (pass == WF_CONV2D_BACKWARD_DATA || d->groups > 1))
        return "reads plain images forward and backward-weights, without groups";
    if (patches && (int64_t)d->C * d->R * d->S > 4096)
        return "patches of more than 4096 numbers";
    if (d->groups > 1 && (d->C / d->groups % L || d->K / d->groups % L))
        return "groups of no whole blocks: pairs of channels would cross them";
    if ((int64_t)d->H * d->W >= AMX_MAX_PLANE_ELEMENTS / L ||
        (int64_t)d->P * d->Q >= AMX_MAX_PLANE_ELEMENTS / L)
        return "planes of 2^28 elements or more";
    return type_misfit(d, pass);
}

/* The index of a remainder among an axis's phases, to which it is added. */
static int phase_of(amx_axis *a, int remainder)
{
    for (int i = 0; i < a->phases; i++)
        if (a->remainder[i] == remainder)
            return i;
    a->remainder[a->phases] = remainder;
    return a->phases++;
}

/* Adds tap t, through which output i reads input (i + offset) * step + remainder, if any of them does. */
static void add_tap(amx_axis *a, int t, int offset, int remainder)
{
    const int rows = a->inputs > remainder ? (a->inputs - remainder - 1) / a->step + 1 : 0;
    if (a->outputs == 0 || offset >= rows || offset + a->outputs <= 0)
        return;
    a->tap[a->taps] = t;
    a->offset[a->taps] = offset;
    a->phase[a->taps++] = phase_of(a, remainder);
}

amx_axis *amx_axes(wf_conv2d_pass pass, int in, int out, int kernel, int stride, int padding,
                   int dilation)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int count = data ? stride : 1;
    amx_axis *axes = malloc((size_t)count * (sizeof *axes + 4 * (size_t)kernel * sizeof(int)));
    int *store = (int *)(axes + count);
    if (!axes)
        return NULL;
    for (int i = 0; i < count; i++, store += 4 * kernel) {
        amx_axis *a = &axes[i];
        *a = (amx_axis){.outputs = i < out ? (out - i + count - 1) / count : 0,
                        .first_output = i,
                        .output_step = count,
                        .inputs = in,
                        .step = data ? 1 : stride,
                        .tap = store,
                        .offset = store + kernel,
                        .phase = store + 2 * kernel,
                        .remainder = store + 3 * kernel};
        for (int j = 0; j < kernel; j++) { /* backward-data: from the smallest offset on, too */
            const int t = data ? kernel - 1 - j : j;
            const int at = data ? i + padding - t * dilation : t * dilation - padding;
            const int remainder = (at % stride + stride) % stride;
            if (!data || remainder == 0)
                add_tap(a, t, (at - remainder) / stride, remainder);
        }
    }
    return axes;
}

static amx_extent extent_of(const amx_axis *axes, int n)
{
    amx_extent e = {0};
    int least = INT32_MAX, largest = INT32_MIN, rows = 0;
    for (int i = 0; i < n; i++) {
        const amx_axis *a = &axes[i];
        for (int t = 0; t < a->taps; t++) {
            least = a->offset[t] < least ? a->offset[t] : least;
            largest = a->offset[t] > largest ? a->offset[t] : largest;
        }
        for (int j = 0; j < a->phases; j++) {
            const int has = (a->inputs - a->remainder[j] - 1) / a->step + 1;
            rows = has > rows ? has : rows;
        }
        e.most_outputs = a->outputs > e.most_outputs ? a->outputs : e.most_outputs;
    }
    const int end = e.most_outputs - 1 + largest; /* the last row that an output reads */
    const int last = end < rows ? end : rows - 1;
    e.least = least;
    e.span = largest - least;
    e.first = least > 0 ? least : 0;
    e.count = last - e.first + 1;
    e.lead = e.first - least > end - last ? e.first - least : end - last;
    return e;
}

/* Of blocks of at most `most` of the rows, and half as many at least, those that fill steps of pixels best. */
static int rows_of_block(int rows, int most, int pitch, int columns)
{
    int64_t least = INT64_MAX;
    int best = most;
    for (int n = most; n > most / 2; n--) {
        const int rest = rows % n;
        const int64_t steps =
            (int64_t)(rows / n) * amx_pieces((n - 1) * pitch + columns, AMX_STEP) +
            (rest ? amx_pieces((rest - 1) * pitch + columns, AMX_STEP) : 0);
        if (steps < least) {
            least = steps;
            best = n;
        }
    }
    return best;
}

void amx_plan_frame(amx_frame *f, wf_act in, const amx_axis *rows, int n_rows,
                    const amx_axis *columns, int n_columns, int64_t cells, int rows_at_once,
                    int images)
{
    const amx_extent h = extent_of(rows, n_rows), w = extent_of(columns, n_columns);
    *f = (amx_frame){.in = in, .h = rows, .w = columns, .rows = h, .columns = w};
    for (int i = 1; i < n_rows && f->h->taps == 0; i++)
        f->h = &rows[i];
    for (int i = 1; i < n_columns && f->w->taps == 0; i++)
        f->w = &columns[i];
    f->pitch = w.count + w.lead;
    f->pitch = f->pitch < w.most_outputs ? w.most_outputs : f->pitch;
    const int whole_rows = h.count + h.lead > h.most_outputs ? h.count + h.lead : h.most_outputs;
    const int64_t image_cells = (int64_t)whole_rows * f->pitch;
    int stored;
    if (image_cells <= cells && rows_at_once >= h.most_outputs) {
        const int64_t room = cells / image_cells;
        f->whole = true;
        f->block_rows = h.most_outputs;
        f->images = room < images ? (int)room : images;
        f->image_rows = whole_rows;
        f->origin = h.first - h.lead;
        stored = f->images * whole_rows + h.lead;
    } else {
        const int64_t room = cells / f->pitch - h.span;
        const int most = room < 1 ? 1 : room < rows_at_once ? (int)room : rows_at_once;
        f->images = 1;
        f->block_rows = rows_of_block(h.most_outputs, most, f->pitch, w.most_outputs);
        f->image_rows = f->block_rows + h.span;
        f->origin = h.least;
        stored = f->image_rows;
    }
    /* Tiles begin at multiples of AMX_PIXELS, and end as much behind the last output. */
    f->plane_cells = (size_t)wf_round_up(stored * f->pitch + w.lead + 2 * AMX_PIXELS, 2);
}
