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
        assert_true(weft_item(weft_count_correct(logits, y)) == 3);
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
        weft_tensor *out = op ? weft_count_correct(logits, y) : weft_cross_entropy(logits, y, NULL);
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
        cmocka_unit_test(the_mean_divides_by_the_weights_that_count),
        cmocka_unit_test(count_correct_counts),
        cmocka_unit_test(a_label_out_of_range_fails_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
