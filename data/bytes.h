/* The bytes of a picture file, in a buffer of one thread, which grows and is used again. */
#ifndef WF_DATA_BYTES_H
#define WF_DATA_BYTES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct wf_bytes {
    unsigned char *data;
    size_t size, capacity;
} wf_bytes;

/* Makes room for `size` bytes and sets b->size; what was in it is lost. False: out of memory; then
 * *b is as before. */
bool wf_bytes_resize(wf_bytes *b, size_t size);
void wf_bytes_done(wf_bytes *b);

#endif
