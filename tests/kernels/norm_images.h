/* What the tests of batch normalisation share: images of every shape and layout with a guard behind them,
 * per-channel parameters, and every implementation that can run here. Letters: C channels, P pixels (H*W), eps
 * half an ulp of 1. */
#ifndef TESTS_KERNELS_NORM_IMAGES_H
#define TESTS_KERNELS_NORM_IMAGES_H

#include "guarded.h"

#include <float.h>
#include <math.h>

#include "kernels/eltwise/activation.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/norm/norm.h"

extern const wf_norm_fns wf_norm_fns_emul, wf_norm_fns_bf16_emul;

/* The longest chain of float additions: a quarter of a range, three left over, two to join. */
enum { CHAIN = WF_NORM_RANGE / 4 + 3 + 2 };

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

static inline int64_t pixels(wf_act a)
{
    return (int64_t)a.H * a.W;
}
static inline double uniform(uint32_t *seed) /* [-1, 1) */
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 23) - 1;
}

static inline size_t at(const image *im, int c, int64_t p)
{
    return wf_act_index(im->act, c, (int)(p / im->act.W), (int)(p % im->act.W));
}

/* Random values c-dependent + offset; seed 0: an output, filled with garbage. */
static inline image make(wf_act act, weft_dtype t, uint32_t seed, double offset)
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
static inline void drop(image *im)
{
    free(im->value);
    free(im->data);
}

/* Reads an output back; its padding must be zero and its guard untouched. */
static inline void read_back(image *im)
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

static inline void *channel_array(int C, weft_dtype t, uint32_t seed, double center, double *value)
{
    char *p = malloc((size_t)C * weft_dtype_size(t)); /* exact: ASan sees reads past it */
    assert_non_null(p);
    for (int c = 0; c < C; c++) {
        test_set(t, p, (size_t)c, center + 0.5 * uniform(&seed));
        value[c] = test_get(t, p, (size_t)c);
    }
    return p;
}

static inline void near(const char *what, const wf_norm_fns *f, int c, double got, double want,
                        double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s %s channel %d: got %.9g, want %.9g, bound %.3g", f->name, what, c, got, want,
                 bound);
}

/* Runs check(f, act, offset) for every implementation, shape and layout it takes. */
typedef void (*check_fn)(const wf_norm_fns *f, wf_act act, double offset);
static inline void each(check_fn check)
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
static inline double half_ulp(weft_dtype t)
{
    return t == WEFT_F64 ? DBL_EPSILON / 2 : FLT_EPSILON / 2;
}

/* ---- parameters ----------------------------------------------------------------------------- */

typedef struct params {
    void *mean, *invstd, *gamma, *beta;
    double m[64], s[64], g[64], b[64];
} params;
static inline params make_params(int C, weft_dtype t, double offset)
{
    params q;
    assert_true(C <= 64);
    q.mean = channel_array(C, t, 1, offset, q.m);
    q.invstd = channel_array(C, t, 2, 1, q.s);
    q.gamma = channel_array(C, t, 3, 0.25, q.g);
    q.beta = channel_array(C, t, 4, 0, q.b);
    return q;
}
static inline void drop_params(params *q)
{
    free(q->mean);
    free(q->invstd);
    free(q->gamma);
    free(q->beta);
}

#endif
