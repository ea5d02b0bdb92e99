/* Counts, losses and mistakes. See score.h.
 *
 * Note [Outputs that are not numbers]. An image whose outputs hold a NaN has no prediction. It
 * counts as wrong everywhere, and its loss is NaN, and so is the mean, as in PyTorch. In the
 * confusion matrix it is in no column, so the sum of its row is less than the class's support.
 * Infinities compare as other numbers do. Their losses are PyTorch's: infinite for -inf at the
 * label, NaN for +inf anywhere. */
#include "train/score.h"

#include <math.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"

enum { TOP = 5 };

wf_score wf_score_start(const weft_eval_opts *opts)
{
    return (wf_score){.want_classes = opts->per_class,
                      .want_confusion = opts->confusion,
                      .want_worst = opts->worst > 0 ? opts->worst : 0};
}

void wf_score_done(wf_score *s)
{
    wf_free(s->per_class);
    wf_free(s->confusion);
    wf_free(s->worst);
    s->per_class = NULL;
    s->confusion = NULL;
    s->worst = NULL;
}

/* Allocates the arrays: the first images tell the number of classes. */
static weft_status open(wf_score *s, int64_t K, weft_error *err)
{
    size_t classes = (size_t)K;
    s->want_confusion = s->want_confusion && K <= WEFT_CONFUSION_CLASSES;
    if (s->want_classes)
        s->per_class = wf_zalloc_array(classes, sizeof(*s->per_class));
    if (s->want_confusion)
        s->confusion = wf_zalloc_array(classes * classes, sizeof(*s->confusion));
    if (s->want_worst)
        s->worst = wf_alloc_array((size_t)s->want_worst, sizeof(*s->worst));
    if ((s->want_classes && !s->per_class) || (s->want_confusion && !s->confusion) ||
        (s->want_worst && !s->worst)) {
        wf_score_done(s);
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for the counts of %lld classes",
                            (long long)K);
    }
    s->classes = K;
    return WEFT_OK;
}

/* The result for one row of logits. */
typedef struct verdict {
    int64_t predicted; /* class of the first largest logit; -1: there is a NaN */
    bool in_top; /* the label is among the TOP largest; among equals the lower class comes first */
    double top, log_sum; /* the largest logit; log of the sum of exp(logit - top) */
} verdict;

static verdict judge(const float *row, int64_t K, int64_t label)
{
    verdict v = {.predicted = 0};
    float at_label = row[label];
    int before = 0;
    bool nan = false;
    for (int64_t k = 0; k < K; k++) {
        nan |= isnan(row[k]);
        before += row[k] > at_label || (row[k] == at_label && k < label);
        if (row[k] > row[v.predicted])
            v.predicted = k;
    }
    if (nan)
        return (verdict){.predicted = -1, .log_sum = NAN};
    double top = row[v.predicted], sum = 0;
    for (int64_t k = 0; k < K; k++)
        sum += exp((double)row[k] - top);
    v.in_top = before < TOP;
    v.top = top;
    v.log_sum = log(sum);
    return v;
}

/* Whether mistake a is worse than b: by loss, NaN being the worst; among equals the earlier one is
 * worse. */
static bool is_worse(const weft_mistake *a, const weft_mistake *b)
{
    if (isnan(a->loss) || isnan(b->loss))
        return isnan(a->loss) && !isnan(b->loss);
    return a->loss > b->loss;
}

static void keep_worst(wf_score *s, const weft_mistake *m)
{
    int at = s->n_worst;
    while (at > 0 && is_worse(m, &s->worst[at - 1]))
        at--;
    if (at >= s->want_worst)
        return;
    s->n_worst += s->n_worst < s->want_worst;
    for (int i = s->n_worst - 1; i > at; i--)
        s->worst[i] = s->worst[i - 1];
    s->worst[at] = *m;
}

weft_status wf_score_add(wf_score *s, int64_t N, int64_t K, const float *logits,
                         const int64_t *labels, const int64_t *samples, weft_error *err)
{
    if (s->classes == 0)
        WF_TRY(open(s, K, err));
    for (int64_t n = 0; n < N; n++) {
        const float *row = logits + n * K; /* (K) */
        int64_t label = labels[n];
        if (label < 0 || label >= K)
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "sample %lld: label %lld is outside [0, %lld)",
                                (long long)samples[n], (long long)label, (long long)K);
        verdict v = judge(row, K, label);
        bool right = v.predicted == label, known = v.predicted >= 0;
        double loss = v.log_sum + (v.top - (double)row[label]);
        s->images++;
        s->loss_sum += loss;
        s->correct += right;
        s->correct5 += v.in_top;
        s->nan_images += !known;
        if (s->per_class) {
            s->per_class[label].support++;
            s->per_class[label].correct += right;
            if (known)
                s->per_class[v.predicted].predicted++;
        }
        if (s->confusion && known)
            s->confusion[label * K + v.predicted]++;
        if (s->worst && !right)
            keep_worst(s, &(weft_mistake){
                              .sample = samples[n],
                              .label = label,
                              .predicted = v.predicted,
                              .probability = known ? exp(-v.log_sum) : NAN,
                              .label_probability = known ? exp(-loss) : NAN,
                              .loss = loss,
                          });
    }
    return WEFT_OK;
}

double wf_score_percent(const wf_score *s, int64_t count)
{
    return s->images ? 100.0 * (double)count / (double)s->images : (double)NAN;
}

double wf_score_loss(const wf_score *s)
{
    return s->images ? s->loss_sum / (double)s->images : (double)NAN;
}

static double percent(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : (double)NAN;
}

/* 0 instead of NaN. */
static double number(double x)
{
    return isnan(x) ? 0 : x;
}

static void finish_classes(weft_class_score *c, int64_t K, weft_class_score *mean)
{
    int64_t met = 0;
    *mean = (weft_class_score){0};
    for (int64_t k = 0; k < K; k++, c++) {
        c->precision = percent(c->correct, c->predicted);
        c->recall = percent(c->correct, c->support);
        c->f1 = percent(2 * c->correct, c->support + c->predicted);
        mean->support += c->support;
        mean->predicted += c->predicted;
        mean->correct += c->correct;
        if (c->support == 0)
            continue;
        met++;
        mean->precision += number(c->precision);
        mean->recall += c->recall;
        mean->f1 += c->f1;
    }
    mean->precision = met ? mean->precision / (double)met : (double)NAN;
    mean->recall = met ? mean->recall / (double)met : (double)NAN;
    mean->f1 = met ? mean->f1 / (double)met : (double)NAN;
}

void wf_score_finish(wf_score *s, weft_eval_result *result)
{
    result->images = s->images;
    result->nan_images = s->nan_images;
    result->classes = (int)s->classes;
    result->loss = wf_score_loss(s);
    result->acc1 = wf_score_percent(s, s->correct);
    result->acc5 = s->classes > TOP ? wf_score_percent(s, s->correct5) : (double)NAN;
    if (s->per_class)
        finish_classes(s->per_class, s->classes, &result->mean);
    result->per_class = s->per_class;
    result->confusion = s->confusion;
    result->worst = s->worst;
    result->n_worst = s->n_worst;
    *s = (wf_score){0};
}

void weft_eval_result_done(weft_eval_result *result)
{
    if (!result)
        return;
    wf_free(result->per_class);
    wf_free(result->confusion);
    wf_free(result->worst);
    result->per_class = NULL;
    result->confusion = NULL;
    result->worst = NULL;
    result->n_worst = 0;
}
