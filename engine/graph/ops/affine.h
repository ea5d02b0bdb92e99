/* What layer_norm and group_norm share: weight and bias (gamma and beta), which scale and shift what
 * is normalised. Both ops' inputs are x, gamma, beta; their backward ops' last input is gamma, their
 * outputs dx, dgamma, dbeta. Threading rule: the recording thread. */
#ifndef WF_OPS_AFFINE_H
#define WF_OPS_AFFINE_H

#include "engine/graph/ops/common.h"

/* Inputs 1 and 2, gamma and beta, are of input 0's type and of this shape. */
weft_status wf_infer_affine(const wf_infer *f, weft_shape shape);
/* Of the backward ops. */
weft_status wf_infer_affine_backward(wf_infer *f);
/* Records `backward` over n inputs; its outputs become the gradients that are needed. */
weft_status wf_grad_affine(wf_grad *g, const wf_op *backward, int n, weft_tensor *const *in);
/* Where gamma or beta is NULL, records one of x's type: ones, zeros. */
void wf_record_affine(weft_context *ctx, weft_tensor *x, weft_shape shape, weft_tensor **gamma,
                      weft_tensor **beta);

#endif
