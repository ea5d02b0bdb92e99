/* Which reorder implementation runs. Read-only tables: any thread. */
#include "kernels/layout/layout.h"

#define WF_LAYOUT(table, least, type) extern const wf_layout table;
#include "kernels/layout/kernels.def"
#undef WF_LAYOUT

const wf_layout_impl wf_layout_impls[] = {
#define WF_LAYOUT(table, least, type) {&table, least, type},
#include "kernels/layout/kernels.def"
#undef WF_LAYOUT
};
const int wf_n_layout_impls = (int)(sizeof(wf_layout_impls) / sizeof(wf_layout_impls[0]));

const wf_layout *wf_layout_get(size_t size, weft_isa isa)
{
    for (int i = 0; i < wf_n_layout_impls; i++)
        if (wf_layout_impls[i].size == size && wf_layout_impls[i].isa <= isa)
            return wf_layout_impls[i].kernels;
    return NULL;
}
