/* lars_update (internal): SGD whose gradient, with the decay, is multiplied by a trust ratio of
 * norms. Behind the state tensors it reads the sums of squares of parameter and gradient. */
#include <math.h>

#include "engine/graph/ops/update.h"

/* As timm's Lars: 1 where there is no decay, and where a norm is 0. */
static double trust_ratio(const wf_lars_update_opts *o, double p, double g)
{
    if (o->weight_decay == 0 || !(p > 0) || !(g > 0))
        return 1;
    return o->trust_coefficient * p / (g + p * o->weight_decay + o->eps);
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const wf_update_args *a = vargs;
    const wf_lars_update_opts *o = (const void *)(t->scalars + a->scalar);
    const double p = sqrt(*(const double *)wf_data(t, a->norm[0]));
    const double g = sqrt(*(const double *)wf_data(t, a->norm[1]));
    const wf_sgd sgd = {.lr = o->lr,
                        .momentum = o->momentum,
                        .dampening = o->dampening,
                        .weight_decay = o->weight_decay,
                        .nesterov = o->nesterov,
                        .first = o->first,
                        .scale = trust_ratio(o, p, g)};
    wf_update_tile(a, t, tile, &sgd);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_sgd, run, 7.0);
}

const wf_op wf_op_lars_update = {
    .name = "lars_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_lars_update_opts),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_lars_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const wf_lars_update_opts *opts)
{
    weft_tensor *norms[2] = {wf_record(&wf_op_sum_squares, NULL, NULL, 1, &param, NULL),
                             wf_record(&wf_op_sum_squares, NULL, NULL, 1, &grad, NULL)};
    if (!norms[0] || !norms[1])
        return wf_step_status(weft_tensor_context(param));
    return wf_update_record(&wf_op_lars_update, opts, param, grad, state, 2, norms);
}
