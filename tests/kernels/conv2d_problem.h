/* What a convolution kernel is tried with: memory between guards, and a problem with its answers by
 * plain formulas in double. */
#ifndef TESTS_KERNELS_CONV2D_PROBLEM_H
#define TESTS_KERNELS_CONV2D_PROBLEM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/conv2d/conv2d.h"

enum { GUARD = 128, GUARD_BYTE = 0xA5, GAP = 64 };

/* ---- guarded memory ------------------------------------------------------------------------- */

typedef struct region {
    unsigned char *raw;
    size_t bytes;
} region;

/* `bytes` of NaN (all bits set) on a 64-byte boundary between guards. */
static void *region_create(region *r, size_t bytes)
{
    size_t whole = (GUARD + bytes + GUARD + 63) / 64 * 64;
    r->raw = aligned_alloc(64, whole);
    assert_non_null(r->raw);
    memset(r->raw, GUARD_BYTE, whole);
    memset(r->raw + GUARD, 0xff, bytes);
    r->bytes = bytes;
    return r->raw + GUARD;
}

static bool region_check_free(region *r)
{
    bool good = true;
    for (int i = 0; i < GUARD; i++)
        good &= r->raw[i] == GUARD_BYTE && r->raw[GUARD + r->bytes + (size_t)i] == GUARD_BYTE;
    free(r->raw);
    return good;
}

/* ---- the problem and its answer in double --------------------------------------------------- */

typedef struct problem {
    wf_conv2d_desc d;
    uint8_t *bytes;                  /* plain, whole batch */
    double *table;                   /* what they stand for: x */
    double *x, *w, *b, *dy;          /* plain, whole batch */
    double *y, *dx, *dw;             /* the answers */
    double *y_abs, *dx_abs, *dw_abs; /* the same sums over absolute values */
    size_t n_x, n_w, n_y;
} problem;

static uint64_t random_state;
static double uniform(void) /* splitmix64: -1 .. 1 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)(int64_t)(z ^ z >> 31) * 0x1p-63;
}

typedef enum numbers { FLOATS, INTEGERS, BF16S } numbers; /* -1 .. 1; -3 .. 3; -1 .. 1 */

/* To nearest, ties to even, for what is normal in bf16: 8 bits of significand. */
static double to_bf16(double x)
{
    int exponent;
    const double m = frexp(x, &exponent); /* 1/2 <= |m| < 1 */
    return ldexp(nearbyint(ldexp(m, 8)), exponent - 8);
}

static double *values(size_t n, numbers kind)
{
    double *v = malloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) /* so that every kernel reads the same */
        v[i] = kind == INTEGERS ? floor(uniform() * 3.5 + 0.5)
               : kind == BF16S  ? to_bf16(uniform())
                                : (double)(float)uniform();
    return v;
}

static double *zeros(size_t n)
{
    double *v = calloc(n, sizeof *v);
    assert_non_null(v);
    return v;
}

static void problem_solve(problem *t)
{
    const wf_conv2d_desc *d = &t->d;
    int cg = d->C / d->groups, kg = d->K / d->groups;
    for (int n = 0; n < d->N; n++)
        for (int k = 0; k < d->K; k++)
            for (int p = 0; p < d->P; p++)
                for (int q = 0; q < d->Q; q++) {
                    size_t o = (((size_t)n * d->K + k) * d->P + p) * d->Q + q;
                    double sum = d->bias ? t->b[k] : 0, sum_abs = fabs(sum);
                    for (int c = 0; c < cg; c++)
                        for (int r = 0; r < d->R; r++)
                            for (int s = 0; s < d->S; s++) {
                                int h = p * d->stride[0] - d->padding[0] + r * d->dilation[0];
                                int v = q * d->stride[1] - d->padding[1] + s * d->dilation[1];
                                if (h < 0 || h >= d->H || v < 0 || v >= d->W)
                                    continue;
                                size_t ch = (size_t)(k / kg * cg + c);
                                size_t i = (((size_t)n * d->C + ch) * d->H + h) * d->W + v;
                                size_t f = (((size_t)k * cg + c) * d->R + r) * d->S + s;
                                sum += t->x[i] * t->w[f];
                                sum_abs += fabs(t->x[i] * t->w[f]);
                                t->dx[i] += t->dy[o] * t->w[f];
                                t->dx_abs[i] += fabs(t->dy[o] * t->w[f]);
                                t->dw[f] += t->dy[o] * t->x[i];
                                t->dw_abs[f] += fabs(t->dy[o] * t->x[i]);
                            }
                    t->y[o] = sum;
                    t->y_abs[o] = sum_abs;
                }
}

static void problem_create(problem *t, const wf_conv2d_desc *d, numbers kind)
{
    t->d = *d;
    t->n_x = (size_t)d->N * d->C * d->H * d->W;
    t->n_w = wf_conv2d_weights_count(d);
    t->n_y = (size_t)d->N * d->K * d->P * d->Q;
    t->bytes = malloc(t->n_x);
    t->table = values((size_t)d->C * WF_BYTE_VALUES, kind);
    t->x = zeros(t->n_x);
    assert_non_null(t->bytes);
    for (size_t i = 0, plane = (size_t)d->H * d->W; i < t->n_x; i++) {
        t->bytes[i] = (uint8_t)(int)(uniform() * 256);
        t->x[i] = t->table[i / plane % (size_t)d->C * WF_BYTE_VALUES + t->bytes[i]];
    }
    t->w = values(t->n_w, kind);
    t->b = values((size_t)d->K, kind);
    t->dy = values(t->n_y, kind);
    t->y = zeros(t->n_y), t->y_abs = zeros(t->n_y);
    t->dx = zeros(t->n_x), t->dx_abs = zeros(t->n_x);
    t->dw = zeros(t->n_w), t->dw_abs = zeros(t->n_w);
    problem_solve(t);
}

static double largest(const double *v, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(v[i]));
    return most;
}

/* The bound of wf_conv2d_impl.amplification for a pass; 0: the kernel has none. u: half an epsilon of
 * its arithmetic. */
static double transformed_bound(const wf_conv2d_impl *impl, const problem *t, int pass, double u)
{
    const wf_conv2d_desc *d = &t->d;
    if (impl->amplification == 0)
        return 0;
    const double x = largest(t->x, t->n_x), w = largest(t->w, t->n_w), dy = largest(t->dy, t->n_y);
    const bool forward = pass == WF_CONV2D_FORWARD, data = pass == WF_CONV2D_BACKWARD_DATA;
    const double terms = forward ? d->C
                         : data  ? d->K
                                 : (double)d->N * ((d->P + 3) / 4) * ((d->Q + 3) / 4);
    const double term = forward ? x * w : data ? dy * w : x * dy;
    return 3 * sqrt(terms + 24) * u * impl->amplification * terms * term;
}

static void problem_destroy(problem *t)
{
    double *all[] = {t->table, t->x,  t->w,     t->b,      t->dy,    t->y,
                     t->dx,    t->dw, t->y_abs, t->dx_abs, t->dw_abs};
    free(t->bytes);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

#endif
