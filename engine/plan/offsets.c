/* Offsets in the arena, largest buffer first: each gets the lowest offset at which no other buffer
 * lies that lives at the same time.
 *
 * A tree over the linear order finds what is taken at some time. A node stands for a span of
 * positions and knows, as sorted intervals of bytes, what the buffers take that live in the whole
 * span (`whole`) and in some part of it (`some`). For a lifetime, the spans that it is made of say
 * `some`, and the larger spans around them `whole`. Intervals that touch become one, so buffers
 * that live together cost little. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

typedef struct interval {
    size_t from, to;
} interval;
typedef struct taken {
    interval *at;
    int n, cap;
} taken;
typedef struct span {
    taken whole, some;
} span;

/* What is taken at some part of the lifetime in question. */
typedef struct set_in_time {
    const taken *taken;
    int next; /* the first interval that ends behind the offset in question */
} set_in_time;

/* Above a stack of a thousand buffers with holes that are taken at other times, the rest of the
 * holes is left alone: looking through all of them for each buffer would take time that grows with
 * the square of the plan. */
enum { MAX_HOPS = 1000 };

typedef struct placing {
    wf_plan *p;
    span *spans;
    int positions; /* a power of two */
    set_in_time *in_time;
    int n_in_time;
    int first, last; /* the lifetime in question */
    interval bytes;
} placing;

/* The first interval that ends behind `offset`. */
static int find(const taken *t, size_t offset)
{
    int low = 0, high = t->n;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (t->at[middle].to <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool take(taken *t, interval x)
{
    int from = find(t, x.from), to = from;
    if (from > 0 && t->at[from - 1].to == x.from)
        from--;
    while (to < t->n && t->at[to].from <= x.to)
        to++;
    if (from < to) { /* all that x touches becomes one */
        x.from = t->at[from].from < x.from ? t->at[from].from : x.from;
        x.to = t->at[to - 1].to > x.to ? t->at[to - 1].to : x.to;
    } else if (!wf_grow(&t->at, &t->cap, t->n, 1, sizeof *t->at)) {
        return false;
    }
    memmove(t->at + from + 1, t->at + to, (size_t)(t->n - to) * sizeof *t->at);
    t->n += 1 - (to - from);
    t->at[from] = x;
    return true;
}

/* Span `at` of the tree is [low, low + count). */
static void list_in_time(placing *c, int at, int low, int count)
{
    c->p->work++;
    if (c->last < low || low + count <= c->first)
        return;
    if (c->first <= low && low + count - 1 <= c->last) {
        c->in_time[c->n_in_time++] = (set_in_time){&c->spans[at].some, 0};
        return;
    }
    c->in_time[c->n_in_time++] = (set_in_time){&c->spans[at].whole, 0};
    list_in_time(c, 2 * at, low, count / 2);
    list_in_time(c, 2 * at + 1, low + count / 2, count / 2);
}

static bool take_in_time(placing *c, int at, int low, int count)
{
    c->p->work++;
    if (c->last < low || low + count <= c->first)
        return true;
    if (!take(&c->spans[at].some, c->bytes))
        return false;
    if (c->first <= low && low + count - 1 <= c->last)
        return take(&c->spans[at].whole, c->bytes);
    return take_in_time(c, 2 * at, low, count / 2) &&
           take_in_time(c, 2 * at + 1, low + count / 2, count / 2);
}

/* The first interval of the set that ends behind `offset`, which only grows during one search: most
 * often the next one. */
static int advance(set_in_time *s, size_t offset)
{
    for (int i = 0; i < 4; i++, s->next++)
        if (s->next >= s->taken->n || s->taken->at[s->next].to > offset)
            return s->next;
    return s->next = find(s->taken, offset);
}

/* Behind all that is taken. */
static size_t top(const placing *c)
{
    size_t offset = 0;
    for (int i = 0; i < c->n_in_time; i++) {
        const taken *t = c->in_time[i].taken;
        if (t->n > 0 && t->at[t->n - 1].to > offset)
            offset = t->at[t->n - 1].to;
    }
    return offset;
}

/* Sets in the way come to the front, since they will be again. */
static size_t lowest_offset(placing *c, size_t room)
{
    size_t offset = 0;
    int hops = 0;
    c->n_in_time = 0;
    list_in_time(c, 1, 0, c->positions);
    for (int i = 0; i < c->n_in_time; i++) {
        set_in_time s = c->in_time[i];
        const int next = advance(&s, offset);
        c->p->work++;
        c->in_time[i].next = next;
        if (next == s.taken->n || s.taken->at[next].from >= offset + room)
            continue;
        if (++hops == MAX_HOPS)
            return top(c);
        offset = s.taken->at[next].to;
        c->in_time[i] = c->in_time[0];
        c->in_time[0] = s;
        i = -1;
    }
    return offset;
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

static weft_status assign(placing *c, entry *list)
{
    wf_plan *p = c->p;
    const bool share = !(p->passes_off & WEFT_PASS_MEMORY);
    int n = 0;
    for (int b = 0; b < p->n_buffers; b++)
        if (!p->buffers[b].bound && p->buffers[b].first >= 0) {
            list[n++] = (entry){b, p->buffers[b].bytes};
            p->unshared_bytes += wf_buffer_room(p->buffers[b].bytes);
        }
    qsort(list, (size_t)n, sizeof *list, larger_first);
    for (int i = 0; i < n; i++) {
        wf_buffer *b = &p->buffers[list[i].buf];
        const size_t room = wf_buffer_room(b->bytes);
        c->first = share ? b->first : 0;
        c->last = share ? b->last : c->positions - 1;
        b->offset = lowest_offset(c, room);
        c->bytes = (interval){b->offset, b->offset + room};
        if (!take_in_time(c, 1, 0, c->positions))
            return wf_plan_nomem(p);
        if (c->bytes.to > p->arena_bytes)
            p->arena_bytes = c->bytes.to;
    }
    return WEFT_OK;
}

weft_status wf_plan_assign_offsets(wf_plan *p)
{
    placing c = {.p = p, .positions = 1};
    while (c.positions < p->n_groups)
        c.positions *= 2;
    const size_t spans = 2 * (size_t)c.positions;
    entry *list = wf_alloc_array((size_t)p->n_buffers + 1, sizeof *list);
    c.spans = wf_zalloc_array(spans, sizeof *c.spans);
    c.in_time = wf_alloc_array(spans, sizeof *c.in_time);
    weft_status status = list && c.spans && c.in_time ? assign(&c, list) : wf_plan_nomem(p);
    for (size_t i = 0; i < spans && c.spans; i++) {
        wf_free(c.spans[i].whole.at);
        wf_free(c.spans[i].some.at);
    }
    wf_free(c.spans);
    wf_free(c.in_time);
    wf_free(list);
    return status;
}
