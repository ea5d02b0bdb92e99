/* Which loss implementation runs. Read-only tables: any thread. */
#include "kernels/loss/loss.h"

#define WF_LOSS(table, least, type) extern const wf_loss table;
#include "kernels/loss/kernels.def"
#undef WF_LOSS

const wf_loss_impl wf_loss_impls[] = {
#define WF_LOSS(table, least, type) {&table, least, type},
#include "kernels/loss/kernels.def"
#undef WF_LOSS
};
const int wf_n_loss_impls = (int)(sizeof(wf_loss_impls) / sizeof(wf_loss_impls[0]));

const wf_loss *wf_loss_get(weft_dtype dtype, weft_isa isa)
{
    for (int i = 0; i < wf_n_loss_impls; i++)
        if (wf_loss_impls[i].dtype == dtype && wf_loss_impls[i].isa <= isa)
            return wf_loss_impls[i].kernels;
    return NULL;
}
