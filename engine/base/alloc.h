/* The library's small allocations. Every room uses these instead of malloc, so that tests can let
 * the n-th one fail. Big blocks come from memory.h.
 *
 * All functions may be called from any thread. */
#ifndef WF_BASE_ALLOC_H
#define WF_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include "weft/status.h"

/* Size 0 gives a block of one byte, so NULL always means out of memory. */
void *wf_alloc(size_t size);
void *wf_zalloc(size_t size);
/* count * size bytes. Also NULL when the product does not fit a size_t. */
void *wf_alloc_array(size_t count, size_t size);
void *wf_zalloc_array(size_t count, size_t size);
/* As realloc, for an array. On failure returns NULL, and p stays valid. */
void *wf_realloc_array(void *p, size_t count, size_t size);
/* wf_strdup: a copy of text; NULL for NULL. wf_asprintf: prints into a new block. */
char *wf_strdup(const char *text);
char *wf_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void wf_free(void *p); /* NULL: no effect */

/* Grows an array, by doubling, to hold n + more elements. False: out of memory. `array` is the
 * address of the pointer to the array. */
bool wf_grow(void *array, int *cap, int n, int more, size_t size);

/* Fills err (may be NULL): "out of memory: 4096 bytes for the sampler". Returns WEFT_ERR_NOMEM. */
weft_status wf_nomem(weft_error *err, size_t bytes, const char *what);

/* Tests only. Makes the n-th allocation from now fail (1: the next one), in any thread; later ones
 * succeed again. 0 switches this off. Blocks of memory.h count too. Returns how many allocations
 * were still missing to the failing one; 0: it has failed, or nothing was set.
 *     for (long n = 1;; n++) {
 *         wf_alloc_fail_at(n);
 *         status = do_it();
 *         if (wf_alloc_fail_at(0) > 0)
 *             break; // n exceeds what do_it allocates
 *         assert(status == WEFT_ERR_NOMEM);
 *     } */
long wf_alloc_fail_at(long n);
/* For other allocators: whether the allocation that they are about to make must fail. */
bool wf_alloc_fails(void);

#endif
