/* Pass 6, chain: tasks become units. A task joins the unit of the task it depends on when its tile
 * i needs only what that unit's tile i has made: then a tile runs the whole chain (BatchNorm apply,
 * ReLU, pooling, the next convolution, its statistics) on one image while it is in cache. Nothing
 * about the arithmetic changes. This is the other half of fusion. */
#include <string.h>

#include "engine/memory/alloc.h"
#include "engine/plan/plan.h"

/* Single-tile tasks up to this cost run in their predecessor's tile: a scheduling step costs more. */
#define SMALL_SECONDS 20e-6

static double task_seconds(const wf_task *t)
{
    return t->flops / 30e9 + t->bytes / 10e9;
}

/* Hazards of task b on an earlier task a through one buffer. `tiled`: tile by tile. */
static bool hazard(const wf_task *a, const wf_task *b, bool *tiled)
{
    bool any = false;
    *tiled = a->tiles == b->tiles;
    for (const wf_use *x = a->uses; x; x = x->next)
        for (const wf_use *y = b->uses; y; y = y->next)
            if (x->buf == y->buf && (x->write || y->write)) {
                any = true;
                *tiled &= x->access == WF_TILED && y->access == WF_TILED;
            }
    return any;
}

/* Whether there is a path of unit edges from `from` to `to`. Edges go up in no particular order
 * once units have grown, so this is a search. */
static bool reaches(const wf_plan *p, const char *edges, int cap, int from, int to, char *seen)
{
    if (from == to)
        return true;
    seen[from] = 1;
    for (int u = 0; u < p->n_units; u++)
        if (edges[(size_t)from * (size_t)cap + (size_t)u] && !seen[u] &&
            reaches(p, edges, cap, u, to, seen))
            return true;
    return false;
}

typedef struct chaining {
    wf_plan *p;
    int cap;
    char *edges, *seen;
    char *pred;        /* per unit: task b depends on it */
    char *loose;       /* per unit: ... not tile by tile */
} chaining;

static bool may_join(chaining *c, const wf_task *b, int unit)
{
    const wf_plan *p = c->p;
    const wf_unit *u = &p->units[unit];
    if (c->loose[unit] || u->commit != b->commit || u->tiles != b->tiles)
        return false;
    if (b->tiles == 1 && task_seconds(b) > SMALL_SECONDS)
        return false;
    for (int other = 0; other < p->n_units; other++) {
        if (other == unit || !c->pred[other])
            continue;
        memset(c->seen, 0, (size_t)p->n_units);
        if (reaches(p, c->edges, c->cap, unit, other, c->seen))
            return false;
    }
    return true;
}

static weft_status add_to_unit(wf_plan *p, int unit, int task)
{
    wf_unit *u = &p->units[unit];
    int *grown = wf_realloc_array(u->tasks, (size_t)u->n_tasks + 1, sizeof *grown);
    if (!grown)
        return wf_plan_nomem(p);
    u->tasks = grown;
    u->tasks[u->n_tasks++] = task;
    p->tasks[task]->unit = unit;
    return WEFT_OK;
}

static weft_status place(chaining *c, int task)
{
    wf_plan *p = c->p;
    wf_task *b = p->tasks[task];
    memset(c->pred, 0, (size_t)p->n_units + 1);
    memset(c->loose, 0, (size_t)p->n_units + 1);
    for (int a = 0; a < task; a++) {
        bool tiled;
        if (hazard(p->tasks[a], b, &tiled)) {
            c->pred[p->tasks[a]->unit] = 1;
            c->loose[p->tasks[a]->unit] |= !tiled;
        }
    }
    int unit = -1;
    if (!(p->passes_off & WEFT_PASS_FUSE))
        for (int u = p->n_units - 1; u >= 0 && unit < 0; u--)
            if (c->pred[u] && may_join(c, b, u))
                unit = u;
    if (unit < 0) {
        if (!wf_grow(&p->units, &p->cap_units, p->n_units, 1, sizeof *p->units))
            return wf_plan_nomem(p);
        unit = p->n_units++;
        p->units[unit] = (wf_unit){.tiles = b->tiles, .commit = b->commit};
    }
    for (int u = 0; u < p->n_units; u++)
        if (c->pred[u] && u != unit)
            c->edges[(size_t)u * (size_t)c->cap + (size_t)unit] = 1;
    p->units[unit].cost += task_seconds(b);
    return add_to_unit(p, unit, task);
}

weft_status wf_pass_chain(wf_plan *p)
{
    chaining c = {.p = p, .cap = p->n_tasks + 1}; /* one more: the commit barrier */
    size_t cap = (size_t)c.cap;
    p->edges = c.edges = wf_zalloc_array(cap, cap);
    c.seen = wf_zalloc(cap);
    c.pred = wf_zalloc(cap);
    c.loose = wf_zalloc(cap);
    weft_status status = WEFT_OK;
    if (!c.edges || !c.seen || !c.pred || !c.loose)
        status = wf_plan_nomem(p);
    for (int t = 0; t < p->n_tasks && status == WEFT_OK; t++)
        status = place(&c, t);
    wf_free(c.seen);
    wf_free(c.pred);
    wf_free(c.loose);
    return status;
}
