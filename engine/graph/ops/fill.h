/* Attributes of the op `fill`, which gives a tensor of this type and shape. */
#ifndef WF_OPS_FILL_H
#define WF_OPS_FILL_H

#include "engine/graph/op.h"

typedef struct wf_fill_attrs {
    int64_t dtype, rank, dim[WEFT_MAX_RANK];
} wf_fill_attrs;

extern const wf_op wf_op_fill;

#endif
