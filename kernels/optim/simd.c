/* The table of the vector updates, f32: one for each ISA. */
#include "kernels/optim/lanes.h"

extern const wf_optim WF_ISA_FN(wf_optim_f32);
const wf_optim WF_ISA_FN(wf_optim_f32) = {
    .name = "optim:" WF_ISA_NAME ":f32",
    .update =
        {
#define WF_UPDATE(name) WF_ISA_FN(wf_update_##name),
#include "kernels/optim/updates.def"
#undef WF_UPDATE
        },
};
