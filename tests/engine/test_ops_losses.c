/* Losses over more rows than a tile, what counts in their means, labels out of range. */
#include "tests/engine/values.h"

enum { ROWS = 3000, K = 10 }; /* more than one tile */

static void cross_entropy_reduces_all_rows(void **state)
{
    static double x[ROWS * K], rows[ROWS], got[ROWS * K];
    static int64_t labels[ROWS];
    make_input(0, WEFT_SHAPE(ROWS, K), x);
    for (int c = 0; c < 12; c++) {
        double eps = c % 2 ? 0.1 : 0.0;
        weft_dtype dtype = c / 2 % 2 ? WEFT_F64 : WEFT_F32;
        double roundings = dtype == WEFT_F32 ? 0x1p-24 : 0x1p-50;
        weft_cross_entropy_opts opts = {eps, (weft_reduction)(c / 4)};
        double sum = 0;
        for (int r = 0; r < ROWS; r++) {
            double lse = 0, all = 0;
            labels[r] = (r * 7) % K;
            for (int k = 0; k < K; k++)
                lse += exp(x[r * K + k]);
            lse = log(lse);
            for (int k = 0; k < K; k++)
                all += lse - x[r * K + k];
            rows[r] = (1 - eps) * (lse - x[r * K + labels[r]]) + eps / K * all;
            sum += rows[r];
        }
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(ROWS, K), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(ROWS), labels);
        read_all(ctx, weft_cross_entropy(logits, y, &opts), got);
        if (opts.reduction == WEFT_NONE) {
            for (int r = 0; r < ROWS; r++)
                assert_true(fabs(got[r] - rows[r]) <= 40 * roundings * 4);
        } else {
            double want = opts.reduction == WEFT_MEAN ? sum / ROWS : sum;
            double scale = opts.reduction == WEFT_MEAN ? 1 : ROWS;
            if (!(fabs(got[0] - want) <= 40 * roundings * 4 * scale))
                fail_msg("case %d: %.17g, expected %.17g", c, got[0], want);
        }
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

/* The gradient of cross-entropy of x (n, k) f32 numbers, label `label` in every row, summed, in
 * dtype; returns the loss. */
static double gradient_of(weft_dtype dtype, int64_t n, int64_t k, const double *x, int64_t label,
                          bool by_log_softmax, double *dx)
{
    const int64_t labels[4] = {label, label, label, label};
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(n, k), x);
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(n), labels);
    weft_cross_entropy_opts sum = {.reduction = WEFT_SUM};
    weft_nll_opts nll_sum = {.reduction = WEFT_SUM};
    weft_set_requires_grad(logits, true);
    weft_tensor *loss = by_log_softmax
                            ? weft_nll_loss(weft_log_softmax(logits, WEFT_DIMS(1)), y, &nll_sum)
                            : weft_cross_entropy(logits, y, &sum);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    read_all(ctx, weft_grad(logits), dx);
    double value = weft_item(loss);
    weft_tensor_unref(logits);
    weft_tensor_unref(y);
    weft_context_destroy(ctx);
    return value;
}

/* Adding a constant to a row changes neither loss nor gradient. x - top is exact here; exp is off
 * by a unit in the last place or less, its sum (in double) relatively no more, p and p - 1 and the
 * product with the loss's gradient round: 5 half units of max(p, |p - 1|) on |p - 1|. log_softmax
 * rounds the logarithm of p, up to 3.2 here, and takes its exponential: 4 half units more. */
static void gradients_do_not_depend_on_how_large_the_logits_are(void **state)
{
    static const double row[] = {0, 1, -2, 0.5}, shifts[] = {0, 100, 1e4, 1e6, -1e6};
    double sum = 0;
    for (int k = 0; k < 4; k++)
        sum += exp(row[k]);
    for (int c = 0; c < 20; c++) {
        weft_dtype dtype = c % 2 ? WEFT_F64 : WEFT_F32;
        double half = dtype == WEFT_F32 ? 0x1p-24 : 0x1p-53, x[4], dx[4], shift = shifts[c / 4];
        for (int k = 0; k < 4; k++)
            x[k] = shift + row[k];
        double loss = gradient_of(dtype, 1, 4, x, 1, c / 2 % 2, dx), want = log(sum) - 1;
        if (!(fabs(loss - want) <= 4 * half * want))
            fail_msg("%s at %g: loss %.17g, expected %.17g", weft_dtype_name(dtype), shift, loss,
                     want);
        for (int k = 0; k < 4; k++) {
            double p = exp(row[k]) / sum, g = k == 1 ? p - 1 : p;
            if (!(fabs(dx[k] - g) <= (c / 2 % 2 ? 9 : 5) * half * fmax(p, fabs(g))))
                fail_msg("%s at %g: gradient %d is %.17g, expected %.17g", weft_dtype_name(dtype),
                         shift, k, dx[k], g);
        }
    }
}

static void logits_near_the_largest_number_have_a_loss_and_a_gradient(void **state)
{
    static const struct {
        double x[3], loss, dx[3];
    } cases[] = {{{1e30, 1e30, 0}, M_LN2, {-0.5, 0.5, 0}},
                 {{3e38, 3e38, 3e38}, 1.0986122886681098, {-2 / 3.0, 1 / 3.0, 1 / 3.0}},
                 {{-3e38, -3e38, -3e38}, 1.0986122886681098, {-2 / 3.0, 1 / 3.0, 1 / 3.0}},
                 {{1e38, -1e38, 0}, 0, {0, 0, 0}}};
    for (int c = 0; c < 16; c++) {
        weft_dtype dtype = c % 2 ? WEFT_F64 : WEFT_F32;
        double dx[3], loss = gradient_of(dtype, 1, 3, cases[c / 4].x, 0, c / 2 % 2, dx);
        double eps = dtype == WEFT_F32 ? 0x1p-22 : 0x1p-51;
        assert_true(fabs(loss - cases[c / 4].loss) <= eps);
        for (int k = 0; k < 3; k++)
            assert_true(fabs(dx[k] - cases[c / 4].dx[k]) <= eps);
    }
}

/* As in PyTorch, whose loss is (1 - eps) 0/0 + eps/K something/0: NaN, gradients too, but for rows
 * that are ignored. */
static void a_mean_over_weights_that_sum_to_zero_is_nan(void **state)
{
    static const double x[] = {1, 2, 3, 1, 2, 4}, weights[] = {0, 1, 2};
    static const int64_t labels[] = {0, -100};
    for (int c = 0; c < 6; c++) {
        weft_dtype dtype = c % 2 ? WEFT_F64 : WEFT_F32;
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(2, 3), x);
        weft_tensor *w = stored(ctx, dtype, WEFT_SHAPE(3), weights);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), labels);
        weft_cross_entropy_opts opts = {.label_smoothing = 0.5 * (c / 2), .weight = w};
        double dx[6];
        weft_set_requires_grad(logits, true);
        weft_tensor *loss = weft_cross_entropy(logits, y, &opts);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        read_all(ctx, weft_grad(logits), dx);
        assert_true(isnan(weft_item(loss)));
        for (int i = 0; i < 6; i++)
            assert_true(i < 3 ? isnan(dx[i]) : dx[i] == 0);
        weft_tensor_unref(logits);
        weft_tensor_unref(w);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

/* (1 - t) log(1 + exp(x)) + t log(1 + exp(-x)) and its gradient (1 - t) p - t (1 - p) keep their
 * digits where the network is sure: relative to the number, not to 1. softplus and sigmoid are
 * off by a few units in the last place in float. */
static void binary_cross_entropy_keeps_its_digits_on_both_sides(void **state)
{
    static const double x[] = {-60, -20, -10, -1, 0, 1, 10, 20, 60};
    enum { M = sizeof(x) / sizeof(*x) };
    for (int c = 0; c < 4; c++) {
        weft_dtype dtype = c % 2 ? WEFT_F64 : WEFT_F32;
        double eps = dtype == WEFT_F32 ? 0x1p-20 : 0x1p-48, t = c / 2, targets[M], y[M], dx[M];
        for (int i = 0; i < M; i++)
            targets[i] = t;
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(M), x);
        weft_tensor *target = stored(ctx, dtype, WEFT_SHAPE(M), targets);
        weft_bce_opts none = {.reduction = WEFT_NONE};
        weft_set_requires_grad(logits, true);
        weft_tensor *losses = weft_keep(weft_bce_with_logits(logits, target, &none));
        assert_int_equal(weft_backward(weft_sum(losses, WEFT_ALL_DIMS, false)), WEFT_OK);
        read_all(ctx, weft_grad(logits), dx);
        read_all(ctx, losses, y);
        for (int i = 0; i < M; i++) {
            double s = t == 1 ? -x[i] : x[i], loss = fmax(s, 0) + log1p(exp(-fabs(s)));
            double g = (t == 1 ? -1 : 1) / (1 + exp(-s));
            assert_true(fabs(y[i] - loss) <= eps * loss);
            assert_true(fabs(dx[i] - g) <= eps * fabs(g));
        }
        weft_tensor_unref(losses);
        weft_tensor_unref(logits);
        weft_tensor_unref(target);
        weft_context_destroy(ctx);
    }
}

/* Two of three rows count, with weights 1 and 4; nothing counts where all are ignored. */
static void the_mean_divides_by_the_weights_that_count(void **state)
{
    const double logp[] = {-1, -2, -3, -4, -5, -6}, weights[] = {1, 4};
    const int64_t some[] = {0, -100, 1}, none[] = {7, 7, 7}, seven = 7;
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = stored(ctx, WEFT_F64, WEFT_SHAPE(3, 2), logp);
    weft_tensor *w = stored(ctx, WEFT_F64, WEFT_SHAPE(2), weights);
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(3), some);
    weft_tensor *no = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(3), none);
    weft_nll_opts mean = {WEFT_MEAN, w, NULL}, sum = {WEFT_SUM, NULL, NULL};
    weft_nll_opts skip_mean = {.ignore_index = &seven};
    weft_nll_opts skip_sum = {WEFT_SUM, NULL, &seven};
    assert_true(weft_item(weft_nll_loss(x, y, &mean)) == (1 * 1 + 4 * 6) / 5.0);
    assert_true(weft_item(weft_nll_loss(x, y, &sum)) == 7);
    assert_true(isnan(weft_item(weft_nll_loss(x, no, &skip_mean))));
    assert_true(weft_item(weft_nll_loss(x, no, &skip_sum)) == 0);
    assert_int_equal(weft_error_status(ctx), WEFT_OK);
    weft_tensor *all[] = {x, w, y, no};
    for (int i = 0; i < 4; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

static void count_correct_counts(void **state)
{
    const double x[] = {1, 3, 2, 5, 5, 0, -1, -2, -1, 0, 0, 1};
    const int64_t labels[] = {1, 0, 2, 2};
    for (weft_dtype dtype = WEFT_F32; dtype <= WEFT_F64; dtype++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(4, 3), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), labels);
        assert_true(weft_item(weft_count_correct(logits, y, NULL, NULL)) == 3);
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

/* Beside a loss that ignores the same labels, in one step that runs to its end. */
static void ignored_labels_are_neither_correct_nor_counted(void **state)
{
    static const double x[] = {1, 3, 2, 5, 5, 0, -1, -2, -1, 0, 0, 1};
    static const int64_t outside = 255, inside = 2;
    static const struct {
        int64_t labels[4];
        const int64_t *ignore;
        double correct, counted;
    } cases[] = {{{1, -100, 2, 2}, NULL, 2, 3},
                 {{1, 255, 255, 2}, &outside, 2, 2},
                 {{1, 0, 2, 2}, &inside, 2, 2},
                 {{255, 255, 255, 255}, &outside, 0, 0}};
    for (int c = 0; c < 4; c++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, WEFT_F32, WEFT_SHAPE(4, 3), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), cases[c].labels);
        weft_cross_entropy_opts opts = {.reduction = WEFT_SUM, .ignore_index = cases[c].ignore};
        weft_tensor *counted = NULL;
        weft_set_requires_grad(logits, true);
        weft_tensor *loss = weft_cross_entropy(logits, y, &opts);
        weft_tensor *correct = weft_keep(weft_count_correct(logits, y, cases[c].ignore, &counted));
        counted = weft_keep(counted);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        assert_true(weft_item(correct) == cases[c].correct);
        assert_true(weft_item(counted) == cases[c].counted);
        weft_tensor_unref(correct);
        weft_tensor_unref(counted);
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

static void a_label_out_of_range_fails_the_run(void **state)
{
    static double x[ROWS * K];
    static int64_t labels[ROWS];
    labels[2999] = 12;
    for (int op = 0; op < 2; op++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, WEFT_F32, WEFT_SHAPE(ROWS, K), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(ROWS), labels);
        weft_tensor *out =
            op ? weft_count_correct(logits, y, NULL, NULL) : weft_cross_entropy(logits, y, NULL);
        assert_true(isnan(weft_item(out)));
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_INVALID);
        assert_non_null(strstr(weft_error_text(ctx), "label 12 at row 2999 is outside [0, 10)"));
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_reduces_all_rows),
        cmocka_unit_test(gradients_do_not_depend_on_how_large_the_logits_are),
        cmocka_unit_test(logits_near_the_largest_number_have_a_loss_and_a_gradient),
        cmocka_unit_test(a_mean_over_weights_that_sum_to_zero_is_nan),
        cmocka_unit_test(binary_cross_entropy_keeps_its_digits_on_both_sides),
        cmocka_unit_test(the_mean_divides_by_the_weights_that_count),
        cmocka_unit_test(count_correct_counts),
        cmocka_unit_test(ignored_labels_are_neither_correct_nor_counted),
        cmocka_unit_test(a_label_out_of_range_fails_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
