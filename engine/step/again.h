/* The last whole step's request and plan, for the case that the next step is the same again. */
#ifndef WF_STEP_AGAIN_H
#define WF_STEP_AGAIN_H

#include "engine/plan/plan.h"

typedef struct wf_scalar_run {
    int from, n;
} wf_scalar_run;

/* Zeros: nothing is kept. */
typedef struct wf_again {
    wf_plan *plan; /* the plan cache's; NULL: nothing is kept */
    wf_request request;
    int *leaf, n_leaves;             /* the leaves that the request reads */
    int *assignment_value, *leaf_of; /* per assignment of the graph: value, and leaf plus 1 */
    int n_assignments;
    wf_scalar_run *scalars; /* where the request's scalars lie in the graph's */
    int n_scalars;
    uint64_t log; /* of the step: graph.log */
} wf_again;

/* Keeps what a whole step ran, and takes over the request; on failure leaves it with the caller. Call it
 * before the assignments are settled. */
bool wf_again_keep(wf_again *a, weft_context *ctx, wf_request *request, wf_plan *plan);
/* Whether all that is recorded is what ran last. Then the request has the present scalars, and is the
 * one to run. */
bool wf_again_same(wf_again *a, weft_context *ctx);
/* Call when the plan is about to be destroyed. */
void wf_again_forget(wf_again *a);
void wf_request_done(wf_request *r);

#endif
