/* See stack.h. Any thread. */
#include "engine/base/stack.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

/* Where the thread's stack lies. Asked for once: for a main thread the answer comes from /proc. */
typedef struct bounds {
    bool known;
    uintptr_t low, high; /* both 0: unknown */
} bounds;

static void find_bounds(bounds *b)
{
    pthread_attr_t attr;
    void *low;
    size_t size;
    b->known = true;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &low, &size) == 0) {
        b->low = (uintptr_t)low;
        b->high = b->low + size;
    }
    pthread_attr_destroy(&attr);
}

size_t wf_stack_left(void)
{
    static _Thread_local bounds mine;
    if (!mine.known)
        find_bounds(&mine);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return here >= mine.low && here < mine.high ? here - mine.low : SIZE_MAX;
}

weft_status wf_stack_check(const char *what, weft_error *err)
{
    size_t left = wf_stack_left();
    if (left >= WF_STACK_CALLER)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_STATE,
                        "%s: %zu KiB are left on this thread's stack, Weft needs %d; make the "
                        "thread with a larger one (pthread_attr_setstacksize, ulimit -s)",
                        what, left >> 10, WF_STACK_CALLER >> 10);
}
