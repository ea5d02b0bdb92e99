/* See memory.h. */
#include "data/picture/memory.h"

#include "engine/base/alloc.h"

#define ALIGNMENT 64
/* Under AddressSanitizer each request is a block of its own, so that its borders are seen. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EACH_ALONE 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define EACH_ALONE 1
#endif
#ifdef EACH_ALONE
#define SMALLEST_BLOCK 0
#else
#define EACH_ALONE 0
#define SMALLEST_BLOCK (64 << 10)
#endif

struct wf_picture_block {
    struct wf_picture_block *next;
    uint8_t *begin; /* aligned */
    size_t used, size;
};

static struct wf_picture_block *block_create(size_t size)
{
    struct wf_picture_block *b =
        size > SIZE_MAX / 2 ? NULL : wf_alloc(sizeof *b + ALIGNMENT + size);
    if (!b)
        return NULL;
    uintptr_t skew = ALIGNMENT - (uintptr_t)(b + 1) % ALIGNMENT;
    *b = (struct wf_picture_block){NULL, (uint8_t *)(b + 1) + skew, 0, size};
    return b;
}

void *wf_picture_memory_take(wf_picture_memory *m, size_t size)
{
    if (size > SIZE_MAX / 4) {
        m->out = true;
        return NULL;
    }
    if (!EACH_ALONE)
        size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct wf_picture_block *b = m->blocks;
    if (EACH_ALONE || !b || size > b->size - b->used) {
        /* Blocks at least double. */
        size_t want = !EACH_ALONE && m->taken > size ? m->taken : size;
        struct wf_picture_block *fresh =
            block_create(want > SMALLEST_BLOCK ? want : SMALLEST_BLOCK);
        if (!fresh) {
            m->out = true;
            return NULL;
        }
        fresh->next = b;
        m->blocks = b = fresh;
    }
    uint8_t *p = b->begin + b->used;
    b->used += size;
    m->taken += size;
    return p;
}

void wf_picture_memory_reset(wf_picture_memory *m)
{
    struct wf_picture_block *b = m->blocks;
    if (EACH_ALONE) {
        wf_picture_memory_done(m);
    } else if (b && b->next) { /* one block that would have held everything takes their place */
        size_t total = 0;
        for (struct wf_picture_block *i = b; i; i = i->next)
            total += i->used;
        wf_picture_memory_done(m);
        m->blocks = block_create(total);
    } else if (b) {
        b->used = 0;
    }
    m->taken = 0;
    m->out = false;
}

void wf_picture_memory_done(wf_picture_memory *m)
{
    for (struct wf_picture_block *b = m->blocks, *next; b; b = next) {
        next = b->next;
        wf_free(b);
    }
    m->blocks = NULL;
}

bool wf_picture_reserve(uint8_t **bytes, size_t *capacity, size_t size)
{
    if (size <= *capacity)
        return true;
    uint8_t *fresh = wf_alloc(size);
    if (!fresh)
        return false;
    wf_free(*bytes);
    *bytes = fresh;
    *capacity = size;
    return true;
}
