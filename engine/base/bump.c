/* See bump.h. */
#include "engine/base/bump.h"

#include <stdint.h>

#include "engine/base/alloc.h"

struct wf_bump_chunk {
    wf_bump_chunk *next;
    size_t used, size;
};
#define CHUNK_HEAD ((sizeof(wf_bump_chunk) + 63) / 64 * 64)

void *wf_bump_alloc(wf_bump *b, size_t size)
{
    size = (size + 63) / 64 * 64;
    wf_bump_chunk *c = b->chunks;
    if (!c || c->used + size > c->size) {
        size_t want = size + CHUNK_HEAD + 64 > 65536 ? size + CHUNK_HEAD + 64 : 65536;
        wf_bump_chunk *fresh = wf_zalloc(want);
        if (!fresh)
            return NULL;
        size_t skew = (64 - ((uintptr_t)fresh + CHUNK_HEAD) % 64) % 64;
        *fresh = (wf_bump_chunk){.next = c, .used = CHUNK_HEAD + skew, .size = want};
        b->chunks = c = fresh;
    }
    void *p = (char *)c + c->used;
    c->used += size;
    return p;
}

size_t wf_bump_bytes(const wf_bump *b)
{
    size_t bytes = 0;
    for (const wf_bump_chunk *c = b->chunks; c; c = c->next)
        bytes += c->size;
    return bytes;
}

void wf_bump_done(wf_bump *b)
{
    for (wf_bump_chunk *c = b->chunks, *next; c; c = next) {
        next = c->next;
        wf_free(c);
    }
    b->chunks = NULL;
}
