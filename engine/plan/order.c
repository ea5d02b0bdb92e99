/* Plan pass order: adds the commit barrier, computes priorities, and chooses the linear order: the
 * order in which one worker would run the task groups. Weight gradients are not on the critical
 * path, so they have low priority and fill gaps, but only while they hold little memory. */
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

/* Adds the barrier: every other task group comes before it, every commit task group after it. Only
 * groups without successors on the one side and without predecessors on the other need an edge. */
static weft_status add_barrier(wf_plan *p)
{
    const int n = p->n_groups;
    int commits = 0;
    for (int u = 0; u < n; u++)
        commits += p->groups[u].commit;
    if (!commits)
        return WEFT_OK;
    if (!wf_grow(&p->groups, &p->cap_groups, n, 1, sizeof *p->groups))
        return wf_plan_nomem(p);
    p->barrier = n;
    p->groups[n] = (wf_task_group){.barrier = true};
    p->n_groups++;
    for (int u = 0; u < n; u++) {
        bool ok = true;
        if (p->groups[u].commit && p->edges.in[u] < 0)
            ok = wf_edges_add(&p->edges, n, u);
        else if (!p->groups[u].commit && p->edges.out[u] < 0)
            ok = wf_edges_add(&p->edges, u, n);
        if (!ok)
            return wf_plan_nomem(p);
    }
    return WEFT_OK;
}

static void count_preds(wf_plan *p, int *left)
{
    for (int u = 0; u < p->n_groups; u++)
        left[u] = 0;
    for (int e = 0; e < p->edges.n; e++)
        left[p->edges.edge[e].to]++;
}

static weft_status cycle(wf_plan *p)
{
    return wf_fail(p->ctx, WEFT_ERR_INTERNAL,
                   "plan: the task groups depend on each other in a circle");
}

/* Sorts the task groups in some order that the edges allow. */
static weft_status sort_groups(wf_plan *p, int *sorted, int *left)
{
    const wf_edges *e = &p->edges;
    int n = 0;
    count_preds(p, left);
    for (int u = 0; u < p->n_groups; u++)
        if (left[u] == 0)
            sorted[n++] = u;
    for (int i = 0; i < n; i++)
        for (int a = e->out[sorted[i]]; a >= 0; a = e->edge[a].next_out)
            if (--left[e->edge[a].to] == 0)
                sorted[n++] = e->edge[a].to;
    return n == p->n_groups ? WEFT_OK : cycle(p);
}

/* The priority of a group: the longest path from it to the end, in seconds, if each group runs on
 * as many workers as it has tiles for. */
static void prioritise(wf_plan *p, int u)
{
    wf_task_group *group = &p->groups[u];
    const wf_edges *e = &p->edges;
    double after = 0;
    for (int a = e->out[u]; a >= 0; a = e->edge[a].next_out) {
        double r = p->groups[e->edge[a].to].priority;
        after = r > after ? r : after;
    }
    int64_t width = group->tiles < p->ctx->threads ? group->tiles : p->ctx->threads;
    group->priority = after + 1e-7 + group->cost / (double)(width > 0 ? width : 1);
}

/* The ready groups, sorted in two ways: by priority, and by the memory that they would free. */
typedef struct ready {
    wf_heap by_priority;
    char *taken;
    int n_order;
    wf_held held;
} ready;

static weft_status add_ready(wf_plan *p, ready *r, int group)
{
    const bool ok = wf_heap_push(&r->by_priority, p->groups[group].priority, group) &&
                    wf_held_ready(&r->held, group);
    return ok ? WEFT_OK : wf_plan_nomem(p);
}

/* Note [Memory bounds the order]. Nothing waits for the weight gradients. By priority alone they
 * would come last, and everything that they read would stay in memory until then. So the order also
 * counts the bytes that the ready groups would free. If these are more than one part in
 * WAITING_SHARE of the largest memory so far, the group that frees the most comes next. */
#define WAITING_SHARE 64

/* The group that comes next; -1: none is left. */
static int next_group(wf_plan *p, ready *r)
{
    const bool much = r->held.waiting > (int64_t)(r->held.peak / WAITING_SHARE);
    int group = much && !(p->passes_off & WEFT_PASS_MEMORY) ? wf_held_most(&r->held) : -1;
    while (r->by_priority.n > 0 && (group < 0 || r->taken[group]))
        group = wf_heap_pop(&r->by_priority).id;
    return group >= 0 && !r->taken[group] ? group : -1;
}

/* Puts the group next in the order, after the groups that compute values again for it. */
static weft_status take(wf_plan *p, ready *r, int group)
{
    const wf_edges *e = &p->edges;
    r->taken[group] = 1;
    for (int a = e->in[group]; a >= 0; a = e->edge[a].next_in) {
        const int from = e->edge[a].from;
        if (p->groups[from].copies && !r->taken[from])
            WF_TRY(take(p, r, from));
    }
    p->order[r->n_order++] = group;
    return wf_held_run(&r->held, group) ? WEFT_OK : wf_plan_nomem(p);
}

/* Call when everything that the group waits for is in the order. A group that computes values again
 * then waits for their readers, which need not wait for it. */
static weft_status release(wf_plan *p, ready *r, int group, int *left)
{
    const wf_edges *e = &p->edges;
    if (!p->groups[group].copies || e->out[group] < 0)
        return add_ready(p, r, group);
    for (int a = e->out[group]; a >= 0; a = e->edge[a].next_out)
        if (--left[e->edge[a].to] == 0)
            WF_TRY(release(p, r, e->edge[a].to, left));
    return WEFT_OK;
}

static weft_status linearise(wf_plan *p, ready *r, int *left)
{
    const wf_edges *e = &p->edges;
    count_preds(p, left);
    for (int u = 0; u < p->n_groups; u++)
        r->taken[u] = left[u] == 0; /* for the moment: groups to release first */
    for (int u = 0; u < p->n_groups; u++)
        if (r->taken[u]) {
            r->taken[u] = 0;
            WF_TRY(release(p, r, u, left));
        }
    for (int u = next_group(p, r); u >= 0; u = next_group(p, r)) {
        WF_TRY(take(p, r, u));
        for (int a = e->out[u]; a >= 0; a = e->edge[a].next_out)
            if (--left[e->edge[a].to] == 0)
                WF_TRY(release(p, r, e->edge[a].to, left));
    }
    p->work += (size_t)e->n + (size_t)r->n_order;
    return r->n_order == p->n_groups ? WEFT_OK : cycle(p);
}

weft_status wf_pass_order(wf_plan *p)
{
    WF_TRY(add_barrier(p));
    const size_t bytes = (size_t)(p->n_groups + 1) * sizeof(int);
    p->order = wf_bump_alloc(&p->bump, bytes);
    int *sorted = wf_bump_alloc(&p->bump, bytes), *left = wf_bump_alloc(&p->bump, bytes);
    if (!p->order || !sorted || !left)
        return wf_plan_nomem(p);
    WF_TRY(sort_groups(p, sorted, left));
    for (int i = p->n_groups - 1; i >= 0; i--)
        prioritise(p, sorted[i]);
    ready r = {.taken = wf_bump_alloc(&p->bump, (size_t)p->n_groups + 1)};
    if (!r.taken)
        return wf_plan_nomem(p);
    weft_status status = wf_held_init(p, &r.held);
    if (status == WEFT_OK)
        status = linearise(p, &r, left);
    wf_held_done(&r.held);
    wf_heap_done(&r.by_priority);
    return status;
}
