/* The choice of WEFT_AMP_AUTO. Threading: the context's. */
#ifndef WF_STEP_AMP_H
#define WF_STEP_AMP_H

#include "engine/plan/plan.h"

/* Where the context has not decided yet, and the request has what it decides by, sets options.amp to OFF
 * or BF16: Note [Automatic bf16] in amp.c. Call it before a plan of the request is compiled. */
weft_status wf_amp_settle(weft_context *ctx, const wf_request *request, unsigned passes_off);

#endif
