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
 * Convolutions that cost little for the bytes of their outputs are run again, too: products.c. A remade
 * value may be made from what they give.
 *
 * Where this does not save enough, whole segments of the forward pass are run again: segments.c,
 * choose_segments.c. They come first, and then the rules below hold for them as for the forward
 * pass. Note [Stages] in readings.h.
 *
 * Which values are dropped follows from the plan alone: readings.c. */
#include "engine/base/alloc.h"
#include "engine/plan/readings.h"
#include "engine/plan/segments.h"

/* Appends the nodes that make `value` again, those that can_copy has counted. *copy is the remade
 * value. */
static weft_status copy_value(wf_recompute *r, const wf_ir_node *old, int value, int at, int *copy)
{
    wf_plan *p = r->p;
    wf_ir_node node = old[r->made_by[value]];
    int *in = wf_bump_alloc(&p->bump, (size_t)(node.n_in + 1) * sizeof *in);
    if (!in)
        return wf_plan_nomem(p);
    for (int i = 0; i < node.n_in; i++) {
        in[i] = wf_recompute_held_as(r, node.in[i], at);
        if (in[i] < 0)
            WF_TRY(copy_value(r, old, node.in[i], at, &in[i]));
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
    node.again = false;
    node.after = -1;
    return wf_recompute_append(p, &node);
}

/* The value that a node of `stage` reads in place of `value`. */
static int read_instead(const wf_recompute *r, int value, int stage)
{
    for (int i = r->readings[value]; i >= 0; i = r->reading[i].next)
        if (r->reading[i].stage == stage && r->reading[i].copy >= 0)
            return r->reading[i].copy;
    return value;
}

/* Rewrites the list of nodes, with those that make values again in place. */
static weft_status rewrite(wf_recompute *r)
{
    wf_plan *p = r->p;
    const int n_old = p->n_nodes, v_old = p->n_values;
    wf_ir_node *old = wf_bump_alloc(&p->bump, (size_t)(n_old + 1) * sizeof *old);
    int *before = wf_bump_alloc(&p->bump, (size_t)(n_old + 1) * sizeof *before);
    if (!old || !before)
        return wf_plan_nomem(p);
    for (int n = 0; n < n_old; n++) {
        old[n] = p->nodes[n];
        before[n] = -1;
    }
    for (int i = 0; i < r->n_readings; i++) {
        wf_reading *reading = &r->reading[i];
        if (!r->dropped[reading->value])
            continue;
        reading->same = before[reading->first];
        before[reading->first] = i;
    }
    for (int v = 0; v < v_old; v++)
        p->values[v].node = -1; /* dead values keep -1 */
    p->n_nodes = 0;
    for (int n = 0; n < n_old; n++) {
        if (old[n].dead)
            continue;
        for (int i = before[n]; i >= 0; i = r->reading[i].same)
            WF_TRY(copy_value(r, old, r->reading[i].value, n, &r->reading[i].copy));
        /* with inputs of its own: the node may be copied later */
        wf_ir_node node = old[n];
        node.in = wf_bump_alloc(&p->bump, (size_t)(node.n_in + 1) * sizeof *node.in);
        if (!node.in)
            return wf_plan_nomem(p);
        for (int i = 0; i < node.n_in; i++)
            node.in[i] = read_instead(r, old[n].in[i], wf_ir_stage(&node));
        WF_TRY(wf_recompute_append(p, &node));
    }
    return WEFT_OK;
}

weft_status wf_pass_recompute(wf_plan *p)
{
    if ((p->passes_off & WEFT_PASS_RECOMPUTE) || p->keep_all)
        return WEFT_OK;
    if (p->budget < 1)
        WF_TRY(wf_choose_segments(p));
    else
        WF_TRY(wf_choose_products(p));
    WF_TRY(wf_make_segments(p));
    wf_recompute r;
    WF_TRY(wf_recompute_init(p, &r));
    wf_recompute_decide(&r);
    const weft_status status = rewrite(&r);
    wf_recompute_done(&r);
    return status;
}
