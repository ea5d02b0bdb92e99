/* Compiled plans, found by the signature of the recorded work. Threading rule: the context's. */
#ifndef WF_STEP_PLAN_CACHE_H
#define WF_STEP_PLAN_CACHE_H

#include "engine/step/again.h"

typedef struct wf_plan_cache wf_plan_cache;
weft_status wf_plan_cache_create(weft_context *ctx);
void wf_plan_cache_destroy(wf_plan_cache *cache);
int wf_plan_cache_compiled(const wf_plan_cache *cache); /* plans compiled so far */
/* The plan for this request, compiled if it is new. The cache owns it. */
weft_status wf_plan_lookup(weft_context *ctx, const wf_request *request, unsigned passes_off,
                           wf_plan **plan);
/* What the last whole step ran. */
wf_again *wf_plan_cache_again(wf_plan_cache *cache);
void wf_plan_cache_clear(wf_plan_cache *cache); /* call when kernels would be chosen differently */

#endif
