/* Note [The same step again]. A training program records the same step again and again. The arrays of
 * the graph keep what the last step recorded until this step overwrites it. As long as everything that
 * this step records equals what the last step recorded at the same place, the entries stay as they are:
 * recording a node is then a comparison. Its shapes are known without inference, because they follow
 * from the op, the attributes and the shapes of the inputs, all of which are the same. The first
 * difference ends this for the rest of the step.
 *
 * Equal means: the same ops with the same attributes and segments, whose operands are the same values;
 * leaves of the same types; assignments of the same values. Which stored tensors the leaves are,
 * scalars, module paths and who requires a gradient may differ: they are written anew each time.
 * engine/step/again.c asks at the end of the step whether all of it was the same, and adds what else the
 * plan depends on. Threading rule: the context's. */
#include <string.h>

#include "engine/graph/graph.h"

bool wf_graph_is_known(const wf_graph *g, const wf_op *op, const void *attrs, int n_in,
                       const int *in)
{
    const wf_node *n = &g->nodes[g->n_nodes];
    if (g->n_nodes >= g->known.nodes || n->op != op || n->n_in != n_in || n->out != g->n_values ||
        n->check != g->anomaly || n->segment != (g->in_backward ? 0 : g->segment))
        return false;
    return (n_in == 0 || memcmp(wf_node_in(g, n), in, (size_t)n_in * sizeof *in) == 0) &&
           (op->attr_size == 0 || memcmp(g->bytes + n->attrs, attrs, op->attr_size) == 0);
}

bool wf_graph_has_types(const wf_graph *g, const wf_node *n, int n_out, const wf_type *types)
{
    bool same = n->n_out == n_out;
    for (int o = 0; o < n_out && same; o++)
        same = wf_type_equal(&g->values[n->out + o].type, &types[o]);
    return same;
}

bool wf_graph_leaf_is_known(const wf_graph *g, const weft_tensor *t)
{
    const wf_value *v = &g->values[g->n_values];
    const wf_type type = {wf_read_as(t->type.dtype), t->type.shape};
    return g->n_values < g->known.values && v->node < 0 && v->storage == t->type.dtype &&
           wf_type_equal(&v->type, &type);
}

bool wf_graph_assignment_is_known(const wf_graph *g, int value, bool state)
{
    const wf_assignment *a = &g->assigned[g->n_assigned];
    return g->n_assigned < g->known.assigned && a->given == value && a->state == state;
}

void wf_graph_differs(wf_graph *g)
{
    g->known = (wf_graph_known){0};
}

bool wf_graph_all_known(const wf_graph *g)
{
    return g->n_nodes > 0 && g->n_nodes == g->known.nodes && g->n_values == g->known.values &&
           g->n_assigned == g->known.assigned;
}

uint64_t wf_graph_log(const wf_graph *g)
{
    return wf_graph_all_known(g) ? g->log : g->log + 1;
}
