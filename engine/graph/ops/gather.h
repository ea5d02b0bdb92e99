/* What ops that move whole channels share: a task that gathers an output's channels from the
 * inputs, in any layout. */
#ifndef WF_OPS_GATHER_H
#define WF_OPS_GATHER_H

#include "engine/graph/ops/common.h"
#include "kernels/layout/layout.h"

/* Room for one entry for each channel of output `out`, to be filled; NULL with the error set. */
wf_channel_from *wf_gather_channels(wf_lower *l, int out);
/* Channel c of output `out` is from[c], image i being input i. `from` comes from wf_gather_channels
 * and is taken over, on failure too; NULL fails. All operands have one layout, and dimensions 0 and
 * from 2 on in common. */
weft_status wf_lower_gather(wf_lower *l, int out, wf_channel_from *from);

#endif
