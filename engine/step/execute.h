/* Running recorded work: all of it, or what a value, a write or a second backward pass needs. */
#ifndef WF_STEP_EXECUTE_H
#define WF_STEP_EXECUTE_H

#include "engine/plan/plan.h"

/* Runs all that has side effects (assignments, checks), fused, and ends the step. */
weft_status wf_execute_all(weft_context *ctx);
/* Ends the step without running it. Stored tensors keep what they hold; gradients that were to be
 * computed are absent. */
void wf_execute_none(weft_context *ctx);
/* Runs what the assignment to `stored` (or, with stored NULL, `value`) depends on, keeping every
 * number computed, so that recording goes on. See Note [Reading mid-step]. */
weft_status wf_execute_value(weft_context *ctx, int value);
weft_status wf_execute_assigned(weft_context *ctx, weft_tensor *stored);
/* Runs the pending readers of a stored tensor that is about to be written, and its assignment. */
weft_status wf_execute_readers(weft_context *ctx, weft_tensor *stored);
/* Runs the gradients recorded so far, keeping what later work may need. */
weft_status wf_execute_pending(weft_context *ctx);

/* weft_tensor_data for writers inside the library, which keep no pointer. */
void *wf_tensor_writable(weft_tensor *t);

/* Prints a plan: task groups in linear order with their tasks, kernels, tiles, layouts, offsets. */
weft_status wf_plan_explain(const wf_plan *p, FILE *out);
/* The plan that all recorded work would run as, compiled afresh; the caller's to destroy. */
weft_status wf_plan_of_recorded(weft_context *ctx, wf_plan **plan);

#endif
