/* Numbers what a request runs: Note [Numbers of a plan] in plan.h. */
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

static void number_value(wf_request *r, int value)
{
    if (r->number[value] == 0) {
        r->value[r->n_values++] = value;
        r->number[value] = r->n_values;
    }
}

static weft_status number_input(weft_context *ctx, wf_request *r, int value)
{
    const wf_graph *g = ctx->graph;
    const wf_value *v = &g->values[value];
    if (v->node < 0 && v->version != v->stored->version)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "a stored tensor was overwritten after recorded work read it and before "
                       "its gradient was run (weft_tensor_data counts as writing; to read, use "
                       "weft_tensor_const_data)");
    if (v->node >= 0 && !v->store.data && g->nodes[v->node].executed)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "a value of %s was freed after the backward pass that used it; weft_keep() "
                       "it, or retain the graph",
                       g->nodes[v->node].title);
    number_value(r, value);
    return WEFT_OK;
}

/* Allocates the request's arrays, large enough for all that it may number. */
static weft_status reserve(weft_context *ctx, wf_request *r)
{
    const wf_graph *g = ctx->graph;
    size_t nodes = 0, scalars = 0, assigned = 0;
    for (int k = 0; k < r->n_todo; k++)
        if (r->nodes[r->todo[k]]) {
            nodes++;
            scalars += (size_t)g->nodes[r->todo[k]].op->n_scalars;
        }
    for (int i = 0; i < g->n_assigned; i++)
        assigned += r->assigned[i] && g->assigned[i].value >= 0;
    r->node = wf_alloc_array(nodes, sizeof *r->node);
    r->value = wf_alloc_array((size_t)g->n_values, sizeof *r->value);
    r->number = wf_zalloc_array((size_t)g->n_values, sizeof *r->number);
    r->assignment = wf_alloc_array(assigned, sizeof *r->assignment);
    r->scalars = wf_alloc_array(scalars, sizeof *r->scalars);
    if (r->node && r->value && r->number && r->assignment && r->scalars)
        return WEFT_OK;
    return wf_nomem(&ctx->error, (size_t)g->n_values * sizeof *r->value, "a run");
}

int wf_request_leaf(const wf_graph *g, const wf_request *r, const weft_tensor *stored)
{
    int first = 0;
    for (int v = stored->leaves; v >= 0; v = g->values[v].older)
        if (r->number[v] > 0 && (first == 0 || r->number[v] < first))
            first = r->number[v];
    return first;
}

weft_status wf_request_number(weft_context *ctx, wf_request *r)
{
    const wf_graph *g = ctx->graph;
    WF_TRY(reserve(ctx, r));
    int scalars = 0;
    for (int k = 0; k < r->n_todo; k++) {
        const int n = r->todo[k];
        const wf_node *node = &g->nodes[n];
        if (!r->nodes[n])
            continue;
        for (int i = 0; i < node->n_in; i++)
            WF_TRY(number_input(ctx, r, wf_node_in(g, node)[i]));
        for (int o = 0; o < node->n_out; o++)
            number_value(r, node->out + o);
        if (node->op->n_scalars)
            memcpy(r->scalars + scalars, g->scalars + node->scalars,
                   (size_t)node->op->n_scalars * sizeof *r->scalars);
        scalars += node->op->n_scalars;
        r->node[r->n_nodes++] = n;
    }
    for (int i = 0; i < g->n_assigned; i++) {
        if (!r->assigned[i] || g->assigned[i].value < 0)
            continue;
        WF_TRY(number_input(ctx, r, g->assigned[i].value));
        r->assignment[r->n_assigned++] = i;
    }
    return WEFT_OK;
}
