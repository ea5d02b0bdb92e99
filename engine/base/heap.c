/* See heap.h. */
#include "engine/base/heap.h"

#include "engine/base/alloc.h"

static bool before(wf_heap_entry a, wf_heap_entry b)
{
    return a.key > b.key || (a.key == b.key && a.id < b.id);
}

bool wf_heap_push(wf_heap *h, double key, int id)
{
    if (!wf_grow(&h->entry, &h->cap, h->n, 1, sizeof *h->entry))
        return false;
    const wf_heap_entry x = {key, id};
    int i = h->n++;
    for (; i > 0 && before(x, h->entry[(i - 1) / 2]); i = (i - 1) / 2)
        h->entry[i] = h->entry[(i - 1) / 2];
    h->entry[i] = x;
    return true;
}

wf_heap_entry wf_heap_pop(wf_heap *h)
{
    const wf_heap_entry top = h->entry[0], last = h->entry[--h->n];
    int i = 0;
    for (int child = 1; child < h->n; child = 2 * i + 1) {
        if (child + 1 < h->n && before(h->entry[child + 1], h->entry[child]))
            child++;
        if (!before(h->entry[child], last))
            break;
        h->entry[i] = h->entry[child];
        i = child;
    }
    h->entry[i] = last;
    return top;
}

void wf_heap_done(wf_heap *h)
{
    wf_free(h->entry);
    *h = (wf_heap){0};
}
