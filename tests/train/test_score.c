/* Evaluation's figures against plain formulas: ties, outputs that are not numbers, batches. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/alloc.h"
#include "train/score.h"

enum { N = 300, K = 9, WORST = 12 };

static const weft_eval_opts everything = {.per_class = true, .confusion = true, .worst = WORST};

static weft_eval_result score(const weft_eval_opts *opts, int64_t n, int64_t classes, int64_t batch,
                              const float *logits, const int64_t *labels)
{
    wf_score s = wf_score_start(opts);
    weft_error err = WEFT_ERROR_INIT;
    weft_eval_result r = {0};
    for (int64_t at = 0; at < n; at += batch) {
        int64_t samples[N], count = n - at < batch ? n - at : batch;
        for (int64_t i = 0; i < count; i++)
            samples[i] = at + i;
        assert_int_equal(
            wf_score_add(&s, count, classes, logits + at * classes, labels + at, samples, &err),
            WEFT_OK);
    }
    wf_score_finish(&s, &r);
    wf_score_done(&s);
    return r;
}

/* Coarse numbers, so that ties happen; class 7 is never a label and class 8 is never predicted. */
static void make(float *logits, int64_t *labels)
{
    uint32_t x = 12345;
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < K; k++) {
            x = x * 1664525u + 1013904223u;
            logits[n * K + k] = (float)(x >> 29) * 0.5f - (k == 8 ? 100.0f : 0.0f);
        }
        labels[n] = n % K;
        if (labels[n] == 7)
            labels[n] = 8;
    }
}

static int64_t first_largest(const float *row)
{
    int64_t best = 0;
    for (int k = 1; k < K; k++)
        if (row[k] > row[best])
            best = k;
    return best;
}

/* -log softmax(row)[label], without the usual shift: the numbers are small. */
static double plain_loss(const float *row, int64_t label)
{
    double sum = 0;
    for (int k = 0; k < K; k++)
        sum += exp((double)row[k]);
    return -log(exp((double)row[label]) / sum);
}

static void figures_agree_with_plain_formulas(void **state)
{
    static float logits[N * K];
    int64_t labels[N], confusion[K][K] = {{0}}, correct = 0, correct5 = 0;
    double loss = 0;
    make(logits, labels);
    for (int n = 0; n < N; n++) {
        const float *row = logits + n * K;
        int64_t predicted = first_largest(row);
        int larger = 0, equal_before = 0;
        for (int k = 0; k < K; k++) {
            larger += row[k] > row[labels[n]];
            equal_before += row[k] == row[labels[n]] && k < labels[n];
        }
        confusion[labels[n]][predicted]++;
        correct += predicted == labels[n];
        correct5 += larger + equal_before < 5;
        loss += plain_loss(row, labels[n]);
    }
    weft_eval_result r = score(&everything, N, K, 32, logits, labels);
    assert_int_equal(r.images, N);
    assert_int_equal(r.classes, K);
    assert_int_equal(r.nan_images, 0);
    assert_true(correct > 0 && correct < correct5 && correct5 < N);
    assert_true(r.acc1 == 100.0 * (double)correct / N);
    assert_true(r.acc5 == 100.0 * (double)correct5 / N);
    /* Each loss is at most some 100, a few roundings of it apart; the sums add N more. */
    assert_true(fabs(r.loss - loss / N) <= (N + 2 * K + 8) * DBL_EPSILON * 110);
    assert_memory_equal(r.confusion, confusion, sizeof(confusion));
    double recalls = 0, precisions = 0, f1s = 0;
    for (int c = 0; c < K; c++) {
        int64_t support = 0, predicted = 0, hits = confusion[c][c];
        for (int k = 0; k < K; k++) {
            support += confusion[c][k];
            predicted += confusion[k][c];
        }
        const weft_class_score *p = &r.per_class[c];
        assert_int_equal(p->support, support);
        assert_int_equal(p->predicted, predicted);
        assert_int_equal(p->correct, hits);
        assert_true(support ? p->recall == 100.0 * (double)hits / (double)support
                            : isnan(p->recall));
        assert_true(predicted ? p->precision == 100.0 * (double)hits / (double)predicted
                              : isnan(p->precision));
        double f1 = support && predicted && hits
                        ? 2 * p->precision * p->recall / (p->precision + p->recall)
                        : 0;
        assert_true(fabs(p->f1 - f1) <= 8 * DBL_EPSILON * 100);
        recalls += support ? p->recall : 0;
        precisions += support && predicted ? p->precision : 0;
        f1s += support ? f1 : 0;
    }
    assert_int_equal(r.per_class[7].support, 0);
    assert_int_equal(r.per_class[8].predicted, 0);
    double met = K - 1; /* classes with images */
    assert_true(fabs(r.mean.recall - recalls / met) <= 4 * K * DBL_EPSILON * 100);
    assert_true(fabs(r.mean.precision - precisions / met) <= 4 * K * DBL_EPSILON * 100);
    assert_true(fabs(r.mean.f1 - f1s / met) <= 8 * K * DBL_EPSILON * 100);
    assert_int_equal(r.mean.support, N);
    assert_int_equal(r.mean.correct, correct);
    weft_eval_result_done(&r);
}

static int by_loss(const void *a, const void *b)
{
    const weft_mistake *x = a, *y = b;
    if (x->loss != y->loss)
        return x->loss < y->loss ? 1 : -1;
    return x->sample < y->sample ? -1 : 1;
}

static void the_worst_mistakes_are_those_of_the_highest_loss(void **state)
{
    static float logits[N * K];
    int64_t labels[N];
    weft_mistake all[N];
    int n_all = 0;
    make(logits, labels);
    /* Equal losses must come in the images' order. */
    int worst = 0;
    for (int n = 1; n < N; n++)
        if (plain_loss(logits + n * K, labels[n]) > plain_loss(logits + worst * K, labels[worst]))
            worst = n;
    int again = worst < N / 2 ? N - 1 : 0;
    memcpy(logits + again * K, logits + worst * K, K * sizeof(float));
    labels[again] = labels[worst];
    for (int n = 0; n < N; n++) {
        double loss = plain_loss(logits + n * K, labels[n]);
        if (first_largest(logits + n * K) != labels[n])
            all[n_all++] = (weft_mistake){.sample = n, .loss = loss};
    }
    qsort(all, (size_t)n_all, sizeof(all[0]), by_loss);
    weft_eval_result r = score(&everything, N, K, 64, logits, labels);
    assert_int_equal(r.n_worst, WORST);
    assert_true(r.worst[0].loss == r.worst[1].loss);
    for (int i = 0; i < WORST; i++) {
        const weft_mistake *m = &r.worst[i];
        /* Losses that are equal but for their rounding may change places in `all`. */
        assert_true(fabs(m->loss - all[i].loss) <= (2 * K + 8) * DBL_EPSILON * 110);
        const float *row = logits + m->sample * K;
        assert_int_equal(m->label, labels[m->sample]);
        assert_int_equal(m->predicted, first_largest(row));
        assert_true(fabs(m->probability - exp(-plain_loss(row, m->predicted))) < 1e-12);
        assert_true(fabs(m->label_probability - exp(-plain_loss(row, m->label))) < 1e-12);
        if (i > 0)
            assert_true(m->loss < r.worst[i - 1].loss ||
                        (m->loss == r.worst[i - 1].loss && m->sample > r.worst[i - 1].sample));
    }
    weft_eval_result_done(&r);

    /* Fewer mistakes than asked for; images that are right are none. */
    const float two[] = {3, 1, 1, 3};
    r = score(&everything, 2, 2, 2, two, (int64_t[]){0, 0});
    assert_int_equal(r.n_worst, 1);
    assert_int_equal(r.worst[0].sample, 1);
    weft_eval_result_done(&r);
}

static void the_batch_size_changes_no_bit(void **state)
{
    static float logits[N * K];
    int64_t labels[N];
    make(logits, labels);
    weft_eval_result whole = score(&everything, N, K, N, logits, labels);
    for (int64_t batch = 1; batch < N; batch = batch * 3 + 1) {
        weft_eval_result r = score(&everything, N, K, batch, logits, labels);
        assert_memory_equal(&r.loss, &whole.loss, sizeof(r.loss));
        assert_true(r.acc1 == whole.acc1 && r.acc5 == whole.acc5);
        assert_memory_equal(&r.mean, &whole.mean, sizeof(r.mean));
        assert_memory_equal(r.per_class, whole.per_class, K * sizeof(r.per_class[0]));
        assert_memory_equal(r.confusion, whole.confusion, K * K * sizeof(r.confusion[0]));
        assert_int_equal(r.n_worst, whole.n_worst);
        assert_memory_equal(r.worst, whole.worst, (size_t)r.n_worst * sizeof(r.worst[0]));
        weft_eval_result_done(&r);
    }
    weft_eval_result_done(&whole);
}

static void of_equal_outputs_the_first_is_predicted(void **state)
{
    const float even[2 * 7] = {0};
    const int64_t labels[2] = {0, 5};
    weft_eval_result r = score(&everything, 2, 7, 2, even, labels);
    assert_true(r.acc1 == 50.0); /* class 0 */
    assert_true(r.acc5 == 50.0); /* classes 0 to 4 */
    assert_true(fabs(r.loss - log(7)) <= 8 * DBL_EPSILON);
    weft_eval_result_done(&r);
}

static void outputs_near_the_largest_number_have_a_loss(void **state)
{
    const float logits[4] = {1e30f, 1e30f, -3e38f, -3e38f};
    weft_eval_result r = score(&everything, 2, 2, 2, logits, (int64_t[]){0, 1});
    assert_true(fabs(r.loss - log(2)) <= 4 * DBL_EPSILON);
    assert_true(fabs(r.worst[0].probability - 0.5) <= 4 * DBL_EPSILON);
    weft_eval_result_done(&r);
}

static void few_classes_have_no_top5(void **state)
{
    const float logits[6] = {1};
    const int64_t labels[1] = {0};
    for (int64_t classes = 1; classes <= 6; classes++) {
        weft_eval_result r = score(&everything, 1, classes, 1, logits, labels);
        assert_true(classes > 5 ? r.acc5 == 100.0 : isnan(r.acc5));
        weft_eval_result_done(&r);
    }
}

static void images_with_nan_outputs_are_wrong_and_counted(void **state)
{
    const float logits[4 * 3] = {
        NAN,       1, 0,        /* not the first class, although nothing is greater than NaN */
        0,         9, NAN,      /**/
        -INFINITY, 0, 0,        /* right; infinitely sure that it is not the first */
        0,         0, -INFINITY /* wrong, its loss infinite */
    };
    const int64_t labels[4] = {0, 1, 1, 2};
    weft_eval_result r = score(&everything, 4, 3, 4, logits, labels);
    assert_int_equal(r.nan_images, 2);
    assert_true(r.acc1 == 25.0);
    assert_true(isnan(r.loss));
    static const int64_t confusion[9] = {0, 0, 0, 0, 1, 0, 1, 0, 0};
    assert_memory_equal(r.confusion, confusion, sizeof(confusion));
    assert_int_equal(r.per_class[0].support, 1);
    assert_int_equal(r.per_class[0].correct, 0);
    assert_int_equal(r.n_worst, 3);
    static const int64_t order[] = {0, 1, 3}, predicted[] = {-1, -1, 0};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.worst[i].sample, order[i]);
        assert_int_equal(r.worst[i].predicted, predicted[i]);
        assert_true(isnan(r.worst[i].probability) == (i < 2));
    }
    assert_true(isinf(r.worst[2].loss) && r.worst[2].label_probability == 0);
    weft_eval_result_done(&r);

    /* As PyTorch's cross_entropy: inf - inf. What is predicted is still clear. */
    const float infinite[2] = {0, INFINITY};
    r = score(&everything, 1, 2, 1, infinite, (int64_t[]){1});
    assert_true(isnan(r.loss) && r.acc1 == 100.0 && r.nan_images == 0);
    weft_eval_result_done(&r);
}

static void nothing_is_counted_that_was_not_asked_for(void **state)
{
    const float logits[2] = {1, 0};
    weft_eval_result r = score(&(weft_eval_opts){0}, 1, 2, 1, logits, (int64_t[]){1});
    assert_null(r.per_class);
    assert_null(r.confusion);
    assert_null(r.worst);
    assert_int_equal(r.n_worst, 0);
    weft_eval_result_done(&r);

    /* A matrix that is too large is left out. */
    int64_t many = WEFT_CONFUSION_CLASSES + 1;
    float *row = calloc((size_t)many, sizeof(*row));
    assert_non_null(row);
    r = score(&everything, 1, many, 1, row, (int64_t[]){many - 1});
    assert_null(r.confusion);
    assert_int_equal(r.per_class[many - 1].support, 1);
    weft_eval_result_done(&r);
    r = score(&everything, 1, many - 1, 1, row, (int64_t[]){0});
    assert_non_null(r.confusion);
    weft_eval_result_done(&r);
    free(row);
}

static void a_label_out_of_range_is_an_error(void **state)
{
    const float logits[4] = {0};
    for (int64_t label = -1; label <= 2; label += 3) {
        weft_error err = WEFT_ERROR_INIT;
        wf_score s = wf_score_start(&everything);
        assert_int_equal(
            wf_score_add(&s, 2, 2, logits, (int64_t[]){0, label}, (int64_t[]){40, 41}, &err),
            WEFT_ERR_INVALID);
        assert_non_null(strstr(err.text, "sample 41"));
        wf_score_done(&s);
    }
}

static void memory_that_is_out_is_an_error(void **state)
{
    const float logits[2] = {0};
    int failures = 0;
    for (long n = 1;; n++) {
        weft_error err = WEFT_ERROR_INIT;
        wf_score s = wf_score_start(&everything);
        wf_alloc_fail_at(n);
        weft_status status = wf_score_add(&s, 1, 2, logits, (int64_t[]){0}, (int64_t[]){0}, &err);
        bool struck = wf_alloc_fail_at(0) == 0;
        wf_score_done(&s);
        assert_int_equal(status, struck ? WEFT_ERR_NOMEM : WEFT_OK);
        failures += struck;
        if (!struck)
            break;
    }
    assert_int_equal(failures, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_agree_with_plain_formulas),
        cmocka_unit_test(the_worst_mistakes_are_those_of_the_highest_loss),
        cmocka_unit_test(the_batch_size_changes_no_bit),
        cmocka_unit_test(of_equal_outputs_the_first_is_predicted),
        cmocka_unit_test(outputs_near_the_largest_number_have_a_loss),
        cmocka_unit_test(few_classes_have_no_top5),
        cmocka_unit_test(images_with_nan_outputs_are_wrong_and_counted),
        cmocka_unit_test(nothing_is_counted_that_was_not_asked_for),
        cmocka_unit_test(a_label_out_of_range_is_an_error),
        cmocka_unit_test(memory_that_is_out_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
