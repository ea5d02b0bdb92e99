/* What ops that move parts of images share: attributes, which the plan joins (fuse_shuffle.c), and
 * a task that gathers an output's channels from the inputs, in any layout. */
#ifndef WF_OPS_GATHER_H
#define WF_OPS_GATHER_H

#include "engine/graph/ops/common.h"
#include "kernels/layout/layout.h"

/* concat, whose channels are shuffled behind it where groups > 1 (the plan's doing). */
typedef struct wf_concat_attrs {
    int64_t dim;
    int64_t groups;
} wf_concat_attrs;

/* narrow, of channels that are shuffled before it where groups > 1 (the plan's doing); pad. */
typedef struct wf_narrow_attrs {
    int64_t dim, start;
    int64_t length; /* of the output along dim: the part, or for pad the whole */
    int64_t groups;
} wf_narrow_attrs;

typedef struct wf_shuffle_attrs {
    int64_t groups;
} wf_shuffle_attrs;

/* The channel that a shuffle of C channels in `groups` moves to c. */
static inline int wf_shuffled(int c, int C, int groups)
{
    return c % groups * (C / groups) + c / groups;
}

/* Room for one entry for each channel of output `out`, to be filled; NULL with the error set. */
wf_channel_from *wf_gather_channels(wf_lower *l, int out);
/* Channel c of output `out` is from[c], image i being input i. `from` comes from wf_gather_channels
 * and is taken over, on failure too; NULL fails. All operands have one layout, and dimensions 0 and
 * from 2 on in common. */
weft_status wf_lower_gather(wf_lower *l, int out, wf_channel_from *from);

/* Output `out` is this part of input 0, in whatever layout the two have: narrow's tasks (narrow.c). */
weft_status wf_lower_narrow(wf_lower *l, int out, const wf_narrow_attrs *a);

/* How many runs of bytes an image is made of that go through dimension dim once; dim > 0. Blocked
 * images are (C/b, H, W, b): along H and W, blocks count as outer, channels as inner. */
size_t wf_image_runs(const wf_operand *o, int dim);

#endif
