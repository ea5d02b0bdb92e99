/* adam_update (internal): Adam's and AdamW's new parameter and moments, and amsgrad's maximum, in the commit phase. */
#include "engine/graph/ops/update.h"

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_adam, wf_update_run, 16.0);
}

const wf_op wf_op_adam_update = {
    .name = "adam_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_adam),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_adam_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const struct wf_adam *settings)
{
    return wf_update_record(&wf_op_adam_update, settings, param, grad, state, 0, NULL);
}
