/* Memory for handles: Note [Freed handles] in handles.h. Threading: any thread, under a lock. */
#include "engine/base/handles.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"

enum { HANDLES_AT_REST = 256, CHUNK_BYTES = 16384 };

/* Lies before each handle. */
typedef struct item {
    alignas(max_align_t) struct item *next; /* the item that was given back after this one */
    struct wf_handle_size *size;
} item;

typedef struct chunk {
    alignas(max_align_t) struct chunk *next;
} chunk;

struct wf_handle_size {
    struct wf_handle_size *next;
    size_t bytes;       /* bytes of one item and its handle */
    chunk *chunks;      /* handles are taken from the first one */
    size_t used, count; /* handles of the first chunk: taken so far, and in all */
    item *first, *last; /* items that were given back, oldest first */
    size_t resting;
};

static struct wf_handle_size *find_size(wf_handles *h, size_t bytes)
{
    struct wf_handle_size *s = h->sizes;
    while (s && s->bytes != bytes)
        s = s->next;
    if (!s && (s = calloc(1, sizeof *s))) {
        s->bytes = bytes;
        s->next = h->sizes;
        h->sizes = s;
    }
    return s;
}

static item *fresh_item(struct wf_handle_size *s)
{
    if (s->used == s->count) {
        size_t count = CHUNK_BYTES / s->bytes + 1;
        chunk *c = calloc(1, sizeof *c + count * s->bytes);
        if (!c)
            return NULL;
        c->next = s->chunks;
        s->chunks = c;
        s->used = 0;
        s->count = count;
    }
    return (item *)((char *)(s->chunks + 1) + s->used++ * s->bytes);
}

static item *oldest_item(struct wf_handle_size *s)
{
    item *it = s->first;
    s->first = it->next;
    if (!s->first)
        s->last = NULL;
    s->resting--;
    memset(it + 1, 0, s->bytes - sizeof *it);
    return it;
}

void *wf_handles_take(wf_handles *h, size_t size)
{
    if (wf_alloc_fails() || size > SIZE_MAX / 2)
        return NULL;
    size_t bytes = (size + sizeof(item) + 63) & ~(size_t)63;
    pthread_mutex_lock(&h->lock);
    struct wf_handle_size *s = find_size(h, bytes);
    item *it = NULL;
    if (s)
        it = s->resting > HANDLES_AT_REST ? oldest_item(s) : fresh_item(s);
    if (it)
        *it = (item){.size = s};
    pthread_mutex_unlock(&h->lock);
    return it ? it + 1 : NULL;
}

void wf_handles_give(wf_handles *h, void *p)
{
    item *it = (item *)p - 1;
    struct wf_handle_size *s = it->size;
    pthread_mutex_lock(&h->lock);
    it->next = NULL;
    if (s->last)
        s->last->next = it;
    else
        s->first = it;
    s->last = it;
    s->resting++;
    pthread_mutex_unlock(&h->lock);
}

void wf_handles_done(wf_handles *h)
{
    while (h->sizes) {
        struct wf_handle_size *s = h->sizes;
        h->sizes = s->next;
        while (s->chunks) {
            chunk *c = s->chunks;
            s->chunks = c->next;
            free(c);
        }
        free(s);
    }
    pthread_mutex_destroy(&h->lock);
}
