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
            double log_sum = log(FN(row_sum_exp)(K, inner, x, top));
            for (size_t k = 0; k < K; k++)
                y[k * inner] = (T)((double)x[k * inner] - (double)top - log_sum);
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

/* The weight of class k. */
static double FN(weight)(const wf_class_loss *p, size_t k)
{
    return p->weight ? (double)((const T *)p->weight)[k] : 1.0;
}

static int64_t FN(cross_entropy)(const wf_class_loss *p, size_t rows, const void *vx,
                                 const int64_t *labels, double *losses, double *counts,
                                 wf_row_exp *exps)
{
    const size_t K = p->K;
    for (size_t r = 0; r < rows; r++) {
        const T *x = (const T *)vx + r * K;
        double top = 0.0, log_sum = 0.0;
        losses[r] = counts[r] = 0.0;
        exps[r] = (wf_row_exp){0.0, 1.0};
        if (labels[r] == p->ignore)
            continue;
        if (labels[r] < 0 || (uint64_t)labels[r] >= K)
            return (int64_t)r;
        if (!p->log_probs) {
            T max = FN(row_max)(K, 1, x);
            exps[r] = (wf_row_exp){(double)max, FN(row_sum_exp)(K, 1, x, max)};
            top = exps[r].top;
            log_sum = log(exps[r].sum);
        }
        counts[r] = FN(weight)(p, (size_t)labels[r]);
        losses[r] = (1.0 - p->eps) * counts[r] * (log_sum + (top - (double)x[labels[r]]));
        if (p->eps > 0.0) {
            double all = 0.0;
            for (size_t k = 0; k < K; k++)
                all += FN(weight)(p, k) * (log_sum + (top - (double)x[k]));
            losses[r] += p->eps / (double)K * all;
        }
    }
    return -1;
}

/* The loss is sum over k of target[k] -log p[k], so its gradient is softmax(x) sum target - target.
 * Without weights the targets' sum is 1. */
static void FN(cross_entropy_backward)(const wf_class_loss *p, size_t rows, const void *vx,
                                       const int64_t *labels, const wf_row_exp *exps, double factor,
                                       const void *vdloss, size_t dloss_step, void *vdx)
{
    const size_t K = p->K;
    const T *dloss = vdloss;
    double even = p->eps / (double)K, weights = 0.0;
    for (size_t k = 0; p->weight && k < K; k++)
        weights += FN(weight)(p, k);
    for (size_t r = 0; r < rows; r++) {
        const T *x = (const T *)vx + r * K;
        T *dx = (T *)vdx + r * K;
        bool ignored = labels[r] == p->ignore;
        double label = ignored ? 0.0 : (1.0 - p->eps) * FN(weight)(p, (size_t)labels[r]);
        T by = ignored ? 0 : (T)(factor * (double)dloss[r * dloss_step]);
        T all = p->log_probs ? 0 : p->weight ? (T)(label + even * weights) : 1;
        T top = (T)exps[r].top;
        double per_exp = (double)all / exps[r].sum;
        for (size_t k = 0; k < K; k++) {
            T target = (T)(even * FN(weight)(p, k)) + ((int64_t)k == labels[r] ? (T)label : 0);
            T share = all == 0 ? 0 : (T)(per_exp * (double)EXP(x[k] - top));
            /* A class that nll_loss does not read has no gradient, even of a loss that is NaN. */
            const bool unread = ignored || (p->log_probs && (int64_t)k != labels[r]);
            dx[k] = unread ? 0 : by * (share - target);
        }
    }
}

static int64_t FN(count_correct)(size_t rows, size_t K, const void *vx, const int64_t *labels,
                                 int64_t ignore, int64_t *correct, int64_t *counted)
{
    int64_t right = 0, rows_counted = 0;
    for (size_t r = 0; r < rows; r++) {
        const T *x = (const T *)vx + r * K;
        if (labels[r] == ignore)
            continue;
        if (labels[r] < 0 || (uint64_t)labels[r] >= K)
            return (int64_t)r;
        size_t best = 0;
        for (size_t k = 1; k < K; k++)
            if (x[k] > x[best])
                best = k;
        right += (int64_t)best == labels[r];
        rows_counted++;
    }
    *correct = right;
    *counted = rows_counted;
    return -1;
}
