/* The vector update of Lion. Pure function. */
#include "kernels/optim/lanes.h"

/* 1, -1, or the value itself where that is 0 or NaN. */
WF_INLINE wf_vf sign(wf_vf x)
{
    const wf_vf zero = wf_vzero();
    wf_vf s = wf_vblend(wf_vgt(x, zero), wf_vset1(1.0f), x);
    return wf_vblend(wf_vgt(zero, x), wf_vset1(-1.0f), s);
}

void WF_ISA_FN(wf_update_lion)(size_t n, const void *settings, const void *const *in,
                               void *const *out)
{
    const wf_lion *s = settings;
    const float *p = in[0], *g = in[1], *m = in[2];
    float *p_out = out[0], *m_out = out[1];
    const wf_vf keep = wf_vset1((float)(1.0 - s->lr * s->weight_decay));
    const wf_vf lr = wf_vset1((float)s->lr);
    const wf_vf beta1 = wf_vset1((float)s->beta1), fresh1 = wf_vset1((float)(1.0 - s->beta1));
    const wf_vf beta2 = wf_vset1((float)s->beta2), fresh2 = wf_vset1((float)(1.0 - s->beta2));
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf gi = wf_lanes_load(g + i, lanes), mi = wf_lanes_load(m + i, lanes);
        wf_vf c = wf_vadd(wf_vmul(beta1, mi), wf_vmul(fresh1, gi));
        wf_vf pi = wf_vmul(keep, wf_lanes_load(p + i, lanes));
        wf_lanes_store(p_out + i, wf_vsub(pi, wf_vmul(lr, sign(c))), lanes);
        mi = wf_vadd(wf_vmul(beta2, mi), wf_vmul(fresh2, gi));
        wf_lanes_store(m_out + i, mi, lanes);
    }
}
