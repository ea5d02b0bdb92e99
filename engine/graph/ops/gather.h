/* What ops that move parts of images share: attributes, which fuse_shuffle.c changes, and a task
 * that gathers the channels of an output from the inputs, in any layout. */
#ifndef WF_OPS_GATHER_H
#define WF_OPS_GATHER_H

#include "engine/graph/ops/common.h"
#include "kernels/layout/layout.h"

/* concat. Where groups > 1, it also shuffles the joined channels; only the plan sets this. */
typedef struct wf_concat_attrs {
    int64_t dim;
    int64_t groups;
} wf_concat_attrs;

/* narrow and pad. Where groups > 1, narrow also shuffles the channels before it; only the plan sets
 * this. */
typedef struct wf_narrow_attrs {
    int64_t dim, start;
    int64_t length; /* size of the output along dim: narrow's part, or pad's whole */
    int64_t groups;
} wf_narrow_attrs;

typedef struct wf_shuffle_attrs {
    int64_t groups;
} wf_shuffle_attrs;

/* The channel that a shuffle of C channels in `groups` groups moves to place c. */
static inline int wf_shuffled(int c, int C, int groups)
{
    return c % groups * (C / groups) + c / groups;
}

/* Allocates one entry for each channel of output `out`, which the caller fills. NULL with the error
 * set. */
wf_channel_from *wf_gather_channels(wf_lower *l, int out);
/* Adds the task that gathers: channel c of output `out` is the channel that from[c] names, where
 * image i stands for input i. `from` comes from wf_gather_channels; this takes it over, on failure
 * too. NULL fails. All operands have one layout, and the same sizes in dimension 0 and from
 * dimension 2 on. */
weft_status wf_lower_gather(wf_lower *l, int out, wf_channel_from *from);

/* Adds narrow's tasks (narrow.c): output `out` is this part of input 0. Each may have any
 * layout. */
weft_status wf_lower_narrow(wf_lower *l, int out, const wf_narrow_attrs *a);

/* How many runs of bytes make up an image, if each run goes through dimension dim once; dim > 0.
 * Blocked images are (C/b, H, W, b): along H and W, the blocks are outer, the channels inner. */
size_t wf_image_runs(const wf_operand *o, int dim);

#endif
