/* The direction of LAMB's update, before the trust ratio: the moments stay as they are. Pure
 * function. */
#include "kernels/optim/lamb.h"

void WF_ISA_FN(wf_update_lamb_direction)(size_t n, const void *settings, const void *const *in,
                                         void *const *out)
{
    const float *p = in[0], *g = in[1], *m = in[2], *v = in[3];
    float *u = out[0];
    const wf_lamb_lanes l = wf_lamb_begin(settings);
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf mi = wf_lanes_load(m + i, lanes), vi = wf_lanes_load(v + i, lanes);
        wf_vf pi = wf_lanes_load(p + i, lanes), gi = wf_lanes_load(g + i, lanes);
        wf_lanes_store(u + i, wf_lamb_step(&l, pi, gi, &mi, &vi), lanes);
    }
}
