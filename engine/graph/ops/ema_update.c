/* ema_update (internal): the new moving average of a tensor, in the commit phase. */
#include "engine/graph/ops/update.h"

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_ema, wf_update_run, 3.0);
}

const wf_op wf_op_ema_update = {
    .name = "ema_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_ema),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_ema_update(weft_tensor *average, weft_tensor *of, double decay)
{
    const wf_ema settings = {decay};
    weft_tensor *const state[WF_UPDATE_STATES] = {NULL};
    return wf_update_record(&wf_op_ema_update, &settings, average, of, state, 0, NULL);
}
