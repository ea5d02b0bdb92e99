/* Comparisons of two tensors, element by element: 1 where true, else 0. The result has the
 * operands' type, so it can multiply and select without a conversion. Comparisons have no gradient:
 * they are constant almost everywhere. */
#include "engine/graph/ops/pointwise.h"

/* The functions that op f's descriptor and its callers need. */
#define FUNCTIONS(f)                                                                               \
    static weft_status lower_##f(wf_lower *l)                                                      \
    {                                                                                              \
        return wf_pointwise_lower(l, WF_PW_##f);                                                   \
    }                                                                                              \
    weft_tensor *weft_##f(weft_tensor *a, weft_tensor *b)                                          \
    {                                                                                              \
        return wf_record_pair(&wf_op_##f, NULL, a, b);                                             \
    }
FUNCTIONS(eq)
FUNCTIONS(ne)
FUNCTIONS(lt)
FUNCTIONS(le)
FUNCTIONS(gt)
FUNCTIONS(ge)

#define COMPARISON(f)                                                                              \
    {                                                                                              \
        .name = #f, .of_nothing = WF_EMPTY_ZERO, .n_out = 1,                                       \
        .flags = WF_OP_BY_IMAGE | WF_OP_SPREADS, .layout_rule = WF_LAYOUT_SAME, .inplace = {1},    \
        .infer = wf_infer_same, .no_grad_reason = "a comparison is constant almost everywhere",    \
        .lower = lower_##f,                                                                        \
        .no_sample_reason = "it has no gradient; tests/engine/test_ops_pointwise.c runs it",       \
    }
const wf_op wf_op_eq = COMPARISON(eq);
const wf_op wf_op_ne = COMPARISON(ne);
const wf_op wf_op_lt = COMPARISON(lt);
const wf_op wf_op_le = COMPARISON(le);
const wf_op wf_op_gt = COMPARISON(gt);
const wf_op wf_op_ge = COMPARISON(ge);
