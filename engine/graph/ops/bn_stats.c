/* bn_stats: mean, biased variance and 1/sqrt(var + eps) of each channel; bn_invstd: the last of
 * these from a variance; bn_running: the update of the running statistics. See batch_norm.h. */
#include <math.h>
#include <string.h>

#include "engine/graph/ops/batch_norm.h"

/* ---- bn_stats ------------------------------------------------------------------------------- */

typedef struct stats_args {
    wf_bn_splits splits;
    wf_buf x, moments, mean, var, invstd;
    weft_dtype dtype;
    double eps;
    const wf_norm_fns *fns;
} stats_args;

static weft_status run_split(const wf_tile *t, const void *vargs, int64_t i)
{
    const stats_args *a = vargs;
    const wf_bn_tile b = wf_bn_tile_of(&a->splits, t, i);
    a->fns->stats(b.act, wf_bn_image(&b, a->x), wf_bn_partial(&b, a->moments));
    return WEFT_OK;
}

static weft_status run_combine(const wf_tile *t, const void *vargs, int64_t tile)
{
    const stats_args *a = vargs;
    const wf_bn_splits *s = &a->splits;
    const wf_bn_merged m = wf_bn_merged_of(s, t, a->moments, tile);
    wf_norm_combine_stats(m.partials, s->n, s->pixels, s->last_pixels, m.C, m.c0, m.c1, a->eps,
                          a->dtype, wf_bn_merged_at(&m, t, a->mean, a->dtype),
                          wf_bn_merged_at(&m, t, a->var, a->dtype),
                          wf_bn_merged_at(&m, t, a->invstd, a->dtype));
    return WEFT_OK;
}

static weft_status lower_stats(wf_lower *l)
{
    const wf_bn_stats_attrs *attrs = l->attrs;
    wf_operand x = wf_lower_in(l, 0);
    stats_args a = {.splits = wf_bn_splits_of(&x),
                    .x = x.buf,
                    .mean = wf_lower_out(l, 0).buf,
                    .var = wf_lower_out(l, 1).buf,
                    .invstd = wf_lower_out(l, 2).buf,
                    .dtype = wf_lower_out(l, 0).dtype,
                    .eps = attrs->eps,
                    .fns = wf_bn_kernels(l, &x)};
    if (!a.fns)
        return WEFT_ERR_UNSUPPORTED;
    const double elements = (double)wf_operand_count(&x);
    a.moments = wf_bn_sums(l, &a.splits);
    if (a.moments < 0)
        return WEFT_ERR_NOMEM;

    wf_task *task = wf_lower_task(l, a.fns->name, run_split, &a, sizeof a, wf_bn_tiles(&a.splits));
    wf_reads(task, x.buf, a.splits.access);
    wf_writes(task, a.moments, a.splits.parts > 1 ? WF_WHOLE : WF_TILED);
    wf_cost(task, 4 * elements, elements * (double)weft_dtype_size(x.dtype));

    return wf_lowered(l, wf_bn_merge(l, run_combine, &a, sizeof a, &a.splits, a.moments,
                                     (wf_buf[]){a.mean, a.var, a.invstd}, 3, 4));
}

static weft_status infer_stats(wf_infer *f)
{
    WF_TRY(wf_bn_infer_x(f));
    for (int o = 0; o < 3; o++)
        f->out[o] = wf_bn_channel_type(&f->in[0]);
    return WEFT_OK;
}

const wf_op wf_op_bn_stats = {
    .name = "bn_stats",
    .n_out = 3, /* mean, variance, invstd */
    .attr_size = sizeof(wf_bn_stats_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .infer = infer_stats,
    .no_grad_reason = "bn_apply's gradient passes through the statistics too",
    .lower = lower_stats,
    .no_sample_reason = "bn_apply's samples run it",
};

/* ---- bn_invstd ------------------------------------------------------------------------------ */

typedef struct invstd_args {
    wf_buf var, invstd;
    int64_t C;
    weft_dtype dtype;
    double eps;
} invstd_args;

static weft_status run_invstd(const wf_tile *t, const void *vargs, int64_t tile)
{
    const invstd_args *a = vargs;
    for (int64_t c = 0; c < a->C; c++)
        wf_float_set(a->dtype, wf_data(t, a->invstd), c,
                     1 / sqrt(wf_float_get(a->dtype, wf_data(t, a->var), c) + a->eps));
    return WEFT_OK;
}

static weft_status lower_invstd(wf_lower *l)
{
    const wf_bn_stats_attrs *attrs = l->attrs;
    wf_operand var = wf_lower_in(l, 0), invstd = wf_lower_out(l, 0);
    invstd_args a = {var.buf, invstd.buf, var.N, var.dtype, attrs->eps};
    wf_task *task = wf_lower_task(l, "ref", run_invstd, &a, sizeof a, 1);
    wf_reads(task, var.buf, WF_WHOLE);
    wf_writes(task, invstd.buf, WF_WHOLE);
    wf_cost(task, 20.0 * (double)a.C, 2.0 * (double)(a.C * (int64_t)weft_dtype_size(var.dtype)));
    return wf_lowered(l, task);
}

static weft_status infer_invstd(wf_infer *f)
{
    WF_TRY(wf_infer_float(f, 0));
    if (f->in[0].shape.rank != 1)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "the variance has rank %d, expected 1",
                             f->in[0].shape.rank);
    f->out[0] = f->in[0];
    return WEFT_OK;
}

const wf_op wf_op_bn_invstd = {
    .name = "bn_invstd",
    .n_out = 1,
    .attr_size = sizeof(wf_bn_stats_attrs),
    .layout_rule = WF_LAYOUT_SAME,
    .infer = infer_invstd,
    .no_grad_reason = "running statistics take no gradient",
    .lower = lower_invstd,
    .no_sample_reason = "bn_apply's samples run it",
};

/* ---- bn_running ----------------------------------------------------------------------------- */

typedef struct running_args {
    wf_buf in[5], out[3]; /* running mean, running var, batch mean, batch var, tracked */
    int64_t C, count, cumulative;
    bool tracked;
    int scalar;
    weft_dtype dtype;
} running_args;

/* As torch: the running variance is the unbiased variance, and the counter includes this batch. */
static weft_status run_running(const wf_tile *t, const void *vargs, int64_t tile)
{
    const running_args *a = vargs;
    double m = t->scalars[a->scalar];
    if (a->tracked) {
        int64_t batches = *(const int64_t *)wf_data(t, a->in[4]) + 1;
        *(int64_t *)wf_data(t, a->out[2]) = batches;
        if (a->cumulative)
            m = 1 / (double)batches;
    }
    if (a->count == 0) { /* an empty batch counts, but has no statistics */
        for (int i = 0; i < 2; i++)
            /* memmove: both may be the same memory */
            memmove(wf_data(t, a->out[i]), wf_data(t, a->in[i]),
                    (size_t)a->C * weft_dtype_size(a->dtype));
        return WEFT_OK;
    }
    const double unbiased = (double)a->count / (double)(a->count - 1);
    for (int64_t c = 0; c < a->C; c++) {
        double mean = wf_float_get(a->dtype, wf_data(t, a->in[0]), c);
        double var = wf_float_get(a->dtype, wf_data(t, a->in[1]), c);
        mean = (1 - m) * mean + m * wf_float_get(a->dtype, wf_data(t, a->in[2]), c);
        var = (1 - m) * var + m * unbiased * wf_float_get(a->dtype, wf_data(t, a->in[3]), c);
        wf_float_set(a->dtype, wf_data(t, a->out[0]), c, mean);
        wf_float_set(a->dtype, wf_data(t, a->out[1]), c, var);
    }
    return WEFT_OK;
}

static weft_status lower_running(wf_lower *l)
{
    const wf_bn_running_attrs *attrs = l->attrs;
    wf_operand mean = wf_lower_in(l, 0);
    running_args a = {.C = mean.N,
                      .count = attrs->count,
                      .cumulative = attrs->cumulative,
                      .tracked = l->n_in == 5,
                      .scalar = l->scalar,
                      .dtype = mean.dtype};
    for (int i = 0; i < l->n_in; i++)
        a.in[i] = wf_lower_in(l, i).buf;
    for (int o = 0; o < l->n_out; o++)
        a.out[o] = wf_lower_out(l, o).buf;
    wf_task *task = wf_lower_task(l, "ref", run_running, &a, sizeof a, 1);
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, a.in[i], WF_WHOLE);
    for (int o = 0; o < l->n_out; o++)
        wf_writes(task, a.out[o], WF_WHOLE);
    wf_cost(task, 8.0 * (double)a.C, 6.0 * (double)(a.C * (int64_t)weft_dtype_size(a.dtype)));
    return wf_lowered(l, task);
}

static weft_status infer_running(wf_infer *f)
{
    const wf_bn_running_attrs *a = f->attrs;
    WF_TRY(wf_infer_float(f, 0));
    if (f->n_in < 4 || f->n_in > 5 || a->count == 1)
        return wf_infer_fail(f, WEFT_ERR_INVALID, "%d inputs, %lld values per channel", f->n_in,
                             (long long)a->count);
    for (int i = 1; i < 4; i++)
        WF_TRY(wf_infer_like_first(f, i));
    f->n_out = f->n_in - 2;
    f->out[0] = f->out[1] = f->in[0];
    if (f->n_in == 5)
        f->out[2] = f->in[4];
    return WEFT_OK;
}

const wf_op wf_op_bn_running = {
    .name = "bn_running",
    .n_out = 3,
    .attr_size = sizeof(wf_bn_running_attrs),
    .n_scalars = 1, /* momentum */
    .flags = WF_OP_COMMIT,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1, 2, 5},
    .infer = infer_running,
    .no_grad_reason = "running statistics take no gradient",
    .lower = lower_running,
    .no_sample_reason = "has no gradient to check; test_op_batch_norm.c runs it",
};
