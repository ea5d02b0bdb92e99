/* Part of the plan pass recompute: which stages read each value (Note [Stages]), and which values are
 * dropped, to be made again by copies of the nodes that made them.
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
#include "engine/plan/readings.h"

#define READ_MOST 2
#define WRITE_MOST 3
#define NODES_MOST 16 /* copies for one value: bounds the time of this pass */

bool wf_sums_products(const wf_op *op)
{
    return op == &wf_op_conv2d || op == &wf_op_conv2d_backward_data ||
           op == &wf_op_conv2d_backward_weights || op == &wf_op_matmul;
}

double wf_forward_seconds(const wf_plan *p, const wf_ir_node *node, int64_t bytes)
{
    double flops = 0;
    if (wf_sums_products(node->op) && node->n_in > 1) {
        const weft_shape w = p->values[node->in[1]].type.shape;
        const int of = node->op == &wf_op_conv2d ? node->out[0] : node->in[0];
        if (w.rank > 1 && w.dim[0] > 0)
            flops = 2 * (double)weft_shape_count(p->values[of].type.shape) *
                    (double)weft_shape_count(w) / (double)w.dim[0];
    }
    return flops / WF_FLOPS_A_SECOND + (double)bytes / WF_BYTES_A_SECOND;
}

/* ---- readers ---- */

/* Notes that node n, of another stage than the value's, reads the value. */
static weft_status note_late(wf_recompute *r, int value, int n)
{
    const int stage = wf_ir_stage(&r->p->nodes[n]);
    r->last_late[value] = n;
    for (int i = r->readings[value]; i >= 0; i = r->reading[i].next)
        if (r->reading[i].stage == stage)
            return WEFT_OK;
    if (!wf_grow(&r->reading, &r->cap_readings, r->n_readings, 1, sizeof *r->reading))
        return wf_plan_nomem(r->p);
    r->reading[r->n_readings] = (wf_reading){.stage = stage,
                                             .first = n,
                                             .next = r->readings[value],
                                             .same = -1,
                                             .value = value,
                                             .copy = -1};
    r->readings[value] = r->n_readings++;
    return WEFT_OK;
}

static weft_status note_readers(wf_recompute *r)
{
    const wf_plan *p = r->p;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        const int stage = wf_ir_stage(node);
        r->products[n + 1] = r->products[n] + (!node->dead && wf_sums_products(node->op));
        for (int i = 0; i < node->n_in && !node->dead; i++) {
            const int v = node->in[i], made_by = p->values[v].node;
            if (made_by >= 0 && wf_ir_stage(&p->nodes[made_by]) == stage)
                r->early[v] = 1;
            else
                WF_TRY(note_late(r, v, n));
        }
    }
    return WEFT_OK;
}

weft_status wf_recompute_init(wf_plan *p, wf_recompute *r)
{
    const size_t values = (size_t)p->n_values + 1, nodes = (size_t)p->n_nodes + 1;
    *r = (wf_recompute){.p = p};
    r->readings = wf_bump_alloc(&p->bump, values * sizeof *r->readings);
    r->made_by = wf_bump_alloc(&p->bump, values * sizeof *r->made_by);
    r->last_late = wf_bump_alloc(&p->bump, values * sizeof *r->last_late);
    r->products = wf_bump_alloc(&p->bump, nodes * sizeof *r->products);
    r->early = wf_bump_alloc(&p->bump, values);
    r->needed = wf_bump_alloc(&p->bump, values);
    r->dropped = wf_bump_alloc(&p->bump, values);
    if (!r->readings || !r->made_by || !r->last_late || !r->products || !r->early || !r->needed ||
        !r->dropped)
        return wf_plan_nomem(p);
    for (int v = 0; v < p->n_values; v++) {
        r->readings[v] = r->last_late[v] = -1;
        r->made_by[v] = p->values[v].node;
        r->needed[v] = p->values[v].keep;
    }
    for (int i = 0; i < p->n_assigns; i++)
        r->needed[p->assigns[i].value] = 1;
    const weft_status status = note_readers(r);
    if (status != WEFT_OK)
        wf_recompute_done(r);
    return status;
}

void wf_recompute_done(wf_recompute *r)
{
    wf_free(r->reading);
    r->reading = NULL;
}

/* ---- what is made again ---- */

/* The nodes that make one value again, and the bytes that they read and write. */
typedef struct cost {
    int nodes;
    int64_t reads, writes;
} cost;

/* Whether a convolution makes the value that products.c has chosen, and that is not a copy itself. */
static bool runs_again(const wf_recompute *r, int value)
{
    const int n = r->made_by[value];
    return n >= 0 && r->p->nodes[n].product && !r->p->nodes[n].again;
}

int wf_recompute_held_as(const wf_recompute *r, int value, int at)
{
    const wf_ir_value *v = &r->p->values[value];
    if (r->needed[value] || v->kind != WF_IR_NODE || !wf_ir_is_large(r->p, value) ||
        (!r->dropped[value] && r->last_late[value] >= at))
        return value;
    if (v->again < 0)
        return runs_again(r, value) ? value : -1;
    return r->made_by[v->again] < at && r->last_late[v->again] >= at ? v->again : -1;
}

/* Adds to *c the nodes that make `value` again at node `at`, for a dropped value of so many bytes. False:
 * this is impossible or costs too much. */
static bool can_copy(const wf_recompute *r, int value, int at, int64_t bytes, cost *c)
{
    const wf_plan *p = r->p;
    const int made_by = r->made_by[value];
    if (p->values[value].kind != WF_IR_NODE || made_by < 0 || p->values[value].out != 0)
        return false;
    const wf_ir_node *node = &p->nodes[made_by];
    if (!(node->op->flags & WF_OP_CHEAP) || wf_ir_stage(node) == WF_STAGE_BACKWARD ||
        ++c->nodes > NODES_MOST)
        return false;
    if (node->op != &wf_op_concat) /* whose inputs are written in place */
        c->writes += wf_ir_bytes(p, value);
    if (c->writes > WRITE_MOST * bytes)
        return false;
    for (int i = 0; i < node->n_in; i++) {
        const int in = node->in[i];
        if (wf_recompute_held_as(r, in, at) < 0) {
            if (!can_copy(r, in, at, bytes, c))
                return false;
            continue;
        }
        c->reads += wf_ir_is_large(p, in) ? wf_ir_bytes(p, in) : 0;
        if (c->reads > READ_MOST * bytes)
            return false;
    }
    return true;
}

/* Whether every other stage that reads the value can make it again, and some products lie between. */
static bool can_drop(const wf_recompute *r, int value, int made_by)
{
    for (int i = r->readings[value]; i >= 0; i = r->reading[i].next) {
        const int first = r->reading[i].first;
        cost c = {0};
        if (r->products[first] == r->products[made_by + 1] ||
            !can_copy(r, value, first, wf_ir_bytes(r->p, value), &c))
            return false;
    }
    return true;
}

void wf_recompute_decide(wf_recompute *r)
{
    const wf_plan *p = r->p;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        if (node->dead || node->n_out == 0 || wf_ir_stage(node) == WF_STAGE_BACKWARD)
            continue;
        const int v = node->out[0];
        if (r->readings[v] >= 0 && !r->needed[v] && r->early[v] && wf_ir_is_large(p, v))
            r->dropped[v] = can_drop(r, v, n);
    }
}

/* Lowers first[v] to `at` for each output v of a convolution that is run again from which `value` is
 * made again. */
static void need(const wf_recompute *r, int value, int at, int *first)
{
    const int n = r->made_by[value];
    if (runs_again(r, value))
        first[value] = first[value] < 0 || at < first[value] ? at : first[value];
    else if (n >= 0 && wf_recompute_held_as(r, value, at) < 0)
        for (int i = 0; i < r->p->nodes[n].n_in; i++)
            need(r, r->p->nodes[n].in[i], at, first);
}

void wf_recompute_first_needs(const wf_recompute *r, int *first)
{
    for (int v = 0; v < r->p->n_values; v++)
        first[v] = -1;
    for (int v = 0; v < r->p->n_values; v++)
        for (int i = r->readings[v]; i >= 0; i = r->reading[i].next)
            need(r, v, r->reading[i].first, first);
}

/* ---- for the files that rewrite the list of nodes ---- */

bool wf_ir_repeatable(const wf_ir_node *n)
{
    /* A custom op's author alone knows. Normalised images are made from bytes as convolutions load
     * them: bytes.c. */
    return !n->dead && !(n->op->flags & (WF_OP_COMMIT | WF_OP_SIDE_EFFECT)) &&
           n->op->of_nothing != WF_EMPTY_RUN && n->op != &wf_op_normalize_images;
}

weft_status wf_recompute_append(wf_plan *p, const wf_ir_node *node)
{
    if (!wf_grow(&p->nodes, &p->cap_nodes, p->n_nodes, 1, sizeof *p->nodes))
        return wf_plan_nomem(p);
    for (int o = 0; o < node->n_out; o++)
        p->values[node->out[o]].node = p->n_nodes;
    p->nodes[p->n_nodes++] = *node;
    return WEFT_OK;
}
