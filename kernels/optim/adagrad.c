/* The vector update of Adagrad. Pure function. */
#include "kernels/optim/lanes.h"

void WF_ISA_FN(wf_update_adagrad)(size_t n, const void *settings, const void *const *in,
                                  void *const *out)
{
    const wf_adagrad *s = settings;
    const float *p = in[0], *g = in[1], *sum = in[2];
    float *p_out = out[0], *sum_out = out[1];
    const wf_vf lr = wf_vset1((float)s->lr), eps = wf_vset1((float)s->eps);
    const wf_vf decay = wf_vset1((float)s->weight_decay), initial = wf_vset1((float)s->initial);
    const bool decays = s->weight_decay != 0.0, first = s->first != 0.0;
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf pi = wf_lanes_load(p + i, lanes), d = wf_lanes_load(g + i, lanes);
        if (decays)
            d = wf_vadd(d, wf_vmul(decay, pi));
        wf_vf si = first ? initial : wf_lanes_load(sum + i, lanes);
        si = wf_vadd(si, wf_vmul(d, d));
        wf_lanes_store(sum_out + i, si, lanes);
        d = wf_vdiv(d, wf_vadd(wf_vsqrt(si), eps));
        wf_lanes_store(p_out + i, wf_vsub(pi, wf_vmul(lr, d)), lanes);
    }
}
