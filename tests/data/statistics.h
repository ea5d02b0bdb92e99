/* Whether draws have a distribution: bounds that hold with a probability known beforehand. Seeds are
 * fixed, so a test always gives the same answer; a right implementation passes for all but about one
 * seed in a thousand. Header-only, one thread. Include cmocka.h first. */
#ifndef WF_TESTS_DATA_STATISTICS_H
#define WF_TESTS_DATA_STATISTICS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* A generator that shares nothing with the library's: splitmix64. Uniform in [0, 1). */
static inline double stat_uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static inline int stat_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov and Smirnov: x (n) have the distribution function F up to `slack`, by which rounding to
 * whole pixels may shift it. Massart's bound: the deviation exceeds d with at most 2 exp(-2 n d^2). */
static inline void stat_has(const char *what, double *x, int n, double (*F)(double), double slack)
{
    const double bound = sqrt(log(2 / 0.001) / (2 * n)) + slack;
    qsort(x, (size_t)n, sizeof *x, stat_compare);
    for (int i = 0; i < n; i++) {
        const double f = F(x[i]), low = f - (double)(i + 1) / n, high = f - (double)i / n;
        /* Equal values are one step of the empirical function. */
        if ((i + 1 == n || x[i + 1] > x[i]) && -low > bound)
            fail_msg("%s: %g of the draws are at most %g, expected %g (+- %g)", what,
                     (double)(i + 1) / n, x[i], f, bound);
        if ((i == 0 || x[i - 1] < x[i]) && high > bound)
            fail_msg("%s: %g of the draws are below %g, expected %g (+- %g)", what, (double)i / n,
                     x[i], f, bound);
    }
}

/* x (n) and y (m) have one distribution: Massart's bound for each. */
static inline void stat_alike(const char *what, double *x, int n, double *y, int m)
{
    const double d = sqrt(log(4 / 0.001) / 2), bound = d / sqrt(n) + d / sqrt(m);
    qsort(x, (size_t)n, sizeof *x, stat_compare);
    qsort(y, (size_t)m, sizeof *y, stat_compare);
    for (int i = 0, j = 0; i < n && j < m;) {
        const double at = x[i] < y[j] ? x[i] : y[j];
        while (i < n && x[i] <= at)
            i++;
        while (j < m && y[j] <= at)
            j++;
        if (fabs((double)i / n - (double)j / m) > bound)
            fail_msg("%s: %g of the draws are at most %g, by its definition %g (+- %g)", what,
                     (double)i / n, at, (double)j / m, bound);
    }
}

/* Pearson: counts (k) of n draws, entry i of which has the probability p[i], or 1/k where p is NULL.
 * Laurent and Massart's tail of chi squared: above k + 2 sqrt(k x) + 2 x with at most exp(-x). */
static inline void stat_counts(const char *what, const int64_t *count, const double *p, int k,
                               int64_t n)
{
    const double x = log(1 / 0.001), df = k - 1, bound = df + 2 * sqrt(df * x) + 2 * x;
    double chi = 0;
    for (int i = 0; i < k; i++) {
        const double expected = (double)n * (p ? p[i] : 1.0 / k);
        chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    }
    if (chi > bound)
        fail_msg("%s: chi squared is %g for %d values, at most %g", what, chi, k, bound);
}

/* `count` of n draws happened, each with probability p: Hoeffding's bound. */
static inline void stat_share(const char *what, int64_t count, int64_t n, double p)
{
    const double bound = sqrt(log(2 / 0.001) / (2.0 * (double)n));
    if (fabs((double)count / (double)n - p) > bound)
        fail_msg("%s: %g of the draws, expected %g (+- %g)", what, (double)count / (double)n, p,
                 bound);
}

/* The uniform distribution on [0, 1]. */
static inline double stat_flat(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

#endif
