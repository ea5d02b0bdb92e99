/* The cache of picture files' bytes. See cache.h.
 *
 * An entry is published once, by the thread that has filled it: a reader that sees its size sees
 * its place. In memory a place is a block's address, in a file an offset. */
#include "data/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"

/* Part of the memory that is free when it begins is left to the rest of the program. */
#define RAM_SHARE 2

typedef struct entry {
    uintptr_t place;
    atomic_size_t size; /* bytes + 1; 0: not there */
    atomic_bool taken;  /* a thread fills it, or has */
} entry;

struct wf_cache {
    int64_t count;
    entry *entries;
    int fd; /* -1: in memory */
    atomic_size_t used, most;
};

static size_t free_memory(void)
{
    long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : SIZE_MAX;
}

/* An unnamed file in the folder. */
static int open_unnamed(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    char *path = wf_asprintf("%s/.weft-cache-XXXXXX", folder); /* a file system without O_TMPFILE */
    fd = path ? mkostemp(path, O_CLOEXEC) : -1;
    if (fd >= 0)
        unlink(path);
    wf_free(path);
    return fd;
}

weft_status wf_cache_create(const char *where, int64_t count, wf_cache **cache, weft_error *err)
{
    bool ram = strcmp(where, "ram") == 0;
    wf_cache *c = wf_zalloc(sizeof *c);
    entry *entries = c ? wf_zalloc_array((size_t)count, sizeof *entries) : NULL;
    if (!entries) {
        wf_free(c);
        return wf_error_set(err, WEFT_ERR_NOMEM, "cache: out of memory");
    }
    *c = (wf_cache){.count = count, .entries = entries, .fd = ram ? -1 : open_unnamed(where)};
    if (!ram && c->fd < 0) {
        weft_status status = wf_error_set(err, WEFT_ERR_IO, "%s: no cache can be kept there: %s",
                                          where, strerror(errno));
        wf_cache_destroy(c);
        return status;
    }
    atomic_store(&c->most, ram ? free_memory() / RAM_SHARE : SIZE_MAX);
    *cache = c;
    return WEFT_OK;
}

void wf_cache_destroy(wf_cache *c)
{
    if (!c)
        return;
    for (int64_t i = 0; c->fd < 0 && i < c->count; i++)
        wf_free((void *)c->entries[i].place);
    if (c->fd >= 0)
        close(c->fd);
    wf_free(c->entries);
    wf_free(c);
}

static bool read_all(int fd, unsigned char *to, size_t n, size_t at)
{
    for (ssize_t got; n > 0; to += got, at += (size_t)got, n -= (size_t)got)
        if ((got = pread(fd, to, n, (off_t)at)) <= 0)
            return false;
    return true;
}

static bool write_all(int fd, const unsigned char *from, size_t n, size_t at)
{
    for (ssize_t put; n > 0; from += put, at += (size_t)put, n -= (size_t)put)
        if ((put = pwrite(fd, from, n, (off_t)at)) <= 0)
            return false;
    return true;
}

bool wf_cache_get(const wf_cache *c, int64_t sample, wf_bytes *bytes)
{
    entry *e = &c->entries[sample];
    size_t size = atomic_load_explicit(&e->size, memory_order_acquire);
    if (size == 0 || !wf_bytes_resize(bytes, size - 1))
        return false;
    if (c->fd >= 0)
        return read_all(c->fd, bytes->data, size - 1, e->place);
    memcpy(bytes->data, (const void *)e->place, size - 1);
    return true;
}

void wf_cache_put(wf_cache *c, int64_t sample, const wf_bytes *bytes)
{
    entry *e = &c->entries[sample];
    if (atomic_load_explicit(&c->used, memory_order_relaxed) >= atomic_load(&c->most) ||
        atomic_exchange(&e->taken, true))
        return;
    size_t at = atomic_fetch_add(&c->used, bytes->size);
    if (c->fd < 0) {
        void *copy = wf_alloc(bytes->size);
        if (copy)
            e->place = (uintptr_t)memcpy(copy, bytes->data, bytes->size);
    } else {
        e->place = at;
    }
    if (c->fd < 0 ? e->place == 0 : !write_all(c->fd, bytes->data, bytes->size, at)) {
        atomic_store(&c->most, 0); /* memory or disk is full */
        return;
    }
    atomic_store_explicit(&e->size, bytes->size + 1, memory_order_release);
}
