/* adagrad_update (internal): Adagrad's new parameter and sum of squares, in the commit phase. */
#include "engine/graph/ops/update.h"

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_adagrad, wf_update_run, 8.0);
}

const wf_op wf_op_adagrad_update = {
    .name = "adagrad_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_adagrad),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_adagrad_update(weft_tensor *param, weft_tensor *grad,
                                     weft_tensor *const *state, const struct wf_adagrad *settings)
{
    return wf_update_record(&wf_op_adagrad_update, settings, param, grad, state, 0, NULL);
}
