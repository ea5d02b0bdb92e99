/* Running recorded work: all of it, or only what a read, a write or a second backward pass
 * needs. */
#ifndef WF_STEP_EXECUTE_H
#define WF_STEP_EXECUTE_H

#include "engine/plan/plan.h"

/* Runs everything that has effects (assignments, checks) as one plan, and ends the step. */
weft_status wf_execute_all(weft_context *ctx);
/* Ends the step without running it. Stored tensors keep their content. Gradients that the step was
 * to compute are absent. */
void wf_execute_none(weft_context *ctx);
/* wf_execute_value runs what `value` depends on; wf_execute_assigned what the pending assignment to
 * `stored` depends on. Both keep every number they compute, so that recording can go on. See
 * Note [Reading mid-step]. */
weft_status wf_execute_value(weft_context *ctx, int value);
weft_status wf_execute_assigned(weft_context *ctx, weft_tensor *stored);
/* Call before writing to a stored tensor: runs the recorded work that reads it, and its pending
 * assignment. */
weft_status wf_execute_readers(weft_context *ctx, weft_tensor *stored);
/* Runs the gradients recorded so far, and keeps the values that later work may need. */
weft_status wf_execute_pending(weft_context *ctx);

/* As weft_tensor_data, for code inside the library that does not keep the pointer. */
void *wf_tensor_writable(weft_tensor *t);

/* Compiles all recorded work to a new plan, which the caller destroys. */
weft_status wf_plan_of_recorded(weft_context *ctx, wf_plan **plan);
/* The memory that all recorded work needs. Its plan goes to the cache, so that running the work
 * need not compile it again. */
weft_status wf_memory_of_recorded(weft_context *ctx, weft_step_memory *memory);
/* The memory that a request and its plan need: step_memory.c. */
weft_status wf_step_memory_of(weft_context *ctx, const wf_request *r, const wf_plan *p,
                              weft_step_memory *memory);

#endif
