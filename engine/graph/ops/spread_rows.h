/* The half of spread.h that reads broadcast operands where they lie. */
#ifndef WF_OPS_SPREAD_ROWS_H
#define WF_OPS_SPREAD_ROWS_H

#include "engine/graph/ops/spread.h"

/* Whether the rows of the node's operands are long enough for it. */
bool wf_spread_has_long_rows(const wf_lower *l);
/* Adds the task of such a node. */
weft_status wf_spread_rows_lower(wf_lower *l, const char *kernel, wf_pointwise_fn fn);

#endif
