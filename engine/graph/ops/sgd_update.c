/* sgd_update (internal): new parameter and momentum buffer, in the commit phase. */
#include "engine/graph/ops/update.h"

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_sgd, wf_update_run, 6.0);
}

const wf_op wf_op_sgd_update = {
    .name = "sgd_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_sgd),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_sgd_update(weft_tensor *param, weft_tensor *grad, weft_tensor *buffer,
                                 const wf_sgd_update_opts *opts)
{
    const wf_sgd scalars = {.lr = opts->lr,
                            .momentum = opts->momentum,
                            .dampening = opts->dampening,
                            .weight_decay = opts->weight_decay,
                            .nesterov = opts->nesterov,
                            .first = opts->first,
                            .scale = 1};
    weft_tensor *const state[WF_UPDATE_STATES] = {buffer};
    return wf_update_record(&wf_op_sgd_update, &scalars, param, grad, state, 0, NULL);
}
