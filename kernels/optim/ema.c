/* The vector update of a moving average. Pure function. */
#include "kernels/optim/lanes.h"

void WF_ISA_FN(wf_update_ema)(size_t n, const void *settings, const void *const *in,
                              void *const *out)
{
    const wf_ema *s = settings;
    const float *p = in[0], *g = in[1];
    float *p_out = out[0];
    const wf_vf decay = wf_vset1((float)s->decay), fresh = wf_vset1((float)(1.0 - s->decay));
    const bool copies = s->decay == 0.0;
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf gi = wf_lanes_load(g + i, lanes);
        if (!copies)
            gi = wf_vadd(wf_vmul(decay, wf_lanes_load(p + i, lanes)), wf_vmul(fresh, gi));
        wf_lanes_store(p_out + i, gi, lanes);
    }
}
