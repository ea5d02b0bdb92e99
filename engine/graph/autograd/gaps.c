/* Finds out why a tensor has no gradient although backward passes were recorded. */
#include "engine/graph/autograd/autograd.h"

#include <string.h>

#include "engine/base/alloc.h"
#include "engine/graph/ops/internal.h"

const char *const wf_gap_text[WF_GAPS] = {
    [WF_GAP_FROZEN] = "frozen: requires_grad is off",
    [WF_GAP_NO_GRAD] = "cut by no_grad: used inside weft_no_grad_begin",
    [WF_GAP_DETACHED] = "cut by weft_detach",
    [WF_GAP_NO_RULE] = "used only by ops without a gradient",
    [WF_GAP_UNREACHED] = "not reached: no loss of a backward pass depends on it",
    [WF_GAP_UNUSED] = "not reached: not used in the step's forward",
};

/* Follows the ops that t's content reaches, up to where gradients stop. */
static wf_gap follow(const wf_graph *g, char *tainted, const weft_tensor *t)
{
    bool used = false, passed = false, no_grad = false, detached = false;
    for (int v = 0; v < g->n_values; v++)
        tainted[v] = g->values[v].node < 0 && g->values[v].stored == t;
    for (int n = 0; n < g->n_nodes; n++) {
        const wf_node *node = &g->nodes[n];
        bool reads = false;
        for (int i = 0; i < node->n_in; i++)
            reads |= tainted[wf_node_in(g, node)[i]];
        if (!reads || node->recorded_grad || (node->op->flags & WF_OP_COMMIT))
            continue;
        used = true;
        no_grad |= node->no_grad;
        detached |= !node->no_grad && node->op == &wf_op_detach;
        if (node->no_grad || !node->op->grad)
            continue;
        passed = true;
        memset(tainted + node->out, 1, (size_t)node->n_out);
    }
    if (detached || no_grad)
        return detached ? WF_GAP_DETACHED : WF_GAP_NO_GRAD;
    if (!used)
        return g->n_nodes > 0 ? WF_GAP_UNUSED : WF_GAP_UNREACHED;
    return passed ? WF_GAP_UNREACHED : WF_GAP_NO_RULE;
}

wf_gap wf_lint_gap(weft_context *ctx, const weft_tensor *t)
{
    if (!t->requires_grad)
        return WF_GAP_FROZEN;
    char *tainted = wf_zalloc((size_t)ctx->graph->n_values + 1);
    if (!tainted)
        return WF_GAP_UNREACHED;
    wf_gap gap = follow(ctx->graph, tainted, t);
    wf_free(tainted);
    return gap;
}
