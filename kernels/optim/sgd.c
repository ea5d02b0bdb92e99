/* The vector update of SGD, and of LARS. Pure function. */
#include "kernels/optim/lanes.h"

void WF_ISA_FN(wf_update_sgd)(size_t n, const void *settings, const void *const *in,
                              void *const *out)
{
    const wf_sgd *s = settings;
    const float *p = in[0], *g = in[1], *buf = in[2];
    float *p_out = out[0], *buf_out = out[1];
    const wf_vf lr = wf_vset1((float)s->lr), momentum = wf_vset1((float)s->momentum);
    const wf_vf fresh = wf_vset1((float)(1.0 - s->dampening));
    const wf_vf decay = wf_vset1((float)s->weight_decay), scale = wf_vset1((float)s->scale);
    const bool decays = s->weight_decay != 0.0, first = s->first != 0.0;
    const bool nesterov = s->nesterov != 0.0;
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf pi = wf_lanes_load(p + i, lanes), d = wf_lanes_load(g + i, lanes);
        if (decays)
            d = wf_vadd(d, wf_vmul(decay, pi));
        d = wf_vmul(scale, d);
        if (buf) {
            wf_vf b = d;
            if (!first)
                b = wf_vadd(wf_vmul(momentum, wf_lanes_load(buf + i, lanes)), wf_vmul(fresh, d));
            wf_lanes_store(buf_out + i, b, lanes);
            d = nesterov ? wf_vadd(d, wf_vmul(momentum, b)) : b;
        }
        wf_lanes_store(p_out + i, wf_vsub(pi, wf_vmul(lr, d)), lanes);
    }
}
