/* What the ops over two tensors of one shape share (add, sub, mul, div and others): lowering, and
 * sample inputs that broadcast. */
#ifndef WF_OPS_BINARY_H
#define WF_OPS_BINARY_H

#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

typedef void (*wf_binary_fn)(size_t n, const void *a, const void *b, void *y);

weft_status wf_binary_lower(wf_lower *l, const char *kernel, wf_binary_fn fn);

/* With n == 1, `apply` must use its input twice. */
bool wf_binary_sample(weft_context *ctx, int index, wf_sample *s,
                      weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n));

#endif
