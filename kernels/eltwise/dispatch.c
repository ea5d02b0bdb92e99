/* Which element-by-element implementation runs. Read-only tables: any thread. */
#include "kernels/eltwise/eltwise.h"

#define WF_ELTWISE(table, least, type) extern const wf_eltwise table;
#include "kernels/eltwise/kernels.def"
#undef WF_ELTWISE

const wf_eltwise_impl wf_eltwise_impls[] = {
#define WF_ELTWISE(table, least, type) {&table, least, type},
#include "kernels/eltwise/kernels.def"
#undef WF_ELTWISE
};
const int wf_n_eltwise_impls = (int)(sizeof(wf_eltwise_impls) / sizeof(wf_eltwise_impls[0]));

const wf_eltwise *wf_eltwise_get(weft_dtype dtype, weft_isa isa)
{
    for (int i = 0; i < wf_n_eltwise_impls; i++)
        if (wf_eltwise_impls[i].dtype == dtype && wf_eltwise_impls[i].isa <= isa)
            return wf_eltwise_impls[i].kernels;
    return NULL;
}
