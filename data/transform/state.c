/* A thread's state: the kernels and the buffers that its transforms use. */
#include "data/transform/state.h"
#include "engine/base/alloc.h"

wf_transform_state *wf_transform_state_create(void)
{
    wf_transform_state *s = wf_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->resize = wf_resize_get(wf_cpu_isa());
    s->colour = wf_colour_get(wf_cpu_isa());
    return s;
}

void wf_transform_state_destroy(wf_transform_state *s)
{
    if (!s)
        return;
    for (int i = 0; i < WF_N_BUFFERS; i++)
        wf_free(s->buffer[i]);
    wf_free(s);
}

void *wf_transform_buffer(wf_transform_state *s, int which, size_t bytes, weft_error *err)
{
    if (s->size[which] < bytes || !s->buffer[which]) {
        /* A quarter more than asked: pictures that grow little by little then cost few calls. */
        const size_t size = bytes + bytes / 4;
        void *larger = wf_alloc(size);
        if (!larger) {
            wf_nomem(err, size, "a picture's transform");
            return NULL;
        }
        wf_free(s->buffer[which]);
        s->buffer[which] = larger;
        s->size[which] = size;
    }
    return s->buffer[which];
}
