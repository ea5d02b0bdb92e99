/* Loss kernels against formulas in double: forward, gradients, label checks. */
#include "guarded.h"

#include <math.h>

#include "kernels/loss/loss.h"

typedef struct loss_case {
    size_t outer, K, inner;
    double spread; /* logits lie in [-spread, spread) */
} loss_case;
static const loss_case cases[] = {{1, 1, 1, 1},    {3, 10, 1, 5},  {2, 7, 5, 3},
                                  {1, 1000, 1, 8}, {4, 33, 2, 90}, {5, 2, 3, 300}};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

/* x of a case, spread out. */
static guarded logits(weft_dtype dtype, const loss_case *c, uint64_t seed)
{
    guarded x = test_random(dtype, c->outer * c->K * c->inner, seed);
    for (size_t i = 0; i < c->outer * c->K * c->inner; i++)
        test_set(dtype, x.data, i, test_get(dtype, x.data, i) * c->spread);
    return x;
}

/* log sum exp of the row that starts at x[at], in double. */
static double lse_of(weft_dtype dtype, const void *x, size_t at, size_t K, size_t step)
{
    double top = -INFINITY, sum = 0;
    for (size_t k = 0; k < K; k++)
        top = fmax(top, test_get(dtype, x, at + k * step));
    for (size_t k = 0; k < K; k++)
        sum += exp(test_get(dtype, x, at + k * step) - top);
    return top + log(sum);
}

static void close_to(const char *what, const wf_loss *k, size_t i, double got, double want,
                     double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s: %s [%zu]: %.17g, expected %.17g +- %g", k->name, what, i, got, want, bound);
}

/* exp rounds its argument's error on: |x - top| <= 2 spread gives a relative error of
 * (2 spread + 2) eps, plus a few roundings. */
static void softmax_and_log_softmax_match_the_formula(void **state)
{
    for (int i = 0; i < wf_n_loss_impls; i++)
        for (size_t k = 0; k < N_CASES; k++) {
            const wf_loss *kernel = wf_loss_impls[i].kernels;
            weft_dtype dtype = wf_loss_impls[i].dtype;
            const loss_case *c = &cases[k];
            size_t n = c->outer * c->K * c->inner, size = weft_dtype_size(dtype);
            double eps = test_epsilon(dtype), slack = (2 * c->spread + 8) * 2 * eps;
            guarded x = logits(dtype, c, k), dy = test_random(dtype, n, 77);
            guarded p = guarded_new(n * size, size), l = guarded_new(n * size, size);
            guarded dp = guarded_new(n * size, size), dl = guarded_new(n * size, size);
            kernel->softmax(c->outer, c->K, c->inner, x.data, p.data);
            kernel->log_softmax(c->outer, c->K, c->inner, x.data, l.data);
            kernel->softmax_backward(c->outer, c->K, c->inner, p.data, dy.data, dp.data);
            kernel->log_softmax_backward(c->outer, c->K, c->inner, l.data, dy.data, dl.data);
            for (size_t at = 0; at < n; at++) {
                size_t row = at / (c->K * c->inner) * c->K * c->inner + at % c->inner;
                double lse = lse_of(dtype, x.data, row, c->K, c->inner);
                double logp = test_get(dtype, x.data, at) - lse, want = exp(logp), sum = 0, dot = 0;
                for (size_t j = 0; j < c->K; j++) {
                    double g = test_get(dtype, dy.data, row + j * c->inner);
                    sum += g;
                    dot += g * exp(test_get(dtype, x.data, row + j * c->inner) - lse);
                }
                double g = test_get(dtype, dy.data, at);
                double tiny = dtype == WEFT_F32 ? 1e-37 : 0; /* denormals */
                close_to("softmax", kernel, at, test_get(dtype, p.data, at), want,
                         want * slack + tiny);
                close_to("log_softmax", kernel, at, test_get(dtype, l.data, at), logp, slack);
                close_to("softmax_backward", kernel, at, test_get(dtype, dp.data, at),
                         want * (g - dot), 4 * slack * want + tiny);
                close_to("log_softmax_backward", kernel, at, test_get(dtype, dl.data, at),
                         g - want * sum, 2 * slack * (want * (double)c->K + 1));
            }
            guarded_free(&x);
            guarded_free(&dy);
            guarded_free(&p);
            guarded_free(&l);
            guarded_free(&dp);
            guarded_free(&dl);
        }
}

/* What a table of cross-entropy cases varies beside the shape. */
static const struct {
    double smoothing;
    bool weighted, log_probs;
    int64_t ignore;
} variants[] = {{0, false, false, -100}, {0.1, false, false, -100}, {1, false, false, 0},
                {0, true, false, -100},  {0.3, true, false, 0},     {0, true, true, 0},
                {0, false, true, -100}};
enum { N_VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static void cross_entropy_matches_the_formula(void **state)
{
    for (int i = 0; i < wf_n_loss_impls; i++)
        for (size_t k = 0; k < N_CASES * N_VARIANTS; k++) {
            const wf_loss *kernel = wf_loss_impls[i].kernels;
            weft_dtype dtype = wf_loss_impls[i].dtype;
            loss_case c = cases[k / N_VARIANTS];
            c.outer *= c.inner;
            c.inner = 1;
            double eps = variants[k % N_VARIANTS].smoothing;
            bool log_probs = variants[k % N_VARIANTS].log_probs;
            double slack = (2 * c.spread + 8) * 4 * test_epsilon(dtype);
            size_t n = c.outer * c.K, size = weft_dtype_size(dtype);
            guarded x = logits(dtype, &c, k), exps = guarded_new(c.outer * sizeof(wf_row_exp), 8);
            guarded losses = guarded_new(c.outer * 8, 8), counts = guarded_new(c.outer * 8, 8);
            guarded dx = guarded_new(n * size, size), weight = test_random(dtype, c.K, 9);
            guarded dloss = test_random(dtype, c.outer, 5);
            int64_t labels[64];
            for (size_t r = 0; r < c.outer; r++)
                labels[r] = (int64_t)(test_bits(6, r) % c.K);
            wf_class_loss p = {c.K, variants[k % N_VARIANTS].weighted ? weight.data : NULL,
                               variants[k % N_VARIANTS].ignore, eps, log_probs};
            double weights = 0; /* the largest sum of targets there may be */
            for (size_t j = 0; j < c.K; j++)
                weights += p.weight ? fabs(test_get(dtype, weight.data, j)) : 0;
            double most = 1 + eps / (double)c.K * weights;
            assert_int_equal(kernel->cross_entropy(&p, c.outer, x.data, labels,
                                                   (double *)losses.data, (double *)counts.data,
                                                   (wf_row_exp *)exps.data),
                             -1);
            kernel->cross_entropy_backward(&p, c.outer, x.data, labels, (wf_row_exp *)exps.data,
                                           0.5, dloss.data, 1, dx.data);
            for (size_t r = 0; r < c.outer; r++) {
                bool counted = labels[r] != p.ignore;
                double want_lse = log_probs ? 0 : lse_of(dtype, x.data, r * c.K, c.K, 1);
                double want = 0, all = 0, target[1000];
                for (size_t j = 0; j < c.K; j++) {
                    double w = p.weight ? test_get(dtype, weight.data, j) : 1;
                    double logp = test_get(dtype, x.data, r * c.K + j) - want_lse;
                    target[j] = w * (eps / (double)c.K + ((int64_t)j == labels[r] ? 1 - eps : 0));
                    target[j] = counted ? target[j] : 0;
                    want -= target[j] * logp;
                    all += target[j];
                }
                for (size_t j = 0; j < c.K; j++) {
                    double logp = test_get(dtype, x.data, r * c.K + j) - want_lse;
                    double share = log_probs ? 0 : exp(logp) * all;
                    close_to("cross_entropy_backward", kernel, r * c.K + j,
                             test_get(dtype, dx.data, r * c.K + j),
                             0.5 * test_get(dtype, dloss.data, r) * (share - target[j]),
                             slack * most);
                }
                const wf_row_exp *e = (wf_row_exp *)exps.data + r;
                if (counted)
                    close_to("exps", kernel, r, e->top + log(e->sum), want_lse, slack);
                assert_true(((double *)counts.data)[r] ==
                            (!counted   ? 0
                             : p.weight ? test_get(dtype, weight.data, (size_t)labels[r])
                                        : 1));
                /* twice K additions, here and there, of at most 2 spread + log K */
                double sums = 2 * (double)c.K * 0x1p-53 * (2 * c.spread + log((double)c.K));
                close_to("cross_entropy", kernel, r, ((double *)losses.data)[r], want,
                         (slack * 4 + sums) * most);
            }
            guarded_free(&x);
            guarded_free(&exps);
            guarded_free(&losses);
            guarded_free(&counts);
            guarded_free(&weight);
            guarded_free(&dx);
            guarded_free(&dloss);
        }
}

static const wf_class_loss two = {.K = 2, .ignore = -100}, three = {.K = 3, .ignore = -100};

static void one_loss_gradient_may_serve_every_row(void **state)
{
    const float x[] = {1, 2, 3, 1}, dloss = 2;
    const wf_row_exp exps[] = {{2, 1.3678794}, {3, 1.1353353}};
    const int64_t labels[] = {0, 1};
    float dx[4];
    wf_loss_get(WEFT_F32, WEFT_ISA_SCALAR)
        ->cross_entropy_backward(&two, 2, x, labels, exps, 0.5, &dloss, 0, dx);
    const double want[] = {-0.7310586, 0.7310586, 0.8807971, -0.8807971};
    for (int i = 0; i < 4; i++)
        assert_true(fabs(dx[i] - want[i]) < 1e-6); /* as many digits as written above */
}

static void ignored_rows_have_no_gradient_even_of_an_infinite_loss(void **state)
{
    const double x[] = {1, 2}, dloss = (double)INFINITY;
    const wf_row_exp exps = {0, 1};
    double dx[2] = {7, 7};
    wf_loss_get(WEFT_F64, WEFT_ISA_SCALAR)
        ->cross_entropy_backward(&two, 1, x, &two.ignore, &exps, 1, &dloss, 0, dx);
    assert_true(dx[0] == 0 && dx[1] == 0);
}

static void a_label_out_of_range_names_its_row(void **state)
{
    static const struct {
        int64_t labels[4], row;
    } bad[] = {
        {{0, 1, 2, 0}, -1}, {{0, 3, 0, 0}, 1}, {{-1, 0, 0, 0}, 0}, {{0, 0, 0, INT64_MIN}, 3}};
    float x[12] = {0};
    double y[12] = {0}, losses[4], counts[4];
    wf_row_exp exps[4];
    int64_t correct = 0, counted = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const wf_loss *f = wf_loss_get(WEFT_F32, WEFT_ISA_AVX512);
        const wf_loss *d = wf_loss_get(WEFT_F64, WEFT_ISA_AVX512);
        const int64_t *labels = bad[i].labels;
        assert_int_equal(f->cross_entropy(&three, 4, x, labels, losses, counts, exps), bad[i].row);
        assert_int_equal(d->cross_entropy(&three, 4, y, labels, losses, counts, exps), bad[i].row);
        assert_int_equal(f->count_correct(4, 3, x, labels, -100, &correct, &counted), bad[i].row);
        assert_int_equal(d->count_correct(4, 3, y, labels, -100, &correct, &counted), bad[i].row);
    }
}

static void count_correct_takes_the_first_maximum(void **state)
{
    const float x[] = {1, 3, 2, 5, 5, 0, -1, -2, -1, 0, 0, 1};
    const struct {
        int64_t labels[4], ignore, correct, counted;
    } table[] = {{{1, 0, 0, 2}, -100, 4, 4},    {{1, 1, 2, 2}, -100, 2, 4},
                 {{0, 1, 1, 0}, -100, 0, 4},    {{1, -100, 0, 1}, -100, 2, 3},
                 {{1, 255, 255, 2}, 255, 2, 2}, {{1, 0, 0, 2}, 0, 2, 2},
                 {{7, 7, 7, 7}, 7, 0, 0}};
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        int64_t correct = -5, counted = -5;
        const wf_loss *k = wf_loss_get(WEFT_F32, WEFT_ISA_SCALAR);
        assert_int_equal(
            k->count_correct(4, 3, x, table[i].labels, table[i].ignore, &correct, &counted), -1);
        assert_int_equal(correct, table[i].correct);
        assert_int_equal(counted, table[i].counted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_and_log_softmax_match_the_formula),
        cmocka_unit_test(cross_entropy_matches_the_formula),
        cmocka_unit_test(one_loss_gradient_may_serve_every_row),
        cmocka_unit_test(ignored_rows_have_no_gradient_even_of_an_infinite_loss),
        cmocka_unit_test(a_label_out_of_range_names_its_row),
        cmocka_unit_test(count_correct_takes_the_first_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
