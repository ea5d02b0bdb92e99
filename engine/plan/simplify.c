/* Pass 1, simplify: dead code. A node lives when something needs its outputs: a kept value, an
 * assignment, another live node; or when it is a check. Nodes that only pass a value on (detach,
 * border) are left out where their users may read the value itself. */
#include "engine/graph/ops/internal.h"
#include "engine/plan/plan.h"

/* The users of a pass-through node read its input. A stored tensor's content may be overwritten in
 * place once its readers have run, so there the node stays. */
static void pass_through(wf_plan *p)
{
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        if (node->op != &wf_op_detach && node->op != &wf_op_border)
            continue;
        int in = node->in[0], out = node->out[0];
        bool needed;
        wf_ir_users(p, out, &needed);
        if (needed || p->values[in].kind == WF_IR_LEAF)
            continue;
        for (int m = n + 1; m < p->n_nodes; m++)
            for (int i = 0; i < p->nodes[m].n_in; i++)
                if (p->nodes[m].in[i] == out)
                    p->nodes[m].in[i] = in;
    }
}

weft_status wf_pass_simplify(wf_plan *p)
{
    if (p->passes_off & WEFT_PASS_SIMPLIFY)
        return WEFT_OK;
    pass_through(p);
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
