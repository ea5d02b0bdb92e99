/* The vector update of Adam and AdamW. Pure function. */
#include "kernels/optim/lanes.h"

void WF_ISA_FN(wf_update_adam)(size_t n, const void *settings, const void *const *in,
                               void *const *out)
{
    const wf_adam *s = settings;
    const float *p = in[0], *g = in[1], *m = in[2], *v = in[3], *x = in[4];
    float *p_out = out[0], *m_out = out[1], *v_out = out[2], *x_out = out[3];
    const wf_vf keep = wf_vset1((float)(1.0 - s->lr * s->weight_decay));
    const wf_vf eps = wf_vset1((float)s->eps), fresh1 = wf_vset1((float)(1.0 - s->beta1));
    const wf_vf beta2 = wf_vset1((float)s->beta2), fresh2 = wf_vset1((float)(1.0 - s->beta2));
    const wf_vf rate = wf_vset1((float)(s->lr / (1.0 - pow(s->beta1, s->step))));
    const wf_vf root = wf_vset1((float)sqrt(1.0 - pow(s->beta2, s->step)));
    const wf_vf l2 = wf_vset1((float)s->l2);
    const bool coupled = s->l2 != 0.0;
    for (size_t i = 0; i < n; i += WF_LANES) {
        const int lanes = wf_lanes_at(i, n);
        wf_vf pi = wf_lanes_load(p + i, lanes), d = wf_lanes_load(g + i, lanes);
        wf_vf mi = wf_lanes_load(m + i, lanes), vi = wf_lanes_load(v + i, lanes);
        if (coupled)
            d = wf_vadd(d, wf_vmul(l2, pi));
        mi = wf_vadd(mi, wf_vmul(fresh1, wf_vsub(d, mi)));
        vi = wf_vadd(wf_vmul(beta2, vi), wf_vmul(fresh2, wf_vmul(d, d)));
        wf_lanes_store(m_out + i, mi, lanes);
        wf_lanes_store(v_out + i, vi, lanes);
        if (x) {
            vi = wf_vmax(wf_lanes_load(x + i, lanes), vi); /* v second: its NaN stays */
            wf_lanes_store(x_out + i, vi, lanes);
        }
        wf_vf by = wf_vdiv(mi, wf_vadd(wf_vdiv(wf_vsqrt(vi), root), eps));
        wf_lanes_store(p_out + i, wf_vsub(wf_vmul(keep, pi), wf_vmul(rate, by)), lanes);
    }
}
