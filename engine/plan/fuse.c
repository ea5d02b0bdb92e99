/* Pass 2, fuse: rewrites of nodes. Tasks are chained later, in chain.c. */
#include "engine/plan/plan.h"

weft_status wf_pass_fuse(wf_plan *p)
{
    if ((p->passes_off & WEFT_PASS_FUSE) || p->keep_all)
        return WEFT_OK;
    return WEFT_OK;
}
