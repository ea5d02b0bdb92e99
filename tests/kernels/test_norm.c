/* Every implementation of batch normalisation against sums in long double, in every layout it
 * takes: within bounds derived from the length of its chains, padding zero, nothing written past
 * the end. Letters: C channels, P pixels (H*W), eps half an ulp of 1. */
#include "norm_images.h"

/* ---- the checks ----------------------------------------------------------------------------- */

static void check_stats(const wf_norm_fns *f, wf_act act, double offset)
{
    const int64_t P = pixels(act);
    const double eps = half_ulp(f->dtype);
    image x = make(act, f->dtype, 7, offset);
    double *partial = calloc(wf_norm_partial_count(act.C), sizeof *partial);
    assert_non_null(partial);
    f->stats(act, x.data, partial);
    for (int c = 0; c < act.C; c++) {
        long double sum = 0, m2 = 0;
        double largest = 0, spread = 0;
        for (int64_t p = 0; p < P; p++) {
            sum += (long double)x.value[c * P + p];
            largest = fmax(largest, fabs(x.value[c * P + p]));
        }
        const double mean = (double)(sum / P);
        for (int64_t p = 0; p < P; p++) {
            long double d = (long double)x.value[c * P + p] - sum / P;
            m2 += d * d;
            spread = fmax(spread, (double)fabsl(d));
        }
        /* the reference adds in a chain of P in double; the rest in ranges of eps' type */
        const double chain = f->lanes ? CHAIN : P * (f->dtype == WEFT_F64 ? 1 : 1e-8) + 1;
        const double d_mean = (chain + 2) * eps * largest;
        near("mean", f, c, partial[c], mean, d_mean + 1e-15);
        near("m2", f, c, partial[wf_norm_partial_count(act.C) / 2 + (size_t)c], (double)m2,
             (chain + 4) * eps * (double)m2 + (double)P * d_mean * (d_mean + 2 * spread) + 1e-15);
    }
    drop(&x);
    free(partial);
}

static double f_of(wf_norm_f f, double z)
{
    switch (f) {
    case WF_NORM_RELU: return fmax(z, 0);
    case WF_NORM_RELU6: return fmin(fmax(z, 0), 6);
    case WF_NORM_SILU: return z / (1 + exp(-z));
    case WF_NORM_HARDSWISH: return z * fmin(fmax(z + 3, 0), 6) / 6;
    default: return z;
    }
}
/* f' of the two that recompute. */
static double slope_of(wf_norm_f f, double z)
{
    const double s = 1 / (1 + exp(-z));
    if (f == WF_NORM_SILU)
        return s * (1 + z * (1 - s));
    return z <= -3 ? 0 : z >= 3 ? 1 : z / 3 + 0.5;
}

static void check_apply(const wf_norm_fns *f, wf_act act, double offset)
{
    const int64_t P = pixels(act);
    const size_t mask_bytes = wf_norm_mask_bytes(act.C, P);
    params q = make_params(act.C, test_arithmetic(f->dtype), offset);
    image x = make(act, f->dtype, 11, offset), res = make(act, f->dtype, 12, 0);
    uint8_t *mask = malloc(mask_bytes + 1);
    assert_non_null(mask);
    for (int variant = 0; variant < 20; variant++) {
        const wf_norm_f fn = (wf_norm_f)(variant / 4);
        const bool masks = fn == WF_NORM_RELU || fn == WF_NORM_RELU6;
        const bool residual = variant & 1, want_mask = masks && variant & 2;
        if (residual && wf_norm_recomputes(fn))
            continue;
        image y = make(act, f->dtype, 0, 0);
        memset(mask, 0xa5, mask_bytes + 1);
        f->apply(&(wf_norm_apply){.act = act,
                                  .f = fn,
                                  .mean = q.mean,
                                  .invstd = q.invstd,
                                  .gamma = q.gamma,
                                  .beta = q.beta,
                                  .x = x.data,
                                  .residual = residual ? res.data : NULL,
                                  .y = y.data,
                                  .mask = want_mask ? mask : NULL});
        read_back(&y);
        assert_int_equal(mask[mask_bytes], 0xa5);
        for (int c = 0; c < act.C; c++)
            for (int64_t p = 0; p < P; p++) {
                const double scale = q.g[c] * q.s[c], r = residual ? res.value[c * P + p] : 0;
                const double xv = x.value[c * P + p], got = y.value[c * P + p];
                const double v = (xv - q.m[c]) * scale + q.b[c] + r;
                const double size =
                    fabs(xv * scale) + fabs(q.m[c] * scale) + fabs(q.b[c]) + fabs(r);
                /* slopes are below 1.5; SiLU and Hardswish round 16 times, as in their own test */
                const double more =
                    wf_norm_recomputes(fn) ? 16 * half_ulp(f->dtype) * (1 + size) : 0;
                /* Stored in bf16 before the residual, behind it, and behind f that recomputes. */
                const double stores = 1.51 * test_storing(f->dtype) *
                                      (fabs(v - r) + (residual ? fabs(v) : 0) +
                                       (wf_norm_recomputes(fn) ? fabs(f_of(fn, v)) : 0));
                near("y", f, c, got, f_of(fn, v), 9 * half_ulp(f->dtype) * size + more + stores);
                if (want_mask)
                    assert_int_equal(mask[c / 8 * P + p] >> (c % 8) & 1,
                                     got > 0 && (fn == WF_NORM_RELU || got < 6));
            }
        for (int c = act.C; want_mask && c < wf_round_up(act.C, 8); c++)
            for (int64_t p = 0; p < P; p++)
                assert_int_equal(mask[c / 8 * P + p] >> (c % 8) & 1, 0);
        drop(&y);
    }
    free(mask);
    drop(&x);
    drop(&res);
    drop_params(&q);
}

static uint8_t *random_mask(int C, int64_t P)
{
    uint8_t *mask = malloc(wf_norm_mask_bytes(C, P));
    uint32_t seed = 99;
    assert_non_null(mask);
    for (size_t i = 0; i < wf_norm_mask_bytes(C, P); i++)
        mask[i] = (uint8_t)((uniform(&seed) + 1) * 128);
    return mask;
}
static double masked(const uint8_t *mask, const image *dy, int c, int64_t p)
{
    const int64_t P = pixels(dy->act);
    return mask && !(mask[c / 8 * P + p] >> (c % 8) & 1) ? 0 : dy->value[c * P + p];
}

/* dy behind f, and how far off it may be: z is off by its roundings, the slope by as much (its own
 * derivative is below 1) and by 16 of its own; at a kink it jumps by 0.5. */
static double behind(wf_norm_f fn, const params *q, const image *x, const image *dy, int c,
                     int64_t p, double *off)
{
    const int64_t P = pixels(dy->act);
    const double d = dy->value[c * P + p], eps = half_ulp(dy->dtype);
    *off = 0;
    if (!wf_norm_recomputes(fn))
        return d;
    const double scale = q->g[c] * q->s[c], xv = x->value[c * P + p];
    const double z = (xv - q->m[c]) * scale + q->b[c];
    const double dz = 6 * eps * (fabs(xv * scale) + fabs(q->m[c] * scale) + fabs(q->b[c])) +
                      1.01 * test_storing(dy->dtype) * fabs(z);
    const bool kink = fn == WF_NORM_HARDSWISH && fabs(fabs(z) - 3) <= dz;
    *off = fabs(d) * (dz + 16 * eps * (1 + fabs(z)) + (kink ? 0.5 : 0));
    return d * slope_of(fn, z);
}

static void check_backward_reduce(const wf_norm_fns *f, wf_act act, double offset)
{
    const int64_t P = pixels(act);
    const double eps = half_ulp(f->dtype);
    const double chain = f->lanes ? CHAIN : P * (f->dtype == WEFT_F64 ? 1 : 1e-8) + 1;
    params q = make_params(act.C, test_arithmetic(f->dtype), offset);
    image x = make(act, f->dtype, 21, offset), dy = make(act, f->dtype, 22, 0.1);
    uint8_t *bits = random_mask(act.C, P);
    double *partial = calloc(wf_norm_partial_count(act.C), sizeof *partial);
    assert_non_null(partial);
    for (int k = 0; k < 4; k++) {
        const uint8_t *mask = k == 1 ? bits : NULL;
        const wf_norm_f fn = k < 2 ? WF_NORM_LINEAR : k == 2 ? WF_NORM_SILU : WF_NORM_HARDSWISH;
        const bool again = wf_norm_recomputes(fn);
        image dz = make(act, f->dtype, 0, 0);
        f->backward_reduce(&(wf_norm_reduce){.act = act,
                                             .f = fn,
                                             .mean = q.mean,
                                             .invstd = q.invstd,
                                             .gamma = q.gamma,
                                             .beta = q.beta,
                                             .dz = again ? dz.data : NULL,
                                             .x = x.data,
                                             .dy = dy.data,
                                             .mask = mask,
                                             .partial = partial});
        if (again)
            read_back(&dz);
        for (int c = 0; c < act.C; c++) {
            long double sum = 0, dot = 0, abs_sum = 0, abs_dot = 0;
            for (int64_t p = 0; p < P; p++) {
                double off;
                const double under = behind(fn, &q, &x, &dy, c, p, &off);
                const double stored = again ? dz.value[c * P + p] : under;
                near("dz", f, c, stored, under,
                     off + (2 * eps + 1.01 * test_storing(f->dtype)) * (fabs(under) + off));
                /* the sums are of what is stored */
                long double d = mask ? (long double)masked(mask, &dy, c, p) : (long double)stored;
                long double xc = (long double)x.value[c * P + p] - (long double)q.m[c];
                sum += d;
                dot += d * xc;
                abs_sum += fabsl(d);
                abs_dot += fabsl(d * xc);
            }
            near("sum", f, c, partial[c], (double)sum, chain * eps * (double)abs_sum);
            near("dot", f, c, partial[wf_norm_partial_count(act.C) / 2 + (size_t)c], (double)dot,
                 (chain + 2) * eps * (double)abs_dot);
        }
        drop(&dz);
    }
    free(partial);
    free(bits);
    drop(&x);
    drop(&dy);
    drop_params(&q);
}

static void check_backward_apply(const wf_norm_fns *f, wf_act act, double offset)
{
    const int64_t P = pixels(act);
    const double count = 3.0 * (double)P;
    double dg[64], db[64];
    params q = make_params(act.C, test_arithmetic(f->dtype), offset);
    void *dgamma = channel_array(act.C, test_arithmetic(f->dtype), 5, 2, dg);
    void *dbeta = channel_array(act.C, test_arithmetic(f->dtype), 6, -1, db);
    image x = make(act, f->dtype, 31, offset), dy = make(act, f->dtype, 32, 0);
    uint8_t *bits = random_mask(act.C, P);
    for (int variant = 0; variant < 8; variant++) {
        const bool training = variant & 1, want_res = variant & 2;
        const uint8_t *mask = variant & 4 ? bits : NULL;
        image dx = make(act, f->dtype, 0, 0), dres = make(act, f->dtype, 0, 0);
        f->backward_apply(&(wf_norm_dx){.act = act,
                                        .training = training,
                                        .count = count,
                                        .mean = training ? q.mean : NULL,
                                        .invstd = q.invstd,
                                        .gamma = q.gamma,
                                        .dgamma = training ? dgamma : NULL,
                                        .dbeta = training ? dbeta : NULL,
                                        .x = training ? x.data : NULL,
                                        .dy = dy.data,
                                        .mask = mask,
                                        .dx = dx.data,
                                        .dresidual = want_res ? dres.data : NULL});
        read_back(&dx);
        if (want_res)
            read_back(&dres);
        for (int c = 0; c < act.C; c++)
            for (int64_t p = 0; p < P; p++) {
                const double scale = q.g[c] * q.s[c], d = masked(mask, &dy, c, p);
                const double a = scale * d;
                const double b = training ? scale * db[c] / count : 0;
                const double t =
                    training ? scale * (x.value[c * P + p] - q.m[c]) * q.s[c] * dg[c] / count : 0;
                near("dx", f, c, dx.value[c * P + p], a - b - t,
                     8 * half_ulp(f->dtype) * (fabs(a) + fabs(b) + fabs(t)) +
                         1.01 * test_storing(f->dtype) * fabs(a - b - t));
                if (want_res)
                    assert_true(dres.value[c * P + p] == d);
            }
        drop(&dx);
        drop(&dres);
    }
    free(bits);
    free(dgamma);
    free(dbeta);
    drop(&x);
    drop(&dy);
    drop_params(&q);
}

static void statistics_of_an_image(void **state)
{
    each(check_stats);
}
static void apply_with_residual_activation_and_mask(void **state)
{
    each(check_apply);
}
static void backward_sums(void **state)
{
    each(check_backward_reduce);
}
static void backward_data(void **state)
{
    each(check_backward_apply);
}

/* ---- merging -------------------------------------------------------------------------------- */

static void slots_merge_to_the_minibatch(void **state)
{
    enum { C = 19, PIXELS = 6 };
    for (int n = 1; n <= 13; n++)
        for (int last = 1; last <= PIXELS; last += 5) {
            double *partials = calloc((size_t)n * wf_norm_partial_count(C), sizeof *partials);
            double *grads = calloc((size_t)n * wf_norm_partial_count(C), sizeof *grads);
            long double sum[C] = {0}, m2[C] = {0}, g0[C] = {0}, g1[C] = {0};
            assert_true(partials && grads);
            image all[13];
            for (int i = 0; i < n; i++) {
                all[i] = make(wf_norm_rows(C, i + 1 < n ? PIXELS : last), WEFT_F64,
                              (uint32_t)i + 40, 3 * (i + 1));
                double *partial = partials + (size_t)i * wf_norm_partial_count(C);
                wf_norm_find(WEFT_ISA_SCALAR, WEFT_F64, all[i].act)
                    ->stats(all[i].act, all[i].data, partial);
                double *grad = grads + (size_t)i * wf_norm_partial_count(C);
                memcpy(grad, partial, wf_norm_partial_count(C) * sizeof *grad);
                for (int c = 0; c < C; c++) {
                    for (int p = 0; p < all[i].act.H; p++)
                        sum[c] += (long double)all[i].value[c * all[i].act.H + p];
                    g0[c] += (long double)grad[c];
                    g1[c] += (long double)grad[wf_norm_partial_count(C) / 2 + (size_t)c];
                }
            }
            const int count = (n - 1) * PIXELS + last;
            for (int i = 0; i < n; i++)
                for (int c = 0; c < C; c++)
                    for (int p = 0; p < all[i].act.H; p++) {
                        long double d =
                            (long double)all[i].value[c * all[i].act.H + p] - sum[c] / count;
                        m2[c] += d * d;
                    }
            double mean[C], var[C], invstd[C], dgamma[C], dbeta[C];
            const int cut = 7; /* two tiles */
            for (int k = 0; k < 2; k++) {
                int c0 = k ? cut : 0, c1 = k ? C : cut;
                wf_norm_combine_stats(partials, n, PIXELS, last, C, c0, c1, 1e-5, WEFT_F64, mean,
                                      var, invstd);
                wf_norm_combine_grads(grads, n, C, c0, c1, WEFT_F64, invstd, dgamma, dbeta);
            }
            for (int c = 0; c < C; c++) {
                const double v = (double)(m2[c] / count);
                const double eps = 64 * DBL_EPSILON; /* 6 of a partial sum, 4 levels, a few each */
                assert_true(fabs(mean[c] - (double)(sum[c] / count)) <= eps * 50);
                assert_true(fabs(var[c] - v) <= eps * (v + 50));
                assert_true(fabs(invstd[c] - 1 / sqrt(var[c] + 1e-5)) <= eps * invstd[c]);
                assert_true(fabs(dbeta[c] - (double)g0[c]) <= eps * 50 * n);
                assert_true(fabs(dgamma[c] - (double)g1[c] * invstd[c]) <=
                            eps * (fabs((double)g1[c]) + 1) * invstd[c]);
            }
            for (int i = 0; i < n; i++)
                drop(&all[i]);
            free(partials);
            free(grads);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_of_an_image),
        cmocka_unit_test(apply_with_residual_activation_and_mask),
        cmocka_unit_test(backward_sums),
        cmocka_unit_test(backward_data),
        cmocka_unit_test(slots_merge_to_the_minibatch),
    };
    return cmocka_run_group_tests_name("norm", tests, NULL, NULL);
}
