/* Plan pass chain: puts tasks together in task groups. This is the other half of fusion.
 *
 * Let a task B read what the tasks of a group write. B may join the group when its tile i reads
 * only what the group's tile i writes. A tile of the group then runs the whole chain on one image
 * while the image is in cache: BatchNorm, ReLU, pooling, the next convolution, its statistics. The
 * arithmetic does not change. */
#include <stdlib.h>

#include "engine/graph/ops/internal.h"
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

/* A task of one tile joins its predecessor's group only up to this cost: scheduling it by itself
 * would cost more than running it here. */
#define SMALL_SECONDS 20e-6

static double task_seconds(const wf_task *t)
{
    return t->flops / 30e9 + t->bytes / 10e9;
}

/* A use of a buffer by an earlier task. */
typedef struct past_use {
    int task;
    wf_buf buf; /* may be a slice of a buffer */
    bool tiled;
    struct past_use *next;
} past_use;
typedef struct past_uses {
    /* without the uses that a later write of at least the same bytes hides */
    past_use *reads, *writes;
} past_uses;

/* Per task group. `level` grows along every edge within a phase, so that a search for a path knows
 * where to stop. */
typedef struct group_info {
    int level;
    int pred_of;  /* the last task that depends on this group */
    int loose_of; /* the last task that depends on it, but not tile by tile */
    int seen_by;  /* the last search that came here */
} group_info;

typedef struct chaining {
    wf_plan *p;
    past_uses *past;  /* per buffer */
    group_info *info; /* per task group */
    int *preds;       /* task groups that the task being placed depends on, newest first */
    int n_preds;
    int *stack; /* stack of the running search */
    int cap_stack, searches;
    wf_holding holding;
} chaining;

/* meet: whether two slices of one buffer share bytes. within: whether slice b lies inside slice
 * a. */
static bool meet(const wf_plan *p, wf_buf a, wf_buf b)
{
    const wf_buffer *x = &p->buffers[a], *y = &p->buffers[b];
    return a == b || (x->at < y->at + y->size && y->at < x->at + x->size);
}
static bool within(const wf_plan *p, wf_buf a, wf_buf b)
{
    const wf_buffer *x = &p->buffers[a], *y = &p->buffers[b];
    return a == b || (x->at <= y->at && y->at + y->size <= x->at + x->size);
}

/* ---- paths ---- */

static bool push(chaining *c, int *n, int group)
{
    if (!wf_grow(&c->stack, &c->cap_stack, *n, 1, sizeof *c->stack))
        return false;
    c->stack[(*n)++] = group;
    return true;
}

/* Adds an edge and raises the levels of all groups that come after it. */
static weft_status add_edge(chaining *c, int from, int to)
{
    wf_plan *p = c->p;
    wf_edges *e = &p->edges;
    if (p->groups[from].commit && !p->groups[to].commit)
        return wf_fail(p->ctx, WEFT_ERR_INTERNAL,
                       "plan: a task before the commit phase depends on a task of it");
    if (p->groups[from].commit != p->groups[to].commit)
        return WEFT_OK; /* the barrier is between them */
    if (!wf_edges_add(e, from, to))
        return wf_plan_nomem(p);
    if (c->info[to].level > c->info[from].level)
        return WEFT_OK;
    c->info[to].level = c->info[from].level + 1;
    int n = 0;
    if (!push(c, &n, to))
        return wf_plan_nomem(p);
    while (n > 0) {
        const int u = c->stack[--n];
        for (int a = e->out[u]; a >= 0; a = e->edge[a].next_out) {
            const int v = e->edge[a].to;
            p->work++;
            if (c->info[v].level > c->info[u].level)
                continue;
            c->info[v].level = c->info[u].level + 1;
            if (!push(c, &n, v))
                return wf_plan_nomem(p);
        }
    }
    return WEFT_OK;
}

/* Whether a path leads from `group` to another group that the task being placed depends on.
 * Searches backwards from those others, and stops at the level of `group`. */
static weft_status others_wait_for(chaining *c, int group, bool *wait)
{
    wf_plan *p = c->p;
    const wf_edges *e = &p->edges;
    const int level = c->info[group].level, search = ++c->searches;
    int n = 0;
    *wait = false;
    for (int i = 0; i < c->n_preds; i++) {
        const int u = c->preds[i];
        p->work++;
        if (u != group && c->info[u].level > level &&
            p->groups[u].commit == p->groups[group].commit) {
            c->info[u].seen_by = search;
            if (!push(c, &n, u))
                return wf_plan_nomem(p);
        }
    }
    while (n > 0 && !*wait) {
        const int u = c->stack[--n];
        for (int a = e->in[u]; a >= 0; a = e->edge[a].next_in) {
            const int v = e->edge[a].from;
            p->work++;
            *wait |= v == group;
            if (c->info[v].seen_by == search || c->info[v].level <= level)
                continue;
            c->info[v].seen_by = search;
            if (!push(c, &n, v))
                return wf_plan_nomem(p);
        }
    }
    return WEFT_OK;
}

/* ---- hazards ---- */

static int newest_first(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

static void note_hazards(chaining *c, const wf_task *b, int task, const wf_use *y,
                         const past_use *list)
{
    for (const past_use *x = list; x; x = x->next) {
        c->p->work++;
        if (!meet(c->p, x->buf, y->buf))
            continue;
        const wf_task *a = c->p->tasks[x->task];
        group_info *info = &c->info[a->group];
        if (info->pred_of != task)
            c->preds[c->n_preds++] = a->group;
        info->pred_of = task;
        if (!(x->tiled && y->access == WF_TILED && a->tiles == b->tiles))
            info->loose_of = task;
    }
}

/* Notes the groups that task b depends on: it reads what they write, or writes what they read or
 * write. `task` is the number of the task being placed; b is that task, or a copy placed together
 * with it. */
static void find_hazards(chaining *c, const wf_task *b, int task)
{
    for (const wf_use *y = b->uses; y; y = y->next) {
        const past_uses *past = &c->past[wf_buffer_whole(c->p, y->buf)];
        note_hazards(c, b, task, y, past->writes);
        if (y->write)
            note_hazards(c, b, task, y, past->reads);
    }
}

/* Drops the uses that the write `by` covers. A later task that conflicts with a dropped use also
 * conflicts with the write, and the write's group has already waited for the dropped use. So
 * nothing is lost. */
static void hide(chaining *c, past_use **list, wf_buf by)
{
    while (*list) {
        if (within(c->p, by, (*list)->buf))
            *list = (*list)->next;
        else
            list = &(*list)->next;
    }
}

static weft_status remember_uses(chaining *c, int task)
{
    for (const wf_use *u = c->p->tasks[task]->uses; u; u = u->next)
        if (u->write) {
            past_uses *past = &c->past[wf_buffer_whole(c->p, u->buf)];
            hide(c, &past->reads, u->buf);
            hide(c, &past->writes, u->buf);
        }
    for (const wf_use *u = c->p->tasks[task]->uses; u; u = u->next) {
        past_use *x = wf_bump_alloc(&c->p->bump, sizeof *x);
        if (!x)
            return wf_plan_nomem(c->p);
        past_uses *past = &c->past[wf_buffer_whole(c->p, u->buf)];
        past_use **list = u->write ? &past->writes : &past->reads;
        *x = (past_use){task, u->buf, u->access == WF_TILED, *list};
        *list = x;
    }
    return WEFT_OK;
}

/* ---- task groups ---- */

static weft_status may_join(chaining *c, const wf_task *b, int task, int group, bool *may)
{
    const wf_task_group *u = &c->p->groups[group];
    *may = false;
    if (c->info[group].loose_of == task || u->commit != b->commit || u->tiles != b->tiles)
        return WEFT_OK;
    if ((b->tiles == 1 && task_seconds(b) > SMALL_SECONDS) ||
        wf_holding_much(&c->holding, b, group))
        return WEFT_OK;
    /* A circle would arise if something else that b waits for waited for this group. */
    bool wait;
    WF_TRY(others_wait_for(c, group, &wait));
    *may = !wait;
    return WEFT_OK;
}

static weft_status add_to_group(wf_plan *p, int group, int task)
{
    wf_task_group *u = &p->groups[group];
    if ((u->n_tasks & (u->n_tasks - 1)) == 0) { /* room for 1, 2, 4, ... */
        int *grown =
            wf_realloc_array(u->tasks, 2 * (size_t)u->n_tasks + (u->n_tasks == 0), sizeof *grown);
        if (!grown)
            return wf_plan_nomem(p);
        u->tasks = grown;
    }
    u->tasks[u->n_tasks++] = task;
    p->tasks[task]->group = group;
    return WEFT_OK;
}

static bool makes_again(const wf_plan *p, int task)
{
    return p->tasks[task]->node >= 0 && p->nodes[p->tasks[task]->node].copy;
}

/* Whether the task serves one reader only: it makes the f32 copy of a value stored as bf16, or a
 * remade value (recompute.c). Below, "copy" stands for both. */
static bool is_copy(const wf_plan *p, int task)
{
    const int n = p->tasks[task]->node;
    return makes_again(p, task) ||
           (n >= 0 && p->nodes[n].op == &wf_op_cast && p->nodes[n].source < 0 &&
            p->values[p->nodes[n].out[0]].storage == WEFT_F32);
}

/* Whether each tile of `reader` reads only what the same tile of `writer` has written. */
static bool follows(const wf_task *reader, const wf_task *writer)
{
    for (const wf_use *y = reader->uses; y; y = y->next)
        for (const wf_use *x = writer->uses; x; x = x->next)
            if (x->buf == y->buf && x->write && !y->write)
                return reader->tiles == writer->tiles && x->access == WF_TILED &&
                       y->access == WF_TILED;
    return false;
}

/* Whether each of the tasks [first, last) has a later one, up to `last`, that reads its tiles. */
static bool follow_each_other(const wf_plan *p, int first, int last)
{
    for (int t = first; t < last; t++) {
        bool followed = false;
        for (int later = t + 1; later <= last && !followed; later++)
            followed = follows(p->tasks[later], p->tasks[t]);
        if (!followed)
            return false;
    }
    return true;
}

/* Consecutive tasks that go into one group, up to `last`. */
typedef struct run_of_tasks {
    int last;
    bool alone; /* in a group of their own */
} run_of_tasks;

/* The run of tasks that starts at `task`: the copies there, and the task for which they are made.
 * Only the copies where this task does not read them tile by tile; only `task` where there are no
 * copies. Placed together with its reader, a copy lives for a short time. Alone it would join the
 * group that wrote the value, which for a backward pass ran long before. */
static run_of_tasks run_from(const wf_plan *p, int task)
{
    int reader = task;
    while (reader + 1 < p->n_tasks && is_copy(p, reader))
        reader++;
    if (p->passes_off & WEFT_PASS_FUSE || reader == task)
        return (run_of_tasks){task, false};
    if (follow_each_other(p, task, reader))
        return (run_of_tasks){reader, false};
    return (run_of_tasks){follow_each_other(p, task, reader - 1) ? reader - 1 : task, true};
}

/* Puts tasks [first, run.last] into one task group: the last one, and the copies made for it. */
static weft_status place(chaining *c, int first, run_of_tasks run)
{
    wf_plan *p = c->p;
    const int task = run.last;
    wf_task *b = p->tasks[task];
    c->n_preds = 0;
    for (int t = first; t <= task; t++)
        find_hazards(c, p->tasks[t], task);
    if (c->n_preds > 1)
        qsort(c->preds, (size_t)c->n_preds, sizeof *c->preds, newest_first);
    int group = -1;
    for (int i = 0; i < c->n_preds && group < 0 && !run.alone && !(p->passes_off & WEFT_PASS_FUSE);
         i++) {
        bool may;
        WF_TRY(may_join(c, b, task, c->preds[i], &may));
        if (may)
            group = c->preds[i];
    }
    if (group < 0) {
        if (!wf_grow(&p->groups, &p->cap_groups, p->n_groups, 1, sizeof *p->groups))
            return wf_plan_nomem(p);
        group = p->n_groups++;
        p->groups[group] =
            (wf_task_group){.tiles = b->tiles, .commit = b->commit, .copies = makes_again(p, task)};
        c->info[group] = (group_info){.pred_of = -1, .loose_of = -1};
    }
    for (int i = 0; i < c->n_preds; i++)
        if (c->preds[i] != group)
            WF_TRY(add_edge(c, c->preds[i], group));
    for (int t = first; t <= task; t++) {
        p->groups[group].cost += task_seconds(p->tasks[t]);
        WF_TRY(add_to_group(p, group, t));
        WF_TRY(remember_uses(c, t));
        wf_holding_note(&c->holding, p->tasks[t]);
    }
    return WEFT_OK;
}

weft_status wf_pass_chain(wf_plan *p)
{
    const size_t groups = (size_t)p->n_tasks + 1; /* one more: the commit barrier */
    chaining c = {.p = p};
    c.info = wf_alloc_array(groups, sizeof *c.info);
    c.preds = wf_alloc_array(groups, sizeof *c.preds);
    c.past = wf_zalloc_array((size_t)p->n_buffers + 1, sizeof *c.past);
    const bool room = wf_edges_init(&p->edges, (int)groups);
    weft_status status = WEFT_OK;
    if (!c.info || !c.preds || !c.past || !room)
        status = wf_plan_nomem(p);
    else
        status = wf_holding_init(p, &c.holding);
    for (int t = 0; t < p->n_tasks && status == WEFT_OK;) {
        const run_of_tasks run = run_from(p, t);
        status = place(&c, t, run);
        t = run.last + 1;
    }
    wf_free(c.info);
    wf_free(c.preds);
    wf_free(c.past);
    wf_free(c.stack);
    wf_holding_done(&c.holding);
    return status;
}
