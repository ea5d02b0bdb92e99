/* The reference kernels of one type: included by ref.c once for f32 and once for f64, with T the
 * element type and FN(name) the name of a function. */

static void FN(add)(size_t n, const void *va, const void *vb, void *vy)
{
    const T *a = va, *b = vb;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void FN(scale)(size_t n, const void *vx, double factor, void *vy)
{
    const T *x = vx, f = (T)factor;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * f;
}

static void FN(add_scalar)(size_t n, const void *vx, double value, void *vy)
{
    const T *x = vx, v = (T)value;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + v;
}

static void FN(relu)(size_t n, const void *vx, void *vy)
{
    const T *x = vx;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

static void FN(relu_backward)(size_t n, const void *vy, const void *vdy, void *vdx)
{
    const T *y = vy, *dy = vdy;
    T *dx = vdx;
    for (size_t i = 0; i < n; i++)
        dx[i] = y[i] <= 0 ? 0 : dy[i];
}

static void FN(fill)(size_t n, double value, void *vy)
{
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = (T)value;
}

static void FN(bias)(wf_act a, const void *vx, const void *vb, void *vy)
{
    const T *x = vx, *b = vb;
    T *y = vy;
    size_t pixels = (size_t)a.H * (size_t)a.W, i = 0;
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (size_t p = 0; p < pixels; p++)
            for (int c = c0; c < c0 + a.block; c++, i++)
                y[i] = c < a.C ? x[i] + b[c] : 0;
}

static void FN(mul_channels)(wf_act a, const void *vx, const void *vs, void *vy)
{
    const T *x = vx, *s = vs;
    T *y = vy;
    size_t pixels = (size_t)a.H * (size_t)a.W, i = 0;
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (size_t p = 0; p < pixels; p++)
            for (int c = c0; c < c0 + a.block; c++, i++)
                y[i] = x[i] * s[c];
}

static void FN(prelu)(wf_act a, const void *vx, const void *vw, void *vy)
{
    const T *x = vx, *w = vw;
    T *y = vy;
    size_t pixels = (size_t)a.H * (size_t)a.W, i = 0;
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (size_t p = 0; p < pixels; p++)
            for (int c = c0; c < c0 + a.block; c++, i++)
                y[i] = x[i] > 0 ? x[i] : (c < a.C ? w[c] : 0) * x[i];
}

static void FN(prelu_backward)(wf_act a, const void *vx, const void *vw, const void *vdy, void *vdx,
                               void *vproducts)
{
    const T *x = vx, *w = vw, *dy = vdy;
    T *dx = vdx, *products = vproducts;
    size_t pixels = (size_t)a.H * (size_t)a.W, i = 0;
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (size_t p = 0; p < pixels; p++)
            for (int c = c0; c < c0 + a.block; c++, i++) {
                const T d = dy[i];
                products[i] = x[i] > 0 ? 0 : x[i] * d;
                dx[i] = x[i] > 0 ? d : (c < a.C ? w[c] : 0) * d;
            }
}
