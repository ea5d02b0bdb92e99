/* The vector update of RMSprop, PyTorch's and TensorFlow's. Pure function. */
#include "kernels/optim/lanes.h"

void WF_ISA_FN(wf_update_rmsprop)(size_t n, const void *settings, const void *const *in,
                                  void *const *out)
{
    const wf_rmsprop *s = settings;
    const float *p = in[0], *g = in[1], *q = in[2], *buf = in[3], *a = in[4];
    float *p_out = out[0], *q_out = out[1], *buf_out = out[2], *a_out = out[3];
    const wf_vf lr = wf_vset1((float)s->lr), alpha = wf_vset1((float)s->alpha);
    const wf_vf fresh = wf_vset1((float)(1.0 - s->alpha)), eps = wf_vset1((float)s->eps);
    const wf_vf decay = wf_vset1((float)s->weight_decay), momentum = wf_vset1((float)s->momentum);
    const bool decays = s->weight_decay != 0.0, inside = s->inside != 0.0;
    const bool ones = inside && s->first != 0.0;
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf pi = wf_lanes_load(p + i, lanes), d = wf_lanes_load(g + i, lanes);
        if (decays)
            d = wf_vadd(d, wf_vmul(decay, pi));
        wf_vf old = ones ? wf_vset1(1.0f) : wf_lanes_load(q + i, lanes);
        wf_vf square = wf_vadd(wf_vmul(alpha, old), wf_vmul(fresh, wf_vmul(d, d)));
        wf_lanes_store(q_out + i, square, lanes);
        if (a) {
            wf_vf ai = wf_lanes_load(a + i, lanes);
            ai = wf_vadd(ai, wf_vmul(fresh, wf_vsub(d, ai)));
            wf_lanes_store(a_out + i, ai, lanes);
            square = wf_vsub(square, wf_vmul(ai, ai));
        }
        d = wf_vdiv(d, inside ? wf_vsqrt(wf_vadd(square, eps)) : wf_vadd(wf_vsqrt(square), eps));
        d = inside ? wf_vmul(lr, d) : d;
        if (buf) {
            d = wf_vadd(wf_vmul(momentum, wf_lanes_load(buf + i, lanes)), d);
            wf_lanes_store(buf_out + i, d, lanes);
        }
        wf_lanes_store(p_out + i, wf_vsub(pi, inside ? d : wf_vmul(lr, d)), lanes);
    }
}
