/* The loss kernels of one type: included by ref.c once for f32 and once for f64, with T the element
 * type, FN(name) the name of a function and EXP the exponential. */

/* The largest of K values `step` apart. */
static T FN(row_max)(size_t K, size_t step, const T *x)
{
    T top = x[0];
    for (size_t k = 1; k < K; k++)
        top = x[k * step] > top ? x[k * step] : top;
    return top;
}

static double FN(row_sum_exp)(size_t K, size_t step, const T *x, T top)
{
    double sum = 0.0;
    for (size_t k = 0; k < K; k++)
        sum += (double)EXP(x[k * step] - top);
    return sum;
}

static void FN(softmax)(size_t outer, size_t K, size_t inner, const void *vx, void *vy)
{
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            const T *x = (const T *)vx + o * K * inner + i;
            T *y = (T *)vy + o * K * inner + i;
            T top = FN(row_max)(K, inner, x);
            double sum = 0.0;
            for (size_t k = 0; k < K; k++) {
                T e = EXP(x[k * inner] - top);
                y[k * inner] = e;
                sum += (double)e;
            }
            for (size_t k = 0; k < K; k++)
                y[k * inner] = (T)((double)y[k * inner] / sum);
        }
}

static void FN(softmax_backward)(size_t outer, size_t K, size_t inner, const void *vy,
                                 const void *vdy, void *vdx)
{
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            size_t at = o * K * inner + i;
            const T *y = (const T *)vy + at, *dy = (const T *)vdy + at;
            T *dx = (T *)vdx + at;
            double dot = 0.0;
            for (size_t k = 0; k < K; k++)
                dot += (double)y[k * inner] * (double)dy[k * inner];
            for (size_t k = 0; k < K; k++)
                dx[k * inner] = (T)((double)y[k * inner] * ((double)dy[k * inner] - dot));
        }
}

static void FN(log_softmax)(size_t outer, size_t K, size_t inner, const void *vx, void *vy)
{
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            const T *x = (const T *)vx + o * K * inner + i;
            T *y = (T *)vy + o * K * inner + i;
            T top = FN(row_max)(K, inner, x);
            double lse = (double)top + log(FN(row_sum_exp)(K, inner, x, top));
            for (size_t k = 0; k < K; k++)
                y[k * inner] = (T)((double)x[k * inner] - lse);
        }
}

static void FN(log_softmax_backward)(size_t outer, size_t K, size_t inner, const void *vy,
                                     const void *vdy, void *vdx)
{
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            size_t at = o * K * inner + i;
            const T *y = (const T *)vy + at, *dy = (const T *)vdy + at;
            T *dx = (T *)vdx + at;
            double sum = 0.0;
            for (size_t k = 0; k < K; k++)
                sum += (double)dy[k * inner];
            for (size_t k = 0; k < K; k++)
                dx[k * inner] = (T)((double)dy[k * inner] - (double)EXP(y[k * inner]) * sum);
        }
}

static int64_t FN(cross_entropy)(size_t rows, size_t K, const void *vx, const int64_t *labels,
                                 double eps, double *losses, void *vlse)
{
    T *out_lse = vlse;
    for (size_t r = 0; r < rows; r++) {
        const T *x = (const T *)vx + r * K;
        if (labels[r] < 0 || (uint64_t)labels[r] >= K)
            return (int64_t)r;
        T top = FN(row_max)(K, 1, x);
        double lse = (double)top + log(FN(row_sum_exp)(K, 1, x, top));
        double loss = (1.0 - eps) * (lse - (double)x[labels[r]]);
        if (eps > 0.0) {
            double all = 0.0;
            for (size_t k = 0; k < K; k++)
                all += lse - (double)x[k];
            loss += eps / (double)K * all;
        }
        losses[r] = loss;
        out_lse[r] = (T)lse;
    }
    return -1;
}

static void FN(cross_entropy_backward)(size_t rows, size_t K, const void *vx,
                                       const int64_t *labels, const void *vlse, double eps,
                                       double factor, const void *vdloss, size_t dloss_step,
                                       void *vdx)
{
    const T *lse = vlse, *dloss = vdloss;
    for (size_t r = 0; r < rows; r++) {
        const T *x = (const T *)vx + r * K;
        T *dx = (T *)vdx + r * K;
        T by = (T)(factor * (double)dloss[r * dloss_step]), even = (T)(eps / (double)K);
        for (size_t k = 0; k < K; k++) {
            T target = (int64_t)k == labels[r] ? (T)(1.0 - eps) + even : even;
            dx[k] = by * (EXP(x[k] - lse[r]) - target);
        }
    }
}

static int64_t FN(count_correct)(size_t rows, size_t K, const void *vx, const int64_t *labels,
                                 int64_t *count)
{
    int64_t correct = 0;
    for (size_t r = 0; r < rows; r++) {
        const T *x = (const T *)vx + r * K;
        if (labels[r] < 0 || (uint64_t)labels[r] >= K)
            return (int64_t)r;
        size_t best = 0;
        for (size_t k = 1; k < K; k++)
            if (x[k] > x[best])
                best = k;
        correct += (int64_t)best == labels[r];
    }
    *count = correct;
    return -1;
}
