/* rmsprop_update (internal): RMSprop's new parameter, mean square, buffer and mean, in the commit phase. */
#include "engine/graph/ops/update.h"

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_rmsprop, wf_update_run, 14.0);
}

const wf_op wf_op_rmsprop_update = {
    .name = "rmsprop_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_rmsprop),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_rmsprop_update(weft_tensor *param, weft_tensor *grad,
                                     weft_tensor *const *state, const struct wf_rmsprop *settings)
{
    return wf_update_record(&wf_op_rmsprop_update, settings, param, grad, state, 0, NULL);
}
