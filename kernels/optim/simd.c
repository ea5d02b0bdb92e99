/* The vector optimizer updates, f32: one source for every ISA over kernels/simd, operation for
 * operation the reference's (no fused multiply-add), so the bits are equal. Pure functions. */
#include "kernels/simd/simd.h"

#include <math.h>

#include "kernels/optim/optim.h"

/* Masked stores are slow on some CPUs, so only tails use them. */
WF_INLINE wf_vf load(const float *p, int lanes)
{
    return lanes == WF_LANES ? wf_vload(p) : wf_vload_n(p, lanes);
}

WF_INLINE void store(float *p, wf_vf v, int lanes)
{
    if (lanes == WF_LANES)
        wf_vstore(p, v);
    else
        wf_vstore_n(p, v, lanes);
}

static void sgd(size_t n, const wf_sgd *s, const void *vp, const void *vg, const void *vbuf,
                void *vp_out, void *vbuf_out)
{
    const float *p = vp, *g = vg, *buf = vbuf;
    float *p_out = vp_out, *buf_out = vbuf_out;
    const wf_vf lr = wf_vset1((float)s->lr), momentum = wf_vset1((float)s->momentum);
    const wf_vf fresh = wf_vset1((float)(1.0 - s->dampening));
    const wf_vf decay = wf_vset1((float)s->weight_decay);
    const bool decays = s->weight_decay != 0.0;
    for (size_t i = 0; i < n; i += WF_LANES) {
        int lanes = n - i < WF_LANES ? (int)(n - i) : WF_LANES;
        wf_vf pi = load(p + i, lanes), d = load(g + i, lanes);
        if (decays)
            d = wf_vadd(d, wf_vmul(decay, pi));
        if (buf) {
            wf_vf b = d;
            if (!s->first)
                b = wf_vadd(wf_vmul(momentum, load(buf + i, lanes)), wf_vmul(fresh, d));
            store(buf_out + i, b, lanes);
            d = s->nesterov ? wf_vadd(d, wf_vmul(momentum, b)) : b;
        }
        store(p_out + i, wf_vsub(pi, wf_vmul(lr, d)), lanes);
    }
}

static void adamw(size_t n, const wf_adamw *s, const void *vp, const void *vg, const void *vm,
                  const void *vv, void *vp_out, void *vm_out, void *vv_out)
{
    const float *p = vp, *g = vg, *m = vm, *v = vv;
    float *p_out = vp_out, *m_out = vm_out, *v_out = vv_out;
    const wf_vf keep = wf_vset1((float)(1.0 - s->lr * s->weight_decay));
    const wf_vf eps = wf_vset1((float)s->eps), fresh1 = wf_vset1((float)(1.0 - s->beta1));
    const wf_vf beta2 = wf_vset1((float)s->beta2), fresh2 = wf_vset1((float)(1.0 - s->beta2));
    const wf_vf rate = wf_vset1((float)(s->lr / (1.0 - pow(s->beta1, (double)s->step))));
    const wf_vf root = wf_vset1((float)sqrt(1.0 - pow(s->beta2, (double)s->step)));
    for (size_t i = 0; i < n; i += WF_LANES) {
        int lanes = n - i < WF_LANES ? (int)(n - i) : WF_LANES;
        wf_vf gi = load(g + i, lanes), mi = load(m + i, lanes);
        wf_vf vi = load(v + i, lanes);
        mi = wf_vadd(mi, wf_vmul(fresh1, wf_vsub(gi, mi)));
        vi = wf_vadd(wf_vmul(beta2, vi), wf_vmul(fresh2, wf_vmul(gi, gi)));
        wf_vf by = wf_vdiv(mi, wf_vadd(wf_vdiv(wf_vsqrt(vi), root), eps));
        wf_vf pi = wf_vmul(keep, load(p + i, lanes));
        store(m_out + i, mi, lanes);
        store(v_out + i, vi, lanes);
        store(p_out + i, wf_vsub(pi, wf_vmul(rate, by)), lanes);
    }
}

extern const wf_optim WF_ISA_FN(wf_optim_f32);
const wf_optim WF_ISA_FN(wf_optim_f32) = {
    .name = "optim:" WF_ISA_NAME ":f32",
    .sgd = sgd,
    .adamw = adamw,
};
