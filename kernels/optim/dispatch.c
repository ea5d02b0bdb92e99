/* Which optimizer implementation runs. Read-only tables: any thread. */
#include "kernels/optim/optim.h"

#define WF_OPTIM(table, least, type) extern const wf_optim table;
#include "kernels/optim/kernels.def"
#undef WF_OPTIM

const wf_optim_impl wf_optim_impls[] = {
#define WF_OPTIM(table, least, type) {&table, least, type},
#include "kernels/optim/kernels.def"
#undef WF_OPTIM
};
const int wf_n_optim_impls = (int)(sizeof(wf_optim_impls) / sizeof(wf_optim_impls[0]));

const wf_optim *wf_optim_get(weft_dtype dtype, weft_isa isa)
{
    for (int i = 0; i < wf_n_optim_impls; i++)
        if (wf_optim_impls[i].dtype == dtype && wf_optim_impls[i].isa <= isa)
            return wf_optim_impls[i].kernels;
    return NULL;
}
