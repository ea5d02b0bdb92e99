/* Layer normalisation of one type, in double: included by layer_norm.c once for f32 and once for f64,
 * with T the element type and FN(name) the name of a function. */

static void FN(forward)(size_t rows, size_t D, double eps, const void *vx, const void *vgamma,
                        const void *vbeta, void *vy, wf_row_moments *moments)
{
    const T *gamma = vgamma, *beta = vbeta, *x = vx;
    T *y = vy;
    for (size_t r = 0; r < rows; r++, x += D, y += D) {
        double sum = 0, squares = 0;
        for (size_t j = 0; j < D; j++)
            sum += x[j];
        const double mean = sum / (double)D;
        for (size_t j = 0; j < D; j++)
            squares += (x[j] - mean) * (x[j] - mean);
        const double invstd = 1 / sqrt(squares / (double)D + eps);
        for (size_t j = 0; j < D; j++)
            y[j] = (T)((x[j] - mean) * invstd * gamma[j] + beta[j]);
        moments[r] = (wf_row_moments){mean, invstd};
    }
}

static void FN(backward)(size_t rows, size_t D, const void *vx, const void *vdy, const void *vgamma,
                         const wf_row_moments *moments, void *vdx, double *sums)
{
    const T *gamma = vgamma, *x = vx, *dy = vdy;
    T *dx = vdx;
    double *products = sums + wf_layer_norm_sums(D) / 2;
    for (size_t r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        const double mean = moments[r].mean, invstd = moments[r].invstd;
        double first = 0, second = 0;
        for (size_t j = 0; j < D; j++) {
            const double xhat = (x[j] - mean) * invstd, g = (double)dy[j] * gamma[j];
            first += g;
            second += g * xhat;
            sums[j] += dy[j];
            products[j] += dy[j] * xhat;
        }
        first /= (double)D;
        second /= (double)D;
        for (size_t j = 0; j < D; j++) {
            const double xhat = (x[j] - mean) * invstd, g = (double)dy[j] * gamma[j];
            dx[j] = (T)(invstd * (g - first - xhat * second));
        }
    }
}
