/* See trial_data.h. */
#include "engine/tune/trial_data.h"

#include <stdio.h>

#include "engine/base/error.h"

void wf_trial_fill(float *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)seed * 0x1p-31f;
    }
}

weft_status wf_trial_alloc(wf_trial_data *d, size_t set_bytes, size_t shared_bytes, weft_error *err)
{
    d->set_bytes = set_bytes;
    d->sets = 1 + (int)(d->place.cold_bytes / (set_bytes ? set_bytes : 1));
    wf_block_request request = {.size = set_bytes * (size_t)d->sets + shared_bytes,
                                .kind = WF_MEM_WORKSPACE,
                                .zero = true,
                                .what = "a kernel's trial"};
    WF_TRY(wf_memory_check(NULL, request.size, request.what, err));
    return wf_memory_alloc(d->place.memory, &request, &d->block, err);
}

bool wf_trial_workspace(wf_trial *t, size_t bytes, char *why, size_t size)
{
    weft_error err = WEFT_ERROR_INIT;
    wf_block_request request = {.size = bytes > 0 ? bytes : 1,
                                .kind = WF_MEM_WORKSPACE,
                                .zero = true,
                                .what = "a kernel's trial"};
    if (wf_memory_alloc(t->data->place.memory, &request, &t->block, &err) == WEFT_OK)
        return true;
    snprintf(why, size, "%s", err.text);
    return false;
}
