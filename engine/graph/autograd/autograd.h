/* What modules and optimizers need of gradients; weft/autograd.h is the public side. Threading
 * rule: the context's. */
#ifndef WF_AUTOGRAD_AUTOGRAD_H
#define WF_AUTOGRAD_AUTOGRAD_H

#include "engine/graph/graph.h"

/* Replaces the gradient of t, present or recorded, by `grad`. NULL: an op failed, and its error is
 * returned. */
weft_status wf_grad_replace(weft_tensor *t, weft_tensor *grad);

/* ---- hooks ---- */

/* Runs t's gradient hooks on *grad. They may replace it. */
weft_status wf_grad_hooks_run(weft_context *ctx, weft_tensor *t, weft_tensor **grad);
/* Puts those of the tensors t[0..n) that require a gradient behind a border; the handles in t
 * change. Other tensors and NULLs stay. A backward pass that reaches the border calls fn(user, n,
 * grads). fn may replace gradients that are not NULL; NULL means that there is none. drop(user) is
 * called when the step ends, or at once on failure. If no tensor requires a gradient, records
 * nothing, calls drop and sets *any to false. */
weft_status wf_record_border(weft_context *ctx, int n, weft_tensor **t, wf_border_fn fn, void *user,
                             void (*drop)(void *user), bool *any);
/* Call when a backward pass reaches node `node` of op border. grads: per value of the graph. */
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
