/* Chooses offsets: of buffers in the arena, and of a task group's own buffers (local.c). One buffer
 * after the other gets the lowest offset at which it overlaps no buffer that lives at the same time:
 * see Note [Orders of placing].
 *
 * A binary tree over the linear order tells which bytes are taken when. Each tree node stands for a
 * span of positions. It has two sorted lists of byte intervals: `whole`, the bytes of buffers that
 * live during the whole span, and `some`, the bytes of buffers that live during some part of it.
 * The lifetime in question is the union of a few spans: their `some` lists say what is taken, and
 * so do the `whole` lists of the larger spans around them. Intervals that touch become one, so
 * buffers that live together cost little. */
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

/* One list of bytes that are taken during the lifetime in question. */
typedef struct set_in_time {
    const taken *taken;
    int next; /* the first interval that ends after the offset in question */
} set_in_time;

/* After this many steps past taken intervals, the search gives up and places the buffer above
 * everything. Looking through all intervals for each buffer would take time that grows with the
 * square of the plan. */
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

/* The index of the first interval that ends after `offset`. */
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
    if (from < to) { /* everything that x touches becomes one interval */
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

/* Lists what is taken during the lifetime. Tree node `at` covers positions [low, low + count). */
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

/* The first interval of the set that ends after `offset`. During one search `offset` only grows, so
 * it is most often the next one. */
static int advance(set_in_time *s, size_t offset)
{
    for (int i = 0; i < 4; i++, s->next++)
        if (s->next >= s->taken->n || s->taken->at[s->next].to > offset)
            return s->next;
    return s->next = find(s->taken, offset);
}

/* The end of everything that is taken. */
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

/* The lowest offset with `room` free bytes during the lifetime. A set that is in the way moves to
 * the front of the list, because it will probably be in the way again. */
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
    int piece;
    double key;
} entry;

static int larger_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    return x->piece - y->piece;
}

/* Note [Orders of placing]. No order is the best for all networks, so the arena is packed in
 * several orders and the smallest result is kept. Mostly "largest buffer first" is right. Where
 * many buffers of one size come and go, fewer gaps remain if buffers come first that are large for
 * a long time, or that live long. */
typedef enum placing_order { BY_BYTES, BY_BYTES_AND_TIME, BY_TIME, PLACING_ORDERS } placing_order;

static double key_of(const wf_piece *x, placing_order order)
{
    const double time = x->last - x->first + 1, bytes = (double)x->room;
    return order == BY_BYTES ? bytes : order == BY_TIME ? time : bytes * time;
}

/* Places the pieces in this order: sets their offsets, and *end to the end of the last one. */
static weft_status place_all(placing *c, placing_order order, wf_piece *pieces, int n, entry *list,
                             size_t *end)
{
    for (int i = 0; i < n; i++)
        list[i] = (entry){i, key_of(&pieces[i], order)};
    qsort(list, (size_t)n, sizeof *list, larger_first);
    for (int i = 0; i < 2 * c->positions; i++)
        c->spans[i].whole.n = c->spans[i].some.n = 0;
    *end = 0;
    for (int i = 0; i < n; i++) {
        wf_piece *x = &pieces[list[i].piece];
        c->first = x->first;
        c->last = x->last;
        x->offset = lowest_offset(c, x->room);
        c->bytes = (interval){x->offset, x->offset + x->room};
        if (!take_in_time(c, 1, 0, c->positions))
            return wf_plan_nomem(c->p);
        if (c->bytes.to > *end)
            *end = c->bytes.to;
    }
    return WEFT_OK;
}

/* A lower bound of the bytes needed: the most that live at one time. `change`: working memory, one
 * entry per position and one more. */
static size_t least_bytes(const wf_piece *pieces, int n, int positions, int64_t *change)
{
    size_t most = 0;
    int64_t live = 0;
    for (int i = 0; i < n; i++) {
        change[pieces[i].first] += (int64_t)pieces[i].room;
        change[pieces[i].last + 1] -= (int64_t)pieces[i].room;
    }
    for (int i = 0; i < positions; i++) {
        live += change[i];
        most = (size_t)live > most ? (size_t)live : most;
    }
    return most;
}

static weft_status pack(placing *c, wf_piece *pieces, int n, size_t least, entry *list,
                        size_t *best, size_t *bytes)
{
    *bytes = SIZE_MAX;
    for (placing_order o = 0; o < PLACING_ORDERS; o++) {
        size_t end;
        WF_TRY(place_all(c, o, pieces, n, list, &end));
        if (end < *bytes) {
            *bytes = end;
            for (int i = 0; i < n; i++)
                best[i] = pieces[i].offset;
        }
        if (*bytes <= least + least / 128)
            break;
    }
    for (int i = 0; i < n; i++)
        pieces[i].offset = best[i];
    return WEFT_OK;
}

weft_status wf_plan_pack(wf_plan *p, wf_piece *pieces, int n, int positions, size_t *bytes)
{
    placing c = {.p = p, .positions = 1};
    while (c.positions < positions)
        c.positions *= 2;
    const size_t spans = 2 * (size_t)c.positions;
    entry *list = wf_alloc_array((size_t)n + 1, sizeof *list);
    size_t *best = wf_alloc_array((size_t)n + 1, sizeof *best);
    int64_t *change = wf_zalloc_array((size_t)positions + 2, sizeof *change);
    c.spans = wf_zalloc_array(spans, sizeof *c.spans);
    c.in_time = wf_alloc_array(spans, sizeof *c.in_time);
    weft_status status = WEFT_OK;
    if (list && best && change && c.spans && c.in_time)
        status = pack(&c, pieces, n, least_bytes(pieces, n, positions, change), list, best, bytes);
    else
        status = wf_plan_nomem(p);
    for (size_t i = 0; i < spans && c.spans; i++) {
        wf_free(c.spans[i].whole.at);
        wf_free(c.spans[i].some.at);
    }
    wf_free(c.spans);
    wf_free(c.in_time);
    wf_free(change);
    wf_free(best);
    wf_free(list);
    return status;
}

/* ---- the arena ---- */

static bool has_place(const wf_buffer *b)
{
    return !b->bound && b->first >= 0; /* slices have no lifetime of their own */
}

weft_status wf_plan_assign_offsets(wf_plan *p)
{
    const bool share = !(p->passes_off & WEFT_PASS_MEMORY);
    wf_piece *pieces = wf_alloc_array((size_t)p->n_buffers + 1, sizeof *pieces);
    if (!pieces)
        return wf_plan_nomem(p);
    int n = 0;
    for (int b = 0; b < p->n_buffers; b++) {
        const wf_buffer *buf = &p->buffers[b];
        if (!has_place(buf))
            continue;
        const size_t room = wf_buffer_room(buf->bytes);
        p->unshared_bytes += room;
        if (buf->over < 0)
            pieces[n++] = (wf_piece){.first = share ? buf->first : 0,
                                     .last = share ? buf->until : p->n_groups - 1,
                                     .room = room};
    }
    const weft_status status = wf_plan_pack(p, pieces, n, p->n_groups, &p->arena_bytes);
    n = 0;
    for (int b = 0; b < p->n_buffers && status == WEFT_OK; b++)
        if (has_place(&p->buffers[b]) && p->buffers[b].over < 0)
            p->buffers[b].offset = pieces[n++].offset;
    wf_free(pieces);
    for (int b = 0; b < p->n_buffers && status == WEFT_OK; b++) {
        wf_buf of = b;
        while (p->buffers[of].over >= 0)
            of = p->buffers[of].over;
        p->buffers[b].offset = p->buffers[of].offset;
    }
    return status;
}
