/* Optimizer updates: every implementation against the published formulas in double, bit for bit
 * against the reference, in place and out of place, over odd lengths. */
#include "guarded.h"

#include <math.h>

#include "kernels/optim/optim.h"

extern const wf_optim wf_optim_f32_emul;

static bool impl_at(int i, wf_optim_impl *impl)
{
    if (i < wf_n_optim_impls)
        *impl = wf_optim_impls[i];
    else
        *impl = (wf_optim_impl){&wf_optim_f32_emul, WEFT_ISA_AVX2, WEFT_F32};
    return impl->isa <= wf_cpu_isa();
}

static const size_t lengths[] = {1, 7, 8, 15, 16, 17, 33, 100};
enum { N_LENGTHS = sizeof(lengths) / sizeof(lengths[0]) };

static const wf_sgd sgd_cases[] = {
    {.lr = 0.1},
    {.lr = 0.1, .weight_decay = 0.01},
    {.lr = 0.1, .momentum = 0.9, .first = true},
    {.lr = 0.1, .momentum = 0.9},
    {.lr = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01},
    {.lr = 0.1, .momentum = 0.9, .dampening = 0.5, .first = true},
    {.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true},
    {.lr = 0.05, .momentum = 0.9, .nesterov = true, .first = true},
};

static void close_to(const char *name, size_t i, double got, double want, weft_dtype dtype)
{
    /* at most eight roundings of values of at most 2 */
    if (!(fabs(got - want) <= 16 * test_epsilon(dtype)))
        fail_msg("%s [%zu]: %.17g, expected %.17g", name, i, got, want);
}

static void sgd_matches_the_formula(void **state)
{
    wf_optim_impl impl;
    for (int i = 0; i <= wf_n_optim_impls; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (size_t k = 0; k < sizeof(sgd_cases) / sizeof(*sgd_cases) * N_LENGTHS * 2; k++) {
            const wf_sgd *s = &sgd_cases[k / 2 / N_LENGTHS];
            size_t n = lengths[k / 2 % N_LENGTHS], bytes = n * weft_dtype_size(impl.dtype);
            weft_dtype t = impl.dtype;
            bool in_place = k % 2, buffer = s->momentum != 0;
            guarded p = test_random(t, n, 1), g = test_random(t, n, 2), b = test_random(t, n, 3);
            guarded p0 = test_random(t, n, 1), b0 = test_random(t, n, 3);
            guarded p1 = test_random(t, n, 4), b1 = test_random(t, n, 5);
            guarded pr = test_random(t, n, 4), br = test_random(t, n, 5);
            guarded *po = in_place ? &p : &p1, *bo = in_place ? &b : &b1;
            wf_optim_get(t, WEFT_ISA_SCALAR)
                ->sgd(n, s, p.data, g.data, buffer ? b.data : NULL, pr.data,
                      buffer ? br.data : NULL);
            impl.kernels->sgd(n, s, p.data, g.data, buffer ? b.data : NULL, po->data,
                              buffer ? bo->data : NULL);
            assert_memory_equal(po->data, pr.data, bytes);
            if (buffer)
                assert_memory_equal(bo->data, br.data, bytes);
            for (size_t j = 0; j < n; j++) {
                double x = test_get(t, p0.data, j);
                double d = test_get(t, g.data, j) + s->weight_decay * x;
                if (buffer) {
                    double old = test_get(t, b0.data, j);
                    double m = s->first ? d : s->momentum * old + (1 - s->dampening) * d;
                    close_to(impl.kernels->name, j, test_get(t, bo->data, j), m, t);
                    d = s->nesterov ? d + s->momentum * m : m;
                }
                close_to(impl.kernels->name, j, test_get(t, po->data, j), x - s->lr * d, t);
            }
            guarded *all[] = {&p, &g, &b, &p0, &b0, &p1, &b1, &pr, &br};
            for (int j = 0; j < 9; j++)
                guarded_free(all[j]);
        }
    }
}

static void adamw_matches_the_formula(void **state)
{
    static const wf_adamw cases[] = {
        {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .step = 1},
        {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1000},
        {.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1, .step = 3},
    };
    wf_optim_impl impl;
    for (int i = 0; i <= wf_n_optim_impls; i++) {
        if (!impl_at(i, &impl))
            continue;
        for (size_t k = 0; k < 3 * N_LENGTHS; k++) {
            const wf_adamw *s = &cases[k / N_LENGTHS];
            size_t n = lengths[k % N_LENGTHS], bytes = n * weft_dtype_size(impl.dtype);
            weft_dtype t = impl.dtype;
            guarded p = test_random(t, n, 1), g = test_random(t, n, 2), m = test_random(t, n, 3);
            guarded v = test_random(t, n, 4), pr = test_random(t, n, 5), mr = test_random(t, n, 6);
            guarded vr = test_random(t, n, 7), p0 = test_random(t, n, 1), m0 = test_random(t, n, 3);
            for (size_t j = 0; j < n; j++)
                test_set(t, v.data, j, fabs(test_get(t, v.data, j)));
            guarded v0 = test_random(t, n, 4);
            memcpy(v0.data, v.data, bytes);
            wf_optim_get(t, WEFT_ISA_SCALAR)
                ->adamw(n, s, p.data, g.data, m.data, v.data, pr.data, mr.data, vr.data);
            impl.kernels->adamw(n, s, p.data, g.data, m.data, v.data, p.data, m.data, v.data);
            assert_memory_equal(p.data, pr.data, bytes);
            assert_memory_equal(m.data, mr.data, bytes);
            assert_memory_equal(v.data, vr.data, bytes);
            for (size_t j = 0; j < n; j++) {
                double x = test_get(t, p0.data, j), d = test_get(t, g.data, j);
                double m1 = s->beta1 * test_get(t, m0.data, j) + (1 - s->beta1) * d;
                double v1 = s->beta2 * test_get(t, v0.data, j) + (1 - s->beta2) * d * d;
                double mh = m1 / (1 - pow(s->beta1, (double)s->step));
                double vh = v1 / (1 - pow(s->beta2, (double)s->step));
                x = x - s->lr * s->weight_decay * x - s->lr * mh / (sqrt(vh) + s->eps);
                close_to(impl.kernels->name, j, test_get(t, m.data, j), m1, t);
                close_to(impl.kernels->name, j, test_get(t, v.data, j), v1, t);
                /* At step 1 m and v need not belong together: the quotient may reach 10^2, and is
                 * multiplied by lr. */
                double quotient = fabs(s->lr * mh / (sqrt(vh) + s->eps));
                double bound = 16 * test_epsilon(t) * (1 + quotient);
                if (!(fabs(test_get(t, p.data, j) - x) <= bound))
                    fail_msg("%s [%zu]: %.17g, expected %.17g", impl.kernels->name, j,
                             test_get(t, p.data, j), x);
            }
            guarded *all[] = {&p, &g, &m, &v, &pr, &mr, &vr, &p0, &m0, &v0};
            for (int j = 0; j < 10; j++)
                guarded_free(all[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_matches_the_formula),
        cmocka_unit_test(adamw_matches_the_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
