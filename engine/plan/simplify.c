/* Pass 1, simplify: dead code. A node lives when something needs its outputs: a kept value, an
 * assignment, another live node; or when it is a check. */
#include "engine/plan/plan.h"

weft_status wf_pass_simplify(wf_plan *p)
{
    if (p->passes_off & WEFT_PASS_SIMPLIFY)
        return WEFT_OK;
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
