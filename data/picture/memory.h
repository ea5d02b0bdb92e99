/* Memory for the libraries that decode, given back all at once after each picture. A block that a
 * library frees meanwhile stays taken until then. After the first pictures it is one block, as
 * large as the largest picture needed, and nothing is allocated any more. One thread. */
#ifndef WF_DATA_PICTURE_MEMORY_H
#define WF_DATA_PICTURE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wf_picture_memory {
    struct wf_picture_block *blocks; /* the newest first */
    size_t taken;                    /* bytes since the last reset */
    bool out;                        /* a request has failed since then */
} wf_picture_memory;

/* 64-byte aligned, not zeroed; NULL: out of memory. */
void *wf_picture_memory_take(wf_picture_memory *m, size_t size);
void wf_picture_memory_reset(wf_picture_memory *m);
void wf_picture_memory_done(wf_picture_memory *m);

/* Makes *bytes, of *capacity bytes, at least `size` long. Its content is lost. On failure both stay
 * as they are. */
bool wf_picture_reserve(uint8_t **bytes, size_t *capacity, size_t size);

#endif
