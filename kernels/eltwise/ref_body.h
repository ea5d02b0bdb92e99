/* The reference kernels of one type: included by ref.c once for f32 and once for f64, with T the
 * element type and FN(name) the name of a function. */

static void FN(add)(size_t n, const void *va, const void *vb, void *vy)
{
    const T *a = va, *b = vb;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void FN(mul)(size_t n, const void *va, const void *vb, void *vy)
{
    const T *a = va, *b = vb;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] * b[i];
}

static void FN(scale)(size_t n, const void *vx, double factor, void *vy)
{
    const T *x = vx, f = (T)factor;
    T *y = vy;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * f;
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
        dx[i] = y[i] > 0 ? dy[i] : 0;
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

static void FN(dropout)(const wf_dropout *d, wf_act a, int64_t first, const void *vx, void *vy)
{
    const T *x = vx, keep = (T)(1.0 / (1.0 - d->p));
    T *y = vy;
    const uint32_t least = (uint32_t)(d->p * 4294967296.0); /* words below it are dropped */
    const int64_t pixels = (int64_t)a.H * a.W;
    uint32_t words[DROPOUT_CHUNK + 4]; /* + 4: the chunk may start inside a group of four */
    for (int c = 0; c < wf_round_up(a.C, a.block); c++) {
        const T *xc = x + wf_act_index(a, c, 0, 0);
        T *yc = y + wf_act_index(a, c, 0, 0);
        for (int64_t p0 = 0; p0 < pixels; p0 += DROPOUT_CHUNK) {
            int64_t n = pixels - p0 < DROPOUT_CHUNK ? pixels - p0 : DROPOUT_CHUNK;
            if (c >= a.C) {
                for (int64_t p = p0; p < p0 + n; p++)
                    yc[p * a.block] = 0;
                continue;
            }
            int64_t index = first + c * pixels + p0;
            philox_words(d, index / 4, (index % 4 + n + 3) / 4, words);
            const uint32_t *w = words + index % 4;
            for (int64_t i = 0; i < n; i++) {
                size_t at = (size_t)((p0 + i) * a.block);
                yc[at] = w[i] >= least ? xc[at] * keep : 0;
            }
        }
    }
}
