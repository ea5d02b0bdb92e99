/* Successor lists: keeps only the edges that no longer path implies, so that a run updates few
 * counters.
 *
 * An edge u -> v is implied when another successor of u leads to v. Bit sets answer this for 512
 * targets v at a time: the pass walks the task groups backwards through the linear order and
 * collects which of the targets each group reaches. An edge needs no check if its u has one
 * successor or its v one predecessor. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

enum { WORDS = 8, TARGETS = 64 * WORDS };

typedef struct row {
    uint64_t word[WORDS];
} row;

/* Task groups are named by their position in the linear order. The successors of position i are
 * to[start[i]] .. to[start[i + 1] - 1], in ascending order. */
typedef struct reducing {
    wf_plan *p;
    int *start, *to, *preds;
    row *reach;
} reducing;

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Sorts each task group's successors and removes duplicates and those marked -1. */
static void tidy(reducing *c)
{
    int n = 0, begin = 0;
    for (int i = 0; i < c->p->n_groups; i++) {
        const int end = c->start[i + 1], first = n;
        qsort(c->to + begin, (size_t)(end - begin), sizeof *c->to, ascending);
        for (int k = begin; k < end; k++)
            if (c->to[k] >= 0 && (n == first || c->to[k] != c->to[n - 1]))
                c->to[n++] = c->to[k];
        begin = end;
        c->start[i + 1] = n;
    }
}

static void gather(reducing *c, const int *position)
{
    const wf_edges *e = &c->p->edges;
    int n = 0;
    for (int i = 0; i < c->p->n_groups; i++) {
        c->start[i] = n;
        for (int a = e->out[c->p->order[i]]; a >= 0; a = e->edge[a].next_out)
            c->to[n++] = position[e->edge[a].to];
    }
    c->start[c->p->n_groups] = n;
    tidy(c);
    for (int i = 0; i < c->start[c->p->n_groups]; i++)
        c->preds[c->to[i]]++;
}

static bool get(const row *r, int bit)
{
    return r->word[bit / 64] >> (bit % 64) & 1;
}

/* Marks with -1 the implied edges to targets [low, low + TARGETS). `edges` is a copy of all edges,
 * which stays whole meanwhile. */
static void drop_implied(reducing *c, int low, const int *edges)
{
    const int n = c->p->n_groups, high = low + TARGETS < n ? low + TARGETS : n;
    memset(c->reach, 0, (size_t)high * sizeof *c->reach);
    for (int i = high - 1; i >= 0; i--) {
        row *r = &c->reach[i];
        for (int k = c->start[i]; k < c->start[i + 1] && edges[k] < high; k++) {
            const int v = edges[k];
            c->p->work++;
            if (v >= low && get(r, v - low)) {
                c->to[k] = -1; /* a nearer successor leads there */
                continue;
            }
            for (int w = 0; w < WORDS; w++)
                r->word[w] |= c->reach[v].word[w];
            if (v >= low)
                r->word[(v - low) / 64] |= (uint64_t)1 << ((v - low) % 64);
        }
    }
}

/* Whether an edge to one of the targets [low, low + TARGETS) may be implied. */
static bool any_doubtful(const reducing *c, const char *doubtful, int low)
{
    for (int v = low; v < low + TARGETS && v < c->p->n_groups; v++)
        if (doubtful[v])
            return true;
    return false;
}

static weft_status reduce(reducing *c)
{
    const int n = c->p->n_groups, n_edges = c->start[n];
    int *edges = wf_alloc_array((size_t)n_edges, sizeof *edges);
    char *doubtful = wf_zalloc((size_t)n);
    if (edges && doubtful) {
        memcpy(edges, c->to, (size_t)n_edges * sizeof *edges);
        for (int i = 0; i < n; i++)
            for (int k = c->start[i]; k < c->start[i + 1]; k++)
                doubtful[edges[k]] |= c->start[i + 1] - c->start[i] > 1 && c->preds[edges[k]] > 1;
        for (int low = 0; low < n; low += TARGETS)
            if (any_doubtful(c, doubtful, low))
                drop_implied(c, low, edges);
    }
    const bool ok = edges && doubtful;
    wf_free(edges);
    wf_free(doubtful);
    if (!ok)
        return wf_plan_nomem(c->p);
    tidy(c);
    return WEFT_OK;
}

static weft_status list(reducing *c)
{
    wf_plan *p = c->p;
    for (int u = 0; u < p->n_groups; u++)
        p->groups[u].n_preds = 0;
    for (int i = 0; i < p->n_groups; i++) {
        wf_task_group *group = &p->groups[p->order[i]];
        group->n_succ = c->start[i + 1] - c->start[i];
        group->succ = wf_alloc_array((size_t)group->n_succ, sizeof *group->succ);
        if (!group->succ)
            return wf_plan_nomem(p);
        for (int k = 0; k < group->n_succ; k++) {
            group->succ[k] = p->order[c->to[c->start[i] + k]];
            p->groups[group->succ[k]].n_preds++;
        }
        qsort(group->succ, (size_t)group->n_succ, sizeof *group->succ, ascending);
        for (int t = 0; t < group->n_tasks; t++)
            if (p->tasks[group->tasks[t]]->scratch > p->scratch_bytes)
                p->scratch_bytes = p->tasks[group->tasks[t]]->scratch;
    }
    return WEFT_OK;
}

weft_status wf_plan_list_successors(wf_plan *p, const int *position)
{
    const size_t n = (size_t)p->n_groups;
    reducing c = {.p = p,
                  .start = wf_alloc_array(n + 1, sizeof *c.start),
                  .to = wf_alloc_array((size_t)p->edges.n, sizeof *c.to),
                  .preds = wf_zalloc_array(n, sizeof *c.preds),
                  .reach = wf_alloc_array(n, sizeof *c.reach)};
    weft_status status = WEFT_OK;
    if (c.start && c.to && c.preds && c.reach) {
        gather(&c, position);
        status = reduce(&c);
        if (status == WEFT_OK)
            status = list(&c);
    } else {
        status = wf_plan_nomem(p);
    }
    wf_free(c.start);
    wf_free(c.to);
    wf_free(c.preds);
    wf_free(c.reach);
    wf_edges_done(&p->edges);
    return status;
}
