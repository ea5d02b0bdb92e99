/* of_nothing: the plan replaces a node that reads or gives an empty tensor by this op
 * (engine/plan/ir.c), so that no kernel ever sees an empty tensor. Empty outputs need no task. The
 * other outputs, such as the sum of no elements, are filled with `value`. It is never recorded. */
#include "engine/graph/ops/of_nothing.h"

#include <string.h>

#include "engine/graph/ops/common.h"

static weft_status infer(wf_infer *f)
{
    return wf_infer_fail(f, WEFT_ERR_INTERNAL, "is not recorded");
}

typedef struct nothing_args {
    wf_buf y;
    weft_dtype dtype;
    double value;
    int64_t count;
} nothing_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const nothing_args *g = vargs;
    void *y = wf_data(t, g->y);
    if (g->dtype == WEFT_F32)
        for (int64_t i = 0; i < g->count; i++)
            ((float *)y)[i] = (float)g->value;
    else if (g->dtype == WEFT_F64)
        for (int64_t i = 0; i < g->count; i++)
            ((double *)y)[i] = g->value;
    else
        memset(y, 0, (size_t)g->count * weft_dtype_size(g->dtype));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const wf_of_nothing_attrs *a = l->attrs;
    for (int o = 0; o < l->n_out; o++) {
        const wf_operand y = wf_lower_out(l, o);
        nothing_args g = {y.buf, y.dtype, a->value, weft_shape_count(y.shape)};
        if (g.count == 0 || y.buf < 0)
            continue;
        wf_task *task = wf_lower_task(l, "fill", run, &g, sizeof(g), 1);
        wf_writes(task, y.buf, WF_WHOLE);
        wf_cost(task, 0, (double)g.count * (double)weft_dtype_size(y.dtype));
        if (!task)
            return WEFT_ERR_NOMEM;
    }
    return WEFT_OK;
}

const wf_op wf_op_of_nothing = {
    .name = "of_nothing",
    .n_out = 1,
    .attr_size = sizeof(wf_of_nothing_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .no_grad_reason = "the plan puts it in, behind the gradients",
    .lower = lower,
    .no_sample_reason = "it is not recorded; tests/engine/test_empty.c runs it",
};
