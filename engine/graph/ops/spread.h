/* Broadcast operands read where they lie. The pass engine/plan/spread.c gives ops with WF_OP_SPREADS the
 * operand of an expand in place of its output; what such an op's kernel then reads is spread out a few
 * kilobytes at a time, so that the whole never goes through memory. */
#ifndef WF_OPS_SPREAD_H
#define WF_OPS_SPREAD_H

#include "engine/graph/ops/common.h"

/* y = f(a, b); y = f(a, b, c), where c is not read by functions of two operands. */
typedef void (*wf_spread_pair)(size_t n, const void *a, const void *b, void *y);
typedef void (*wf_spread_fn)(size_t n, const void *a, const void *b, const void *c, void *y);

/* Whether an input has another shape than output 0. */
bool wf_lower_is_spread(const wf_lower *l);
/* The task of such a node, all of whose values are plain. One of the functions is NULL. */
weft_status wf_spread_lower(wf_lower *l, const char *kernel, wf_spread_pair pair, wf_spread_fn fn);

#endif
