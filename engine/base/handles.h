/* Memory for handles: objects that users have pointers to (stored tensors, modules).
 *
 * Note [Freed handles]. A handle that was given back stays readable until the whole pool ends, with
 * the magic that its owner left in it. So Weft can report the use of a freed handle. A handle is
 * reused, first in first out, only after HANDLES_AT_REST others of its size were given back. So the
 * memory does not grow: it is what the largest number of handles alive at once needs, plus the
 * handles at rest.
 *
 * All functions may be called from any thread. */
#ifndef WF_BASE_HANDLES_H
#define WF_BASE_HANDLES_H

#include <pthread.h>
#include <stddef.h>

typedef struct wf_handles {
    pthread_mutex_t lock;
    struct wf_handle_size *sizes; /* one for each size in use */
} wf_handles;
/* clang-format off */
#define WF_HANDLES_INIT {PTHREAD_MUTEX_INITIALIZER, NULL}
/* clang-format on */

/* `size` bytes of zeros, aligned for every type; NULL: out of memory. */
void *wf_handles_take(wf_handles *h, size_t size);
void wf_handles_give(wf_handles *h, void *p); /* p comes from wf_handles_take; its content stays */
void wf_handles_done(wf_handles *h);          /* frees everything */

#endif
