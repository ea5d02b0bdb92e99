/* Parts of the plan pass recompute that choose segments of the forward pass and run them again. */
#ifndef WF_PLAN_SEGMENTS_H
#define WF_PLAN_SEGMENTS_H

#include "engine/plan/plan.h"

/* segments.c: rewrites the list of nodes so that values inside segments are made again. */
weft_status wf_make_segments(wf_plan *p);

/* choose_segments.c: gives the nodes of the forward pass segments, in place of those that they have,
 * so that the plan needs about p->budget of the memory that it needs without segments. */
weft_status wf_choose_segments(wf_plan *p);

/* products.c: makes convolutions segments of their own, where running them again costs little. */
weft_status wf_choose_products(wf_plan *p);

#endif
