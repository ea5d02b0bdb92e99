/* Plan pass memory: gives every plan buffer an offset in the arena (offsets.c), adds the edges that
 * shared bytes need, and makes the successor lists (reduce.c).
 *
 * A lifetime is an interval in the linear order. Two buffers may share bytes when their intervals
 * do not overlap. But task groups may run in any order that the edges allow. So sharing adds edges:
 * all users of the earlier buffer run before the first write to the later one. Buffers that only one
 * task group uses, tile by tile, shrink and share bytes by the order of its tasks: local.c. */
#include <stdlib.h>

#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

static void find_lifetimes(wf_plan *p, const int *position)
{
    for (int t = 0; t < p->n_tasks; t++)
        for (const wf_use *u = p->tasks[t]->uses; u; u = u->next) {
            wf_buffer *b = &p->buffers[wf_buffer_whole(p, u->buf)];
            int at = position[p->tasks[t]->group];
            b->first = b->first < 0 || at < b->first ? at : b->first;
            b->last = at > b->last ? at : b->last;
        }
}

/* ---- sharing bytes ---- */

/* The task groups that use a buffer; a group may be there several times. */
typedef struct users {
    int *group, n;
} users;

static weft_status list_users(wf_plan *p, users *list)
{
    for (int pass = 0; pass < 2;
         pass++) { /* count, then fill; a task group's tasks are not neighbours */
        for (int b = 0; b < p->n_buffers && pass == 1; b++) {
            list[b].group = wf_bump_alloc(&p->bump, (size_t)list[b].n * sizeof *list[b].group);
            if (!list[b].group)
                return wf_plan_nomem(p);
            list[b].n = 0;
        }
        for (int t = 0; t < p->n_tasks; t++)
            for (const wf_use *u = p->tasks[t]->uses; u; u = u->next) {
                users *l = &list[wf_buffer_whole(p, u->buf)];
                if (pass == 1)
                    l->group[l->n] = p->tasks[t]->group;
                l->n++;
            }
    }
    return WEFT_OK;
}

/* What the search for buffers that share bytes needs. The borders of all buffers cut the arena into
 * pieces. `owner` is a binary tree over the pieces. A tree node holds the buffer that last used all
 * pieces below it; -1 where no buffer has used them yet; MIXED where the children differ. */
enum { MIXED = -2 };
typedef struct sharing {
    wf_plan *p;
    users *list;
    size_t *border;
    int n_border;
    int *owner, pieces; /* `pieces` is a power of two */
    int *mark;          /* per task group: the last buffer of which it was marked as a user */
    int marks;          /* buffers whose users were marked */
    int *last_pair;     /* per buffer: the later buffer to which join() last added edges */
    int *scratch;       /* room for two lists of task groups */
} sharing;

static void mark_users(sharing *s, const users *l)
{
    s->marks++;
    for (int i = 0; i < l->n; i++)
        s->mark[l->group[i]] = s->marks;
}

/* Writes the first or last users of a buffer to `out`, each once, and returns how many there are:
 * with `ends`, the users that no other user directly follows; else those that no other user
 * directly precedes. Edges from the ends of one buffer to the beginnings of another order all users
 * of both. Looks at 64 edges of each user at most; a user too many costs an edge that is not
 * needed. */
static int border_users(sharing *s, int buf, bool ends, int *out)
{
    const wf_edges *e = &s->p->edges;
    const users *l = &s->list[buf];
    int n = 0;
    mark_users(s, l);
    const int mark = s->marks;
    for (int i = 0; i < l->n; i++) {
        const int u = l->group[i];
        if (s->mark[u] != mark)
            continue; /* done already */
        bool inner = false;
        int looked = 0;
        for (int a = ends ? e->out[u] : e->in[u]; a >= 0 && !inner && looked < 64; looked++) {
            const int other = ends ? e->edge[a].to : e->edge[a].from;
            inner = s->mark[other] == mark || s->mark[other] == -mark;
            a = ends ? e->edge[a].next_out : e->edge[a].next_in;
        }
        s->p->work += (size_t)looked;
        s->mark[u] = -mark;
        if (!inner)
            out[n++] = u;
    }
    return n;
}

static weft_status join(sharing *s, int before, int after)
{
    wf_plan *p = s->p;
    if (s->last_pair[before] == after)
        return WEFT_OK;
    s->last_pair[before] = after;
    int *ends = s->scratch, *begins = s->scratch + p->n_groups;
    const int n_ends = border_users(s, before, true, ends);
    const int n_begins = border_users(s, after, false, begins);
    for (int i = 0; i < n_ends; i++)
        for (int j = 0; j < n_begins; j++)
            if (ends[i] != begins[j] &&                                     /* else: in its place */
                p->groups[ends[i]].commit == p->groups[begins[j]].commit && /* else: the barrier */
                !wf_edges_add(&p->edges, ends[i], begins[j]))
                return wf_plan_nomem(p);
    return WEFT_OK;
}

/* Makes `buf` the owner of pieces [from, to), and orders their previous owners before it. Tree node
 * `at` covers the pieces [low, low + count). */
static weft_status take_over(sharing *s, int buf, int at, int low, int count, int from, int to)
{
    const int was = s->owner[at];
    s->p->work++;
    if (to <= low || low + count <= from)
        return WEFT_OK;
    if (was != MIXED && was != -1)
        WF_TRY(join(s, was, buf));
    if (from <= low && low + count <= to && was != MIXED) {
        s->owner[at] = buf;
        return WEFT_OK;
    }
    if (was != MIXED)
        s->owner[2 * at] = s->owner[2 * at + 1] = was;
    WF_TRY(take_over(s, buf, 2 * at, low, count / 2, from, to));
    WF_TRY(take_over(s, buf, 2 * at + 1, low + count / 2, count / 2, from, to));
    s->owner[at] = from <= low && low + count <= to ? buf : MIXED;
    return WEFT_OK;
}

static int by_size(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static int piece_at(const sharing *s, size_t offset)
{
    int low = 0, high = s->n_border;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (s->border[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct entry {
    int buf, first;
} entry;

static int earlier_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->first != y->first ? x->first - y->first : x->buf - y->buf;
}

static size_t end_of(const wf_buffer *b)
{
    return b->offset + wf_buffer_room(b->bytes);
}

static weft_status share(sharing *s, entry *entries)
{
    wf_plan *p = s->p;
    int n = 0;
    for (int b = 0; b < p->n_buffers; b++) {
        const wf_buffer *buf = &p->buffers[b];
        s->last_pair[b] = -1;
        if (buf->bound || buf->first < 0)
            continue;
        entries[n++] = (entry){b, buf->first};
        s->border[s->n_border++] = buf->offset;
        s->border[s->n_border++] = end_of(buf);
    }
    qsort(entries, (size_t)n, sizeof *entries, earlier_first);
    qsort(s->border, (size_t)s->n_border, sizeof *s->border, by_size);
    for (s->pieces = 1; s->pieces < s->n_border;)
        s->pieces *= 2;
    s->owner = wf_bump_alloc(&p->bump, 2 * (size_t)s->pieces * sizeof *s->owner);
    if (!s->owner)
        return wf_plan_nomem(p);
    for (int i = 0; i < 2 * s->pieces; i++)
        s->owner[i] = -1;
    for (int i = 0; i < n; i++) {
        const wf_buffer *b = &p->buffers[entries[i].buf];
        WF_TRY(take_over(s, entries[i].buf, 1, 0, s->pieces, piece_at(s, b->offset),
                         piece_at(s, end_of(b))));
    }
    return WEFT_OK;
}

/* Adds edges so that all users of a buffer run before another buffer in the same bytes is first
 * written. For each piece only the previous owner gets edges: its users already wait for the owners
 * before. */
static weft_status add_share_edges(wf_plan *p)
{
    const size_t buffers = (size_t)p->n_buffers + 1, groups = (size_t)p->n_groups + 1;
    sharing s = {.p = p};
    s.list = wf_bump_alloc(&p->bump, buffers * sizeof *s.list);
    s.border = wf_bump_alloc(&p->bump, 2 * buffers * sizeof *s.border);
    s.last_pair = wf_bump_alloc(&p->bump, buffers * sizeof *s.last_pair);
    s.mark = wf_bump_alloc(&p->bump, groups * sizeof *s.mark);
    s.scratch = wf_bump_alloc(&p->bump, 2 * groups * sizeof *s.scratch);
    entry *entries = wf_bump_alloc(&p->bump, buffers * sizeof *entries);
    if (!s.list || !s.border || !s.last_pair || !s.mark || !s.scratch || !entries)
        return wf_plan_nomem(p);
    WF_TRY(list_users(p, s.list));
    return share(&s, entries);
}

weft_status wf_pass_memory(wf_plan *p)
{
    int *position = wf_bump_alloc(&p->bump, (size_t)(p->n_groups + 1) * sizeof *position);
    if (!position)
        return wf_plan_nomem(p);
    for (int i = 0; i < p->n_groups; i++)
        position[p->order[i]] = i;
    find_lifetimes(p, position);
    if (!(p->passes_off & WEFT_PASS_MEMORY))
        WF_TRY(wf_plan_shrink_local(p));
    for (int b = 0; b < p->n_buffers; b++)
        p->buffers[b].until = p->buffers[b].last;
    if (!(p->passes_off & WEFT_PASS_MEMORY))
        WF_TRY(wf_plan_in_place(p));
    WF_TRY(wf_plan_assign_offsets(p));
    if (!(p->passes_off & WEFT_PASS_MEMORY))
        WF_TRY(add_share_edges(p));
    return wf_plan_list_successors(p, position);
}
