/* Finds the plan of a step that is the same again without building its signature.
 *
 * wf_graph_all_known says that nodes, values and assignments are those of the last step: see
 * Note [The same step again] in engine/graph/again.c. What else decides the request and the plan is
 * compared here: that no part of the step ran before its end, which assignments were dropped, and which
 * leaf an assigned tensor is. A context's options and passes never change. Plans that are dropped are
 * forgotten here, too. What makes a run fail (stored tensors that were overwritten) is looked at
 * again; then this says no, and the long way gives the error. Threading rule: the context's. */
#include "engine/step/again.h"

#include <string.h>

#include "engine/base/alloc.h"

void wf_request_done(wf_request *r)
{
    wf_free(r->nodes);
    wf_free(r->node);
    wf_free(r->value);
    wf_free(r->number);
    wf_free(r->assignment);
    wf_free(r->scalars);
    *r = (wf_request){0};
}

void wf_again_forget(wf_again *a)
{
    wf_request_done(&a->request);
    wf_free(a->leaf);
    wf_free(a->assignment_value);
    wf_free(a->leaf_of);
    wf_free(a->scalars);
    *a = (wf_again){0};
}

/* Whether a step of this kind may be kept: it ran as a whole, and no node was recorded in anomaly
 * mode. */
static bool may_keep(const wf_graph *g)
{
    for (int n = 0; n < g->n_nodes; n++)
        if (g->nodes[n].check)
            return false;
    return !g->ran_part && g->n_nodes > 0;
}

static void list_scalars(wf_again *a, const wf_graph *g, const wf_request *r)
{
    for (int i = 0; i < r->n_nodes; i++) {
        const wf_node *n = &g->nodes[r->node[i]];
        if (n->op->n_scalars == 0)
            continue;
        wf_scalar_run *last = a->n_scalars > 0 ? &a->scalars[a->n_scalars - 1] : NULL;
        if (last && last->from + last->n == n->scalars)
            last->n += n->op->n_scalars;
        else
            a->scalars[a->n_scalars++] = (wf_scalar_run){n->scalars, n->op->n_scalars};
    }
}

bool wf_again_keep(wf_again *a, weft_context *ctx, wf_request *r, wf_plan *plan)
{
    const wf_graph *g = ctx->graph;
    wf_again_forget(a);
    if (!may_keep(g))
        return false;
    a->leaf = wf_alloc_array((size_t)r->n_values, sizeof *a->leaf);
    a->assignment_value = wf_alloc_array((size_t)g->n_assigned, sizeof *a->assignment_value);
    a->leaf_of = wf_alloc_array((size_t)g->n_assigned, sizeof *a->leaf_of);
    a->scalars = wf_alloc_array((size_t)r->n_nodes, sizeof *a->scalars);
    if (!a->leaf || !a->assignment_value || !a->leaf_of || !a->scalars) {
        wf_again_forget(a);
        return false;
    }
    for (int i = 0; i < r->n_values; i++)
        if (g->values[r->value[i]].node < 0)
            a->leaf[a->n_leaves++] = r->value[i];
    for (int i = 0; i < g->n_assigned; i++) {
        a->assignment_value[i] = g->assigned[i].value;
        a->leaf_of[i] = wf_request_leaf(g, r, g->assigned[i].stored);
    }
    a->n_assignments = g->n_assigned;
    list_scalars(a, g, r);
    a->request = *r;
    a->request.todo = NULL; /* belongs to this step */
    a->request.n_todo = 0;
    *r = (wf_request){0};
    a->plan = plan;
    a->log = wf_graph_log(g);
    return true;
}

bool wf_again_same(wf_again *a, weft_context *ctx)
{
    const wf_graph *g = ctx->graph;
    if (!a->plan || g->ran_part || !wf_graph_all_known(g) || a->log != g->log)
        return false;
    for (int i = 0; i < a->n_leaves; i++) {
        const wf_value *v = &g->values[a->leaf[i]];
        if (v->version != v->stored->version)
            return false;
    }
    for (int i = 0; i < g->n_assigned; i++) {
        const wf_assignment *s = &g->assigned[i];
        if (s->value != a->assignment_value[i] ||
            (s->value >= 0 && wf_request_leaf(g, &a->request, s->stored) != a->leaf_of[i]))
            return false;
    }
    double *to = a->request.scalars;
    for (int i = 0; i < a->n_scalars; i++) {
        memcpy(to, g->scalars + a->scalars[i].from, (size_t)a->scalars[i].n * sizeof *to);
        to += a->scalars[i].n;
    }
    return true;
}
