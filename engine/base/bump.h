/* Memory that is freed all at once. One thread at a time. */
#ifndef WF_BASE_BUMP_H
#define WF_BASE_BUMP_H

#include <stddef.h>

typedef struct wf_bump_chunk wf_bump_chunk;
typedef struct wf_bump {
    wf_bump_chunk *chunks;
} wf_bump;
void *wf_bump_alloc(wf_bump *b, size_t size); /* zeroed, 64-byte aligned; NULL: out of memory */
size_t wf_bump_bytes(const wf_bump *b);       /* that its chunks take */
void wf_bump_done(wf_bump *b);

#endif
