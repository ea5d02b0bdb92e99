/* Big blocks, made with the operations of wf_memory_ops.
 *
 * Threading: a lock guards the counts. Mapping happens outside the lock. */
#include "engine/machine/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"

#define PAGE ((size_t)4096)

struct wf_memory {
    wf_topology *topology; /* NULL once destroyed */
    wf_memory_ops ops;
    pthread_mutex_t lock;
    size_t blocks; /* blocks that callers hold; after destroy, the last one frees the wf_memory */
    wf_memory_usage usage;
};

const char *wf_mem_kind_name(wf_mem_kind kind)
{
    switch (kind) {
#define X(name, text)                                                                              \
    case WF_MEM_##name: return text;
        WF_MEM_KIND_LIST(X)
#undef X
    case WF_MEM_KIND_COUNT: break;
    }
    return "?";
}

/* ---- the system's operations ---------------------------------------------------------------- */

/* Maps more than needed and unmaps the ends, to get the alignment. */
static void *system_map(void *user, size_t bytes, size_t align)
{
    (void)user;
    size_t all;
    if (__builtin_add_overflow(bytes, align, &all))
        return NULL;
    char *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t head = (align - (uintptr_t)p % align) % align;
    if (head > 0)
        munmap(p, head);
    if (align > head)
        munmap(p + head + bytes, align - head);
    return p + head;
}

static void system_unmap(void *user, void *p, size_t bytes)
{
    (void)user;
    munmap(p, bytes);
}

static int system_advise_huge(void *user, void *p, size_t bytes)
{
    (void)user;
    return madvise(p, bytes, MADV_HUGEPAGE);
}

static int system_bind(void *user, const wf_topology *topology, void *p, size_t bytes, int node)
{
    (void)user;
    return wf_topology_bind_memory(topology, p, bytes, node);
}

static int system_interleave(void *user, const wf_topology *topology, void *p, size_t bytes)
{
    (void)user;
    return wf_topology_interleave_memory(topology, p, bytes);
}

static const wf_memory_ops system_ops = {
    .map = system_map,
    .unmap = system_unmap,
    .advise_huge = system_advise_huge,
    .bind = system_bind,
    .interleave = system_interleave,
};

/* ---- life ----------------------------------------------------------------------------------- */

weft_status wf_memory_create(wf_memory **memory, wf_topology *topology, const wf_memory_ops *ops,
                             weft_error *err)
{
    wf_memory *m = wf_zalloc(sizeof(*m));
    if (!m)
        return wf_nomem(err, sizeof(*m), "the memory manager");
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        wf_free(m);
        return wf_error_set(err, WEFT_ERR_INTERNAL, "memory: cannot create a lock");
    }
    m->topology = wf_topology_ref(topology);
    m->ops = ops ? *ops : system_ops;
    *memory = m;
    return WEFT_OK;
}

static void release(wf_memory *m)
{
    pthread_mutex_destroy(&m->lock);
    wf_free(m);
}

void wf_memory_destroy(wf_memory *m)
{
    if (!m)
        return;
    wf_topology_unref(m->topology);
    pthread_mutex_lock(&m->lock);
    m->topology = NULL;
    bool last = m->blocks == 0;
    pthread_mutex_unlock(&m->lock);
    if (last)
        release(m);
}

/* ---- counting ------------------------------------------------------------------------------- */

static void raise_to(size_t *peak, size_t value)
{
    if (value > *peak)
        *peak = value;
}

static void count_in(wf_memory *m, wf_mem_kind kind, size_t bytes)
{
    wf_memory_usage *u = &m->usage;
    pthread_mutex_lock(&m->lock);
    m->blocks++;
    u->in_use[kind] += bytes;
    u->total_in_use += bytes;
    raise_to(&u->peak[kind], u->in_use[kind]);
    raise_to(&u->total_peak, u->total_in_use);
    pthread_mutex_unlock(&m->lock);
}

/* Counts a block out. Returns whether this was the last block of a destroyed wf_memory. */
static bool count_out(wf_memory *m, wf_mem_kind kind, size_t bytes)
{
    pthread_mutex_lock(&m->lock);
    m->blocks--;
    m->usage.in_use[kind] -= bytes;
    m->usage.total_in_use -= bytes;
    bool last = m->blocks == 0 && !m->topology;
    pthread_mutex_unlock(&m->lock);
    return last;
}

wf_memory_usage wf_memory_used(const wf_memory *memory)
{
    wf_memory *m = (wf_memory *)memory; /* taking the lock changes nothing that const protects */
    pthread_mutex_lock(&m->lock);
    wf_memory_usage usage = m->usage;
    pthread_mutex_unlock(&m->lock);
    return usage;
}

/* ---- blocks --------------------------------------------------------------------------------- */

static size_t round_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

static void place(wf_memory *m, const wf_block_request *r, void *p, size_t bytes)
{
    const wf_machine *machine = wf_topology_machine(m->topology);
    /* Advice must come before the first touch of the pages; setting a policy does not touch
     * them. */
    m->ops.advise_huge(m->ops.user, p, bytes);
    if (r->placement == WF_PLACE_NODE && machine->nodes > 1)
        m->ops.bind(m->ops.user, m->topology, p, bytes, r->node);
    else if (r->placement == WF_PLACE_INTERLEAVED && machine->used_nodes > 1)
        m->ops.interleave(m->ops.user, m->topology, p, bytes);
}

static void *get_small(size_t size, bool zero)
{
    size_t bytes = round_up(size ? size : 1, WF_SMALL_ALIGN);
    void *p = aligned_alloc(WF_SMALL_ALIGN, bytes);
    if (p && zero)
        memset(p, 0, bytes);
    return p;
}

weft_status wf_memory_alloc(wf_memory *m, const wf_block_request *r, wf_block *block,
                            weft_error *err)
{
    void *p = NULL;
    size_t mapped = 0;
    if (r->size <= SIZE_MAX / 2 && !wf_alloc_fails()) {
        if (r->size < WF_HUGE_PAGE) {
            p = get_small(r->size, r->zero);
        } else {
            mapped = round_up(r->size, PAGE);
            p = m->ops.map(m->ops.user, mapped, WF_HUGE_PAGE);
            if (p)
                place(m, r, p, mapped);
        }
    }
    if (!p) {
        char asked[WF_BYTES_TEXT], used[WF_BYTES_TEXT];
        return wf_error_set(
            err, WEFT_ERR_NOMEM, "out of memory: %zu bytes (%s) for %s; %s are in use", r->size,
            wf_bytes_text(asked, r->size), r->what ? r->what : wf_mem_kind_name(r->kind),
            wf_bytes_text(used, wf_memory_used(m).total_in_use));
    }
    count_in(m, r->kind, r->size);
    *block = (wf_block){.data = p, .size = r->size, .mapped = mapped, .kind = r->kind, .owner = m};
    return WEFT_OK;
}

void wf_memory_free(wf_block *block)
{
    wf_memory *m = block->owner;
    if (!m)
        return;
    if (block->mapped)
        m->ops.unmap(m->ops.user, block->data, block->mapped);
    else
        free(block->data);
    if (count_out(m, block->kind, block->size))
        release(m);
    *block = (wf_block)WF_BLOCK_INIT;
}
