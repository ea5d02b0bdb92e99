/* LAMB's arithmetic on one vector, for its update and for the direction whose norm decides how long
 * the update is: both must have the same bits. */
#ifndef WF_KERNELS_OPTIM_LAMB_H
#define WF_KERNELS_OPTIM_LAMB_H

#include "kernels/optim/lanes.h"

typedef struct wf_lamb_lanes {
    wf_vf beta1, fresh1, beta2, fresh2, eps, decay, scale, root;
} wf_lamb_lanes;

WF_INLINE wf_lamb_lanes wf_lamb_begin(const wf_lamb *s)
{
    return (wf_lamb_lanes){
        .beta1 = wf_vset1((float)s->beta1),
        .fresh1 = wf_vset1((float)(1.0 - s->beta1)),
        .beta2 = wf_vset1((float)s->beta2),
        .fresh2 = wf_vset1((float)(1.0 - s->beta2)),
        .eps = wf_vset1((float)s->eps),
        .decay = wf_vset1((float)s->weight_decay),
        .scale = wf_vset1((float)(1.0 / (1.0 - pow(s->beta1, s->step)))),
        .root = wf_vset1((float)sqrt(1.0 - pow(s->beta2, s->step))),
    };
}

/* The new moments, from the old ones in *m and *v, and the direction. */
WF_INLINE wf_vf wf_lamb_step(const wf_lamb_lanes *l, wf_vf p, wf_vf g, wf_vf *m, wf_vf *v)
{
    *m = wf_vadd(wf_vmul(l->beta1, *m), wf_vmul(l->fresh1, g));
    *v = wf_vadd(wf_vmul(l->beta2, *v), wf_vmul(l->fresh2, wf_vmul(g, g)));
    wf_vf by = wf_vadd(wf_vdiv(wf_vsqrt(*v), l->root), l->eps);
    return wf_vadd(wf_vdiv(wf_vmul(l->scale, *m), by), wf_vmul(l->decay, p));
}

#endif
