/* The reference updates of one type: included by ref.c once for f32 and once for f64, with T the
 * element type, FN(name) the name of a function and SQRT the square root. */

static void FN(sgd)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    const wf_sgd *s = settings;
    const T *p = in[0], *g = in[1], *buf = in[2];
    T *p_out = out[0], *buf_out = out[1];
    const T lr = (T)s->lr, momentum = (T)s->momentum, fresh = (T)(1.0 - s->dampening);
    const T decay = (T)s->weight_decay, scale = (T)s->scale;
    for (size_t i = 0; i < n; i++) {
        T d = s->weight_decay != 0.0 ? g[i] + decay * p[i] : g[i];
        d = scale * d;
        if (buf) {
            T b = s->first != 0.0 ? d : momentum * buf[i] + fresh * d;
            buf_out[i] = b;
            d = s->nesterov != 0.0 ? d + momentum * b : b;
        }
        p_out[i] = p[i] - lr * d;
    }
}

static void FN(adam)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    const wf_adam *s = settings;
    const T *p = in[0], *g = in[1], *m = in[2], *v = in[3], *x = in[4];
    T *p_out = out[0], *m_out = out[1], *v_out = out[2], *x_out = out[3];
    const T keep = (T)(1.0 - s->lr * s->weight_decay), eps = (T)s->eps, l2 = (T)s->l2;
    const T fresh1 = (T)(1.0 - s->beta1), beta2 = (T)s->beta2, fresh2 = (T)(1.0 - s->beta2);
    const T rate = (T)(s->lr / (1.0 - pow(s->beta1, s->step)));
    const T root = (T)sqrt(1.0 - pow(s->beta2, s->step));
    for (size_t i = 0; i < n; i++) {
        T d = s->l2 != 0.0 ? g[i] + l2 * p[i] : g[i];
        T mi = m[i] + fresh1 * (d - m[i]);
        T vi = beta2 * v[i] + fresh2 * (d * d);
        m_out[i] = mi;
        v_out[i] = vi;
        if (x)
            x_out[i] = vi = x[i] > vi ? x[i] : vi; /* so a NaN of v stays */
        p_out[i] = keep * p[i] - rate * (mi / (SQRT(vi) / root + eps));
    }
}

static void FN(rmsprop)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    const wf_rmsprop *s = settings;
    const T *p = in[0], *g = in[1], *q = in[2], *buf = in[3], *a = in[4];
    T *p_out = out[0], *q_out = out[1], *buf_out = out[2], *a_out = out[3];
    const T lr = (T)s->lr, alpha = (T)s->alpha, fresh = (T)(1.0 - s->alpha), eps = (T)s->eps;
    const T decay = (T)s->weight_decay, momentum = (T)s->momentum;
    const bool inside = s->inside != 0.0;
    for (size_t i = 0; i < n; i++) {
        T d = s->weight_decay != 0.0 ? g[i] + decay * p[i] : g[i];
        T old = inside && s->first != 0.0 ? (T)1 : q[i];
        T mean = alpha * old + fresh * (d * d), square = mean;
        q_out[i] = mean;
        if (a) {
            T ai = a[i] + fresh * (d - a[i]);
            a_out[i] = ai;
            square = square - ai * ai;
        }
        d = d / (inside ? SQRT(square + eps) : SQRT(square) + eps);
        d = inside ? lr * d : d;
        if (buf) {
            d = momentum * buf[i] + d;
            buf_out[i] = d;
        }
        p_out[i] = p[i] - (inside ? d : lr * d);
    }
}

static void FN(adagrad)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    const wf_adagrad *s = settings;
    const T *p = in[0], *g = in[1], *sum = in[2];
    T *p_out = out[0], *sum_out = out[1];
    const T lr = (T)s->lr, eps = (T)s->eps, decay = (T)s->weight_decay, initial = (T)s->initial;
    for (size_t i = 0; i < n; i++) {
        T d = s->weight_decay != 0.0 ? g[i] + decay * p[i] : g[i];
        T si = (s->first != 0.0 ? initial : sum[i]) + d * d;
        sum_out[i] = si;
        p_out[i] = p[i] - lr * (d / (SQRT(si) + eps));
    }
}

static void FN(lamb_both)(size_t n, const wf_lamb *s, const void *const *in, void *const *out,
                          T *u_out)
{
    const T *p = in[0], *g = in[1], *m = in[2], *v = in[3];
    const T rate = (T)s->rate, beta1 = (T)s->beta1, fresh1 = (T)(1.0 - s->beta1);
    const T beta2 = (T)s->beta2, fresh2 = (T)(1.0 - s->beta2), eps = (T)s->eps;
    const T decay = (T)s->weight_decay, scale = (T)(1.0 / (1.0 - pow(s->beta1, s->step)));
    const T root = (T)sqrt(1.0 - pow(s->beta2, s->step));
    for (size_t i = 0; i < n; i++) {
        T pi = p[i], mi = beta1 * m[i] + fresh1 * g[i];
        T vi = beta2 * v[i] + fresh2 * (g[i] * g[i]);
        T u = scale * mi / (SQRT(vi) / root + eps) + decay * pi;
        if (u_out) {
            u_out[i] = u;
            continue;
        }
        ((T *)out[0])[i] = pi - rate * u;
        ((T *)out[1])[i] = mi;
        ((T *)out[2])[i] = vi;
    }
}

static void FN(lamb)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    FN(lamb_both)(n, settings, in, out, NULL);
}

static void FN(lamb_direction)(size_t n, const void *settings, const void *const *in,
                               void *const *out)
{
    FN(lamb_both)(n, settings, in, NULL, out[0]);
}

static void FN(lion)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    const wf_lion *s = settings;
    const T *p = in[0], *g = in[1], *m = in[2];
    T *p_out = out[0], *m_out = out[1];
    const T keep = (T)(1.0 - s->lr * s->weight_decay), lr = (T)s->lr;
    const T beta1 = (T)s->beta1, fresh1 = (T)(1.0 - s->beta1);
    const T beta2 = (T)s->beta2, fresh2 = (T)(1.0 - s->beta2);
    for (size_t i = 0; i < n; i++) {
        T gi = g[i], mi = m[i], c = beta1 * mi + fresh1 * gi;
        T sign = c > 0 ? (T)1 : c < 0 ? (T)-1 : c; /* 0 and NaN stay */
        p_out[i] = keep * p[i] - lr * sign;
        m_out[i] = beta2 * mi + fresh2 * gi;
    }
}

static void FN(ema)(size_t n, const void *settings, const void *const *in, void *const *out)
{
    const wf_ema *s = settings;
    const T *p = in[0], *g = in[1];
    T *p_out = out[0];
    const T decay = (T)s->decay, fresh = (T)(1.0 - s->decay);
    if (s->decay == 0.0)
        memcpy(p_out, g, n * sizeof(T));
    for (size_t i = 0; i < n && s->decay != 0.0; i++)
        p_out[i] = decay * p[i] + fresh * g[i];
}
