/* bn_backward_reduce gives dgamma and dbeta; bn_backward_apply gives dx and the residual's
 * gradient.
 *
 * With ReLU or ReLU6, both take bn_act's mask as their last input, and no relu_backward runs. With
 * the other activations, bn_backward_reduce computes the activation's gradient itself and gives it
 * as a third output, dz. See batch_norm.h. */
#include "engine/graph/ops/batch_norm.h"

/* Checks the mask where the node has one: as input i. */
static weft_status infer_mask(const wf_infer *f, int i, const weft_shape *x)
{
    if (f->n_in <= i)
        return WEFT_OK;
    weft_shape want = WEFT_SHAPE(wf_bn_split_count(x), wf_bn_mask_bytes(x));
    if (f->in[i].dtype != WEFT_U8 || !weft_shape_equal(f->in[i].shape, want))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input %d is no mask of input 0", i);
    return WEFT_OK;
}

/* ---- bn_backward_reduce: x, dy, mean, invstd(, mask or gamma, beta) -> dgamma, dbeta(, dz) --- */

typedef struct reduce_args {
    wf_bn_splits splits;
    wf_buf x, dy, mean, invstd, sums, dgamma, dbeta;
    wf_buf mask, gamma, beta, dz; /* -1 where there is none */
    wf_norm_f f;
    weft_dtype dtype;
    const wf_norm_fns *fns;
} reduce_args;

static weft_status run_reduce(const wf_tile *t, const void *vargs, int64_t i)
{
    const reduce_args *a = vargs;
    const wf_bn_tile b = wf_bn_tile_of(&a->splits, t, i);
    wf_norm_reduce p = {.act = b.act,
                        .f = a->f,
                        .mean = wf_bn_channels(&b, a->mean),
                        .invstd = wf_bn_channels(&b, a->invstd),
                        .gamma = wf_bn_channels(&b, a->gamma),
                        .beta = wf_bn_channels(&b, a->beta),
                        .dz = wf_bn_image(&b, a->dz),
                        .x = wf_bn_image(&b, a->x),
                        .dy = wf_bn_image(&b, a->dy),
                        .mask = wf_bn_mask(&b, a->mask),
                        .partial = wf_bn_partial(&b, a->sums)};
    a->fns->backward_reduce(&p);
    return WEFT_OK;
}

static weft_status run_combine(const wf_tile *t, const void *vargs, int64_t tile)
{
    const reduce_args *a = vargs;
    const wf_bn_merged m = wf_bn_merged_of(&a->splits, t, a->sums, tile);
    wf_norm_combine_grads(m.partials, a->splits.n, m.C, m.c0, m.c1, a->dtype,
                          wf_bn_merged_at(&m, t, a->invstd, a->dtype),
                          wf_bn_merged_at(&m, t, a->dgamma, a->dtype),
                          wf_bn_merged_at(&m, t, a->dbeta, a->dtype));
    return WEFT_OK;
}

static weft_status lower_reduce(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0);
    reduce_args a = {.splits = wf_bn_splits_of(&x),
                     .x = x.buf,
                     .dy = wf_lower_in(l, 1).buf,
                     .mean = wf_lower_in(l, 2).buf,
                     .invstd = wf_lower_in(l, 3).buf,
                     .mask = l->n_in == 5 ? wf_lower_in(l, 4).buf : -1,
                     .gamma = l->n_in == 6 ? wf_lower_in(l, 4).buf : -1,
                     .beta = l->n_in == 6 ? wf_lower_in(l, 5).buf : -1,
                     .dz = l->n_in == 6 ? wf_lower_out(l, 2).buf : -1,
                     .f = (wf_norm_f)((const wf_bn_apply_attrs *)l->attrs)->f,
                     .dgamma = wf_lower_out(l, 0).buf,
                     .dbeta = wf_lower_out(l, 1).buf,
                     .dtype = wf_lower_out(l, 0).dtype,
                     .fns = wf_bn_kernels(l, &x)};
    if (!a.fns)
        return WEFT_ERR_UNSUPPORTED;
    const double elements = (double)wf_operand_count(&x);
    a.sums = wf_bn_sums(l, &a.splits);
    if (a.sums < 0)
        return WEFT_ERR_NOMEM;

    wf_task *task = wf_lower_task(l, a.fns->name, run_reduce, &a, sizeof a, wf_bn_tiles(&a.splits));
    wf_reads(task, a.x, a.splits.access);
    wf_reads(task, a.dy, a.splits.access);
    for (int i = 2; i < l->n_in; i++) /* with f that recomputes, invstd is read here too */
        if (i != 4 || a.mask < 0)
            wf_reads(task, wf_lower_in(l, i).buf, WF_WHOLE);
    if (a.mask >= 0)
        wf_reads(task, a.mask, wf_bn_mask_access(&a.splits));
    wf_writes(task, a.sums, a.splits.parts > 1 ? WF_WHOLE : WF_TILED);
    if (a.dz >= 0)
        wf_writes(task, a.dz, a.splits.access);
    wf_cost(task, (a.dz >= 0 ? 24 : 4) * elements,
            (a.dz >= 0 ? 3 : 2) * elements * (double)weft_dtype_size(x.dtype));

    task = wf_bn_merge(l, run_combine, &a, sizeof a, &a.splits, a.sums,
                       (wf_buf[]){a.dgamma, a.dbeta}, 2, 2);
    wf_reads(task, a.invstd, WF_WHOLE);
    return wf_lowered(l, task);
}

static weft_status infer_reduce(wf_infer *f)
{
    const wf_bn_apply_attrs *a = f->attrs;
    const bool again = wf_norm_recomputes((wf_norm_f)a->f);
    if (f->n_in < (again ? 6 : 4) || f->n_in > (again ? 6 : 5))
        return wf_infer_fail(f, WEFT_ERR_INVALID, "has %d inputs", f->n_in);
    WF_TRY(wf_bn_infer_x(f));
    WF_TRY(wf_infer_like_first(f, 1));
    WF_TRY(wf_bn_infer_channels(f, 2, again ? 6 : 4));
    if (!again)
        WF_TRY(infer_mask(f, 4, &f->in[0].shape));
    f->out[0] = f->out[1] = wf_bn_channel_type(&f->in[0]);
    f->out[2] = f->in[1];
    f->n_out = again ? 3 : 2;
    return WEFT_OK;
}

const wf_op wf_op_bn_backward_reduce = {
    .name = "bn_backward_reduce",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 3, /* dgamma, dbeta, dz */
    .attr_size = sizeof(wf_bn_apply_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer_reduce,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_reduce,
    .no_sample_reason = "the samples of bn_apply and bn_act run it",
};

/* -- bn_backward_apply: dy, invstd, gamma(, x, mean, dgamma, dbeta)(, mask) -> dx(, dresidual) - */

typedef struct dx_args {
    wf_bn_splits splits;
    wf_buf in[8], mask, dx, dresidual; /* mask, dresidual: -1 when there is none */
    bool training;
    const wf_norm_fns *fns;
} dx_args;

static weft_status run_dx(const wf_tile *t, const void *vargs, int64_t i)
{
    const dx_args *a = vargs;
    const wf_bn_tile b = wf_bn_tile_of(&a->splits, t, i);
    wf_norm_dx p = {.act = b.act,
                    .training = a->training,
                    .count = (double)wf_bn_count(&a->splits),
                    .dy = wf_bn_image(&b, a->in[0]),
                    .invstd = wf_bn_channels(&b, a->in[1]),
                    .gamma = wf_bn_channels(&b, a->in[2]),
                    .mask = wf_bn_mask(&b, a->mask),
                    .dx = wf_bn_image(&b, a->dx),
                    .dresidual = wf_bn_image(&b, a->dresidual)};
    if (a->training) {
        p.x = wf_bn_image(&b, a->in[3]);
        p.mean = wf_bn_channels(&b, a->in[4]);
        p.dgamma = wf_bn_channels(&b, a->in[5]);
        p.dbeta = wf_bn_channels(&b, a->in[6]);
    }
    a->fns->backward_apply(&p);
    return WEFT_OK;
}

static weft_status lower_dx(wf_lower *l)
{
    const wf_bn_apply_attrs *attrs = l->attrs;
    wf_operand dy = wf_lower_in(l, 0);
    const int fixed = attrs->training ? 7 : 3;
    dx_args a = {.splits = wf_bn_splits_of(&dy),
                 .mask = l->n_in > fixed ? wf_lower_in(l, fixed).buf : -1,
                 .dx = wf_lower_out(l, 0).buf,
                 .dresidual = attrs->residual ? wf_lower_out(l, 1).buf : -1,
                 .training = attrs->training,
                 .fns = wf_bn_kernels(l, &dy)};
    if (!a.fns)
        return WEFT_ERR_UNSUPPORTED;
    for (int i = 0; i < l->n_in; i++)
        a.in[i] = wf_lower_in(l, i).buf;
    wf_task *task = wf_lower_task(l, a.fns->name, run_dx, &a, sizeof a, wf_bn_tiles(&a.splits));
    for (int i = 0; i < fixed; i++)
        wf_reads(task, a.in[i], i == 0 || i == 3 ? a.splits.access : WF_WHOLE);
    if (a.mask >= 0)
        wf_reads(task, a.mask, wf_bn_mask_access(&a.splits));
    wf_writes(task, a.dx, a.splits.access);
    if (a.dresidual >= 0)
        wf_writes(task, a.dresidual, a.splits.access);
    const double n = (double)wf_operand_count(&dy), size = (double)weft_dtype_size(dy.dtype);
    const double streams = (a.training ? 3 : 2) + (a.dresidual >= 0);
    wf_cost(task, (a.training ? 5 : 1) * n, streams * n * size);
    return wf_lowered(l, task);
}

static weft_status infer_dx(wf_infer *f)
{
    const wf_bn_apply_attrs *a = f->attrs;
    const int fixed = a->training ? 7 : 3;
    if (f->n_in != fixed && f->n_in != fixed + 1)
        return wf_infer_fail(f, WEFT_ERR_INVALID, "has %d inputs", f->n_in);
    WF_TRY(wf_bn_infer_x(f)); /* dy has x's type and shape */
    WF_TRY(wf_bn_infer_channels(f, 1, 3));
    if (a->training) {
        WF_TRY(wf_infer_like_first(f, 3));
        WF_TRY(wf_bn_infer_channels(f, 4, 7));
    }
    WF_TRY(infer_mask(f, fixed, &f->in[0].shape));
    f->n_out = a->residual ? 2 : 1;
    f->out[0] = f->out[1] = f->in[0];
    return WEFT_OK;
}

const wf_op wf_op_bn_backward_apply = {
    .name = "bn_backward_apply",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2, /* dx, dresidual */
    .attr_size = sizeof(wf_bn_apply_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1, 4}, /* dx over dy, dresidual over x */
    .infer = infer_dx,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_dx,
    .no_sample_reason = "the samples of bn_apply and bn_act run it",
};
