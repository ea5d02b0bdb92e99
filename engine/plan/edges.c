/* Edges between task groups, as lists: see plan.h. */
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

bool wf_edges_init(wf_edges *e, int groups)
{
    *e = (wf_edges){.out = wf_alloc_array((size_t)groups, sizeof *e->out),
                    .in = wf_alloc_array((size_t)groups, sizeof *e->in)};
    if (!e->out || !e->in)
        return false;
    for (int u = 0; u < groups; u++)
        e->out[u] = e->in[u] = -1;
    return true;
}

bool wf_edges_add(wf_edges *e, int from, int to)
{
    if (!wf_grow(&e->edge, &e->cap, e->n, 1, sizeof *e->edge))
        return false;
    e->edge[e->n] = (wf_edge){from, to, e->out[from], e->in[to]};
    e->out[from] = e->in[to] = e->n++;
    return true;
}

void wf_edges_done(wf_edges *e)
{
    wf_free(e->out);
    wf_free(e->in);
    wf_free(e->edge);
    *e = (wf_edges){0};
}
