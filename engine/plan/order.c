/* Pass 9, order: the commit barrier, critical-path ranks, and the linear order in which one worker
 * would take the units. Weight gradients, being off the critical path, rank low and fill gaps. */
#include "engine/memory/alloc.h"
#include "engine/plan/plan.h"

static char *edge(const wf_plan *p, int from, int to)
{
    return &p->edges[(size_t)from * (size_t)(p->n_tasks + 1) + (size_t)to];
}

/* Every unit before the commit phase precedes the barrier, and the barrier every commit unit. */
static weft_status add_barrier(wf_plan *p)
{
    int n = p->n_units, commits = 0;
    for (int u = 0; u < n; u++)
        commits += p->units[u].commit;
    if (!commits)
        return WEFT_OK;
    if (!wf_grow(&p->units, &p->cap_units, n, 1, sizeof *p->units))
        return wf_plan_nomem(p);
    p->barrier = n;
    p->units[n] = (wf_unit){.barrier = true};
    p->n_units++;
    for (int u = 0; u < n; u++) {
        for (int v = 0; v < n; v++)
            if (*edge(p, u, v) && p->units[u].commit && !p->units[v].commit)
                return wf_fail(p->ctx, WEFT_ERR_INTERNAL,
                               "plan: work before the commit phase depends on the phase");
        if (p->units[u].commit)
            *edge(p, n, u) = 1;
        else
            *edge(p, u, n) = 1;
    }
    return WEFT_OK;
}

/* Longest path to the end, in seconds of as many workers as the tiles can use. */
static double rank(wf_plan *p, int u)
{
    wf_unit *unit = &p->units[u];
    if (unit->rank > 0)
        return unit->rank;
    double after = 0;
    for (int v = 0; v < p->n_units; v++)
        if (*edge(p, u, v)) {
            double r = rank(p, v);
            after = r > after ? r : after;
        }
    int64_t width = unit->tiles < p->ctx->threads ? unit->tiles : p->ctx->threads;
    return unit->rank = after + 1e-7 + unit->cost / (double)(width > 0 ? width : 1);
}

weft_status wf_plan_linearise(wf_plan *p)
{
    int n = p->n_units;
    for (int u = 0; u < n; u++) {
        p->units[u].n_preds = 0;
        for (int v = 0; v < n; v++)
            p->units[u].n_preds += *edge(p, v, u);
    }
    int *left = wf_bump_alloc(&p->bump, (size_t)(n + 1) * sizeof *left);
    if (!left)
        return wf_plan_nomem(p);
    for (int u = 0; u < n; u++)
        left[u] = p->units[u].n_preds;
    for (int i = 0; i < n; i++) {
        int best = -1;
        for (int u = 0; u < n; u++)
            if (left[u] == 0 && (best < 0 || p->units[u].rank > p->units[best].rank))
                best = u;
        if (best < 0)
            return wf_fail(p->ctx, WEFT_ERR_INTERNAL, "plan: a cycle among its units");
        p->order[i] = best;
        left[best] = -1;
        for (int v = 0; v < n; v++)
            if (*edge(p, best, v))
                left[v]--;
    }
    return WEFT_OK;
}

weft_status wf_pass_order(wf_plan *p)
{
    WF_TRY(add_barrier(p));
    p->order = wf_bump_alloc(&p->bump, (size_t)(p->n_units + 1) * sizeof *p->order);
    if (!p->order)
        return wf_plan_nomem(p);
    for (int u = 0; u < p->n_units; u++)
        rank(p, u);
    return wf_plan_linearise(p);
}
