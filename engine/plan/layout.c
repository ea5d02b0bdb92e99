/* Pass 4, layout: which rank-4 values are stored in channel blocks, and the reorders between.
 *
 * The choice is local: a value's layout follows from the op that makes it and that op's inputs,
 * never from what is done with it later. So the same numbers come out whether a step is run whole
 * or piece by piece. See Note [Reading mid-step] in execute.c. */
#include "engine/base/alloc.h"
#include "engine/graph/ops/reorder.h"
#include "engine/plan/plan.h"

static bool can_block(const wf_ir_value *v)
{
    return v->type.shape.rank == 4 && v->storage != WEFT_F64 && v->storage != WEFT_I64;
}

/* The blocked form is for single precision: in double everything stays plain. */
static int node_block(const wf_plan *p, const wf_ir_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (p->values[n->in[i]].storage == WEFT_F64)
            return 1;
    for (int o = 0; o < n->n_out; o++)
        if (p->values[n->out[o]].storage == WEFT_F64)
            return 1;
    return wf_isa_block(p->ctx->isa);
}

static int same_block(const wf_plan *p, const wf_ir_node *n)
{
    int block = 1;
    for (int i = 0; i < n->n_in; i++) {
        const wf_ir_value *v = &p->values[n->in[i]];
        if (can_block(v) && v->block > block)
            block = v->block;
    }
    return block;
}

/* A copy of `value` in another layout, appended after the present nodes. */
static int reorder(wf_plan *p, int value, int block, const char *path)
{
    wf_reorder_attrs attrs = {.block = block};
    int node = wf_ir_new_node(p, &wf_op_reorder, &attrs, 1, &value);
    if (node < 0)
        return -1;
    int copy = wf_ir_new_value(p, p->values[value].type);
    if (copy < 0)
        return -1;
    p->values[copy].storage = p->values[value].storage;
    p->values[copy].block = block;
    p->values[copy].node = node;
    p->nodes[node].out[0] = copy;
    p->nodes[node].n_out = 1;
    p->nodes[node].path = path;
    return copy;
}

/* The present copy of `value` in `block`, made when there is none. `copies` remembers one reorder
 * per value, so that several readers share it. */
static int in_block(wf_plan *p, int *copies, int cap, int value, int block, const char *path)
{
    const wf_ir_value *v = &p->values[value];
    if (!can_block(v) || v->block == block)
        return value;
    if (value < cap && copies[value] >= 0 && p->values[copies[value]].block == block)
        return copies[value];
    int copy = reorder(p, value, block, path);
    if (value < cap)
        copies[value] = copy;
    return copy;
}

static weft_status lay_out(wf_plan *p, wf_ir_node node, int *copies, int cap)
{
    int *blocks = wf_bump_alloc(&p->bump, (size_t)(node.n_in + 1) * sizeof *blocks);
    if (!blocks)
        return wf_plan_nomem(p);
    for (int i = 0; i < node.n_in; i++)
        blocks[i] = p->values[node.in[i]].block;
    int block = node_block(p, &node), common = 1;
    if (node.op->layout_rule == WF_LAYOUT_SAME)
        common = same_block(p, &node);
    wf_lower l = {.ctx = p->ctx,
                  .op = node.op,
                  .attrs = node.attrs,
                  .n_in = node.n_in,
                  .n_out = node.n_out,
                  .isa = p->ctx->isa,
                  .plan = p};
    l.view = &node; /* op->layout looks at its operands through wf_lower_in and _out */
    for (int i = 0; i < node.n_in; i++) {
        int want =
            node.op->layout_rule == WF_LAYOUT_OWN ? node.op->layout(&l, i, blocks, block) : common;
        node.in[i] = in_block(p, copies, cap, node.in[i], want, node.path);
        if (node.in[i] < 0)
            return WEFT_ERR_NOMEM;
        blocks[i] = p->values[node.in[i]].block;
    }
    for (int o = 0; o < node.n_out; o++) {
        wf_ir_value *v = &p->values[node.out[o]];
        if (!can_block(v))
            v->block = 1;
        else
            v->block = node.op->layout_rule == WF_LAYOUT_OWN
                           ? node.op->layout(&l, node.n_in + o, blocks, block)
                           : common;
    }
    if (!wf_grow(&p->nodes, &p->cap_nodes, p->n_nodes, 1, sizeof *p->nodes))
        return wf_plan_nomem(p);
    for (int o = 0; o < node.n_out; o++)
        p->values[node.out[o]].node = p->n_nodes;
    p->nodes[p->n_nodes++] = node;
    return WEFT_OK;
}

/* An assigned value must be plain, as stored tensors are. */
static weft_status plain_assignments(wf_plan *p, int *copies, int cap)
{
    for (int i = 0; i < p->n_assigns; i++) {
        int plain = in_block(p, copies, cap, p->assigns[i].value, 1, "");
        if (plain < 0)
            return WEFT_ERR_NOMEM;
        p->assigns[i].value = plain;
    }
    return WEFT_OK;
}

weft_status wf_pass_layout(wf_plan *p)
{
    int n_old = p->n_nodes, cap = p->n_values;
    wf_ir_node *old = wf_bump_alloc(&p->bump, (size_t)(n_old + 1) * sizeof *old);
    int *copies = wf_bump_alloc(&p->bump, (size_t)(cap + 1) * sizeof *copies);
    if (!old || !copies)
        return wf_plan_nomem(p);
    for (int v = 0; v < cap; v++)
        copies[v] = -1;
    for (int n = 0; n < n_old; n++)
        old[n] = p->nodes[n];
    for (int v = 0; v < cap; v++)
        p->values[v].node = -1; /* dead values stay so */
    p->n_nodes = 0;             /* the list is written anew, with the reorders in their places */
    for (int n = 0; n < n_old; n++)
        if (!old[n].dead)
            WF_TRY(lay_out(p, old[n], copies, cap));
    return plain_assignments(p, copies, cap);
}
