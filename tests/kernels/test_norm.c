/* Every implementation of batch normalisation against sums in long double, in every layout it
 * takes: within bounds derived from the length of its chains, padding zero, nothing written past
 * the end. Letters: C channels, P pixels (H*W), eps half an ulp of 1. */
#include "guarded.h"

#include <float.h>
#include <math.h>

#include "kernels/eltwise/activation.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/norm/norm.h"

extern const wf_norm_fns wf_norm_fns_emul, wf_norm_fns_bf16_emul;

/* The longest chain of float additions: a quarter of a leaf, three left over, two to join. */
enum { CHAIN = WF_NORM_LEAF / 4 + 3 + 2 };

/* ---- images --------------------------------------------------------------------------------- */

typedef struct shape {
    int C, H, W;
    double offset; /* mean over standard deviation, about */
} shape;
static const shape SHAPES[] = {{1, 1, 1, 0},    {3, 1, 2, 0},    {8, 4, 5, 1},   {16, 8, 8, 0},
                               {5, 7, 9, 30},   {13, 13, 13, 0}, {17, 1, 65, 0}, {32, 28, 28, 0.5},
                               {40, 3, 3, 500}, {9, 20, 21, 0}};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

/* One image both ways: value[c*P + p], and laid out as `act` with zero padding and a guard. */
typedef struct image {
    wf_act act;
    weft_dtype dtype;
    double *value;
    void *data;
} image;
static const double GUARD_VALUE = -12288.0; /* in bf16, too */

static int64_t pixels(wf_act a)
{
    return (int64_t)a.H * a.W;
}
static double uniform(uint32_t *seed) /* [-1, 1) */
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 23) - 1;
}

static size_t at(const image *im, int c, int64_t p)
{
    return wf_act_index(im->act, c, (int)(p / im->act.W), (int)(p % im->act.W));
}

/* Random values c-dependent + offset; seed 0: an output, filled with garbage. */
static image make(wf_act act, weft_dtype t, uint32_t seed, double offset)
{
    image im = {act, t, NULL, NULL};
    const size_t count = wf_act_count(act);
    const int64_t P = pixels(act);
    im.value = calloc((size_t)(act.C * P), sizeof(double));
    im.data = malloc((count + GUARD) * weft_dtype_size(t));
    assert_true(im.value && im.data);
    for (size_t i = 0; i < count + GUARD; i++)
        test_set(t, im.data, i, i < count && seed ? 0 : GUARD_VALUE);
    for (int c = 0; seed && c < act.C; c++)
        for (int64_t p = 0; p < P; p++) {
            test_set(t, im.data, at(&im, c, p),
                     uniform(&seed) * (1 + c % 3) + offset * (c % 2 ? 1 : -1));
            im.value[c * P + p] = test_get(t, im.data, at(&im, c, p)); /* as rounded */
        }
    return im;
}
static void drop(image *im)
{
    free(im->value);
    free(im->data);
}

/* Reads an output back; its padding must be zero and its guard untouched. */
static void read_back(image *im)
{
    const int64_t P = pixels(im->act);
    for (int c = 0; c < wf_round_up(im->act.C, im->act.block); c++)
        for (int64_t p = 0; p < P; p++) {
            double v = test_get(im->dtype, im->data, at(im, c, p));
            if (c < im->act.C)
                im->value[c * P + p] = v;
            else if (v != 0)
                fail_msg("padding channel %d is %g", c, v);
        }
    for (size_t i = 0; i < GUARD; i++)
        assert_true(test_get(im->dtype, im->data, wf_act_count(im->act) + i) == GUARD_VALUE);
}

static void *channel_array(int C, weft_dtype t, uint32_t seed, double center, double *value)
{
    char *p = malloc((size_t)C * weft_dtype_size(t)); /* exact: ASan sees reads past it */
    assert_non_null(p);
    for (int c = 0; c < C; c++) {
        test_set(t, p, (size_t)c, center + 0.5 * uniform(&seed));
        value[c] = test_get(t, p, (size_t)c);
    }
    return p;
}

static void near(const char *what, const wf_norm_fns *f, int c, double got, double want,
                 double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s %s channel %d: got %.9g, want %.9g, bound %.3g", f->name, what, c, got, want,
                 bound);
}

/* Runs check(f, act, offset) for every implementation, shape and layout it takes. */
typedef void (*check_fn)(const wf_norm_fns *f, wf_act act, double offset);
static void each(check_fn check)
{
    const wf_norm_fns *all[16];
    int n = 0;
    for (int i = 0; wf_norm_list[i]; i++)
        if (wf_norm_list[i]->isa <= wf_cpu_isa())
            all[n++] = wf_norm_list[i];
    if (wf_cpu_isa() >= WEFT_ISA_AVX2) {
        all[n++] = &wf_norm_fns_emul;
        all[n++] = &wf_norm_fns_bf16_emul;
    }
    for (int k = 0; k < n; k++)
        for (int s = 0; s < N_SHAPES; s++) {
            const shape *sh = &SHAPES[s];
            int blocks[4] = {sh->C, 1, 8, 16};
            for (int b = 0; b < 4; b++) {
                if (all[k]->lanes && blocks[b] != all[k]->lanes && (b || sh->C == 1))
                    continue;
                check(all[k], (wf_act){sh->C, sh->H, sh->W, blocks[b]}, sh->offset);
            }
        }
}

/* Of what images of t are computed in. */
static double half_ulp(weft_dtype t)
{
    return t == WEFT_F64 ? DBL_EPSILON / 2 : FLT_EPSILON / 2;
}

/* ---- the checks ----------------------------------------------------------------------------- */

static void check_stats(const wf_norm_fns *f, wf_act act, double offset)
{
    const int64_t P = pixels(act);
    const double eps = half_ulp(f->dtype);
    image x = make(act, f->dtype, 7, offset);
    double *slot = calloc(wf_norm_slot_count(act.C), sizeof *slot);
    assert_non_null(slot);
    f->stats(act, x.data, slot);
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
        /* the reference adds in a chain of P in double; the rest in leaves of eps' type */
        const double chain = f->lanes ? CHAIN : P * (f->dtype == WEFT_F64 ? 1 : 1e-8) + 1;
        const double d_mean = (chain + 2) * eps * largest;
        near("mean", f, c, slot[c], mean, d_mean + 1e-15);
        near("m2", f, c, slot[wf_norm_slot_count(act.C) / 2 + (size_t)c], (double)m2,
             (chain + 4) * eps * (double)m2 + (double)P * d_mean * (d_mean + 2 * spread) + 1e-15);
    }
    drop(&x);
    free(slot);
}

typedef struct params {
    void *mean, *invstd, *gamma, *beta;
    double m[64], s[64], g[64], b[64];
} params;
static params make_params(int C, weft_dtype t, double offset)
{
    params q;
    assert_true(C <= 64);
    q.mean = channel_array(C, t, 1, offset, q.m);
    q.invstd = channel_array(C, t, 2, 1, q.s);
    q.gamma = channel_array(C, t, 3, 0.25, q.g);
    q.beta = channel_array(C, t, 4, 0, q.b);
    return q;
}
static void drop_params(params *q)
{
    free(q->mean);
    free(q->invstd);
    free(q->gamma);
    free(q->beta);
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
    double *slot = calloc(wf_norm_slot_count(act.C), sizeof *slot);
    assert_non_null(slot);
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
                                             .slot = slot});
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
            near("sum", f, c, slot[c], (double)sum, chain * eps * (double)abs_sum);
            near("dot", f, c, slot[wf_norm_slot_count(act.C) / 2 + (size_t)c], (double)dot,
                 (chain + 2) * eps * (double)abs_dot);
        }
        drop(&dz);
    }
    free(slot);
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
            double *slots = calloc((size_t)n * wf_norm_slot_count(C), sizeof *slots);
            double *grads = calloc((size_t)n * wf_norm_slot_count(C), sizeof *grads);
            long double sum[C] = {0}, m2[C] = {0}, g0[C] = {0}, g1[C] = {0};
            assert_true(slots && grads);
            image all[13];
            for (int i = 0; i < n; i++) {
                all[i] = make(wf_norm_rows(C, i + 1 < n ? PIXELS : last), WEFT_F64,
                              (uint32_t)i + 40, 3 * (i + 1));
                double *slot = slots + (size_t)i * wf_norm_slot_count(C);
                wf_norm_find(WEFT_ISA_SCALAR, WEFT_F64, all[i].act)
                    ->stats(all[i].act, all[i].data, slot);
                double *grad = grads + (size_t)i * wf_norm_slot_count(C);
                memcpy(grad, slot, wf_norm_slot_count(C) * sizeof *grad);
                for (int c = 0; c < C; c++) {
                    for (int p = 0; p < all[i].act.H; p++)
                        sum[c] += (long double)all[i].value[c * all[i].act.H + p];
                    g0[c] += (long double)grad[c];
                    g1[c] += (long double)grad[wf_norm_slot_count(C) / 2 + (size_t)c];
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
                wf_norm_combine_stats(slots, n, PIXELS, last, C, c0, c1, 1e-5, WEFT_F64, mean, var,
                                      invstd);
                wf_norm_combine_grads(grads, n, C, c0, c1, WEFT_F64, invstd, dgamma, dbeta);
            }
            for (int c = 0; c < C; c++) {
                const double v = (double)(m2[c] / count);
                const double eps = 64 * DBL_EPSILON; /* 6 of a slot, 4 levels, a few each */
                assert_true(fabs(mean[c] - (double)(sum[c] / count)) <= eps * 50);
                assert_true(fabs(var[c] - v) <= eps * (v + 50));
                assert_true(fabs(invstd[c] - 1 / sqrt(var[c] + 1e-5)) <= eps * invstd[c]);
                assert_true(fabs(dbeta[c] - (double)g0[c]) <= eps * 50 * n);
                assert_true(fabs(dgamma[c] - (double)g1[c] * invstd[c]) <=
                            eps * (fabs((double)g1[c]) + 1) * invstd[c]);
            }
            for (int i = 0; i < n; i++)
                drop(&all[i]);
            free(slots);
            free(grads);
        }
}

/* ---- choice and traps ----------------------------------------------------------------------- */

/* Chains run along pixels, lanes across channels, so 8 and 16 lanes must agree to the bit. */
static void vector_width_does_not_change_the_statistics(void **state)
{
    if (wf_cpu_isa() < WEFT_ISA_AVX2)
        skip();
    for (int s = 0; s < N_SHAPES; s++) {
        const shape *sh = &SHAPES[s];
        wf_act narrow = {sh->C, sh->H, sh->W, 8}, wide = {sh->C, sh->H, sh->W, 16};
        image a = make(narrow, WEFT_F32, 5, sh->offset), b = make(wide, WEFT_F32, 5, sh->offset);
        double one[2 * 64], two[2 * 64];
        wf_norm_find(WEFT_ISA_AVX2, WEFT_F32, narrow)->stats(narrow, a.data, one);
        wf_norm_fns_emul.stats(wide, b.data, two);
        for (int c = 0; c < sh->C; c++) {
            size_t half = wf_norm_slot_count(sh->C) / 2;
            assert_true(one[c] == two[c] && one[half + (size_t)c] == two[half + (size_t)c]);
        }
        drop(&a);
        drop(&b);
    }
}

static void the_best_fitting_implementation_is_found(void **state)
{
    static const struct {
        weft_isa isa;
        weft_dtype dtype;
        wf_act act;
        const char *name;
    } CASES[] = {
        {WEFT_ISA_AVX512, WEFT_F32, {20, 4, 4, 16}, "avx512:f32"},
        {WEFT_ISA_AVX512, WEFT_F32, {20, 4, 4, 8}, "avx2:f32"},
        {WEFT_ISA_AVX512, WEFT_F32, {20, 4, 1, 20}, "avx512:f32"},
        {WEFT_ISA_AVX2, WEFT_F32, {20, 4, 4, 8}, "avx2:f32"},
        {WEFT_ISA_AVX2, WEFT_F32, {20, 4, 4, 1}, "ref:f32"},
        {WEFT_ISA_SCALAR, WEFT_F32, {20, 4, 4, 8}, "ref:f32"},
        {WEFT_ISA_AVX512, WEFT_F64, {20, 4, 4, 1}, "ref:f64"},
        {WEFT_ISA_AVX512, WEFT_BF16, {20, 4, 4, 16}, "avx512:bf16"},
        {WEFT_ISA_AVX512, WEFT_BF16, {20, 4, 1, 20}, "avx512:bf16"},
        {WEFT_ISA_AVX2, WEFT_BF16, {20, 4, 4, 8}, "avx2:bf16"},
        {WEFT_ISA_AVX2, WEFT_BF16, {20, 4, 4, 1}, "ref:bf16"},
        {WEFT_ISA_SCALAR, WEFT_BF16, {20, 4, 4, 8}, "ref:bf16"},
        {WEFT_ISA_AVX512, WEFT_U8, {20, 4, 4, 1}, NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const wf_norm_fns *f = wf_norm_find(CASES[i].isa, CASES[i].dtype, CASES[i].act);
        assert_int_equal(f != NULL, CASES[i].name != NULL);
        if (f)
            assert_string_equal(f->name, CASES[i].name);
    }
}

/* BatchNorm, residual and f in one pass have the bits that three passes over stored images have. */
static void check_fusion(const wf_norm_fns *f, wf_act act, double offset)
{
    const weft_dtype t = f->dtype;
    const size_t n = wf_act_count(act), bytes = n * weft_dtype_size(t);
    params q = make_params(act.C, test_arithmetic(t), offset);
    const wf_eltwise *e = wf_eltwise_get(t, wf_cpu_isa());
    image x = make(act, t, 11, offset), res = make(act, t, 12, 0), dy = make(act, t, 13, 0);
    image z = make(act, t, 0, 0), fused = make(act, t, 0, 0), apart = make(act, t, 0, 0);
    wf_norm_apply p = {.act = act,
                       .mean = q.mean,
                       .invstd = q.invstd,
                       .gamma = q.gamma,
                       .beta = q.beta,
                       .x = x.data,
                       .y = z.data};
    f->apply(&p);
    p.f = WF_NORM_RELU;
    p.residual = res.data;
    p.y = fused.data;
    f->apply(&p);
    e->add(n, z.data, res.data, apart.data);
    e->relu(n, apart.data, apart.data);
    assert_memory_equal(fused.data, apart.data, bytes);
    p.residual = NULL;
    for (int k = 0; k < 2; k++) {
        const wf_norm_f fn = k ? WF_NORM_HARDSWISH : WF_NORM_SILU;
        const wf_activations *all = wf_activation_get(t, wf_cpu_isa());
        const wf_activation which = k ? WF_ACT_hardswish : WF_ACT_silu;
        double slot[2 * 64];
        p.f = fn;
        f->apply(&p);
        all->fn[which].forward(n, 0, 0, z.data, apart.data);
        assert_memory_equal(fused.data, apart.data, bytes);
        f->backward_reduce(&(wf_norm_reduce){.act = act,
                                             .f = fn,
                                             .mean = q.mean,
                                             .invstd = q.invstd,
                                             .gamma = q.gamma,
                                             .beta = q.beta,
                                             .dz = fused.data,
                                             .x = x.data,
                                             .dy = dy.data,
                                             .slot = slot});
        all->fn[which].backward(n, 0, 0, z.data, dy.data, apart.data);
        assert_memory_equal(fused.data, apart.data, bytes);
    }
    drop(&x);
    drop(&res);
    drop(&dy);
    drop(&z);
    drop(&fused);
    drop(&apart);
    drop_params(&q);
}
static void one_pass_has_the_bits_of_three(void **state)
{
    each(check_fusion);
}

static void check_nan(const wf_norm_fns *f, wf_act act, double offset)
{
    params q = make_params(act.C, test_arithmetic(f->dtype), 0);
    image x = make(act, f->dtype, 3, 0), y = make(act, f->dtype, 0, 0);
    const int64_t P = pixels(act);
    uint8_t *mask = calloc(1, wf_norm_mask_bytes(act.C, P));
    const int c = act.C - 1;
    const int64_t p = P / 2;
    test_set(f->dtype, x.data, at(&x, c, p), (double)NAN);
    f->apply(&(wf_norm_apply){.act = act,
                              .f = WF_NORM_RELU,
                              .mean = q.mean,
                              .invstd = q.invstd,
                              .gamma = q.gamma,
                              .beta = q.beta,
                              .x = x.data,
                              .y = y.data,
                              .mask = mask});
    read_back(&y);
    assert_true(isnan(y.value[c * P + p]));
    assert_int_equal(mask[c / 8 * P + p] >> (c % 8) & 1, 1); /* its gradient passes, as PyTorch's */
    free(mask);
    drop(&x);
    drop(&y);
    drop_params(&q);
}
static void nan_passes_relu(void **state)
{
    each(check_nan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_of_an_image),
        cmocka_unit_test(apply_with_residual_activation_and_mask),
        cmocka_unit_test(backward_sums),
        cmocka_unit_test(backward_data),
        cmocka_unit_test(slots_merge_to_the_minibatch),
        cmocka_unit_test(vector_width_does_not_change_the_statistics),
        cmocka_unit_test(the_best_fitting_implementation_is_found),
        cmocka_unit_test(one_pass_has_the_bits_of_three),
        cmocka_unit_test(nan_passes_relu),
    };
    return cmocka_run_group_tests_name("norm", tests, NULL, NULL);
}
