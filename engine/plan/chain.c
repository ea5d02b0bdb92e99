/* Pass 8, chain: tasks become units. A task joins the unit of the task it depends on when its tile
 * i needs only what that unit's tile i has made: then a tile runs the whole chain (BatchNorm apply,
 * ReLU, pooling, the next convolution, its statistics) on one image while it is in cache. Nothing
 * about the arithmetic changes. This is the other half of fusion. */
#include <string.h>

#include "engine/memory/alloc.h"
#include "engine/plan/plan.h"

/* Single-tile tasks up to this cost run in their predecessor's tile: a
 * scheduling step costs more. */
#define SMALL_SECONDS 20e-6

static double task_seconds(const wf_task *t)
{
    return t->flops / 30e9 + t->bytes / 10e9;
}

/* A use of a buffer by an earlier task. */
typedef struct past_use {
    int task;
    wf_buf buf; /* or a slice of it */
    bool write, tiled;
    struct past_use *next;
} past_use;

typedef struct chaining {
    wf_plan *p;
    int cap;
    char *edges;
    wf_bits reach;   /* unit to unit: there is a path */
    past_use **past; /* per buffer */
    char *pred;      /* per unit: the task being placed depends on it */
    char *loose;     /* per unit: ... not tile by tile */
} chaining;

static void add_edge(chaining *c, int from, int to)
{
    c->edges[(size_t)from * (size_t)c->cap + (size_t)to] = 1;
    if (wf_bits_get(&c->reach, from, to))
        return;
    for (int u = 0; u < c->p->n_units; u++)
        if (u == from || wf_bits_get(&c->reach, u, from)) {
            wf_bits_or(&c->reach, u, to);
            wf_bits_set(&c->reach, u, to);
        }
}

/* Whether two slices of one buffer have bytes in common. */
static bool meet(const wf_plan *p, wf_buf a, wf_buf b)
{
    const wf_buffer *x = &p->buffers[a], *y = &p->buffers[b];
    return a == b || (x->at < y->at + y->size && y->at < x->at + x->size);
}

/* Marks the units that task b depends on: reads after writes, writes after reads and writes. */
static void find_hazards(chaining *c, const wf_task *b)
{
    memset(c->pred, 0, (size_t)c->p->n_units + 1);
    memset(c->loose, 0, (size_t)c->p->n_units + 1);
    for (const wf_use *y = b->uses; y; y = y->next)
        for (const past_use *x = c->past[wf_buffer_whole(c->p, y->buf)]; x; x = x->next) {
            if ((!x->write && !y->write) || !meet(c->p, x->buf, y->buf))
                continue;
            const wf_task *a = c->p->tasks[x->task];
            c->pred[a->unit] = 1;
            c->loose[a->unit] |= !(x->tiled && y->access == WF_TILED && a->tiles == b->tiles);
        }
}

static weft_status remember_uses(chaining *c, int task)
{
    for (const wf_use *u = c->p->tasks[task]->uses; u; u = u->next) {
        past_use *x = wf_bump_alloc(&c->p->bump, sizeof *x);
        if (!x)
            return wf_plan_nomem(c->p);
        past_use **past = &c->past[wf_buffer_whole(c->p, u->buf)];
        *x = (past_use){task, u->buf, u->write, u->access == WF_TILED, *past};
        *past = x;
    }
    return WEFT_OK;
}

static bool may_join(chaining *c, const wf_task *b, int unit)
{
    const wf_plan *p = c->p;
    const wf_unit *u = &p->units[unit];
    if (c->loose[unit] || u->commit != b->commit || u->tiles != b->tiles)
        return false;
    if (b->tiles == 1 && task_seconds(b) > SMALL_SECONDS)
        return false;
    /* What else b waits for must not wait for this unit. */
    for (int other = 0; other < p->n_units; other++)
        if (other != unit && c->pred[other] && wf_bits_get(&c->reach, unit, other))
            return false;
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
    find_hazards(c, b);
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
            add_edge(c, u, unit);
    p->units[unit].cost += task_seconds(b);
    WF_TRY(add_to_unit(p, unit, task));
    return remember_uses(c, task);
}

weft_status wf_pass_chain(wf_plan *p)
{
    chaining c = {.p = p, .cap = p->n_tasks + 1}; /* one more: the commit barrier */
    size_t cap = (size_t)c.cap;
    p->edges = c.edges = wf_zalloc_array(cap, cap);
    c.pred = wf_zalloc(cap);
    c.loose = wf_zalloc(cap);
    c.past = wf_zalloc_array((size_t)p->n_buffers + 1, sizeof(past_use *));
    bool room = wf_bits_init(&c.reach, c.cap);
    weft_status status = WEFT_OK;
    if (!c.edges || !c.pred || !c.loose || !c.past || !room)
        status = wf_plan_nomem(p);
    for (int t = 0; t < p->n_tasks && status == WEFT_OK; t++)
        status = place(&c, t);
    wf_bits_done(&c.reach);
    wf_free(c.pred);
    wf_free(c.loose);
    wf_free(c.past);
    return status;
}
