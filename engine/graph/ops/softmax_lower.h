/* How softmax, log_softmax and their gradients are cut: over (outer, K, inner) of a plain tensor, a
 * tile being one image or a run of rows of the outer dimension. */
#ifndef WF_OPS_SOFTMAX_LOWER_H
#define WF_OPS_SOFTMAX_LOWER_H

#include "engine/graph/ops/common.h"
#include "kernels/loss/loss.h"

typedef struct wf_softmax_attrs {
    int64_t dim; /* infer counts it from the front */
} wf_softmax_attrs;

typedef void (*wf_softmax_fn)(size_t outer, size_t K, size_t inner, const void *x, void *y);
typedef void (*wf_softmax_backward_fn)(size_t outer, size_t K, size_t inner, const void *y,
                                       const void *dy, void *dx);

weft_status wf_softmax_infer(wf_infer *f);
/* One of the two functions is NULL. */
weft_status wf_softmax_lower(wf_lower *l, wf_softmax_fn forward, wf_softmax_backward_fn backward);

/* `user` of apply points to the dimension, an int. */
bool wf_softmax_sample(weft_context *ctx, int index, wf_sample *s,
                       weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n));

#endif
