/* The vector update of LAMB. Pure function. */
#include "kernels/optim/lamb.h"

void WF_ISA_FN(wf_update_lamb)(size_t n, const void *settings, const void *const *in,
                               void *const *out)
{
    const wf_lamb *s = settings;
    const float *p = in[0], *g = in[1], *m = in[2], *v = in[3];
    float *p_out = out[0], *m_out = out[1], *v_out = out[2];
    const wf_lamb_lanes l = wf_lamb_begin(s);
    const wf_vf rate = wf_vset1((float)s->rate);
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf pi = wf_lanes_load(p + i, lanes), mi = wf_lanes_load(m + i, lanes);
        wf_vf vi = wf_lanes_load(v + i, lanes);
        wf_vf u = wf_lamb_step(&l, pi, wf_lanes_load(g + i, lanes), &mi, &vi);
        wf_lanes_store(p_out + i, wf_vsub(pi, wf_vmul(rate, u)), lanes);
        wf_lanes_store(m_out + i, mi, lanes);
        wf_lanes_store(v_out + i, vi, lanes);
    }
}
