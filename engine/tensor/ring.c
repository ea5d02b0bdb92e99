/* The ring of recorded handles: Note [Stale handles] in tensor.h. */
#include <sys/mman.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/tensor/context.h"

/* Bytes of address space, not of memory. With 100 KB of handles a step, an address is used again
 * after ten thousand steps. */
#define RING_SIZE ((size_t)1 << 30)
#define PAGE ((size_t)4096)
#define CHUNK 256 /* hidden handles allocated at once */
#define HANDLE_BYTES ((sizeof(weft_tensor) + 63) / 64 * 64)

typedef struct ring_header {
    uint32_t magic;
    weft_context *owner;
} ring_header;
#define RING_MAGIC 0x57f7106

weft_status wf_ring_init(wf_ring *ring, weft_context *owner, weft_error *err)
{
    char *map = mmap(NULL, 2 * RING_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return wf_error_set(err, WEFT_ERR_NOMEM,
                            "cannot reserve %zu MiB of address space for tensor handles "
                            "(ulimit -v)",
                            2 * RING_SIZE >> 20);
    char *base = (char *)(((uintptr_t)map + RING_SIZE - 1) & ~(RING_SIZE - 1));
    ring_header *header = (ring_header *)base;
    header->magic = RING_MAGIC;
    header->owner = owner;
    *ring = (wf_ring){.map = map, .base = base, .used = PAGE, .filled = PAGE};
    for (int i = 0; i < 3; i++)
        ring->step_start[i] = PAGE;
    return WEFT_OK;
}

void wf_ring_done(wf_ring *ring)
{
    if (ring->map)
        munmap(ring->map, 2 * RING_SIZE);
    for (int i = 0; i < ring->n_chunks; i++)
        wf_free(ring->chunks[i]);
    wf_free(ring->chunks);
    *ring = (wf_ring){0};
}

/* NULL: out of memory. */
static weft_tensor *new_hidden(wf_ring *ring)
{
    const int chunk = ring->n_hidden / CHUNK;
    if (chunk == ring->n_chunks) {
        if (!wf_grow(&ring->chunks, &ring->cap_chunks, ring->n_chunks, 1, sizeof *ring->chunks))
            return NULL;
        weft_tensor *more = wf_zalloc_array(CHUNK, sizeof *more);
        if (!more)
            return NULL;
        ring->chunks[ring->n_chunks++] = more;
    }
    return &ring->chunks[chunk][ring->n_hidden++ % CHUNK];
}

/* Asks for the pages of as many handles as the last step had, at once: a page fault for each would take
 * most of the time of recording. Kernels that cannot do this (before Linux 5.14) fault. */
static void fill_pages(wf_ring *ring)
{
    size_t bytes = ring->step_start[0] - ring->step_start[1];
    if (ring->step_start[0] < ring->step_start[1] || bytes < PAGE)
        bytes = PAGE;
    if (bytes > RING_SIZE - ring->filled)
        bytes = RING_SIZE - ring->filled;
#ifdef MADV_POPULATE_WRITE
    madvise(ring->base + ring->filled, bytes, MADV_POPULATE_WRITE);
#endif
    ring->filled += bytes;
}

weft_tensor *wf_ring_new(wf_ring *ring)
{
    weft_tensor *hidden = ring->hidden ? new_hidden(ring) : NULL;
    if (hidden)
        return hidden;
    if (ring->used + HANDLE_BYTES > RING_SIZE)
        return NULL; /* a step begins far enough from the end, unless it is gigantic */
    if (ring->used + HANDLE_BYTES > ring->filled)
        fill_pages(ring);
    weft_tensor *t = (weft_tensor *)(ring->base + ring->used);
    ring->used += HANDLE_BYTES;
    return t;
}

void wf_ring_fill(weft_tensor *handle, weft_context *ctx, const wf_type *type, int value)
{
    /* The other fields are of stored tensors. */
    handle->magic = WF_MAGIC_RECORDED;
    handle->requires_grad = false;
    handle->ctx = ctx;
    handle->type = *type;
    handle->gen = ctx->gen;
    handle->value = value;
    handle->hooks = NULL;
    handle->kept = NULL;
}

bool wf_ring_hide(wf_ring *ring, bool hidden)
{
    const bool was = ring->hidden;
    ring->hidden = hidden;
    return was;
}

/* Gives the pages of the step before last back to the system. A step never begins in the ring's
 * last quarter: it begins at the start instead. */
void wf_ring_next_step(wf_ring *ring)
{
    size_t start = ring->step_start[2], end = ring->step_start[1];
    if (end < start)
        end = RING_SIZE;
    if (end > start)
        madvise(ring->base + start, end - start, MADV_DONTNEED);
    size_t next = (ring->used + PAGE - 1) & ~(PAGE - 1);
    if (next > RING_SIZE / 4 * 3)
        next = PAGE;
    ring->step_start[2] = ring->step_start[1];
    ring->step_start[1] = ring->step_start[0];
    ring->step_start[0] = ring->used = ring->filled = next;
    ring->n_hidden = 0;
}

weft_context *wf_tensor_owner(const weft_tensor *t)
{
    if (!t)
        return NULL;
    if (t->magic == WF_MAGIC_STORED || t->magic == WF_MAGIC_RECORDED || t->magic == WF_MAGIC_DEAD)
        return t->ctx; /* also of a freed handle: Note [Freed handles] in engine/base/handles.h */
    if (t->magic != 0)
        return NULL; /* not a tensor */
    const ring_header *header = (const ring_header *)((uintptr_t)t & ~(RING_SIZE - 1));
    return header->magic == RING_MAGIC ? header->owner : NULL;
}
