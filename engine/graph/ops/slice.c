/* slice: every step-th element of a range of one dimension, as Python's x[start:stop:step]. Its
 * gradient puts the elements back, with zeros between. With a step of 1, weft_slice records
 * narrow. */
#include <string.h>

#include "engine/graph/ops/common.h"
#include "kernels/layout/permute.h"

typedef struct slice_attrs {
    int64_t dim, start, step;
    /* size of dimension dim of the output: how many elements are taken; backward: all */
    int64_t length;
} slice_attrs;

static weft_status infer(wf_infer *f)
{
    const slice_attrs *a = f->attrs;
    f->out[0] = f->in[0];
    f->out[0].shape.dim[a->dim] = a->length;
    return WEFT_OK;
}

/* Describes one image, or the whole tensor, as rows of `inner` elements. In each group of rows the
 * larger side has `all` rows, the smaller one `part`: its row i is row first + i * step of the
 * larger side. */
typedef struct slice_args {
    wf_buf x, y;
    bool by_image;
    size_t size, inner;
    int64_t outer, all, part, first, step;
    int64_t rows; /* rows of dimension 0 of y in a tile; unused where by_image */
} slice_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const slice_args *g = vargs;
    const size_t row = g->inner * g->size;
    const char *x = g->by_image ? wf_image(t, g->x, tile) : wf_data(t, g->x);
    char *y = g->by_image ? wf_image(t, g->y, tile) : wf_data(t, g->y);
    const int64_t from = g->by_image ? 0 : tile * g->rows, left = g->part - from;
    const int64_t n = !g->by_image && left > g->rows ? g->rows : left;
    const int64_t inner = (int64_t)g->inner;
    wf_permute(g->size, 3, (const int64_t[]){g->outer, n, inner},
               (const int64_t[]){g->all * inner, g->step * inner, 1},
               x + (size_t)(g->first + from * g->step) * row, y + (size_t)from * row);
    return WEFT_OK;
}

/* Copies rows of `inner` elements: y[i * step] = x[i]. */
static void put(const slice_args *g, int64_t n, const char *x, char *y)
{
    const size_t row = g->inner * g->size, step = (size_t)g->step;
    if (row == sizeof(uint32_t))
        for (size_t i = 0; i < (size_t)n; i++)
            ((uint32_t *)(void *)y)[i * step] = ((const uint32_t *)(const void *)x)[i];
    else if (row == sizeof(uint64_t))
        for (size_t i = 0; i < (size_t)n; i++)
            ((uint64_t *)(void *)y)[i * step] = ((const uint64_t *)(const void *)x)[i];
    else
        for (size_t i = 0; i < (size_t)n; i++)
            memcpy(y + i * step * row, x + i * row, row);
}

/* Here y is the larger side. Clears rows [from, from + n) of each group, then copies elements
 * there. */
static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t tile)
{
    const slice_args *g = vargs;
    const size_t row = g->inner * g->size;
    const char *x = g->by_image ? wf_image(t, g->x, tile) : wf_data(t, g->x);
    char *y = g->by_image ? wf_image(t, g->y, tile) : wf_data(t, g->y);
    const int64_t from = g->by_image ? 0 : tile * g->rows, left = g->all - from;
    const int64_t n = !g->by_image && left > g->rows ? g->rows : left;
    /* The elements i of the slice with from <= first + i * step < from + n. */
    const int64_t before = from - g->first, behind = from + n - g->first;
    int64_t i0 = before > 0 ? (before + g->step - 1) / g->step : 0;
    int64_t i1 = behind > 0 ? (behind + g->step - 1) / g->step : 0;
    i1 = i1 < g->part ? i1 : g->part;
    for (int64_t o = 0; o < g->outer; o++, x += (size_t)g->part * row, y += (size_t)g->all * row) {
        memset(y + (size_t)from * row, 0, (size_t)n * row);
        if (i0 < i1)
            put(g, i1 - i0, x + (size_t)i0 * row, y + (size_t)(g->first + i0 * g->step) * row);
    }
    return WEFT_OK;
}

static weft_status lower_either(wf_lower *l, bool backward)
{
    const slice_attrs *a = l->attrs;
    const wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    const int dim = (int)a->dim;
    slice_args g = {.x = x.buf,
                    .y = y.buf,
                    .by_image = dim > 0,
                    .size = weft_dtype_size(y.dtype),
                    .inner = (size_t)wf_dims_count(&y.shape, dim + 1, y.shape.rank),
                    .outer = dim > 0 ? wf_dims_count(&y.shape, 1, dim) : 1,
                    .all = (backward ? &y : &x)->shape.dim[dim],
                    .part = (backward ? &x : &y)->shape.dim[dim],
                    .first = a->start,
                    .step = a->step};
    const int64_t rows = WF_CHUNK / (int64_t)g.inner;
    g.rows = rows > 1 ? rows : 1;
    wf_task *task = wf_lower_task(l, "slice", backward ? run_backward : run, &g, sizeof(g),
                                  g.by_image ? y.N : (y.N + g.rows - 1) / g.rows);
    wf_reads(task, x.buf, g.by_image ? WF_TILED : WF_WHOLE);
    wf_writes(task, y.buf, g.by_image ? WF_TILED : WF_WHOLE);
    wf_cost(task, 0.0, (double)x.N * (double)x.image_bytes + (double)y.N * (double)y.image_bytes);
    return wf_lowered(l, task);
}

static weft_status lower(wf_lower *l)
{
    return lower_either(l, false);
}

static weft_status lower_backward(wf_lower *l)
{
    return lower_either(l, true);
}

static weft_status grad(wf_grad *g)
{
    slice_attrs a = *(const slice_attrs *)g->attrs;
    a.length = weft_tensor_shape(g->in[0]).dim[a.dim];
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_slice_backward, &a, NULL, 1, g->dout, NULL);
    return WEFT_OK;
}

typedef struct slice_case {
    int dim;
    int64_t start, stop, step;
} slice_case;

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const slice_case *c = user;
    return weft_slice(in[0], c->dim, c->start, c->stop, c->step);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const slice_case part[] = {
        {0, 1, INT64_MAX, 2}, {1, 0, -1, 3}, {2, -3, 100, 2},
        {-1, 0, 7, 2},        {1, 1, 3, 1},  {0, 0, INT64_MAX, 3},
    };
    static const wf_sample_case cases[] = {
        {"images", 1, {{4, {4, 3, 2, 2}}}, apply, &part[0]},
        {"channels", 1, {{4, {2, 8, 2, 2}}}, apply, &part[1]},
        {"rows", 1, {{4, {2, 3, 5, 2}}}, apply, &part[2]},
        {"the last dimension", 1, {{3, {2, 3, 7}}}, apply, &part[3]},
        {"without a step", 1, {{3, {2, 5, 3}}}, apply, &part[4]},
        {"a vector", 1, {{1, {11}}}, apply, &part[5]},
    };
    return wf_sample_from(ctx, cases, 6, index, s);
}

const wf_op wf_op_slice = {
    .name = "slice",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(slice_attrs),
    .flags = WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_PLAIN,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

const wf_op wf_op_slice_backward = {
    .name = "slice_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(slice_attrs),
    .flags = WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_PLAIN,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "slice's samples run it",
};

/* A bound as Python reads it: a negative one counts from the end; beyond the dimension, it is
 * cut. */
static int64_t bound(int64_t at, int64_t size)
{
    at += at < 0 ? size : 0;
    return at < 0 ? 0 : at > size ? size : at;
}

weft_tensor *weft_slice(weft_tensor *x, int dim, int64_t start, int64_t stop, int64_t step)
{
    WF_SAY("slice", 1, x);
    char text[WF_SHAPE_TEXT];
    weft_context *ctx = wf_record_context("slice", 1, 1, &x);
    if (!ctx)
        return NULL;
    const weft_shape shape = weft_tensor_shape(x);
    if (dim < -shape.rank || dim >= shape.rank) {
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "slice: dimension %d is out of range for a tensor of rank %d", dim,
                     shape.rank);
        return NULL;
    }
    const int d = dim < 0 ? dim + shape.rank : dim;
    const int64_t size = shape.dim[d], first = bound(start, size), end = bound(stop, size);
    if (step < 1) {
        wf_fail_step(ctx, WEFT_ERR_INVALID,
                     "slice: [%lld:%lld:%lld] of dimension %d of %s: the step must be at least 1",
                     (long long)start, (long long)stop, (long long)step, d,
                     weft_shape_format(shape, text, sizeof(text)));
        return NULL;
    }
    if (end <= first)
        return size == 0 ? x : weft_narrow(x, d, first, 0);
    if (end - first <= step && step > 1) /* one element */
        return weft_narrow(x, d, first, 1);
    if (step == 1)
        return end - first == size ? x : weft_narrow(x, d, first, end - first);
    const slice_attrs a = {d, first, step, (end - first - 1) / step + 1};
    return wf_record(&wf_op_slice, &a, NULL, 1, &x, NULL);
}
