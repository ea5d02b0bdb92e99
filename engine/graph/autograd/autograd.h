/* What modules and optimizers ask of gradients; weft/autograd.h is the public side. Threading rule: the
 * context's. */
#ifndef WF_AUTOGRAD_AUTOGRAD_H
#define WF_AUTOGRAD_AUTOGRAD_H

#include "engine/graph/graph.h"

/* The gradient of t, which is there or recorded, becomes `grad` (NULL: the error stands). */
weft_status wf_grad_replace(weft_tensor *t, weft_tensor *grad);

/* ---- hooks ---- */

/* Runs t's gradient hooks on *grad, which they may replace. */
weft_status wf_grad_hooks_run(weft_context *ctx, weft_tensor *t, weft_tensor **grad);
/* Puts the tensors t[0..n) that require a gradient behind a border, in place (others and NULLs stay
 * what they are). A backward pass that reaches it calls fn(user, n, grads), which may replace
 * gradients that are there; NULL is none. drop(user) is called when the step ends, or at once on
 * failure. No tensor requires a gradient: nothing is recorded, drop is called, *any is false. */
weft_status wf_record_border(weft_context *ctx, int n, weft_tensor **t, wf_border_fn fn, void *user,
                             void (*drop)(void *user), bool *any);
/* A backward pass is at node `node` of op border; grads: per value of the graph. */
weft_status wf_border_cross(weft_context *ctx, int node, weft_tensor **grads);
/* ---- gaps ---- */

/* Why a tensor has no gradient although backward passes were recorded. */
typedef enum wf_gap {
    WF_GAP_FROZEN,
    WF_GAP_NO_GRAD,
    WF_GAP_DETACHED,
    WF_GAP_NO_RULE,
    WF_GAP_UNREACHED,
    WF_GAP_UNUSED,
    WF_GAPS
} wf_gap;
extern const char *const wf_gap_text[WF_GAPS];
wf_gap wf_lint_gap(weft_context *ctx, const weft_tensor *t);

#endif
