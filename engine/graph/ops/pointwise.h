/* What ops over the functions of kernels/eltwise/pointwise.def share: lowering. */
#ifndef WF_OPS_POINTWISE_H
#define WF_OPS_POINTWISE_H

#include "engine/graph/ops/common.h"
#include "kernels/eltwise/pointwise.h"

/* Adds the task output 0 = f(inputs), all of one shape. Padding channels become zero. */
weft_status wf_pointwise_lower(wf_lower *l, wf_pointwise f);

#endif
