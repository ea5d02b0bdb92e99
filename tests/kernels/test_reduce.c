/* Sums: every implementation against a double reference with a derived bound, and bit for bit
 * against each other and across layouts (Note [Fixed reduction trees]). */
#include "guarded.h"

#include <math.h>

#include "kernels/layout/layout.h"
#include "kernels/reduce/reduce.h"

extern const wf_reduce wf_reduce_f32_emul, wf_reduce_bf16_emul;

enum { EMULATED = 2 };

static bool impl_at(int i, wf_reduce_impl *impl)
{
    if (i < wf_n_reduce_impls)
        *impl = wf_reduce_impls[i];
    else if (i == wf_n_reduce_impls)
        *impl = (wf_reduce_impl){&wf_reduce_f32_emul, WEFT_ISA_AVX2, WEFT_F32};
    else
        *impl = (wf_reduce_impl){&wf_reduce_bf16_emul, WEFT_ISA_AVX2, WEFT_BF16};
    return impl->isa <= wf_cpu_isa();
}

/* The most a sum of n values of size at most 1 may be off: a range adds in the element type, at most
 * RANGE / ACCUMULATORS + log2(ACCUMULATORS) = 8 roundings for a run and 64 for a column, each of at most 64. */
static double bound(weft_dtype dtype, size_t n, int roundings)
{
    double merged = (double)n * 0x1p-53 * 64;
    return (double)n * test_epsilon(test_arithmetic(dtype)) * roundings + merged;
}

static void runs_of_every_length(void **state)
{
    static const size_t lengths[] = {0,  1,  7,  15,  16,  17,  31,  63,   64,
                                     65, 80, 96, 127, 128, 129, 448, 1000, 12345};
    wf_reduce_impl impl;
    for (int i = 0; i < wf_n_reduce_impls + EMULATED; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths); l++) {
            size_t n = lengths[l];
            guarded x = test_random(impl.dtype, n, l);
            double want = 0, got = impl.kernels->run(n, x.data);
            for (size_t j = 0; j < n; j++)
                want += test_get(impl.dtype, x.data, j);
            if (!(fabs(got - want) <= bound(impl.dtype, n, 8)))
                fail_msg("%s n=%zu: %.17g, expected %.17g", impl.kernels->name, n, got, want);
            assert_true(got == wf_reduce_get(impl.dtype, WEFT_ISA_SCALAR)->run(n, x.data));
            guarded_free(&x);
        }
    }
}

static void columns_of_every_width(void **state)
{
    static const size_t rows[] = {1, 2, 63, 64, 65, 200}, widths[] = {1, 7, 8, 10, 16, 17, 40};
    wf_reduce_impl impl;
    for (int i = 0; i < wf_n_reduce_impls + EMULATED; i++) {
        if (!impl_at(i, &impl))
            continue;
        const wf_reduce *ref = wf_reduce_get(impl.dtype, WEFT_ISA_SCALAR);
        for (size_t r = 0; r < 6; r++)
            for (size_t w = 0; w < 7; w++) {
                size_t stride = widths[w] + 3;
                guarded x = test_random(impl.dtype, rows[r] * stride, r + 10 * w);
                guarded y = guarded_new(widths[w] * 8, 8), z = guarded_new(widths[w] * 8, 8);
                impl.kernels->columns(rows[r], stride, widths[w], x.data, (double *)y.data);
                ref->columns(rows[r], stride, widths[w], x.data, (double *)z.data);
                assert_memory_equal(y.data, z.data, widths[w] * 8);
                for (size_t j = 0; j < widths[w]; j++) {
                    double want = 0, got = ((double *)y.data)[j];
                    for (size_t k = 0; k < rows[r]; k++)
                        want += test_get(impl.dtype, x.data, k * stride + j);
                    if (!(fabs(got - want) <= bound(impl.dtype, rows[r], 64)))
                        fail_msg("%s rows=%zu width=%zu [%zu]: %.17g, expected %.17g",
                                 impl.kernels->name, rows[r], widths[w], j, got, want);
                }
                guarded_free(&x);
                guarded_free(&y);
                guarded_free(&z);
            }
    }
}

static void channels_give_the_same_bits_in_every_layout(void **state)
{
    static const wf_act cases[] = {{1, 1, 1, 1},   {3, 5, 7, 1},  {8, 28, 28, 1},
                                   {13, 9, 15, 1}, {40, 3, 3, 1}, {17, 1, 67, 1}};
    static const int blocks[] = {1, 4, 8, 16, 32};
    wf_reduce_impl impl;
    for (int i = 0; i < wf_n_reduce_impls + EMULATED; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++)
            for (size_t b = 0; b < 5; b++) {
                wf_act plain = cases[k], a = plain;
                a.block = blocks[b];
                size_t size = weft_dtype_size(impl.dtype), pixels = (size_t)(a.H * a.W);
                guarded p = test_random(impl.dtype, wf_act_count(plain), k);
                guarded x = guarded_new(wf_act_count(a) * size, size);
                guarded y = guarded_new((size_t)a.C * 8, 8), dot = guarded_new((size_t)a.C * 8, 8);
                guarded q = test_random(impl.dtype, wf_act_count(plain), k + 40);
                guarded z = guarded_new(wf_act_count(a) * size, size);
                const weft_dtype real = test_arithmetic(impl.dtype);
                const size_t real_size = weft_dtype_size(real);
                guarded products = guarded_new(wf_act_count(plain) * real_size, real_size);
                for (size_t j = 0; j < wf_act_count(plain); j++) /* rounded to the type */
                    test_set(real, products.data, j,
                             test_get(impl.dtype, p.data, j) * test_get(impl.dtype, q.data, j));
                wf_reorder_any(size, plain, a.block, p.data, x.data);
                wf_reorder_any(size, plain, a.block, q.data, z.data);
                impl.kernels->channels(a, x.data, (double *)y.data);
                impl.kernels->channels_dot(a, x.data, z.data, (double *)dot.data);
                for (int c = 0; c < a.C; c++) {
                    double got = ((double *)y.data)[c], want = 0;
                    for (size_t j = 0; j < pixels; j++)
                        want += test_get(impl.dtype, p.data, (size_t)c * pixels + j);
                    if (!(fabs(got - want) <= bound(impl.dtype, pixels, 8)))
                        fail_msg("%s C=%d block %d c=%d: %.17g, expected %.17g", impl.kernels->name,
                                 a.C, a.block, c, got, want);
                    const wf_reduce *ref = wf_reduce_get(impl.dtype, WEFT_ISA_SCALAR);
                    assert_true(got == ref->run(pixels, p.data + (size_t)c * pixels * size));
                    got = ((double *)dot.data)[c];
                    const wf_reduce *ref_real = wf_reduce_get(real, WEFT_ISA_SCALAR);
                    assert_true(got == ref_real->run(pixels, products.data +
                                                                 (size_t)c * pixels * real_size));
                }
                guarded_free(&q);
                guarded_free(&z);
                guarded_free(&products);
                guarded_free(&dot);
                guarded_free(&p);
                guarded_free(&x);
                guarded_free(&y);
            }
    }
}

static void merging_pairs_neighbours(void **state)
{
    /* (2^53 + 1) loses the 1 in double, 1 + 1 does not: the pairing shows in the result. */
    const double big = 0x1p53, x[] = {big, 1, 1, 1, -big};
    double y;
    wf_merge(4, 1, 1, x, &y); /* (big + 1) + (1 + 1) */
    assert_true(y == big + 2);
    wf_merge(5, 1, 1, x, &y);
    assert_true(y == 2);
    wf_merge(0, 1, 1, x, &y);
    assert_true(y == 0);
    const double pairs[] = {1, 10, 2, 20, 3, 30};
    double sums[2];
    wf_merge(3, 2, 2, pairs, sums);
    assert_true(sums[0] == 6 && sums[1] == 60);
}

/* Values that are equal, zeros of both signs, infinities, denormals; NaN in some columns. */
static guarded extreme_values(weft_dtype dtype, size_t count, size_t seed)
{
    static const double special[] = {0.0,      -0.0,      INFINITY, -INFINITY,
                                     0x1p-140, -0x1p-140, 0.5,      -0.5};
    guarded x = test_random(dtype, count, seed);
    for (size_t i = 0; i < count; i++) {
        const size_t dice = (i * 2654435761u + seed * 40503u) >> 7 & 31;
        if (dice < 8)
            test_set(dtype, x.data, i, special[dice]);
        else if (dice == 8 && i % 5 == seed % 5)
            test_set(dtype, x.data, i, (double)NAN);
        else if (seed % 3 == 0) /* many ties */
            test_set(dtype, x.data, i, floor(4 * test_get(dtype, x.data, i)) / 4);
    }
    return x;
}

/* In the order of doubles, where -0 is below 0 and NaN is further than all; *at: the first one of
 * those that compare equal. */
static double plain_extreme(const wf_strides *s, bool least, weft_dtype dtype, const void *x,
                            size_t o, size_t j, int64_t *at)
{
    double most = 0;
    *at = -1;
    for (size_t k = 0; k < s->K; k++) {
        const double v = test_get(dtype, x, (o * s->K + k) * s->stride + j);
        const bool further = least ? v < most : v > most;
        if (*at < 0 || (!isnan(most) && (further || isnan(v)))) {
            most = v;
            *at = (int64_t)k;
        } else if (v == most && (least ? signbit(v) : !signbit(v))) {
            most = v; /* another zero */
        }
    }
    return most;
}

static void extremes_of_every_shape(void **state)
{
    static const size_t Ks[] = {1, 2, 15, 63, 64, 65, 200}, ns[] = {1, 7, 8, 16, 17, 64, 100};
    wf_reduce_impl impl;
    for (int i = 0; i < wf_n_reduce_impls + EMULATED; i++) {
        for (int c = 0; c < 7 * 7 * 2 && impl_at(i, &impl) && impl.kernels->extreme; c++) {
            const bool least = c % 2;
            /* A row of its own, and columns of wider rows. */
            const size_t n = ns[c / 2 % 7], K = Ks[c / 14], outer = c % 3 ? 1 : 3;
            const wf_strides s = {outer, K, outer == 1 ? n + (c % 3 == 2 ? 3 : 0) : n, n};
            const size_t size = weft_dtype_size(impl.dtype);
            guarded x = extreme_values(impl.dtype, outer * K * s.stride, (size_t)c);
            guarded y = guarded_new(outer * n * size, size), at = guarded_new(outer * n * 8, 8);
            impl.kernels->extreme(s, least, x.data, y.data);
            impl.kernels->arg(s, least, x.data, (int64_t *)at.data);
            for (size_t e = 0; e < outer * n; e++) {
                int64_t first;
                const double got = test_get(impl.dtype, y.data, e);
                const double want =
                    plain_extreme(&s, least, impl.dtype, x.data, e / n, e % n, &first);
                const bool same = isnan(want) ? isnan(got) && !signbit(got)
                                              : got == want && signbit(got) == signbit(want);
                if (!same || ((int64_t *)at.data)[e] != first)
                    fail_msg("%s K=%zu n=%zu outer=%zu %s [%zu]: %g at %lld, expected %g at %lld",
                             impl.kernels->name, K, n, outer, least ? "least" : "greatest", e, got,
                             (long long)((int64_t *)at.data)[e], want, (long long)first);
            }
            guarded_free(&x);
            guarded_free(&y);
            guarded_free(&at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_every_length),
        cmocka_unit_test(columns_of_every_width),
        cmocka_unit_test(channels_give_the_same_bits_in_every_layout),
        cmocka_unit_test(merging_pairs_neighbours),
        cmocka_unit_test(extremes_of_every_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
