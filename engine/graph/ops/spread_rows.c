/* See spread_rows.h. The dimensions of the result are merged where
 * this changes no operand's addresses. The last one that remains is a row: of each operand it has n
 * elements side by side, or one. The dimension before it says how many rows a call of the kernel takes. */
#include "engine/graph/ops/spread_rows.h"

#include "engine/graph/ops/dims.h"

enum {
    OPERANDS = WF_PW_OPERANDS,
    LONG = 32 /* elements: two vectors of the widest instruction set */
};

/* The merged dimensions of the result, or of one of its images, and each operand's strides along them, in
 * elements; the last stride is 0 or 1. */
typedef struct geometry {
    int rank;
    int64_t dim[WEFT_MAX_RANK], stride[OPERANDS][WEFT_MAX_RANK];
    bool tiled[OPERANDS]; /* begins with the tile's image, else with the buffer */
} geometry;

typedef struct rows_args {
    wf_cut cut;
    geometry of;
    int n_in, n_out;
    wf_buf in[OPERANDS], out[WF_PW_RESULTS];
    size_t size;
    wf_pointwise_fn fn;
} rows_args;

/* Appends a dimension behind the others, or merges it with the last one. */
static void append(geometry *g, int n_in, int64_t dim, const int64_t *stride)
{
    const int last = g->rank - 1;
    bool joins = last >= 0;
    for (int k = 0; k < n_in && joins; k++)
        joins = g->stride[k][last] == stride[k] * dim;
    const int at = joins ? last : g->rank++;
    g->dim[at] = joins ? g->dim[at] * dim : dim;
    for (int k = 0; k < n_in; k++)
        g->stride[k][at] = stride[k];
}

static geometry geometry_of(const wf_lower *l, const wf_operand *y, const wf_cut *cut)
{
    geometry g = {.rank = 0};
    int64_t all[OPERANDS][WEFT_MAX_RANK] = {{0}};
    for (int k = 0; k < l->n_in; k++) {
        const wf_operand x = wf_lower_in(l, k);
        wf_broadcast_strides(&x.shape, &y->shape, all[k]);
        g.tiled[k] =
            cut->access == WF_TILED && (weft_shape_equal(x.shape, y->shape) || all[k][0] != 0);
    }
    for (int i = cut->access == WF_TILED ? 1 : 0; i < y->shape.rank; i++) {
        int64_t stride[OPERANDS];
        for (int k = 0; k < l->n_in; k++)
            stride[k] = all[k][i];
        if (y->shape.dim[i] != 1)
            append(&g, l->n_in, y->shape.dim[i], stride);
    }
    if (g.rank == 0) /* of one element */
        g.dim[g.rank++] = 1;
    return g;
}

bool wf_spread_has_long_rows(const wf_lower *l)
{
    const wf_operand y = wf_lower_out(l, 0);
    const wf_cut cut = wf_cut_images(&y);
    const geometry g = geometry_of(l, &y, &cut);
    return g.rank == 1 || g.dim[g.rank - 1] >= LONG;
}

/* The rows, or the part of a row, that begin at element `at` and end before `end`; each operand's offset
 * there. */
static wf_pointwise_rows rows_at(const geometry *g, int n_in, int64_t at, int64_t end,
                                 int64_t *offset)
{
    const int last = g->rank - 1;
    const int64_t column = at % g->dim[last];
    int64_t row = at / g->dim[last], rows = 1, n = g->dim[last] - column;
    if (last > 0 && column == 0 && end - at >= n) {
        const int64_t together = g->dim[last - 1] - row % g->dim[last - 1], fit = (end - at) / n;
        rows = together < fit ? together : fit;
    }
    n = n < end - at ? n : end - at;
    wf_pointwise_rows r = {.rows = (size_t)rows, .n = (size_t)n};
    for (int k = 0; k < n_in; k++) {
        r.one[k] = g->stride[k][last] == 0;
        r.row[k] = last > 0 ? (size_t)g->stride[k][last - 1] : 0;
        offset[k] = column * g->stride[k][last];
    }
    for (int i = last - 1; i >= 0; i--) {
        for (int k = 0; k < n_in; k++)
            offset[k] += row % g->dim[i] * g->stride[k][i];
        row /= g->dim[i];
    }
    return r;
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const rows_args *g = vargs;
    const bool images = g->cut.access == WF_TILED;
    const int64_t first = images ? 0 : tile * g->cut.chunk;
    const int64_t end = first + (int64_t)wf_cut_count(&g->cut, tile);
    for (int64_t at = first; at < end;) {
        int64_t offset[OPERANDS];
        const void *in[OPERANDS] = {NULL};
        void *out[WF_PW_RESULTS] = {NULL};
        const wf_pointwise_rows r = rows_at(&g->of, g->n_in, at, end, offset);
        for (int k = 0; k < g->n_in; k++)
            in[k] = (char *)(g->of.tiled[k] ? wf_image(t, g->in[k], tile) : wf_data(t, g->in[k])) +
                    (size_t)offset[k] * g->size;
        for (int o = 0; o < g->n_out; o++)
            out[o] = (char *)(images ? wf_image(t, g->out[o], tile) : wf_data(t, g->out[o])) +
                     (size_t)at * g->size;
        g->fn(&r, in, out);
        at += (int64_t)(r.rows * r.n);
    }
    return WEFT_OK;
}

weft_status wf_spread_rows_lower(wf_lower *l, const char *kernel, wf_pointwise_fn fn)
{
    const wf_operand y = wf_lower_out(l, 0);
    rows_args g = {.cut = wf_cut_images(&y), .n_in = l->n_in, .n_out = l->n_out, .fn = fn};
    double bytes = l->n_out * (double)y.N * (double)y.image_bytes;
    g.size = weft_dtype_size(y.dtype);
    g.of = geometry_of(l, &y, &g.cut);
    for (int o = 0; o < l->n_out; o++)
        g.out[o] = wf_lower_out(l, o).buf;
    for (int k = 0; k < l->n_in; k++) {
        const wf_operand x = wf_lower_in(l, k);
        g.in[k] = x.buf;
        bytes += (double)x.N * (double)x.image_bytes;
    }
    wf_task *task = wf_lower_task(l, kernel, run, &g, sizeof(g), g.cut.tiles);
    for (int k = 0; k < l->n_in; k++)
        wf_reads(task, g.in[k], g.of.tiled[k] ? g.cut.access : WF_WHOLE);
    for (int o = 0; o < l->n_out; o++)
        wf_writes(task, g.out[o], g.cut.access);
    wf_cost(task, (double)g.cut.total, bytes);
    return wf_lowered(l, task);
}
