/* one_hot: turns i64 labels into rows that are 1 at the label and 0 elsewhere, along a new last
 * dimension. A label out of range fails the run. */
#include <stdio.h>
#include <string.h>

#include "engine/graph/ops/common.h"

typedef struct one_hot_attrs {
    int64_t K;
    int64_t dtype; /* weft_dtype of the output */
} one_hot_attrs;

static weft_status infer(wf_infer *f)
{
    const one_hot_attrs *a = f->attrs;
    weft_shape y = f->in[0].shape;
    char text[WF_SHAPE_TEXT];
    if (f->in[0].dtype != WEFT_I64)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "labels are %s, expected i64",
                             weft_dtype_name(f->in[0].dtype));
    if (y.rank == WEFT_MAX_RANK)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "labels are %s, at most %d dimensions are possible",
                             weft_shape_format(y, text, sizeof(text)), WEFT_MAX_RANK - 1);
    y.dim[y.rank++] = a->K;
    f->out[0] = (wf_type){(weft_dtype)a->dtype, y};
    return WEFT_OK;
}

typedef union number {
    float f32;
    double f64;
    int64_t i64;
    int32_t i32;
    uint8_t u8;
} number;

/* Sets *one to 1 in dtype. False: dtype has no ones. */
static bool one_of(weft_dtype dtype, number *one)
{
    switch (dtype) {
    case WEFT_F32: one->f32 = 1; return true;
    case WEFT_F64: one->f64 = 1; return true;
    case WEFT_I64: one->i64 = 1; return true;
    case WEFT_I32: one->i32 = 1; return true;
    case WEFT_U8: one->u8 = 1; return true;
    default: return false;
    }
}

typedef struct one_hot_args {
    wf_buf labels, y;
    weft_shape shape; /* of the labels */
    int64_t rows, K, per_tile;
    size_t size;
    number one;
} one_hot_args;

/* "row 3", or "[1, 2]" where labels have several dimensions. */
static void name_place(const weft_shape *shape, int64_t row, char *text, size_t size)
{
    weft_shape at = {.rank = shape->rank};
    int64_t left = row;
    for (int i = shape->rank - 1; i >= 0; i--) {
        at.dim[i] = left % shape->dim[i];
        left /= shape->dim[i];
    }
    if (shape->rank > 1)
        weft_shape_format(at, text, size);
    else
        snprintf(text, size, "row %lld", (long long)row);
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const one_hot_args *g = vargs;
    const int64_t first = tile * g->per_tile;
    const int64_t n = g->rows - first < g->per_tile ? g->rows - first : g->per_tile;
    const int64_t *labels = (const int64_t *)wf_data(t, g->labels) + first;
    const size_t row = (size_t)g->K * g->size;
    char *y = (char *)wf_data(t, g->y) + (size_t)first * row;
    memset(y, 0, (size_t)n * row);
    for (int64_t i = 0; i < n; i++, y += row) {
        if (labels[i] < 0 || labels[i] >= g->K) {
            char place[WF_SHAPE_TEXT];
            name_place(&g->shape, first + i, place, sizeof(place));
            return wf_tile_fail(t, WEFT_ERR_INVALID, "label %lld at %s is outside [0, %lld)",
                                (long long)labels[i], place, (long long)g->K);
        }
        memcpy(y + (size_t)labels[i] * g->size, &g->one, g->size);
    }
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const one_hot_attrs *a = l->attrs;
    const wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    one_hot_args g = {.labels = x.buf,
                      .y = y.buf,
                      .shape = x.shape,
                      .rows = weft_shape_count(x.shape),
                      .K = a->K,
                      .per_tile = WF_CHUNK / a->K,
                      .size = weft_dtype_size(y.dtype)};
    one_of(y.dtype, &g.one);
    g.per_tile = g.per_tile > 1 ? g.per_tile : 1;
    wf_task *task =
        wf_lower_task(l, "one_hot", run, &g, sizeof(g), (g.rows + g.per_tile - 1) / g.per_tile);
    wf_reads(task, x.buf, WF_WHOLE);
    wf_writes(task, y.buf, WF_WHOLE);
    wf_cost(task, 0.0, (double)g.rows * (8.0 + (double)a->K * (double)g.size));
    return wf_lowered(l, task);
}

const wf_op wf_op_one_hot = {
    .name = "one_hot",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(one_hot_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .no_grad_reason = "a label has no gradient",
    .lower = lower,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

weft_tensor *weft_one_hot(weft_tensor *labels, int num_classes, weft_dtype dtype)
{
    number one;
    weft_context *ctx = wf_record_context("one_hot", 1, 1, &labels);
    if (!ctx)
        return NULL;
    if (num_classes < 1) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "one_hot: %d classes, at least 1 is needed",
                     num_classes);
        return NULL;
    }
    if (!one_of(dtype, &one)) {
        wf_fail_step(ctx, WEFT_ERR_DTYPE, "one_hot: the result cannot be %s",
                     weft_dtype_name(dtype));
        return NULL;
    }
    const one_hot_attrs a = {num_classes, dtype};
    return wf_record(&wf_op_one_hot, &a, NULL, 1, &labels, NULL);
}
