/* Plan pass spread: element-wise ops read broadcast operands directly.
 *
 * An expand writes everything that it broadcasts, and the op after it reads this again: twice the
 * memory traffic of a copy. An op with WF_OP_SPREADS takes the expand's operand instead, where all
 * values are plain. It spreads the operand piece by piece in the first-level cache
 * (engine/graph/ops/spread.c). An expand that no node reads any more is dropped. The op computes on
 * the same elements, so the bits are the same. */
#include "engine/graph/ops/common.h"
#include "engine/plan/plan.h"

/* The value that input i of the node can read instead; -1: none. */
static int source_of(const wf_plan *p, const wf_ir_node *n, int i)
{
    const wf_ir_value *v = &p->values[n->in[i]];
    if (v->kind != WF_IR_NODE || v->node < 0 || p->nodes[v->node].op != &wf_op_expand ||
        v->block != 1 || p->values[n->out[0]].block != 1)
        return -1;
    const int x = p->nodes[v->node].in[0];
    const wf_ir_value *from = &p->values[x];
    return from->block == 1 && from->storage == v->storage && from->slice_of < 0 ? x : -1;
}

static weft_status redirect(wf_plan *p, wf_ir_node *n)
{
    int *in = NULL;
    for (int i = 0; i < n->n_in; i++) {
        const int x = source_of(p, n, i);
        if (x < 0)
            continue;
        if (!in) {
            in = wf_bump_alloc(&p->bump, (size_t)n->n_in * sizeof *in);
            if (!in)
                return wf_plan_nomem(p);
            for (int k = 0; k < n->n_in; k++)
                in[k] = n->in[k];
            n->in = in;
        }
        in[i] = x;
    }
    return WEFT_OK;
}

/* Drops the expands whose output nothing needs. */
static weft_status drop_idle(wf_plan *p)
{
    char *needed = wf_bump_alloc(&p->bump, (size_t)p->n_values + 1);
    if (!needed)
        return wf_plan_nomem(p);
    for (int v = 0; v < p->n_values; v++)
        needed[v] = p->values[v].keep;
    for (int i = 0; i < p->n_assigns; i++)
        needed[p->assigns[i].value] = 1;
    for (int n = 0; n < p->n_nodes; n++)
        for (int i = 0; i < p->nodes[n].n_in; i++)
            needed[p->nodes[n].in[i]] = 1;
    int kept = 0;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node node = p->nodes[n];
        const bool idle = node.op == &wf_op_expand && !needed[node.out[0]];
        for (int o = 0; o < node.n_out; o++)
            p->values[node.out[o]].node = idle ? -1 : kept;
        if (!idle)
            p->nodes[kept++] = node;
    }
    p->n_nodes = kept;
    return WEFT_OK;
}

weft_status wf_pass_spread(wf_plan *p)
{
    bool any = false;
    if ((p->passes_off & WEFT_PASS_FUSE) || p->keep_all)
        return WEFT_OK;
    for (int n = 0; n < p->n_nodes; n++) {
        any |= p->nodes[n].op == &wf_op_expand;
        if (p->nodes[n].op->flags & WF_OP_SPREADS)
            WF_TRY(redirect(p, &p->nodes[n]));
    }
    return any ? drop_idle(p) : WEFT_OK;
}
