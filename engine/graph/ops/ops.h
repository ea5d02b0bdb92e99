/* The table of all ops. */
#ifndef WF_OPS_OPS_H
#define WF_OPS_OPS_H

#include "engine/graph/op.h"

extern const wf_op *const wf_ops[]; /* in ops.def's order */
extern const int wf_n_ops;

#endif
