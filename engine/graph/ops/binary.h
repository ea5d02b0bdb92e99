/* What the ops over two tensors (add, sub, mul, div and others) share: sample inputs that broadcast. */
#ifndef WF_OPS_BINARY_H
#define WF_OPS_BINARY_H

#include "engine/graph/ops/common.h"

/* With n == 1, `apply` must use its input twice. */
bool wf_binary_sample(weft_context *ctx, int index, wf_sample *s,
                      weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n));

#endif
