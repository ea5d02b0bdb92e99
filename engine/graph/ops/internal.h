/* Ops that other folders record and users do not: attributes, scalars, helpers. */
#ifndef WF_OPS_INTERNAL_H
#define WF_OPS_INTERNAL_H

#include "engine/graph/op.h"

typedef struct wf_cast_attrs {
    int64_t dtype; /* weft_dtype of the output */
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

/* The same for AdamW, as torch.optim.AdamW. m and v are the moments (exp_avg, exp_avg_sq); step
 * counts from 1 and includes this one. */
typedef struct wf_adamw_update_opts {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;
} wf_adamw_update_opts;
weft_status wf_record_adamw_update(weft_tensor *param, weft_tensor *grad, weft_tensor *m,
                                   weft_tensor *v, const wf_adamw_update_opts *opts);

#endif
