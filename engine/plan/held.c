/* The memory in use while the task groups run one after the other. The pass order uses it to run
 * groups that free memory, before too much memory waits to be freed. See plan.h. */
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

/* ---- which task group uses which buffer ---- */

/* Calls `fn` once for each buffer of each task group. `seen`: working memory, one entry per
 * buffer. */
typedef void (*pair_fn)(wf_held *h, int group, int buf);

static void each_pair(const wf_plan *p, wf_held *h, int *seen, pair_fn fn)
{
    for (int b = 0; b < p->n_buffers; b++)
        seen[b] = -1;
    for (int g = 0; g < p->n_groups; g++)
        for (int t = 0; t < p->groups[g].n_tasks; t++)
            for (const wf_use *u = p->tasks[p->groups[g].tasks[t]]->uses; u; u = u->next) {
                const int b = wf_buffer_whole(p, u->buf);
                if (p->buffers[b].bound || seen[b] == g)
                    continue;
                seen[b] = g;
                fn(h, g, b);
            }
}

static void count_pair(wf_held *h, int group, int buf)
{
    h->group_start[group + 1]++;
    h->buf_start[buf + 1]++;
}

static void list_pair(wf_held *h, int group, int buf)
{
    h->group_buf[h->group_start[group + 1]++] = buf;
    h->buf_group[h->buf_start[buf + 1]++] = group;
}

/* Turns the counts at start[i + 1] into the beginnings of lists; filling the lists moves each to
 * its end. */
static int begin_lists(int *start, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        const int count = start[i + 1];
        start[i + 1] = sum;
        sum += count;
    }
    return sum;
}

static bool is_copy(const wf_plan *p, int value)
{
    return value >= 0 && p->values[value].node >= 0 && p->nodes[p->values[value].node].copy;
}

weft_status wf_held_init(wf_plan *p, wf_held *h)
{
    const size_t groups = (size_t)p->n_groups + 2, buffers = (size_t)p->n_buffers + 2;
    *h = (wf_held){0};
    h->group_start = wf_bump_alloc(&p->bump, groups * sizeof *h->group_start);
    h->buf_start = wf_bump_alloc(&p->bump, buffers * sizeof *h->buf_start);
    h->left = wf_bump_alloc(&p->bump, buffers * sizeof *h->left);
    h->there = wf_bump_alloc(&p->bump, buffers);
    h->bytes = wf_bump_alloc(&p->bump, buffers * sizeof *h->bytes);
    h->takes = wf_bump_alloc(&p->bump, buffers * sizeof *h->takes);
    h->gain = wf_bump_alloc(&p->bump, groups * sizeof *h->gain);
    h->state = wf_bump_alloc(&p->bump, groups);
    if (!h->group_start || !h->buf_start || !h->left || !h->there || !h->bytes || !h->takes ||
        !h->gain || !h->state)
        return wf_plan_nomem(p);
    each_pair(p, h, h->left, count_pair);
    const int n = begin_lists(h->group_start, p->n_groups);
    begin_lists(h->buf_start, p->n_buffers);
    h->group_buf = wf_bump_alloc(&p->bump, ((size_t)n + 1) * sizeof *h->group_buf);
    h->buf_group = wf_bump_alloc(&p->bump, ((size_t)n + 1) * sizeof *h->buf_group);
    if (!h->group_buf || !h->buf_group)
        return wf_plan_nomem(p);
    each_pair(p, h, h->left, list_pair);
    for (int b = 0; b < p->n_buffers; b++) {
        h->left[b] = h->buf_start[b + 1] - h->buf_start[b];
        const int readers = h->left[b] - 1, value = p->buffers[b].value;
        const bool copy = is_copy(p, value);
        /* A buffer that one group alone uses lives equally long in any order, and so does a
         * value that is remade for one group. */
        h->bytes[b] = readers > (copy ? 1 : 0) ? (int64_t)p->buffers[b].bytes : 0;
        /* The next group frees partial sums, and remade values are freed soon. */
        h->takes[b] = copy || (value < 0 && readers == 1) ? 0 : h->bytes[b];
    }
    return WEFT_OK;
}

void wf_held_done(wf_held *h)
{
    wf_heap_done(&h->heap);
}

/* ---- the ready groups that would free memory, by the bytes ---- */

enum { WAITS, READY, DONE };

/* Adds to the gain of a ready group. */
static bool gains(wf_held *h, int group, int64_t bytes)
{
    if (h->state[group] != READY || bytes == 0)
        return true;
    const int64_t was = h->gain[group];
    h->gain[group] += bytes;
    h->waiting += (h->gain[group] > 0 ? h->gain[group] : 0) - (was > 0 ? was : 0);
    return h->gain[group] <= 0 || wf_heap_push(&h->heap, (double)h->gain[group], group);
}

bool wf_held_ready(wf_held *h, int group)
{
    int64_t gain = 0;
    for (int i = h->group_start[group]; i < h->group_start[group + 1]; i++) {
        const int b = h->group_buf[i];
        gain += (h->left[b] == 1 ? h->bytes[b] : 0) - (h->there[b] ? 0 : h->takes[b]);
    }
    h->state[group] = READY;
    h->gain[group] = 0;
    return gain > 0 ? gains(h, group, gain) : (h->gain[group] = gain, true);
}

bool wf_held_run(wf_held *h, int group)
{
    h->waiting -= h->gain[group] > 0 ? h->gain[group] : 0;
    h->state[group] = DONE;
    bool ok = true;
    for (int i = h->group_start[group]; i < h->group_start[group + 1]; i++) {
        const int b = h->group_buf[i];
        const bool fresh = !h->there[b];
        h->there[b] = 1;
        h->left[b]--;
        if (fresh)
            h->live += h->bytes[b];
        if (h->live > h->peak)
            h->peak = h->live;
        if (fresh || h->left[b] == 1)
            for (int k = h->buf_start[b]; k < h->buf_start[b + 1] && ok; k++)
                ok = gains(h, h->buf_group[k],
                           (fresh ? h->takes[b] : 0) + (h->left[b] == 1 ? h->bytes[b] : 0));
    }
    for (int i = h->group_start[group]; i < h->group_start[group + 1]; i++)
        if (h->left[h->group_buf[i]] == 0)
            h->live -= h->bytes[h->group_buf[i]];
    return ok;
}

int wf_held_most(wf_held *h)
{
    while (h->heap.n > 0) {
        const wf_heap_entry top = h->heap.entry[0];
        if (h->state[top.id] == READY && (double)h->gain[top.id] == top.key)
            return top.id;
        wf_heap_pop(&h->heap); /* out of date */
    }
    return -1;
}
