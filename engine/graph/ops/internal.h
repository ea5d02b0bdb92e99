/* Ops that other folders record and users do not: attributes, scalars, helpers. */
#ifndef WF_OPS_INTERNAL_H
#define WF_OPS_INTERNAL_H

#include "engine/graph/op.h"

typedef struct wf_cast_attrs {
    int64_t dtype; /* weft_dtype of the output */
    int64_t dense; /* 1: the input is a stored tensor's content, element after element */
} wf_cast_attrs;
extern const wf_op wf_op_cast;
weft_tensor *wf_record_cast(weft_tensor *x, weft_dtype dtype);

/* Records a constant: `value` everywhere. The value is a scalar of the node. */
weft_tensor *wf_record_fill(weft_context *ctx, weft_dtype dtype, weft_shape shape, double value);

/* The op of weft_detach. */
extern const wf_op wf_op_detach;

/* The same value in memory of its own. */
extern const wf_op wf_op_copy;
/* The same value; a module's backward hooks run here (engine/graph/autograd/hooks.c). */
extern const wf_op wf_op_border;

/* Clipping: see clip.c. sum_squares: from a tensor to an f64 scalar. clip_coefficient: from any
 * number of those and the scalar max_norm to the norm and the factor. scale_by: a tensor and an f64
 * scalar. clip_value: a tensor and the scalar limit. */
extern const wf_op wf_op_sum_squares, wf_op_clip_coefficient, wf_op_scale_by, wf_op_clip_value;

/* Records the SGD update of `param`, and assigns parameter and momentum buffer when the step
 * commits. `grad` and `buffer` have param's shape and type; buffer is NULL when momentum is 0. All
 * numbers except nesterov are scalars of the node. As torch.optim.SGD. */
typedef struct wf_sgd_update_opts {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
    bool first; /* first step of the buffer: its content becomes the gradient */
} wf_sgd_update_opts;
weft_status wf_record_sgd_update(weft_tensor *param, weft_tensor *grad, weft_tensor *buffer,
                                 const wf_sgd_update_opts *opts);

/* The same for the other update rules. The settings are the kernels', of kernels/optim/optim.h. They
 * are scalars of the node. state[i] is the rule's state tensor i (the order is the kernel's), NULL
 * where the settings do not use it; there are three. */
struct wf_adam;
struct wf_rmsprop;
struct wf_adagrad;
struct wf_lamb;
struct wf_lion;
weft_status wf_record_adam_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const struct wf_adam *settings);
weft_status wf_record_rmsprop_update(weft_tensor *param, weft_tensor *grad,
                                     weft_tensor *const *state, const struct wf_rmsprop *settings);
weft_status wf_record_adagrad_update(weft_tensor *param, weft_tensor *grad,
                                     weft_tensor *const *state, const struct wf_adagrad *settings);
weft_status wf_record_lion_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const struct wf_lion *settings);
/* settings->rate is the learning rate; the trust ratio |param| / |direction| is multiplied in. */
weft_status wf_record_lamb_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const struct wf_lamb *settings);

/* LARS: SGD with a trust ratio, trust_coefficient |p| / (|g| + weight_decay |p| + eps). Doubles
 * only, as the kernels' settings. */
typedef struct wf_lars_update_opts {
    double lr, momentum, dampening, weight_decay, nesterov, first, trust_coefficient, eps;
} wf_lars_update_opts;
weft_status wf_record_lars_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const wf_lars_update_opts *opts);

/* average = decay average + (1 - decay) of, when the step commits; a copy where decay is 0. */
weft_status wf_record_ema_update(weft_tensor *average, weft_tensor *of, double decay);

/* Sums of squares in double, in a fixed order. */
double wf_sum_squares_f32(size_t n, const float *x);
double wf_sum_squares_f64(size_t n, const double *x);

#endif
