/* Which sum implementation runs. Read-only tables: any thread. */
#include "kernels/reduce/reduce.h"

#define WF_REDUCE(table, least, type) extern const wf_reduce table;
#include "kernels/reduce/kernels.def"
#undef WF_REDUCE

const wf_reduce_impl wf_reduce_impls[] = {
#define WF_REDUCE(table, least, type) {&table, least, type},
#include "kernels/reduce/kernels.def"
#undef WF_REDUCE
};
const int wf_n_reduce_impls = (int)(sizeof(wf_reduce_impls) / sizeof(wf_reduce_impls[0]));

const wf_reduce *wf_reduce_get(weft_dtype dtype, weft_isa isa)
{
    for (int i = 0; i < wf_n_reduce_impls; i++)
        if (wf_reduce_impls[i].dtype == dtype && wf_reduce_impls[i].isa <= isa)
            return wf_reduce_impls[i].kernels;
    return NULL;
}
