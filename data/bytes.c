/* Buffers for the bytes of files. See bytes.h. */
#include "data/bytes.h"

#include "engine/base/alloc.h"

bool wf_bytes_resize(wf_bytes *b, size_t size)
{
    if (size > b->capacity || !b->data) {
        size_t room = size + size / 4; /* so that slightly larger files need no new block */
        unsigned char *data = wf_alloc(room);
        if (!data)
            return false;
        wf_free(b->data);
        b->data = data;
        b->capacity = room;
    }
    b->size = size;
    return true;
}

void wf_bytes_done(wf_bytes *b)
{
    wf_free(b->data);
    *b = (wf_bytes){0};
}
