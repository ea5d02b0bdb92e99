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
 * or WF_BN_ROWS rows of an (N, C) batch. It has one partial sum of the statistics. A split is a tile;
 * but the large images of a small batch are cut into *parts*, ranges of channels, so that several
 * workers have something to do. A part's partial sums lie together, those of all images. Channels do
 * not meet, so the bits are the same. */
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
    wf_access access;      /* WF_WHOLE: rows; WF_PIECES: there are parts */
    size_t bytes;          /* from one split to the next, where access is WF_WHOLE */
    int parts;             /* of a split */
    int part_channels;     /* of a part; the last may have fewer */
    weft_dtype image_type; /* of the images; the channels' numbers are f32 for bf16 */
} wf_bn_splits;

wf_bn_splits wf_bn_splits_of(const wf_operand *x);
/* How many splits a shape of rank 2 or 4 has, and the bytes of one split's mask. */
int64_t wf_bn_split_count(const weft_shape *x);
int64_t wf_bn_mask_bytes(const weft_shape *x);

static inline int64_t wf_bn_count(const wf_bn_splits *s)
{
    return (s->n - 1) * s->pixels + s->last_pixels;
}
static inline int64_t wf_bn_tiles(const wf_bn_splits *s)
{
    return s->n * s->parts;
}

/* How tiles access masks, which have an image for each split, of rows, too. */
static inline wf_access wf_bn_mask_access(const wf_bn_splits *s)
{
    return s->parts > 1 ? WF_PIECES : WF_TILED;
}

/* What a tile works on: the channels of a part, from `channel` on, of one split. */
typedef struct wf_bn_tile {
    const wf_bn_splits *s;
    const wf_tile *t;
    wf_act act;
    int64_t split;
    int part, channel;
} wf_bn_tile;
wf_bn_tile wf_bn_tile_of(const wf_bn_splits *s, const wf_tile *t, int64_t tile);
/* The tile's place in images, in their masks, in an array of a number for each channel, and in the
 * memory of wf_bn_sums. NULL for buffer -1. */
void *wf_bn_image(const wf_bn_tile *b, wf_buf buf);
uint8_t *wf_bn_mask(const wf_bn_tile *b, wf_buf buf);
const void *wf_bn_channels(const wf_bn_tile *b, wf_buf buf);
double *wf_bn_partial(const wf_bn_tile *b, wf_buf buf);

/* ---- sums over a batch, in two tasks: the partial sums of each split, then their sum ---- */

/* Memory for the partial sums of all splits; -1: out of memory. */
wf_buf wf_bn_sums(wf_lower *l, const wf_bn_splits *s);
/* What a tile of the second task adds up: channels [c0, c1) of C, whose n partial sums start at
 * `partials`. Channel 0 of them is number `channel` of all. */
typedef struct wf_bn_merged {
    double *partials;
    int C, c0, c1, channel;
} wf_bn_merged;
wf_bn_merged wf_bn_merged_of(const wf_bn_splits *s, const wf_tile *t, wf_buf sums, int64_t tile);
/* Where an array of a number for each channel has the first of them; numbers are of `dtype`. */
static inline void *wf_bn_merged_at(const wf_bn_merged *m, const wf_tile *t, wf_buf buf,
                                    weft_dtype dtype)
{
    return (char *)wf_data(t, buf) + (size_t)m->channel * weft_dtype_size(dtype);
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
