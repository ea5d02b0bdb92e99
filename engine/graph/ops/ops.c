/* See ops.h. */
#include "engine/graph/ops/ops.h"

#define WF_OP(name) extern const wf_op wf_op_##name;
#include "engine/graph/ops/ops.def"
#undef WF_OP

const wf_op *const wf_ops[] = {
#define WF_OP(name) &wf_op_##name,
#include "engine/graph/ops/ops.def"
#undef WF_OP
};
const int wf_n_ops = sizeof wf_ops / sizeof wf_ops[0];
