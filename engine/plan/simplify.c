/* Plan pass simplify: removes dead code. A node lives if it is a check, or if its output is kept,
 * assigned or read by a live node. Nodes that only pass a value on (detach, border) are removed
 * where their readers may read the value itself. */
#include "engine/graph/ops/internal.h"
#include "engine/plan/plan.h"

/* Makes the readers of a pass-through node read its input. A stored tensor's content is an
 * exception: an update may overwrite it in place once its readers have run, so there the node,
 * which copies it, stays. */
static weft_status pass_through(wf_plan *p)
{
    char *needed = wf_bump_alloc(&p->bump, (size_t)p->n_values + 1);
    int *stands_for = wf_bump_alloc(&p->bump, (size_t)(p->n_values + 1) * sizeof *stands_for);
    if (!needed || !stands_for)
        return wf_plan_nomem(p);
    for (int v = 0; v < p->n_values; v++) {
        needed[v] = p->values[v].keep;
        stands_for[v] = v;
    }
    for (int i = 0; i < p->n_assigns; i++)
        needed[p->assigns[i].value] = 1;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        for (int i = 0; i < node->n_in; i++)
            node->in[i] = stands_for[node->in[i]];
        if ((node->op == &wf_op_detach || node->op == &wf_op_border) && !needed[node->out[0]] &&
            p->values[node->in[0]].kind != WF_IR_LEAF)
            stands_for[node->out[0]] = node->in[0];
    }
    return WEFT_OK;
}

weft_status wf_pass_simplify(wf_plan *p)
{
    if (p->passes_off & WEFT_PASS_SIMPLIFY)
        return WEFT_OK;
    WF_TRY(pass_through(p));
    char *needed = wf_bump_alloc(&p->bump, (size_t)p->n_values + 1);
    if (!needed)
        return wf_plan_nomem(p);
    for (int v = 0; v < p->n_values; v++)
        needed[v] = p->values[v].keep;
    for (int i = 0; i < p->n_assigns; i++)
        needed[p->assigns[i].value] = 1;
    for (int n = p->n_nodes - 1; n >= 0; n--) {
        wf_ir_node *node = &p->nodes[n];
        bool live = node->op->flags & WF_OP_SIDE_EFFECT;
        for (int o = 0; o < node->n_out; o++)
            live |= needed[node->out[o]];
        node->dead = !live;
        for (int i = 0; i < node->n_in && live; i++)
            needed[node->in[i]] = 1;
    }
    return WEFT_OK;
}
