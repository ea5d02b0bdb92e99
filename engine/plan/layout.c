/* Plan pass layout: chooses which rank-4 values are stored in channel blocks, and inserts reorders.
 *
 * The choice is local: it depends on the op that makes a value and on this op's inputs, never on
 * later readers. So a step gives the same numbers whether it runs as a whole or piece by piece. See
 * Note [Reading mid-step] in execute.c. */
#include "engine/base/alloc.h"
#include "engine/graph/ops/reorder.h"
#include "engine/plan/plan.h"

static bool can_block(const wf_ir_value *v)
{
    return v->type.shape.rank == 4 && v->storage != WEFT_F64 && v->storage != WEFT_I64;
}

/* The block of the node's operands. Nodes with f64 operands stay plain: blocks are for single
 * precision. */
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

/* Appends a node that copies `value` to another layout. Returns the copy. */
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

/* `value` in layout `block`: itself, or a copy, which is made where there is none yet. `copies` has
 * one reorder per value, so that several readers share it. */
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
    l.view = &node; /* op->layout reads its operands through wf_lower_in and wf_lower_out */
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

/* Assigned values must be plain: stored tensors are. */
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
        p->values[v].node = -1; /* dead values keep -1 */
    p->n_nodes = 0;             /* the list is rewritten, with the reorders in place */
    for (int n = 0; n < n_old; n++)
        if (!old[n].dead)
            WF_TRY(lay_out(p, old[n], copies, cap));
    return plain_assignments(p, copies, cap);
}
