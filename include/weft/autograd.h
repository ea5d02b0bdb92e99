/* Gradients. */
#ifndef WEFT_AUTOGRAD_H
#define WEFT_AUTOGRAD_H

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Records the gradients of the scalar `loss` with respect to every stored tensor that requires
 * one, and adds them to those tensors' gradients. `loss` stays readable after the step. When this
 * fails the step has failed; after it has begun to record (a hook fails, memory is out), what was
 * recorded is gone too. Gradients that an earlier step gave outlive that, and any step that fails or
 * is discarded. */
weft_status weft_backward(weft_tensor *loss);
/* As weft_backward, for any shape: `seed` (the gradient of what follows, loss's shape) is needed
 * unless loss has one element. retain: the graph may be walked again. */
weft_status weft_backward_with(weft_tensor *loss, weft_tensor *seed, bool retain);

/* The gradient of a stored tensor: a stored tensor owned by t, or NULL when there is none (no
 * backward yet, or zeroed). Reading it runs pending work. */
weft_tensor *weft_grad(weft_tensor *t);
/* Makes the gradient absent (not zero-filled). */
void weft_zero_grad(weft_tensor *t);

/* A hook on a tensor's gradient. It runs while a backward pass is recorded, on handles, once the
 * gradient is complete (for a stored tensor: before it is added to weft_grad's), and may replace
 * *grad by one of the same shape and type. Ops it records are part of the step. A failure ends the
 * backward pass. As torch.Tensor.register_hook. */
typedef weft_status (*weft_grad_hook_fn)(void *user, weft_tensor *t, weft_tensor **grad);
/* Returns a handle, 0 on failure: t must require a gradient. Hooks run in the order of their
 * registration; a recorded tensor's end with the step. */
uint64_t weft_register_grad_hook(weft_tensor *t, weft_grad_hook_fn fn, void *user);
/* Hooks may remove hooks, themselves too. Unknown handles and ended tensors: no effect. */
void weft_grad_hook_remove(weft_tensor *t, uint64_t handle);

typedef struct weft_gradcheck_opts {
    double eps;  /* 0 reads as 1e-6 */
    double atol; /* 0 reads as 1e-5 */
    double rtol; /* 0 reads as 1e-3 */
} weft_gradcheck_opts;
typedef weft_tensor *(*weft_gradcheck_fn)(void *user, weft_tensor *const *inputs, int n);
/* Compares the recorded gradients of fn (any output shape) with central differences, for each
 * stored f64 input that requires a gradient, and demands that repeated runs agree to the bit.
 * WEFT_ERR_NUMERIC with the worst element in the context's error text when they differ. */
weft_status weft_gradcheck(weft_context *ctx, weft_gradcheck_fn fn, void *user,
                           weft_tensor *const *inputs, int n, const weft_gradcheck_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
