/* weft_batch_norm: records batch normalisation; and what its ops share. See batch_norm.h. */
#include <math.h>

#include "engine/graph/ops/batch_norm.h"

#include "engine/graph/ops/internal.h"

/* ---- what the ops share --------------------------------------------------------------------- */

enum {
    FEW_IMAGES = 4,        /* a batch of less is cut into parts, */
    PART_TILES = 8,        /* so that there are so many tiles, */
    PART_BYTES = 64 << 10, /* each of so many bytes at least */
    PART_UNIT = 16 /* and of so many channels: no block of a layout, nor eight of a mask, is cut */
};

static wf_bn_splits splits_of_images(const wf_operand *x)
{
    const int64_t pixels = (int64_t)x->act.H * x->act.W;
    wf_bn_splits s = {.act = x->act,
                      .n = x->N,
                      .pixels = pixels,
                      .last_pixels = pixels,
                      .access = WF_TILED,
                      .parts = 1,
                      .part_channels = x->act.C,
                      .image_type = x->dtype};
    if (x->N < 1 || x->N >= FEW_IMAGES || PART_UNIT % x->act.block)
        return s;
    int64_t parts = (PART_TILES + x->N - 1) / x->N;
    const int64_t worth = (int64_t)(x->image_bytes / PART_BYTES);
    parts = worth < parts ? worth : parts;
    if (parts < 2)
        return s;
    s.part_channels = wf_round_up((int)((x->act.C + parts - 1) / parts), PART_UNIT);
    s.parts = (x->act.C + s.part_channels - 1) / s.part_channels;
    s.access = s.parts > 1 ? WF_PIECES : WF_TILED;
    return s;
}

wf_bn_splits wf_bn_splits_of(const wf_operand *x)
{
    if (x->shape.rank == 4)
        return splits_of_images(x);
    const int64_t n = wf_bn_split_count(&x->shape);
    const int rows = x->N < WF_BN_ROWS ? (int)x->N : WF_BN_ROWS;
    const int C = (int)x->shape.dim[1];
    return (wf_bn_splits){.act = wf_norm_rows(C, rows),
                          .n = n,
                          .pixels = rows,
                          .last_pixels = x->N - (n - 1) * rows,
                          .access = WF_WHOLE,
                          .bytes = (size_t)rows * (size_t)C * weft_dtype_size(x->dtype),
                          .parts = 1,
                          .part_channels = C,
                          .image_type = x->dtype};
}

wf_bn_tile wf_bn_tile_of(const wf_bn_splits *s, const wf_tile *t, int64_t tile)
{
    wf_bn_tile b = {
        .s = s, .t = t, .act = s->act, .split = tile / s->parts, .part = (int)(tile % s->parts)};
    b.channel = b.part * s->part_channels;
    const int left = s->act.C - b.channel;
    b.act.C = left < s->part_channels ? left : s->part_channels;
    if (s->access == WF_WHOLE && tile + 1 == s->n)
        b.act.H = (int)s->last_pixels;
    return b;
}

void *wf_bn_image(const wf_bn_tile *b, wf_buf buf)
{
    const wf_bn_splits *s = b->s;
    if (buf < 0)
        return NULL;
    if (s->access == WF_WHOLE)
        return (char *)wf_data(b->t, buf) + (size_t)b->split * s->bytes;
    return (char *)wf_image(b->t, buf, b->split) +
           wf_act_index(s->act, b->channel, 0, 0) * weft_dtype_size(s->image_type);
}

uint8_t *wf_bn_mask(const wf_bn_tile *b, wf_buf buf)
{
    if (buf < 0)
        return NULL;
    return (uint8_t *)wf_image(b->t, buf, b->split) + wf_norm_mask_bytes(b->channel, b->s->pixels);
}

const void *wf_bn_channels(const wf_bn_tile *b, wf_buf buf)
{
    const size_t size = b->s->image_type == WEFT_F64 ? sizeof(double) : sizeof(float);
    return buf < 0 ? NULL : (const char *)wf_data(b->t, buf) + (size_t)b->channel * size;
}

/* Numbers of the partial sums of all splits, of the parts before this one. */
static size_t partials_before(const wf_bn_splits *s, int part)
{
    return (size_t)part * (size_t)s->n * wf_norm_partial_count(s->part_channels);
}

double *wf_bn_partial(const wf_bn_tile *b, wf_buf buf)
{
    if (b->s->parts == 1)
        return wf_image(b->t, buf, b->split);
    return (double *)wf_data(b->t, buf) + partials_before(b->s, b->part) +
           (size_t)b->split * wf_norm_partial_count(b->act.C);
}

wf_bn_merged wf_bn_merged_of(const wf_bn_splits *s, const wf_tile *t, wf_buf sums, int64_t tile)
{
    double *partials = wf_data(t, sums);
    if (s->parts == 1) {
        const int c0 = (int)tile * WF_BN_CHANNELS, c1 = c0 + WF_BN_CHANNELS;
        return (wf_bn_merged){partials, s->act.C, c0, c1 < s->act.C ? c1 : s->act.C, 0};
    }
    const int channel = (int)tile * s->part_channels, left = s->act.C - channel;
    const int C = left < s->part_channels ? left : s->part_channels;
    return (wf_bn_merged){partials + partials_before(s, (int)tile), C, 0, C, channel};
}

int64_t wf_bn_split_count(const weft_shape *x)
{
    return x->rank == 4 ? x->dim[0] : (x->dim[0] + WF_BN_ROWS - 1) / WF_BN_ROWS;
}

int64_t wf_bn_mask_bytes(const weft_shape *x)
{
    int64_t rows = x->dim[0] < WF_BN_ROWS ? x->dim[0] : WF_BN_ROWS;
    int64_t pixels = x->rank == 4 ? x->dim[2] * x->dim[3] : rows;
    return (int64_t)wf_norm_mask_bytes((int)x->dim[1], pixels);
}

wf_buf wf_bn_sums(wf_lower *l, const wf_bn_splits *s)
{
    return wf_lower_temp(l, s->n, wf_norm_partial_count(s->act.C) * sizeof(double));
}

wf_task *wf_bn_merge(wf_lower *l, wf_tile_fn merge, const void *args, size_t args_size,
                     const wf_bn_splits *s, wf_buf sums, const wf_buf *out, int n_out, double flops)
{
    const int64_t tiles =
        s->parts > 1 ? s->parts : (s->act.C + WF_BN_CHANNELS - 1) / WF_BN_CHANNELS;
    const double n = (double)s->n;
    wf_task *task = wf_lower_task(l, "merge", merge, args, args_size, tiles);
    wf_reads(task, sums, WF_WHOLE);
    wf_writes(task, sums, WF_WHOLE); /* merged in place */
    for (int i = 0; i < n_out; i++)
        wf_writes(task, out[i], WF_WHOLE);
    wf_cost(task, flops * n * s->act.C,
            n * (double)wf_norm_partial_count(s->act.C) * (double)sizeof(double));
    return task;
}

const wf_norm_fns *wf_bn_kernels(wf_lower *l, const wf_operand *x)
{
    const wf_norm_fns *fns = wf_norm_find(l->isa, x->dtype, wf_bn_splits_of(x).act);
    if (!fns)
        wf_lower_fail(l, WEFT_ERR_UNSUPPORTED, "no kernel for %s", weft_dtype_name(x->dtype));
    return fns;
}

weft_status wf_bn_infer_x(const wf_infer *f)
{
    char text[WF_SHAPE_TEXT];
    const weft_shape *x = &f->in[0].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (x->rank != 2 && x->rank != 4)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s, expected (N, C) or (N, C, H, W)",
                             weft_shape_format(*x, text, sizeof text));
    for (int i = 1; i < x->rank; i++)
        if (x->dim[i] > INT32_MAX / 2)
            return wf_infer_fail(f, WEFT_ERR_SHAPE, "input %s is too large",
                                 weft_shape_format(*x, text, sizeof text));
    return WEFT_OK;
}

weft_status wf_bn_infer_channels(const wf_infer *f, int first, int end)
{
    char text[WF_SHAPE_TEXT];
    const int64_t C = f->in[0].shape.dim[1];
    for (int i = first; i < end; i++) {
        const wf_type *t = &f->in[i];
        if (t->dtype != f->in[0].dtype)
            return wf_infer_fail(f, WEFT_ERR_DTYPE, "input %d is %s, input 0 is %s", i,
                                 weft_dtype_name(t->dtype), weft_dtype_name(f->in[0].dtype));
        if (!weft_shape_equal(t->shape, WEFT_SHAPE(C)))
            return wf_infer_fail(f, WEFT_ERR_SHAPE, "input %d is %s, input 0 has %lld channels", i,
                                 weft_shape_format(t->shape, text, sizeof text), (long long)C);
    }
    return WEFT_OK;
}

wf_type wf_bn_channel_type(const wf_type *x)
{
    return (wf_type){x->dtype, WEFT_SHAPE(x->shape.dim[1])};
}

/* ---- recording ------------------------------------------------------------------------------ */

typedef struct bn_call {
    weft_context *ctx;
    weft_tensor *x, *gamma, *beta, *running_mean, *running_var, *tracked, *residual;
    weft_batch_norm_opts opts;
    weft_shape shape;
} bn_call;

static weft_status check_channels(const bn_call *b, const char *what, weft_tensor *t)
{
    char text[WF_SHAPE_TEXT];
    if (!t)
        return WEFT_OK;
    weft_shape s = weft_tensor_shape(t);
    if (wf_operand_dtype(t) != wf_operand_dtype(b->x))
        return wf_fail_step(b->ctx, WEFT_ERR_DTYPE, "batch_norm: %s is %s, input is %s", what,
                            weft_dtype_name(wf_operand_dtype(t)),
                            weft_dtype_name(wf_operand_dtype(b->x)));
    if (!weft_shape_equal(s, WEFT_SHAPE(b->shape.dim[1])))
        return wf_fail_step(b->ctx, WEFT_ERR_SHAPE,
                            "batch_norm: %s has shape %s, input has %lld channels", what,
                            weft_shape_format(s, text, sizeof text), (long long)b->shape.dim[1]);
    return WEFT_OK;
}

static weft_status check(const bn_call *b, bool batch)
{
    char text[WF_SHAPE_TEXT];
    const weft_shape *s = &b->shape;
    if (s->rank != 2 && s->rank != 4)
        return wf_fail_step(b->ctx, WEFT_ERR_SHAPE,
                            "batch_norm: input is %s, expected (N, C) or (N, C, H, W)",
                            weft_shape_format(*s, text, sizeof text));
    if (s->dim[1] == 0)
        return wf_fail_step(b->ctx, WEFT_ERR_SHAPE,
                            "batch_norm: input is %s, which has no channels",
                            weft_shape_format(*s, text, sizeof text));
    WF_TRY(check_channels(b, "weight", b->gamma));
    WF_TRY(check_channels(b, "bias", b->beta));
    WF_TRY(check_channels(b, "running_mean", b->running_mean));
    WF_TRY(check_channels(b, "running_var", b->running_var));
    if (!b->running_mean != !b->running_var)
        return wf_fail_step(
            b->ctx, WEFT_ERR_INVALID,
            "batch_norm: running_mean and running_var must both be given, or neither");
    if (b->tracked &&
        (wf_operand_dtype(b->tracked) != WEFT_I64 || weft_tensor_shape(b->tracked).rank != 0))
        return wf_fail_step(b->ctx, WEFT_ERR_INVALID,
                            "batch_norm: num_batches_tracked must be an i64 scalar");
    if (b->opts.eps == 0 && (batch || b->opts.momentum == 0))
        return wf_fail_step(b->ctx, WEFT_ERR_INVALID,
                            "batch_norm: eps 0 must be above 0 in training, momentum is %g "
                            "(WEFT_BATCH_NORM_OPTS_INIT has the defaults)",
                            b->opts.momentum);
    if (!(b->opts.eps >= 0 && isfinite(b->opts.eps)) || !(b->opts.momentum <= 1))
        return wf_fail_step(b->ctx, WEFT_ERR_INVALID,
                            "batch_norm: eps %g must not be negative, momentum %g not above 1",
                            b->opts.eps, b->opts.momentum);
    if (batch && weft_shape_count(*s) == s->dim[1])
        return wf_fail_step(b->ctx, WEFT_ERR_SHAPE,
                            "batch_norm: expected more than 1 value per channel when training, got "
                            "input size %s",
                            weft_shape_format(*s, text, sizeof text));
    return WEFT_OK;
}

/* Records that the running statistics become (1-m)*running + m*batch when the step commits. A batch
 * without images is only counted. */
static weft_status update_running(const bn_call *b, weft_tensor *mean, weft_tensor *var)
{
    wf_bn_running_attrs attrs = {.count = weft_shape_count(b->shape) / b->shape.dim[1],
                                 .cumulative = b->opts.momentum < 0};
    weft_tensor *in[] = {b->running_mean, b->running_var, mean, var, b->tracked};
    weft_tensor *out[WF_MAX_OUT];
    if (attrs.cumulative && !b->tracked)
        return wf_fail_step(b->ctx, WEFT_ERR_INVALID,
                            "batch_norm: a cumulative average needs num_batches_tracked");
    if (!wf_record(&wf_op_bn_running, &attrs, &b->opts.momentum, b->tracked ? 5 : 4, in, out))
        return wf_step_status(b->ctx);
    weft_tensor *running[] = {b->running_mean, b->running_var, b->tracked};
    return wf_assign_all(b->tracked ? 3 : 2, running, out);
}

/* Records what gives the mean (in[1]) and 1/sqrt(var + eps) (in[2]). */
static weft_status record_statistics(bn_call *b, bool batch, weft_dtype dtype, weft_tensor **in)
{
    const weft_shape channels = WEFT_SHAPE(b->shape.dim[1]);
    const wf_bn_stats_attrs stats = {.eps = b->opts.eps};
    weft_tensor *out[WF_MAX_OUT];
    if (!batch) {
        in[1] = b->running_mean;
        in[2] = wf_record(&wf_op_bn_invstd, &stats, NULL, 1, &b->running_var, NULL);
        return WEFT_OK;
    }
    if (weft_shape_count(b->shape) == 0) {
        in[1] = wf_record_fill(b->ctx, dtype, channels, 0);
        in[2] = wf_record_fill(b->ctx, dtype, channels, 1);
        return b->running_mean ? update_running(b, in[1], in[2]) : WEFT_OK;
    }
    if (!wf_record(&wf_op_bn_stats, &stats, NULL, 1, &b->x, out))
        return wf_step_status(b->ctx);
    in[1] = out[0];
    in[2] = out[2];
    return b->running_mean ? update_running(b, out[0], out[1]) : WEFT_OK;
}

static weft_tensor *record(bn_call *b, wf_norm_f f)
{
    weft_tensor *operands[] = {b->x,           b->gamma,   b->beta,    b->running_mean,
                               b->running_var, b->tracked, b->residual};
    b->ctx = wf_record_context("batch_norm", 1, 7, operands);
    if (!b->ctx)
        return NULL;
    b->shape = weft_tensor_shape(b->x);
    const bool batch = b->opts.training || !b->running_mean;
    if (check(b, batch) != WEFT_OK)
        return NULL;
    const weft_dtype dtype = wf_operand_dtype(b->x);
    const weft_shape channels = WEFT_SHAPE(b->shape.dim[1]);
    weft_tensor *in[6] = {b->x};
    /* No program ever sees the statistics' handles, which are most of a network's. */
    const bool hidden = wf_ring_hide(&b->ctx->ring, true);
    const weft_status status = record_statistics(b, batch, dtype, in);
    wf_ring_hide(&b->ctx->ring, hidden);
    if (status != WEFT_OK)
        return NULL;
    in[3] = b->gamma ? b->gamma : wf_record_fill(b->ctx, dtype, channels, 1);
    in[4] = b->beta ? b->beta : wf_record_fill(b->ctx, dtype, channels, 0);
    in[5] = b->residual;
    wf_bn_apply_attrs attrs = {.training = batch, .residual = b->residual != NULL, .f = f};
    if (f != WF_NORM_LINEAR)
        return wf_record(&wf_op_bn_act, &attrs, NULL, b->residual ? 6 : 5, in, NULL);
    return wf_record(&wf_op_bn_apply, &attrs, NULL, 5, in, NULL);
}

weft_tensor *weft_batch_norm(weft_tensor *x, weft_tensor *gamma, weft_tensor *beta,
                             weft_tensor *running_mean, weft_tensor *running_var,
                             weft_tensor *num_batches_tracked, const weft_batch_norm_opts *opts)
{
    WF_SAY("batch_norm", 1, x, gamma, beta, running_mean, running_var);
    bn_call b = {.x = x,
                 .gamma = gamma,
                 .beta = beta,
                 .running_mean = running_mean,
                 .running_var = running_var,
                 .tracked = num_batches_tracked,
                 .opts = WEFT_BATCH_NORM_OPTS_INIT};
    if (opts)
        b.opts = *opts;
    return record(&b, WF_NORM_LINEAR);
}

weft_tensor *wf_record_batch_norm_act(weft_tensor *x, weft_tensor *gamma, weft_tensor *beta,
                                      weft_tensor *running_mean, weft_tensor *running_var,
                                      weft_tensor *num_batches_tracked, weft_tensor *residual,
                                      wf_norm_f f, const weft_batch_norm_opts *opts)
{
    bn_call b = {.x = x,
                 .gamma = gamma,
                 .beta = beta,
                 .running_mean = running_mean,
                 .running_var = running_var,
                 .tracked = num_batches_tracked,
                 .residual = residual,
                 .opts = WEFT_BATCH_NORM_OPTS_INIT};
    if (opts)
        b.opts = *opts;
    return record(&b, f);
}
