/* Element-wise ops with broadcast operands. The pass engine/plan/spread.c gives an op with
 * WF_OP_SPREADS the operand of an expand in place of the expand's output, so that the expanded values
 * never go through memory. The kernel reads rows of the operand where they lie (spread_rows.c), or, where rows
 * are short, pieces that are written out in the first-level cache. */
#ifndef WF_OPS_SPREAD_H
#define WF_OPS_SPREAD_H

#include "engine/graph/ops/common.h"
#include "kernels/eltwise/pointwise.h"

/* Whether an input has another shape than output 0. */
bool wf_lower_is_spread(const wf_lower *l);
/* Adds the task of such a node, whose values are all plain. */
weft_status wf_spread_lower(wf_lower *l, const char *kernel, wf_pointwise_fn fn);

#endif
