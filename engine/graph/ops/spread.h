/* Element-wise ops with broadcast operands. The pass engine/plan/spread.c gives an op with
 * WF_OP_SPREADS the operand of an expand in place of the expand's output. The op spreads this
 * operand a few kilobytes at a time for its kernel, so that the expanded values never go through
 * memory. */
#ifndef WF_OPS_SPREAD_H
#define WF_OPS_SPREAD_H

#include "engine/graph/ops/common.h"

/* The kernel: y = f(a, b), or y = f(a, b, c), where functions of two operands do not read c. */
typedef void (*wf_spread_pair)(size_t n, const void *a, const void *b, void *y);
typedef void (*wf_spread_fn)(size_t n, const void *a, const void *b, const void *c, void *y);

/* Whether an input has another shape than output 0. */
bool wf_lower_is_spread(const wf_lower *l);
/* Adds the task of such a node, whose values are all plain. One of the two functions is NULL. */
weft_status wf_spread_lower(wf_lower *l, const char *kernel, wf_spread_pair pair, wf_spread_fn fn);

#endif
