/* The reference updates of one type: included by ref.c once for f32 and once for f64, with T the
 * element type, FN(name) the name of a function and SQRT the square root. */

static void FN(sgd)(size_t n, const wf_sgd *s, const void *vp, const void *vg, const void *vbuf,
                    void *vp_out, void *vbuf_out)
{
    const T *p = vp, *g = vg, *buf = vbuf;
    T *p_out = vp_out, *buf_out = vbuf_out;
    const T lr = (T)s->lr, momentum = (T)s->momentum, fresh = (T)(1.0 - s->dampening);
    const T decay = (T)s->weight_decay;
    for (size_t i = 0; i < n; i++) {
        T d = s->weight_decay != 0.0 ? g[i] + decay * p[i] : g[i];
        if (buf) {
            T b = s->first ? d : momentum * buf[i] + fresh * d;
            buf_out[i] = b;
            d = s->nesterov ? d + momentum * b : b;
        }
        p_out[i] = p[i] - lr * d;
    }
}

static void FN(adamw)(size_t n, const wf_adamw *s, const void *vp, const void *vg, const void *vm,
                      const void *vv, void *vp_out, void *vm_out, void *vv_out)
{
    const T *p = vp, *g = vg, *m = vm, *v = vv;
    T *p_out = vp_out, *m_out = vm_out, *v_out = vv_out;
    const T keep = (T)(1.0 - s->lr * s->weight_decay), eps = (T)s->eps;
    const T fresh1 = (T)(1.0 - s->beta1), beta2 = (T)s->beta2, fresh2 = (T)(1.0 - s->beta2);
    const T rate = (T)(s->lr / (1.0 - pow(s->beta1, (double)s->step)));
    const T root = (T)sqrt(1.0 - pow(s->beta2, (double)s->step));
    for (size_t i = 0; i < n; i++) {
        T mi = m[i] + fresh1 * (g[i] - m[i]);
        T vi = beta2 * v[i] + fresh2 * (g[i] * g[i]);
        m_out[i] = mi;
        v_out[i] = vi;
        p_out[i] = keep * p[i] - rate * (mi / (SQRT(vi) / root + eps));
    }
}
