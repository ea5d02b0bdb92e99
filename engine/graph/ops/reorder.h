/* Attributes of the op `reorder`: the same rank-4 value in another layout. Recorded by the layout
 * pass only. */
#ifndef WF_OPS_REORDER_H
#define WF_OPS_REORDER_H

#include "engine/graph/op.h"

typedef struct wf_reorder_attrs {
    int64_t block; /* 1: plain; else channels per block */
} wf_reorder_attrs;

extern const wf_op wf_op_reorder;

#endif
