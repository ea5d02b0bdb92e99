/* Clipping gradients (internal): sum_squares, clip_coefficient, scale_by, clip_value. They are
 * ordinary nodes between the gradients and the updates that read them, so they run before the
 * commit phase.
 *
 * A sum of squares is computed in double: over runs of WF_CHUNK elements in eight interleaved
 * chains, then over the runs as in Note [Fixed reduction trees]. So it depends on the shape
 * alone. */
#include <math.h>

#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/reduce/reduce.h"

#define INTERNAL                                                                                   \
    .of_nothing = WF_EMPTY_ZERO,                                                                   \
    .no_grad_reason = "it works on gradients; second derivatives are not built",                   \
    .no_sample_reason = "it has no gradient; the tests of clipping run it"

static const wf_type f64_scalar = {WEFT_F64, {0, {0}}};

typedef struct clip_args {
    wf_cut cut;
    wf_buf x, y;
    wf_buf by; /* scale_by: the factor; sum_squares: one double for each run */
    size_t size;
    int scalar;
    weft_dtype dtype;
    const wf_eltwise *kernels;
} clip_args;

/* ---- sum_squares: f64 scalar ---- */

static weft_status infer_sum(wf_infer *f)
{
    WF_TRY(wf_infer_float(f, 0));
    f->out[0] = f64_scalar;
    return WEFT_OK;
}

enum { CHAINS = 8 };

double wf_sum_squares_f32(size_t n, const float *x)
{
    double s[CHAINS] = {0};
    size_t i = 0;
    for (; i + CHAINS <= n; i += CHAINS)
        for (int j = 0; j < CHAINS; j++)
            s[j] += (double)x[i + (size_t)j] * (double)x[i + (size_t)j];
    for (; i < n; i++)
        s[i % CHAINS] += (double)x[i] * (double)x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

double wf_sum_squares_f64(size_t n, const double *x)
{
    double s[CHAINS] = {0};
    for (size_t i = 0; i < n; i++)
        s[i % CHAINS] += x[i] * x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static weft_status run_sum(const wf_tile *t, const void *vargs, int64_t tile)
{
    const clip_args *a = vargs;
    const void *x = wf_cut_ptr(&a->cut, t, a->x, a->size, tile);
    size_t n = wf_cut_count(&a->cut, tile);
    double *sum = wf_image(t, a->by, tile);
    *sum = a->dtype == WEFT_F32 ? wf_sum_squares_f32(n, x) : wf_sum_squares_f64(n, x);
    return WEFT_OK;
}

static weft_status run_merge(const wf_tile *t, const void *vargs, int64_t tile)
{
    const clip_args *a = vargs;
    wf_tree tree;
    wf_tree_init(&tree);
    for (int64_t i = 0; i < a->cut.tiles; i++)
        wf_tree_push(&tree, *(const double *)wf_image(t, a->by, i));
    *(double *)wf_data(t, a->y) = wf_tree_sum(&tree);
    return WEFT_OK;
}

static weft_status lower_sum(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0);
    clip_args a = {.cut = wf_cut_elements(&x),
                   .x = x.buf,
                   .y = wf_lower_out(l, 0).buf,
                   .size = weft_dtype_size(x.dtype),
                   .dtype = x.dtype};
    a.by = wf_lower_temp(l, a.cut.tiles, sizeof(double));
    if (a.by < 0)
        return WEFT_ERR_NOMEM;
    wf_task *sum = wf_lower_task(l, "ref", run_sum, &a, sizeof(a), a.cut.tiles);
    wf_reads(sum, a.x, WF_WHOLE);
    wf_writes(sum, a.by, WF_WHOLE);
    wf_cost(sum, 2.0 * (double)a.cut.total, (double)a.cut.total * (double)a.size);
    wf_task *merge = wf_lower_task(l, "ref", run_merge, &a, sizeof(a), 1);
    wf_reads(merge, a.by, WF_WHOLE);
    wf_writes(merge, a.y, WF_WHOLE);
    wf_cost(merge, (double)a.cut.tiles, 8.0 * (double)a.cut.tiles);
    return sum ? wf_lowered(l, merge) : WEFT_ERR_NOMEM;
}

const wf_op wf_op_sum_squares = {.name = "sum_squares",
                                 .n_out = 1,
                                 .layout_rule = WF_LAYOUT_PLAIN,
                                 .infer = infer_sum,
                                 .lower = lower_sum,
                                 INTERNAL};

/* ---- clip_coefficient: from sums of squares, the total norm and the factor ---- */

static weft_status infer_coefficient(wf_infer *f)
{
    f->out[0] = f->out[1] = f64_scalar;
    return WEFT_OK;
}

typedef struct coefficient_args {
    wf_buf norm, factor;
    int scalar, n;
    wf_buf in[];
} coefficient_args;

/* As torch: min(1, max_norm / (norm + 1e-6)); NaN stays NaN. */
static weft_status run_coefficient(const wf_tile *t, const void *vargs, int64_t tile)
{
    const coefficient_args *a = *(const coefficient_args *const *)vargs;
    wf_tree tree;
    wf_tree_init(&tree);
    for (int i = 0; i < a->n; i++)
        wf_tree_push(&tree, *(const double *)wf_data(t, a->in[i]));
    double norm = sqrt(wf_tree_sum(&tree)), factor = t->scalars[a->scalar] / (norm + 1e-6);
    *(double *)wf_data(t, a->norm) = norm;
    *(double *)wf_data(t, a->factor) = factor > 1 ? 1 : factor;
    return WEFT_OK;
}

static weft_status lower_coefficient(wf_lower *l)
{
    coefficient_args *a = wf_alloc(sizeof(*a) + (size_t)l->n_in * sizeof(a->in[0]));
    if (!a)
        return wf_lower_fail(l, WEFT_ERR_NOMEM, "out of memory");
    *a = (coefficient_args){wf_lower_out(l, 0).buf, wf_lower_out(l, 1).buf, l->scalar, l->n_in};
    for (int i = 0; i < l->n_in; i++)
        a->in[i] = wf_lower_in(l, i).buf;
    WF_TRY(wf_lower_own(l, a, wf_free));
    wf_task *task = wf_lower_task(l, "ref", run_coefficient, &a, sizeof(a), 1);
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, a->in[i], WF_WHOLE);
    wf_writes(task, a->norm, WF_WHOLE);
    wf_writes(task, a->factor, WF_WHOLE);
    wf_cost(task, l->n_in, 8.0 * l->n_in);
    return wf_lowered(l, task);
}

const wf_op wf_op_clip_coefficient = {.name = "clip_coefficient",
                                      .n_out = 2,
                                      .n_scalars = 1,
                                      .layout_rule = WF_LAYOUT_PLAIN,
                                      .infer = infer_coefficient,
                                      .lower = lower_coefficient,
                                      INTERNAL};

/* ---- scale_by: x times an f64 scalar; clip_value: x limited to [-c, c] ---- */

static weft_status infer_first(wf_infer *f)
{
    WF_TRY(wf_infer_float(f, 0));
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status run_scale(const wf_tile *t, const void *vargs, int64_t tile)
{
    const clip_args *a = vargs;
    a->kernels->scale(wf_cut_count(&a->cut, tile), wf_cut_ptr(&a->cut, t, a->x, a->size, tile),
                      *(const double *)wf_data(t, a->by),
                      wf_cut_ptr(&a->cut, t, a->y, a->size, tile));
    return WEFT_OK;
}

static weft_status run_clamp(const wf_tile *t, const void *vargs, int64_t tile)
{
    const clip_args *a = vargs;
    size_t n = wf_cut_count(&a->cut, tile);
    const void *vx = wf_cut_ptr(&a->cut, t, a->x, a->size, tile);
    void *vy = wf_cut_ptr(&a->cut, t, a->y, a->size, tile);
    if (a->dtype == WEFT_F32) {
        const float *x = vx, c = (float)t->scalars[a->scalar];
        float *y = vy;
        for (size_t i = 0; i < n; i++) /* NaN stays NaN */
            y[i] = x[i] > c ? c : x[i] < -c ? -c : x[i];
    } else {
        const double *x = vx, c = t->scalars[a->scalar];
        double *y = vy;
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] > c ? c : x[i] < -c ? -c : x[i];
    }
    return WEFT_OK;
}

static weft_status lower_element(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0);
    bool scale = l->n_in == 2;
    clip_args a = {.cut = wf_cut_elements(&x),
                   .x = x.buf,
                   .y = wf_lower_out(l, 0).buf,
                   .by = scale ? wf_lower_in(l, 1).buf : -1,
                   .size = weft_dtype_size(x.dtype),
                   .scalar = l->scalar,
                   .dtype = x.dtype,
                   .kernels = wf_eltwise_get(x.dtype, l->isa)};
    wf_task *task = wf_lower_task(l, scale ? a.kernels->name : "ref", scale ? run_scale : run_clamp,
                                  &a, sizeof(a), a.cut.tiles);
    wf_reads(task, a.x, WF_WHOLE);
    if (scale)
        wf_reads(task, a.by, WF_WHOLE);
    wf_writes(task, a.y, WF_WHOLE);
    wf_cost(task, (double)a.cut.total, 2.0 * (double)a.cut.total * (double)a.size);
    return wf_lowered(l, task);
}

const wf_op wf_op_scale_by = {.name = "scale_by",
                              .n_out = 1,
                              .layout_rule = WF_LAYOUT_PLAIN,
                              .inplace = {1},
                              .infer = infer_first,
                              .lower = lower_element,
                              INTERNAL};

const wf_op wf_op_clip_value = {.name = "clip_value",
                                .n_out = 1,
                                .n_scalars = 1,
                                .layout_rule = WF_LAYOUT_PLAIN,
                                .inplace = {1},
                                .infer = infer_first,
                                .lower = lower_element,
                                INTERNAL};
