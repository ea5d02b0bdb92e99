/* lion_update (internal): Lion's new parameter and momentum, in the commit phase. */
#include "engine/graph/ops/update.h"

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_lion, wf_update_run, 10.0);
}

const wf_op wf_op_lion_update = {
    .name = "lion_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_lion),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_lion_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const struct wf_lion *settings)
{
    return wf_update_record(&wf_op_lion_update, settings, param, grad, state, 0, NULL);
}
