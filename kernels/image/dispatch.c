/* Which image implementation runs. Read-only tables: any thread. */
#include "kernels/image/image.h"

#define WF_IMAGE(table, least) extern const wf_image_kernels table;
#include "kernels/image/kernels.def"
#undef WF_IMAGE

const wf_image_impl wf_image_impls[] = {
#define WF_IMAGE(table, least) {&table, least},
#include "kernels/image/kernels.def"
#undef WF_IMAGE
};
const int wf_n_image_impls = (int)(sizeof(wf_image_impls) / sizeof(wf_image_impls[0]));

const wf_image_kernels *wf_image_get(weft_isa isa)
{
    for (int i = 0; i < wf_n_image_impls; i++)
        if (wf_image_impls[i].isa <= isa)
            return wf_image_impls[i].kernels;
    return NULL;
}
