/* The reference of one type: included by ref.c once for f32 and once for f64, with T the
 * element type and FN(name) the name of a function. */

/* One range of n <= WF_RANGE values, or products where there is a z, `step` elements apart. */
static double FN(range)(size_t n, size_t step, const T *x, const T *z)
{
    T acc[WF_ACCUMULATORS] = {0};
    for (size_t i = 0; i < n; i++)
        acc[i % WF_ACCUMULATORS] += z ? x[i * step] * z[i * step] : x[i * step];
    for (int half = WF_ACCUMULATORS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            acc[j] += acc[j + half];
    return (double)acc[0];
}

static double FN(strided)(size_t n, size_t step, const T *x, const T *z)
{
    wf_tree tree;
    wf_tree_init(&tree);
    for (size_t i = 0; i < n; i += WF_RANGE)
        wf_tree_push(&tree, FN(range)(n - i < WF_RANGE ? n - i : WF_RANGE, step, x + i * step,
                                      z ? z + i * step : NULL));
    return wf_tree_sum(&tree);
}

static double FN(run)(size_t n, const void *x)
{
    return FN(strided)(n, 1, x, NULL);
}

static void FN(columns)(size_t rows, size_t stride, size_t n, const void *vx, double *y)
{
    const T *x = vx;
    for (size_t j = 0; j < n; j++) {
        wf_tree tree;
        wf_tree_init(&tree);
        for (size_t r0 = 0; r0 < rows; r0 += WF_RANGE) {
            T partial = 0;
            for (size_t r = r0; r < rows && r < r0 + WF_RANGE; r++)
                partial += x[r * stride + j];
            wf_tree_push(&tree, (double)partial);
        }
        y[j] = wf_tree_sum(&tree);
    }
}

static void FN(channels_of)(wf_act a, const T *x, const T *z, double *y)
{
    size_t pixels = (size_t)a.H * (size_t)a.W;
    for (int c = 0; c < a.C; c++) {
        const size_t at = wf_act_index(a, c, 0, 0);
        y[c] = FN(strided)(pixels, (size_t)a.block, x + at, z ? z + at : NULL);
    }
}

static void FN(channels)(wf_act a, const void *x, double *y)
{
    FN(channels_of)(a, x, NULL, y);
}

static void FN(channels_dot)(wf_act a, const void *x, const void *z, double *y)
{
    FN(channels_of)(a, x, z, y);
}

static void FN(extreme)(wf_strides s, bool least, const void *vx, void *vy)
{
    const T *x = vx;
    T *y = vy;
    for (size_t o = 0; o < s.outer; o++)
        for (size_t j = 0; j < s.n; j++) {
            const T *from = x + o * s.K * s.stride + j;
            T most = FN(wf_further)(least, from[0], from[0]);
            for (size_t k = 1; k < s.K; k++)
                most = FN(wf_further)(least, most, from[k * s.stride]);
            y[o * s.n + j] = most;
        }
}

static void FN(arg)(wf_strides s, bool least, const void *vx, int64_t *y)
{
    enum { TOGETHER = 16 }; /* neighbours, which share cache lines */
    for (size_t o = 0; o < s.outer; o++)
        for (size_t j0 = 0; j0 < s.n; j0 += TOGETHER) {
            const T *x = (const T *)vx + o * s.K * s.stride + j0;
            const size_t n = s.n - j0 < TOGETHER ? s.n - j0 : TOGETHER;
            T most[TOGETHER];
            int64_t at[TOGETHER] = {0};
            for (size_t j = 0; j < n; j++)
                most[j] = x[j];
            for (size_t k = 1; k < s.K; k++)
                for (size_t j = 0; j < n; j++) {
                    const T value = x[k * s.stride + j];
                    const bool further = least ? value < most[j] : value > most[j];
                    if (further || (value != value && most[j] == most[j])) {
                        most[j] = value;
                        at[j] = (int64_t)k;
                    }
                }
            for (size_t j = 0; j < n; j++)
                y[o * s.n + j0 + j] = at[j];
        }
}
