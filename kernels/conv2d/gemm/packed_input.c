/* The packed input, which stands in for an im2col matrix: where it has what, and how it is filled. See
 * gemm.h and the diagrams in README.md. Filling one reads the image and writes the caller's memory, no
 * more: any thread. */
#include "kernels/conv2d/gemm/gemm.h"

/* ---- where it has what ----------------------------------------------------------------------- */

bool gemm_contiguous(const gemm_axis *h, const gemm_axis *w)
{
    return h->output_step == 1 && w->output_step == 1 && w->input_classes == 1 &&
           w->last_position == 0;
}

bool gemm_reads_in_place(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w)
{
    return g->kind == GEMM_DENSE && (g->groups == 1 || g->group_inputs % L == 0) && h->taps == 1 &&
           w->taps == 1 && h->offset[0] == 0 && w->offset[0] == 0 && h->input_step == 1 &&
           w->input_step == 1 && h->outputs == h->inputs && w->outputs == w->inputs;
}

/* Positions of an input class, for so many outputs. */
static size_t class_length(const gemm_axis *a, int outputs)
{
    return (size_t)a->last_position + (size_t)outputs;
}

size_t gemm_row_stride(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w)
{
    if (gemm_reads_in_place(g, h, w))
        return (size_t)g->in.W * L;
    return (size_t)w->input_classes * class_length(w, w->room) * g->pixel_floats;
}

size_t gemm_vector_stride(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w, int rows)
{
    if (gemm_reads_in_place(g, h, w))
        return (size_t)g->in.H * (size_t)g->in.W * L;
    return (size_t)h->input_classes * class_length(h, rows) * gemm_row_stride(g, h, w);
}

int gemm_packed_rows(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w,
                     int input_vectors_block_size)
{
    /* Floats of the rows at one position: of all channel vectors and input classes. */
    size_t position =
        (size_t)input_vectors_block_size * gemm_row_stride(g, h, w) * (size_t)h->input_classes;
    size_t most =
        position ? (size_t)gemm_floats(gemm_blocking()->gemm_packed_input_kib) / position : 1;
    size_t last = (size_t)h->last_position;
    most = most > last + 1 ? most - last : 1;
    if (most >= (size_t)h->outputs)
        return h->outputs;
    int blocks = (int)(((size_t)h->outputs + most - 1) / most);
    return (h->outputs + blocks - 1) / blocks;
}

size_t gemm_tap_offset(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w, int rows,
                       int r, int s)
{
    if (gemm_reads_in_place(g, h, w))
        return 0;
    size_t row = (size_t)h->input_class[r] * class_length(h, rows) + (size_t)h->position[r];
    size_t column = (size_t)w->input_class[s] * class_length(w, w->room) + (size_t)w->position[s];
    return row * gemm_row_stride(g, h, w) + column * g->pixel_floats;
}

/* ---- filling it ------------------------------------------------------------------------------ */

/* Where the lanes of a channel vector come from. */
typedef struct source {
    const float *x;       /* of its channel block, image row 0 (PLAIN: of its channel) */
    const uint8_t *bytes; /* PLAIN, of an image of bytes, the same; */
    const float *table;   /* and what the channel's bytes stand for */
    enum { COPY, PERMUTE, GATHER } how;
    int32_t lane[L];   /* PERMUTE: the lane of the channel block */
    size_t element[L]; /* GATHER: the offset at pixel 0 */
    bool is[L];        /* GATHER: false: zero */
    size_t pixel;      /* floats between neighbouring pixels */
} source;

static source source_of(const gemm_geometry *g, int set, int v, gemm_input in)
{
    const float *x = in.x;
    source s = {.how = COPY, .pixel = (size_t)g->in.block};
    int first = gemm_channel(g, set, v, 0), block = first / L;
    if (g->kind == GEMM_PLAIN && in.table) {
        s.bytes = (const uint8_t *)in.x + wf_act_index(g->in, first, 0, 0);
        s.table = in.table + (size_t)first * WF_BYTE_VALUES;
        return s;
    }
    if (g->kind == GEMM_PLAIN) {
        s.x = x + wf_act_index(g->in, first, 0, 0);
        return s;
    }
    if (g->in.block == 1)
        s.how = GATHER;
    for (int l = 0; l < L; l++) {
        int c = gemm_channel(g, set, v, l);
        s.is[l] = c >= 0;
        s.element[l] = c >= 0 ? wf_act_index(g->in, c, 0, 0) : 0;
        s.lane[l] = c >= 0 ? c % L : l; /* no channel: its weights are zero, so any lane will do */
        if (c >= 0 && c / L != block)
            s.how = GATHER;
        else if (s.lane[l] != l && s.how == COPY)
            s.how = PERMUTE;
    }
    if (s.how == GATHER)
        s.x = x;
    else
        s.x = x + wf_act_index(g->in, block * L, 0, 0);
    return s;
}

/* Copies n pixels, the first at element `at` of the source, then every `step` elements. */
static void copy_pixels(const gemm_geometry *g, const source *s, size_t at, size_t step, int n,
                        float *out)
{
    if (s->bytes) {
        const uint8_t *bytes = s->bytes + at;
        const float *table = s->table;
        for (int i = 0; i < n; i++)
            out[i] = table[bytes[(size_t)i * step]];
        return;
    }
    const float *x = s->x + at;
    if (g->kind == GEMM_PLAIN) {
        if (step == 1)
            memcpy(out, x, (size_t)n * sizeof *out);
        else if (step == 2) /* the usual stride: compilers vectorise a loop of constant step */
            for (int i = 0; i < n; i++)
                out[i] = x[2 * i];
        else
            for (int i = 0; i < n; i++)
                out[i] = x[(size_t)i * step];
    } else if (s->how == COPY) {
        for (int i = 0; i < n; i++)
            wf_vstore(out + (size_t)i * L, wf_vload(x + (size_t)i * step));
    } else if (s->how == PERMUTE) {
        wf_vi lane = wf_vi_load(s->lane);
        for (int i = 0; i < n; i++)
            wf_vstore(out + (size_t)i * L, wf_vpermute(wf_vload(x + (size_t)i * step), lane));
    } else {
        for (int i = 0; i < n; i++)
            for (int l = 0; l < L; l++)
                out[(size_t)i * L + (size_t)l] =
                    s->is[l] ? x[(size_t)i * step + s->element[l]] : 0.0f;
    }
}

/* Fills one row from the image row that starts at element `at` of the source: the input classes one
 * after the other, zeros where a position lies in the padding. */
static void fill_row(const gemm_geometry *g, const gemm_axis *w, const source *s, size_t at,
                     float *out)
{
    const int length = (int)class_length(w, w->room);
    for (int z = 0; z < w->input_classes; z++, out += (size_t)length * g->pixel_floats) {
        int first = w->origin[z];
        int begin = first >= 0 ? 0 : (-first + w->input_step - 1) / w->input_step;
        int end = first >= w->inputs ? 0 : (w->inputs - 1 - first) / w->input_step + 1;
        end = end < length ? end : length;
        begin = begin < end ? begin : end;
        memset(out, 0, (size_t)begin * g->pixel_floats * sizeof *out);
        if (begin < end)
            copy_pixels(g, s, at + (size_t)(first + begin * w->input_step) * s->pixel,
                        (size_t)w->input_step * s->pixel, end - begin,
                        out + (size_t)begin * g->pixel_floats);
        memset(out + (size_t)end * g->pixel_floats, 0,
               (size_t)(length - end) * g->pixel_floats * sizeof *out);
    }
}

const float *gemm_pack_input(const gemm_geometry *g, const gemm_axis *h, const gemm_axis *w,
                             gemm_region region, int rows, gemm_input in, float *packed)
{
    if (gemm_reads_in_place(g, h, w))
        return (const float *)in.x +
               wf_act_index(g->in, region.set * g->group_inputs + region.vector_begin * L,
                            region.row_begin, 0);
    const size_t row = gemm_row_stride(g, h, w), image_row = (size_t)g->in.W * (size_t)g->in.block;
    const int length = (int)class_length(h, rows), filled = (int)class_length(h, region.rows);
    float *out = packed;
    for (int v = region.vector_begin; v < region.vector_end; v++) {
        source s = source_of(g, region.set, v, in);
        for (int z = 0; z < h->input_classes; z++)
            for (int i = 0; i < length; i++, out += row) {
                if (i >= filled)
                    continue;
                int64_t at = h->origin[z] + ((int64_t)region.row_begin + i) * h->input_step;
                if (at < 0 || at >= h->inputs)
                    memset(out, 0, row * sizeof *out);
                else
                    fill_row(g, w, &s, (size_t)at * image_row, out);
            }
    }
    return packed;
}
