/* Every implementation of layer normalisation against long double, for odd lengths, rows far from 0, in
 * place, within bounds derived from its roundings; sums are added to; nothing is written behind the
 * end. */
#include "guarded.h"

#include <math.h>

#include "kernels/norm/layer_norm.h"

extern const wf_layer_norm_fns wf_layer_norm_emul;

static const wf_layer_norm_fns *impl_at(int i)
{
    for (int k = 0; k <= i; k++) {
        const wf_layer_norm_fns *f = wf_layer_norm_list[k];
        if (!f)
            return k == i && wf_cpu_isa() >= WEFT_ISA_AVX2 ? &wf_layer_norm_emul : NULL;
        if (k == i)
            return f;
    }
    return NULL;
}

enum { ROWS = 3 };

typedef struct operands {
    guarded x, dy, gamma, beta, y, dx;
    wf_row_moments moments[ROWS];
    double *sums;
    size_t D, half;
    weft_dtype dtype;
} operands;

/* Rows around `offset`, whose deviation is about 0.6. */
static operands operands_new(weft_dtype dtype, size_t D, double offset)
{
    const size_t size = weft_dtype_size(dtype);
    operands o = {.x = test_random(dtype, ROWS * D, 1),
                  .dy = test_random(dtype, ROWS * D, 2),
                  .gamma = test_random(dtype, D, 3),
                  .beta = test_random(dtype, D, 4),
                  .y = guarded_new(ROWS * D * size, size),
                  .dx = guarded_new(ROWS * D * size, size),
                  .sums = malloc(wf_layer_norm_sums(D) * sizeof(double)),
                  .D = D,
                  .half = wf_layer_norm_sums(D) / 2,
                  .dtype = dtype};
    for (size_t i = 0; i < ROWS * D; i++)
        test_set(dtype, o.x.data, i, test_get(dtype, o.x.data, i) + offset);
    for (size_t i = 0; i < 2 * o.half; i++)
        o.sums[i] = 0.5;
    return o;
}

static void operands_free(operands *o)
{
    guarded *all[] = {&o->x, &o->dy, &o->gamma, &o->beta, &o->y, &o->dx};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        guarded_check(all[i]);
        guarded_free(all[i]);
    }
    free(o->sums);
}

static long double at(const operands *o, const guarded *g, size_t i)
{
    return (long double)test_get(o->dtype, g->data, i);
}

static void expect_near(const char *what, const wf_layer_norm_fns *f, size_t D, size_t i,
                        double got, long double want, double bound)
{
    if (!(fabsl((long double)got - want) <= (long double)bound))
        fail_msg("%s %s, D=%zu [%zu]: %.17g, expected %.17Lg within %g", f->name, what, D, i, got,
                 want, bound);
}

static void check(const wf_layer_norm_fns *f, size_t D, double offset, double eps, bool in_place)
{
    operands o = operands_new(f->dtype, D, offset);
    const double unit = test_epsilon(f->dtype);
    const size_t bytes = ROWS * D * weft_dtype_size(f->dtype);
    if (in_place)
        memcpy(o.y.data, o.x.data, bytes);
    f->forward(ROWS, D, eps, in_place ? o.y.data : o.x.data, o.gamma.data, o.beta.data, o.y.data,
               o.moments);
    if (in_place)
        memcpy(o.dx.data, o.dy.data, bytes);
    f->backward(ROWS, D, o.x.data, in_place ? o.dx.data : o.dy.data, o.gamma.data, o.moments,
                o.dx.data, o.sums);
    long double *dbeta = calloc(2 * D, sizeof(*dbeta)), *dgamma = dbeta + D;
    for (size_t r = 0; r < ROWS; r++) {
        long double mean = 0, var = 0, first = 0, second = 0;
        for (size_t j = 0; j < D; j++)
            mean += at(&o, &o.x, r * D + j) / D;
        for (size_t j = 0; j < D; j++) {
            const long double d = at(&o, &o.x, r * D + j) - mean;
            var += d * d / D;
        }
        const long double invstd = 1 / sqrtl(var + (long double)eps);
        /* The mean is off by a rounding of double a term, all of a size. */
        const double off = (double)D * 0x1p-52 * (fabs(offset) + 1);
        const double scale = (double)invstd, far = 1 + off * scale / unit;
        for (size_t j = 0; j < D; j++) {
            const size_t i = r * D + j;
            const long double xhat = (at(&o, &o.x, i) - mean) * invstd;
            const long double g = at(&o, &o.dy, i) * at(&o, &o.gamma, j);
            first += g / D;
            second += g * xhat / D;
            dbeta[j] += at(&o, &o.dy, i);
            dgamma[j] += at(&o, &o.dy, i) * xhat;
            /* two subtractions, the factor, its own rounding, the product and the sum */
            expect_near("y", f, D, i, test_get(f->dtype, o.y.data, i),
                        xhat * at(&o, &o.gamma, j) + at(&o, &o.beta, j),
                        8 * unit * far * (2 + fabs((double)xhat)));
        }
        for (size_t j = 0; j < D; j++) {
            const size_t i = r * D + j;
            const long double xhat = (at(&o, &o.x, i) - mean) * invstd;
            const long double g = at(&o, &o.dy, i) * at(&o, &o.gamma, j);
            const double size =
                1 + fabs((double)first) + fabs((double)(xhat * second)) + fabs((double)xhat);
            expect_near("dx", f, D, i, test_get(f->dtype, o.dx.data, i),
                        invstd * (g - first - xhat * second), 12 * unit * far * size * scale);
        }
    }
    for (size_t j = 0; j < D; j++) {
        const double most = ROWS * 8 * unit * (2 + 1e-3 * fabs(offset));
        expect_near("dbeta", f, D, j, o.sums[j] - 0.5, dbeta[j], most);
        /* xhat is at most sqrt(D); far from 0 its mean is off as above */
        expect_near("dgamma", f, D, j, o.sums[o.half + j] - 0.5, dgamma[j],
                    most * (1 + sqrt((double)D)));
    }
    free(dbeta);
    operands_free(&o);
}

static void every_implementation_matches_long_double(void **state)
{
    static const size_t sizes[] = {2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 96, 100, 257, 768};
    int tested = 0;
    for (int i = 0;; i++) {
        const wf_layer_norm_fns *f = impl_at(i);
        if (!f)
            break;
        if (f->isa > wf_cpu_isa())
            continue;
        for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++)
            for (int in_place = 0; in_place < 2; in_place++) {
                check(f, sizes[k], 0, 1e-5, in_place);
                check(f, sizes[k], -100, 1e-5, in_place);
                check(f, sizes[k], 0.5, 0.1, in_place);
            }
        tested++;
    }
    assert_true(tested >= 2);
}

/* Note [Moments about a pivot] in layer_norm_simd.c: rows whose first elements are far from the others,
 * whose pivot is no help; and rows with something that is not finite, which become NaN as a whole. */
static void rows_with_outliers(void **state)
{
    static const size_t lengths[] = {16, 64, 127, 784};
    const wf_layer_norm_fns *f;
    for (int k = 0; (f = impl_at(k)); k++)
        for (size_t l = 0; l < 4 && f->isa <= wf_cpu_isa(); l++)
            for (int kind = 0; kind < 4; kind++) {
                const size_t D = lengths[l];
                operands o = operands_new(f->dtype, D, 0);
                const double odd[] = {1e4, -300, INFINITY, NAN};
                for (size_t j = 0; j < (kind == 0 ? 1 : kind == 1 ? 16 : 1); j++)
                    test_set(f->dtype, o.x.data, j, odd[kind]);
                f->forward(ROWS, D, 1e-5, o.x.data, o.gamma.data, o.beta.data, o.y.data, o.moments);
                long double mean = 0, var = 0, size = 0;
                for (size_t j = 0; j < D; j++)
                    mean += at(&o, &o.x, j) / D;
                for (size_t j = 0; j < D; j++) {
                    const long double d = at(&o, &o.x, j) - mean;
                    var += d * d / D;
                    size += fabsl(at(&o, &o.x, j)) / D;
                }
                const long double invstd = 1 / sqrtl(var + 1e-5L);
                for (size_t j = 0; j < D; j++) {
                    const double got = test_get(f->dtype, o.y.data, j);
                    const long double xhat = (at(&o, &o.x, j) - mean) * invstd;
                    if (kind > 1)
                        assert_true(isnan(got));
                    else /* the moments' 9 u var, half of it in invstd, and what check() counts */
                        expect_near("y", f, D, j, got,
                                    xhat * at(&o, &o.gamma, j) + at(&o, &o.beta, j),
                                    test_epsilon(f->dtype) * (13 * (2 + fabs((double)xhat)) +
                                                              7 * (double)(size * invstd)));
                }
                operands_free(&o);
            }
}

/* One element, and rows of equal ones: xhat is 0, to the bit. */
static void rows_without_variance_become_the_bias(void **state)
{
    for (int i = 0; impl_at(i); i++) {
        const wf_layer_norm_fns *f = impl_at(i);
        if (f->isa > wf_cpu_isa())
            continue;
        for (size_t D = 1; D < 40; D += 19) {
            operands o = operands_new(f->dtype, D, 0);
            for (size_t j = 0; j < ROWS * D; j++)
                test_set(f->dtype, o.x.data, j, 1.5);
            f->forward(ROWS, D, 1e-5, o.x.data, o.gamma.data, o.beta.data, o.y.data, o.moments);
            for (size_t j = 0; j < ROWS * D; j++)
                assert_true(test_get(f->dtype, o.y.data, j) ==
                            test_get(f->dtype, o.beta.data, j % D));
            operands_free(&o);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_implementation_matches_long_double),
        cmocka_unit_test(rows_with_outliers),
        cmocka_unit_test(rows_without_variance_become_the_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
