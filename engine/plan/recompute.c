/* Plan pass recompute: computes values again in the backward pass, where this is cheaper than
 * keeping them.
 *
 * Take a block of convolution, BatchNorm and ReLU. Without this pass the step keeps two values: the
 * convolution's output, which BatchNorm's gradient reads, and ReLU's output, which only the next
 * convolution's weight gradient reads. But ReLU's output follows from the convolution's by one
 * multiply-add and one maximum for each element. So the plan gets the nodes that computed ReLU's
 * output a second time, with the same kernels, hence the same bits, and the weight gradient reads
 * the *remade value* that they give. They stand directly before the first node of the backward pass
 * that reads the value. The plan pass chain puts them into the task group of this node, so a remade
 * value lives for one image only. The value itself then ends with its last reader in the forward
 * pass.
 *
 * Whether a value is dropped follows from the plan alone:
 * - its op is cheap (WF_OP_CHEAP), and the value is large;
 * - a convolution or matrix product lies between the value and its first reader in the backward pass:
 *   otherwise the value would not have lived long;
 * - what the copies read is in memory there anyway: something reads it there or later, or it is
 *   small, or the same rule computes it again;
 * - all copies together read at most READ_MOST times the value's bytes from memory, and write at most
 *   WRITE_MOST times as much, into a cache as a rule. So a stage of residual blocks keeps the output
 *   of every other block, and in a chain of element-wise ops every fourth value is kept.
 *   docs/measurements.md, Memory of a training step, has what other limits save and cost. */
#include "engine/base/alloc.h"
#include "engine/graph/ops/common.h"
#include "engine/plan/plan.h"

/* Smaller values are kept, because making a value again costs a task. */
#define SMALL_BYTES ((int64_t)32 << 10)
#define READ_MOST 2
#define WRITE_MOST 3
#define NODES_MOST 16 /* copies for one value: bounds the time of this pass */

typedef struct recompute {
    wf_plan *p;
    /* per value: first and last node of the backward pass that reads it; -1: none */
    int *first_late, *last_late;
    char *early;   /* per value: a node outside the backward pass reads it */
    int *products; /* per node: how many nodes before it sum products */
    char *needed;  /* per value: it is kept or assigned */
    char *dropped; /* per value */
    int *copy;     /* per value: the remade value; -1: not yet made */
    int *next;     /* per value: the next value that is computed again before the same node */
    int *before;   /* per node: the first value that is computed again before it; -1: none */
} recompute;

static int64_t value_bytes(const wf_plan *p, int value)
{
    const wf_ir_value *v = &p->values[value];
    return weft_shape_count(v->type.shape) * (int64_t)weft_dtype_size(v->storage);
}

static bool is_large(const wf_plan *p, int value)
{
    const wf_ir_value *v = &p->values[value];
    return v->type.shape.rank == 4 && value_bytes(p, value) >= SMALL_BYTES;
}

static bool sums_products(const wf_op *op)
{
    return op == &wf_op_conv2d || op == &wf_op_conv2d_backward_data ||
           op == &wf_op_conv2d_backward_weights || op == &wf_op_matmul;
}

static weft_status note_readers(recompute *r)
{
    wf_plan *p = r->p;
    const size_t values = (size_t)p->n_values + 1, nodes = (size_t)p->n_nodes + 1;
    r->first_late = wf_bump_alloc(&p->bump, values * sizeof *r->first_late);
    r->last_late = wf_bump_alloc(&p->bump, values * sizeof *r->last_late);
    r->copy = wf_bump_alloc(&p->bump, values * sizeof *r->copy);
    r->next = wf_bump_alloc(&p->bump, values * sizeof *r->next);
    r->before = wf_bump_alloc(&p->bump, nodes * sizeof *r->before);
    r->products = wf_bump_alloc(&p->bump, nodes * sizeof *r->products);
    r->early = wf_bump_alloc(&p->bump, values);
    r->needed = wf_bump_alloc(&p->bump, values);
    r->dropped = wf_bump_alloc(&p->bump, values);
    if (!r->first_late || !r->last_late || !r->copy || !r->next || !r->before || !r->products ||
        !r->early || !r->needed || !r->dropped)
        return wf_plan_nomem(p);
    for (int v = 0; v < p->n_values; v++) {
        r->first_late[v] = r->last_late[v] = r->copy[v] = r->next[v] = -1;
        r->needed[v] = p->values[v].keep;
    }
    for (int i = 0; i < p->n_assigns; i++)
        r->needed[p->assigns[i].value] = 1;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        r->before[n] = -1;
        r->products[n + 1] = r->products[n] + (!node->dead && sums_products(node->op));
        for (int i = 0; i < node->n_in && !node->dead; i++) {
            const int v = node->in[i];
            if (!node->backward) {
                r->early[v] = 1;
                continue;
            }
            r->first_late[v] = r->first_late[v] < 0 ? n : r->first_late[v];
            r->last_late[v] = n;
        }
    }
    return WEFT_OK;
}

/* The nodes that make one value again, and the bytes that they read and write. */
typedef struct cost {
    int nodes;
    int64_t reads, writes;
} cost;

/* Adds to *c the nodes that make `value` again at node `at`, for a dropped value of so many bytes. False:
 * this is impossible or costs too much. */
static bool can_copy(const recompute *r, int value, int at, int64_t bytes, cost *c)
{
    const wf_plan *p = r->p;
    const int made_by = p->values[value].node;
    if (p->values[value].kind != WF_IR_NODE || made_by < 0 || p->values[value].out != 0)
        return false;
    const wf_ir_node *node = &p->nodes[made_by];
    if (!(node->op->flags & WF_OP_CHEAP) || node->backward || ++c->nodes > NODES_MOST)
        return false;
    if (node->op != &wf_op_concat) /* whose inputs are written in place */
        c->writes += value_bytes(p, value);
    if (c->writes > WRITE_MOST * bytes)
        return false;
    for (int i = 0; i < node->n_in; i++) {
        const int in = node->in[i];
        const bool held = r->needed[in] || p->values[in].kind != WF_IR_NODE || !is_large(p, in) ||
                          (!r->dropped[in] && r->last_late[in] >= at);
        if (!held) {
            if (!can_copy(r, in, at, bytes, c))
                return false;
            continue;
        }
        c->reads += is_large(p, in) ? value_bytes(p, in) : 0;
        if (c->reads > READ_MOST * bytes)
            return false;
    }
    return true;
}

static void decide(recompute *r)
{
    const wf_plan *p = r->p;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        const int v = node->n_out > 0 && !node->dead && !node->backward ? node->out[0] : -1;
        if (v < 0 || r->first_late[v] < 0 || r->needed[v] || !r->early[v] || !is_large(p, v))
            continue;
        if (r->products[r->first_late[v]] == r->products[n + 1])
            continue;
        cost c = {0};
        if (!can_copy(r, v, r->first_late[v], value_bytes(p, v), &c))
            continue;
        r->dropped[v] = 1;
        r->next[v] = r->before[r->first_late[v]];
        r->before[r->first_late[v]] = v;
    }
}

static weft_status append(wf_plan *p, const wf_ir_node *node)
{
    if (!wf_grow(&p->nodes, &p->cap_nodes, p->n_nodes, 1, sizeof *p->nodes))
        return wf_plan_nomem(p);
    for (int o = 0; o < node->n_out; o++)
        p->values[node->out[o]].node = p->n_nodes;
    p->nodes[p->n_nodes++] = *node;
    return WEFT_OK;
}

/* Appends the nodes that make `value` again, those that can_copy has counted. *copy is the remade
 * value. */
static weft_status copy_value(recompute *r, const wf_ir_node *old, const int *made_by, int value,
                              int at, int *copy)
{
    wf_plan *p = r->p;
    wf_ir_node node = old[made_by[value]];
    int *in = wf_bump_alloc(&p->bump, (size_t)(node.n_in + 1) * sizeof *in);
    if (!in)
        return wf_plan_nomem(p);
    for (int i = 0; i < node.n_in; i++) {
        const int v = node.in[i];
        in[i] = v;
        if (!r->needed[v] && p->values[v].kind == WF_IR_NODE && is_large(p, v) &&
            (r->dropped[v] || r->last_late[v] < at))
            WF_TRY(copy_value(r, old, made_by, v, at, &in[i]));
    }
    *copy = wf_ir_new_value(p, p->values[value].type);
    if (*copy < 0)
        return WEFT_ERR_NOMEM;
    p->values[*copy].storage = p->values[value].storage;
    node.in = in;
    node.out[0] = *copy;
    node.n_out = 1; /* the mask is kept: it has one bit per element */
    node.backward = true;
    node.copy = true;
    return append(p, &node);
}

/* Rewrites the list of nodes, with those that make values again in place. */
static weft_status rewrite(recompute *r)
{
    wf_plan *p = r->p;
    const int n_old = p->n_nodes, v_old = p->n_values;
    wf_ir_node *old = wf_bump_alloc(&p->bump, (size_t)(n_old + 1) * sizeof *old);
    int *made_by = wf_bump_alloc(&p->bump, (size_t)(v_old + 1) * sizeof *made_by);
    if (!old || !made_by)
        return wf_plan_nomem(p);
    for (int n = 0; n < n_old; n++)
        old[n] = p->nodes[n];
    for (int v = 0; v < v_old; v++) {
        made_by[v] = p->values[v].node;
        p->values[v].node = -1; /* dead values keep -1 */
    }
    p->n_nodes = 0;
    for (int n = 0; n < n_old; n++) {
        if (old[n].dead)
            continue;
        for (int v = r->before[n]; v >= 0; v = r->next[v])
            WF_TRY(copy_value(r, old, made_by, v, n, &r->copy[v]));
        for (int i = 0; i < old[n].n_in && old[n].backward; i++)
            if (r->copy[old[n].in[i]] >= 0)
                old[n].in[i] = r->copy[old[n].in[i]];
        WF_TRY(append(p, &old[n]));
    }
    return WEFT_OK;
}

weft_status wf_pass_recompute(wf_plan *p)
{
    if ((p->passes_off & WEFT_PASS_RECOMPUTE) || p->keep_all)
        return WEFT_OK;
    recompute r = {.p = p};
    WF_TRY(note_readers(&r));
    decide(&r);
    return rewrite(&r);
}
