/* Attributes of the op `reorder`, which copies a rank-4 value to another layout. Only the layout
 * pass inserts it. */
#ifndef WF_OPS_REORDER_H
#define WF_OPS_REORDER_H

#include "engine/graph/op.h"

typedef struct wf_reorder_attrs {
    int64_t block; /* 1: plain; else channels per block */
} wf_reorder_attrs;

extern const wf_op wf_op_reorder;

#endif
