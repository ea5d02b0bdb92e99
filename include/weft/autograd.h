/* Gradients: backward passes, hooks on gradients, and a check of gradients by differences. */
#ifndef WEFT_AUTOGRAD_H
#define WEFT_AUTOGRAD_H

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Records the gradients of the scalar `loss` with respect to every stored tensor that requires
 * one. When the step runs, they are added to those tensors' gradients (weft_grad). `loss` can be
 * read for one step more. If the call fails, the step has failed; if it fails after recording has
 * begun (a hook failed, memory ran out), what the step recorded before is gone, too. Gradients of
 * earlier steps stay in any case. */
weft_status weft_backward(weft_tensor *loss);
/* As weft_backward, for a `loss` of any shape. `seed`, of the same shape, is the gradient with
 * respect to loss; it may be NULL (ones) where loss has one element. retain: a later backward pass
 * may go through the same ops again. */
weft_status weft_backward_with(weft_tensor *loss, weft_tensor *seed, bool retain);

/* The gradient of a stored tensor: a stored tensor owned by t. NULL where there is none, because no
 * backward pass has reached t since the last weft_zero_grad. Reading it runs recorded work. */
weft_tensor *weft_grad(weft_tensor *t);
/* Makes the gradient absent (not zero-filled). */
void weft_zero_grad(weft_tensor *t);

/* A hook on a tensor's gradient, as torch.Tensor.register_hook. It runs while a backward pass is
 * being recorded, when t's gradient is complete (for a stored tensor: before the gradient is added
 * to weft_grad's). *grad is a recorded tensor without numbers yet; the hook may replace it by
 * another of the same shape and type. Ops that it records are part of the step. If it fails, the
 * backward pass fails. */
typedef weft_status (*weft_grad_hook_fn)(void *user, weft_tensor *t, weft_tensor **grad);
/* Registers a hook and returns its handle; 0 on failure. t must require a gradient. Hooks run in
 * the order of their registration. Those of a recorded tensor end with the step. */
uint64_t weft_register_grad_hook(weft_tensor *t, weft_grad_hook_fn fn, void *user);
/* Removes a hook. A hook may remove others and itself. On unknown handles and tensors that have
 * ended: no effect. */
void weft_grad_hook_remove(weft_tensor *t, uint64_t handle);

/* How weft_gradcheck compares. */
typedef struct weft_gradcheck_opts {
    double eps;        /* by which an element is moved up and down; above 0 */
    double atol, rtol; /* gradients may differ by atol + rtol |difference|; not negative */
} weft_gradcheck_opts;
/* torch.autograd.gradcheck's defaults, to begin options with. */
#define WEFT_GRADCHECK_OPTS_INIT                                                                   \
    WEFT_INIT(weft_gradcheck_opts, WEFT_SET(eps, 1e-6), WEFT_SET(atol, 1e-5), WEFT_SET(rtol, 1e-3))
/* The function to check: records ops on the inputs and returns their output; NULL: it failed. */
typedef weft_tensor *(*weft_gradcheck_fn)(void *user, weft_tensor *const *inputs, int n);
/* Compares the gradients of fn with central differences, for each of the n stored f64 inputs that
 * requires a gradient. fn's output may have any shape. Repeated runs must also agree to the bit.
 * opts may be NULL: the defaults. If gradients differ, returns WEFT_ERR_NUMERIC, and the context's
 * error names the worst element. */
weft_status weft_gradcheck(weft_context *ctx, weft_gradcheck_fn fn, void *user,
                           weft_tensor *const *inputs, int n, const weft_gradcheck_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
