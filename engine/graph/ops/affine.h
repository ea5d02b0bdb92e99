/* What layer_norm and group_norm share: weight and bias (gamma and beta), which scale and shift the
 * normalised values. The inputs of both ops are x, gamma and beta. The last input of their backward
 * ops is gamma, and their outputs are dx, dgamma and dbeta. Threading rule: the recording
 * thread. */
#ifndef WF_OPS_AFFINE_H
#define WF_OPS_AFFINE_H

#include "engine/graph/ops/common.h"

/* Checks that inputs 1 and 2, gamma and beta, have input 0's type and this shape. */
weft_status wf_infer_affine(const wf_infer *f, weft_shape shape);
/* Shape inference of the backward ops. */
weft_status wf_infer_affine_backward(wf_infer *f);
/* Records `backward` on n inputs. Its outputs become the gradients that are needed. */
weft_status wf_grad_affine(wf_grad *g, const wf_op *backward, int n, weft_tensor *const *in);
/* Where gamma or beta is NULL, records one of x's type: ones for gamma, zeros for beta. */
void wf_record_affine(weft_context *ctx, weft_tensor *x, weft_shape shape, weft_tensor **gamma,
                      weft_tensor **beta);

#endif
