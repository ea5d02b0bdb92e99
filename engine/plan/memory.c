/* Pass 10, memory: an offset in the arena for every buffer, and the successor lists.
 *
 * Lifetimes are intervals in the linear order. Buffers whose intervals do not meet may share bytes;
 * since units run in any order their edges allow, sharing adds edges: all users of the earlier
 * buffer come before the later one is first written. A buffer that only one unit uses, tile by
 * tile, shrinks to one image per worker. */
#include <stdlib.h>

#include "engine/memory/alloc.h"
#include "engine/plan/plan.h"

static char *edge(const wf_plan *p, int from, int to)
{
    return &p->edges[(size_t)from * (size_t)(p->n_tasks + 1) + (size_t)to];
}

static void find_lifetimes(wf_plan *p, const int *position)
{
    for (int t = 0; t < p->n_tasks; t++)
        for (const wf_use *u = p->tasks[t]->uses; u; u = u->next) {
            wf_buffer *b = &p->buffers[wf_buffer_whole(p, u->buf)];
            int at = position[p->tasks[t]->unit];
            b->first = b->first < 0 || at < b->first ? at : b->first;
            b->last = at > b->last ? at : b->last;
        }
}

/* Buffers that live inside one unit, every use tile by tile, become per-worker. */
static void shrink_local(wf_plan *p)
{
    for (int b = 0; b < p->n_buffers; b++)
        p->buffers[b].local = !p->buffers[b].bound && p->buffers[b].first >= 0 &&
                              p->buffers[b].first == p->buffers[b].last;
    for (int t = 0; t < p->n_tasks; t++)
        for (const wf_use *u = p->tasks[t]->uses; u; u = u->next)
            if (u->access != WF_TILED)
                p->buffers[wf_buffer_whole(p, u->buf)].local = false;
    for (int b = 0; b < p->n_buffers; b++) {
        wf_buffer *buf = &p->buffers[b];
        if (buf->local && buf->images <= p->ctx->threads)
            buf->local = false; /* nothing to gain */
        if (buf->local) {
            buf->stride = (buf->stride + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
            buf->bytes = buf->stride * (size_t)p->ctx->threads;
        }
    }
}

typedef struct entry {
    int buf;
    size_t bytes;
} entry;

static int larger_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->buf - y->buf;
}

static size_t padded(size_t bytes)
{
    return (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN + WF_ALIGN;
}

/* The lowest offset at which `b` meets no placed buffer that lives at the same time. */
static size_t find_offset(const wf_plan *p, const entry *placed, int n, const wf_buffer *b,
                          bool share)
{
    size_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < n; i++) {
            const wf_buffer *o = &p->buffers[placed[i].buf];
            bool together = !share || (o->first <= b->last && b->first <= o->last);
            if (together && offset < o->offset + padded(o->bytes) &&
                o->offset < offset + padded(b->bytes)) {
                offset = o->offset + padded(o->bytes);
                moved = true;
            }
        }
    }
    return offset;
}

static weft_status assign_offsets(wf_plan *p)
{
    entry *list = wf_bump_alloc(&p->bump, (size_t)(p->n_buffers + 1) * sizeof *list);
    if (!list)
        return wf_plan_nomem(p);
    int n = 0;
    for (int b = 0; b < p->n_buffers; b++)
        if (!p->buffers[b].bound && p->buffers[b].first >= 0) {
            list[n++] = (entry){b, p->buffers[b].bytes};
            p->unshared_bytes += padded(p->buffers[b].bytes);
        }
    qsort(list, (size_t)n, sizeof *list, larger_first);
    bool share = !(p->passes_off & WEFT_PASS_MEMORY);
    for (int i = 0; i < n; i++) {
        wf_buffer *b = &p->buffers[list[i].buf];
        b->offset = find_offset(p, list, i, b, share);
        if (b->offset + padded(b->bytes) > p->arena_bytes)
            p->arena_bytes = b->offset + padded(b->bytes);
    }
    return WEFT_OK;
}

/* Per buffer, the positions of the units that use it. */
typedef struct users {
    int *at, n;
} users;

static weft_status list_users(wf_plan *p, const int *position, users *list)
{
    for (int pass = 0; pass < 2; pass++) { /* count, then fill; a unit's tasks are not neighbours */
        for (int b = 0; b < p->n_buffers && pass == 1; b++) {
            list[b].at = wf_bump_alloc(&p->bump, (size_t)list[b].n * sizeof *list[b].at);
            if (!list[b].at)
                return wf_plan_nomem(p);
            list[b].n = 0;
        }
        for (int t = 0; t < p->n_tasks; t++)
            for (const wf_use *u = p->tasks[t]->uses; u; u = u->next) {
                users *l = &list[wf_buffer_whole(p, u->buf)];
                if (pass == 1)
                    l->at[l->n] = position[p->tasks[t]->unit];
                l->n++;
            }
    }
    return WEFT_OK;
}

static weft_status add_share_edges(wf_plan *p, const int *position)
{
    users *list = wf_bump_alloc(&p->bump, (size_t)(p->n_buffers + 1) * sizeof *list);
    if (!list)
        return wf_plan_nomem(p);
    WF_TRY(list_users(p, position, list));
    for (int i = 0; i < p->n_buffers; i++)
        for (int j = 0; j < p->n_buffers; j++) {
            const wf_buffer *a = &p->buffers[i], *b = &p->buffers[j];
            if (a->bound || b->bound || a->first < 0 || b->first < 0 || a->last >= b->first ||
                a->offset >= b->offset + padded(b->bytes) ||
                b->offset >= a->offset + padded(a->bytes))
                continue;
            for (int x = 0; x < list[i].n; x++)
                for (int y = 0; y < list[j].n; y++)
                    *edge(p, p->order[list[i].at[x]], p->order[list[j].at[y]]) = 1;
        }
    return WEFT_OK;
}

/* Removes edges that a longer path implies: fewer counters to touch at run time. Walks the linear
 * order, which every edge follows. */
static weft_status reduce_edges(wf_plan *p)
{
    wf_bits reach;
    if (!wf_bits_init(&reach, p->n_units))
        return wf_plan_nomem(p);
    for (int i = p->n_units - 1; i >= 0; i--) {
        int u = p->order[i];
        for (int j = i + 1; j < p->n_units; j++) {
            int v = p->order[j];
            if (!*edge(p, u, v))
                continue;
            if (wf_bits_get(&reach, u, v)) {
                *edge(p, u, v) = 0;
                continue;
            }
            wf_bits_set(&reach, u, v);
            wf_bits_or(&reach, u, v);
        }
    }
    wf_bits_done(&reach);
    return WEFT_OK;
}

static weft_status list_successors(wf_plan *p)
{
    for (int u = 0; u < p->n_units; u++) {
        wf_unit *unit = &p->units[u];
        unit->n_succ = unit->n_preds = 0;
        for (int v = 0; v < p->n_units; v++) {
            unit->n_succ += *edge(p, u, v);
            unit->n_preds += *edge(p, v, u);
        }
        unit->succ = wf_alloc_array((size_t)unit->n_succ, sizeof *unit->succ);
        if (!unit->succ)
            return wf_plan_nomem(p);
        for (int v = 0, i = 0; v < p->n_units; v++)
            if (*edge(p, u, v))
                unit->succ[i++] = v;
        for (int i = 0; i < unit->n_tasks; i++)
            if (p->tasks[unit->tasks[i]]->scratch > p->scratch_bytes)
                p->scratch_bytes = p->tasks[unit->tasks[i]]->scratch;
    }
    wf_free(p->edges);
    p->edges = NULL;
    return WEFT_OK;
}

weft_status wf_pass_memory(wf_plan *p)
{
    int *position = wf_bump_alloc(&p->bump, (size_t)(p->n_units + 1) * sizeof *position);
    if (!position)
        return wf_plan_nomem(p);
    for (int i = 0; i < p->n_units; i++)
        position[p->order[i]] = i;
    find_lifetimes(p, position);
    if (!(p->passes_off & WEFT_PASS_MEMORY))
        shrink_local(p);
    WF_TRY(assign_offsets(p));
    if (!(p->passes_off & WEFT_PASS_MEMORY))
        WF_TRY(add_share_edges(p, position));
    WF_TRY(reduce_edges(p));
    return list_successors(p);
}
