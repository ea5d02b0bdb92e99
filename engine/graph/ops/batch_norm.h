/* What the ops of batch normalisation share: their attributes, and how they cut a batch into
 * splits.
 *
 * Batch normalisation is recorded as three ops: bn_stats (mean and variance), bn_apply, and
 * bn_running, a commit op that updates the running statistics. Its gradient is two ops:
 * bn_backward_reduce and bn_backward_apply.
 *
 * bn_act does bn_apply, an optional residual addition and an activation in one pass over memory. It
 * gives the same bits as the separate ops. For ReLU and ReLU6 it also writes a bit mask of where
 * the derivative is 1; the backward ops read the mask instead of the activation's output. For SiLU
 * and Hardswish, bn_backward_reduce computes the activation's input again and also gives the
 * gradient that passes through the activation.
 *
 * Letters: N minibatch, C channels, P pixels of an image. A *split* is one image of a rank-4 batch,
 * or WF_BN_ROWS rows of an (N, C) batch. Each split is one tile and has one partial sum of the
 * statistics. */
#ifndef WF_OPS_BATCH_NORM_H
#define WF_OPS_BATCH_NORM_H

#include "engine/graph/ops/common.h"
#include "kernels/norm/norm.h"

#define WF_BN_ROWS 64
#define WF_BN_CHANNELS 64 /* channels of one tile that adds up partial sums */

typedef struct wf_bn_stats_attrs {
    double eps;
} wf_bn_stats_attrs;

typedef struct wf_bn_running_attrs {
    int64_t count;      /* values per channel: N*P */
    int64_t cumulative; /* the momentum is 1/num_batches_tracked */
} wf_bn_running_attrs;

/* Of bn_apply, bn_act and bn_backward_apply; bn_backward_reduce reads f only. */
typedef struct wf_bn_apply_attrs {
    int64_t training; /* mean and invstd are those of x: the gradient passes through them */
    int64_t residual; /* bn_act: in[5]; bn_backward_apply: out[1] is its gradient */
    int64_t f;        /* wf_norm_f; bn_backward_reduce: LINEAR, or one that recomputes */
} wf_bn_apply_attrs;

typedef struct wf_bn_splits {
    wf_act act;
    int64_t n;      /* splits */
    int64_t pixels; /* of a split; the last may have fewer: last_pixels */
    int64_t last_pixels;
    wf_access access;
    size_t bytes; /* from one split to the next, where access is WF_WHOLE */
} wf_bn_splits;

wf_bn_splits wf_bn_splits_of(const wf_operand *x);
/* How many splits a shape of rank 2 or 4 has, and the bytes of one split's mask. */
int64_t wf_bn_split_count(const weft_shape *x);
int64_t wf_bn_mask_bytes(const weft_shape *x);

static inline int64_t wf_bn_count(const wf_bn_splits *s)
{
    return (s->n - 1) * s->pixels + s->last_pixels;
}
static inline void *wf_bn_split(const wf_bn_splits *s, const wf_tile *t, wf_buf buf, int64_t i)
{
    if (s->access == WF_TILED)
        return wf_image(t, buf, i);
    return (char *)wf_data(t, buf) + (size_t)i * s->bytes;
}
static inline wf_act wf_bn_act_of(const wf_bn_splits *s, int64_t i)
{
    wf_act act = s->act;
    if (s->access == WF_WHOLE && i + 1 == s->n)
        act.H = (int)s->last_pixels;
    return act;
}

/* ---- sums over a batch, in two tasks: the partial sums of each split, then their sum ---- */

/* Memory for the partial sums of all splits; -1: out of memory. */
wf_buf wf_bn_sums(wf_lower *l, const wf_bn_splits *s);
/* The channels [*c0, *c1) whose partial sums a tile of the second task adds up. */
static inline void wf_bn_merged(const wf_bn_splits *s, int64_t tile, int *c0, int *c1)
{
    *c0 = (int)tile * WF_BN_CHANNELS;
    *c1 = *c0 + WF_BN_CHANNELS < s->act.C ? *c0 + WF_BN_CHANNELS : s->act.C;
}
/* Adds the second task: `merge` adds up the partial sums in place and writes n_out outputs. flops:
 * for each number of a partial sum. */
wf_task *wf_bn_merge(wf_lower *l, wf_tile_fn merge, const void *args, size_t args_size,
                     const wf_bn_splits *s, wf_buf sums, const wf_buf *out, int n_out,
                     double flops);

/* The kernels for x; NULL with the error set. */
const wf_norm_fns *wf_bn_kernels(wf_lower *l, const wf_operand *x);

/* Shape checks: x is f32 or f64 of rank 2 or 4; inputs [first, end) are (C) and of x's type. */
weft_status wf_bn_infer_x(const wf_infer *f);
weft_status wf_bn_infer_channels(const wf_infer *f, int first, int end);
wf_type wf_bn_channel_type(const wf_type *x);

/* As weft_batch_norm, with a residual (or NULL) and f recorded as bn_act. */
weft_tensor *wf_record_batch_norm_act(weft_tensor *x, weft_tensor *gamma, weft_tensor *beta,
                                      weft_tensor *running_mean, weft_tensor *running_var,
                                      weft_tensor *num_batches_tracked, weft_tensor *residual,
                                      wf_norm_f f, const weft_batch_norm_opts *opts);
#endif
