/* Chooses an implementation of batch normalisation, and merges partial sums (the same on every ISA). */
#include <math.h>

#include "kernels/norm/norm.h"

#define WF_NORM(table) extern const wf_norm_fns table;
#include "kernels/norm/kernels.def"
#undef WF_NORM

const wf_norm_fns *const wf_norm_list[] = {
#define WF_NORM(table) &table,
#include "kernels/norm/kernels.def"
#undef WF_NORM
    NULL};

static bool layout_fits(const wf_norm_fns *f, wf_act act)
{
    if (f->lanes == 0)
        return true;
    return act.block > 1 && (act.block == f->lanes || act.block == act.C);
}

const wf_norm_fns *wf_norm_find(weft_isa isa, weft_dtype dtype, wf_act act)
{
    for (int i = 0; wf_norm_list[i]; i++) {
        const wf_norm_fns *f = wf_norm_list[i];
        if (f->isa <= isa && f->dtype == dtype && layout_fits(f, act))
            return f;
    }
    return NULL;
}

void wf_norm_combine_stats(double *partials, int64_t n, int64_t pixels, int64_t last_pixels, int C,
                           int c0, int c1, double eps, weft_dtype dtype, void *mean, void *var,
                           void *invstd)
{
    const size_t stride = wf_norm_partial_count(C), half = stride / 2;
    for (int64_t step = 1; step < n; step *= 2)
        for (int64_t i = 0; i + step < n; i += 2 * step) {
            double *restrict a = partials + (size_t)i * stride;
            const double *restrict b = partials + (size_t)(i + step) * stride;
            int64_t end = i + 2 * step < n ? i + 2 * step : n;
            double na = (double)(step * pixels);
            double nb = (double)((end - i - step) * pixels + (end == n ? last_pixels - pixels : 0));
            double share = nb / (na + nb), weight = na * share;
            for (int c = c0; c < c1; c++) {
                double delta = b[c] - a[c];
                a[c] += delta * share;
                a[half + c] += b[half + c] + delta * delta * weight;
            }
        }
    double count = (double)((n - 1) * pixels + last_pixels);
    for (int c = c0; c < c1; c++) {
        double v = partials[half + c] / count;
        wf_float_set(dtype, mean, c, partials[c]);
        wf_float_set(dtype, var, c, v);
        wf_float_set(dtype, invstd, c, 1 / sqrt(v + eps));
    }
}

void wf_norm_combine_grads(double *partials, int64_t n, int C, int c0, int c1, weft_dtype dtype,
                           const void *invstd, void *dgamma, void *dbeta)
{
    const size_t stride = wf_norm_partial_count(C), half = stride / 2;
    for (int64_t step = 1; step < n; step *= 2)
        for (int64_t i = 0; i + step < n; i += 2 * step) {
            double *restrict a = partials + (size_t)i * stride;
            const double *restrict b = partials + (size_t)(i + step) * stride;
            for (int c = c0; c < c1; c++) {
                a[c] += b[c];
                a[half + c] += b[half + c];
            }
        }
    for (int c = c0; c < c1; c++) {
        wf_float_set(dtype, dbeta, c, partials[c]);
        wf_float_set(dtype, dgamma, c, partials[half + c] * wf_float_get(dtype, invstd, c));
    }
}
