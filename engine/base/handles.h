/* Memory of handles: things that users hold pointers to (stored tensors, modules).
 *
 * Note [Freed handles]. A handle that was given back stays readable, with whatever magic its owner
 * left in it, until the whole pool ends; so using it afterwards can be reported. It is reused,
 * first in first out, but only when HANDLES_AT_REST others of its size were given back after it.
 * Memory is what the most handles alive at once need, and those at rest: it does not grow.
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

/* `size` zeroed bytes, aligned for every type; NULL when memory is out. */
void *wf_handles_take(wf_handles *h, size_t size);
void wf_handles_give(wf_handles *h, void *p); /* p comes from wf_handles_take; content stays */
void wf_handles_done(wf_handles *h);          /* frees everything */

#endif
