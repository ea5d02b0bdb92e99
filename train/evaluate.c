/* Evaluation and prediction: eval mode, no gradients, one plan a batch. Single-threaded, as the
 * model's context. */
#include "engine/context/error.h"
#include "engine/memory/alloc.h"
#include "train/feed.h"
#include "train/trainer.h"

/* One batch's forward has been run; logits (N, K) is a stored tensor or NULL. */
typedef struct outcome {
    double loss;
    int64_t correct;
    weft_tensor *logits;
} outcome;

/* Runs the model on one batch. labels NULL: only the logits are wanted. */
static weft_status run_batch(weft_module *model, weft_tensor *images, weft_tensor *labels,
                             bool want_logits, outcome *out, weft_error *err)
{
    weft_context *ctx = model->ctx;
    bool was = weft_no_grad_begin(ctx);
    weft_tensor *logits = weft_call(model, images), *loss = NULL, *correct = NULL;
    *out = (outcome){.loss = NAN};
    if (labels) {
        loss = weft_keep(weft_cross_entropy(logits, labels, NULL));
        correct = weft_keep(weft_count_correct(logits, labels));
    }
    if (want_logits)
        out->logits = weft_keep(logits);
    weft_no_grad_end(ctx, was);

    bool recorded = (!labels || (loss && correct)) && (!want_logits || out->logits);
    weft_status status = recorded ? weft_sync(ctx) : WEFT_ERR_INTERNAL;
    if (status != WEFT_OK) {
        wf_take_error(ctx, status, NULL, err);
        weft_discard(ctx);
    } else if (labels) {
        out->loss = weft_item(loss);
        out->correct = (int64_t)weft_item(correct);
    }
    weft_tensor_unref(loss);
    weft_tensor_unref(correct);
    if (status != WEFT_OK) {
        weft_tensor_unref(out->logits);
        out->logits = NULL;
    }
    return status;
}

/* How many rows have their label among the five largest; ties go to the lower class. */
static int64_t count_top5(const float *logits, const int64_t *labels, int64_t N, int64_t K)
{
    int64_t correct = 0;
    for (int64_t n = 0; n < N; n++) {
        const float *row = logits + n * K; /* (K) */
        float at_label = row[labels[n]];
        int before = 0;
        for (int64_t k = 0; k < K; k++)
            before += row[k] > at_label || (row[k] == at_label && k < labels[n]);
        correct += before < 5;
    }
    return correct;
}

static weft_status add_top5(weft_tensor *logits, weft_tensor *labels, wf_metrics *m)
{
    weft_shape shape = weft_tensor_shape(logits);
    const float *values = weft_tensor_data(logits);
    const int64_t *truth = weft_tensor_data(labels);
    if (!values || !truth || shape.rank != 2)
        return WEFT_ERR_INTERNAL;
    m->correct5 += count_top5(values, truth, shape.dim[0], shape.dim[1]);
    return WEFT_OK;
}

static bool report(const weft_eval_opts *opts, const wf_eval_place *place, const wf_metrics *m,
                   int64_t step, int64_t steps)
{
    if (!opts->progress)
        return true;
    double now = wf_seconds(), spent = now - m->started;
    weft_progress p = {
        .phase = WEFT_PHASE_EVAL,
        .epoch = place->epoch,
        .epochs = place->epochs,
        .step = step,
        .steps = steps,
        .images = m->images,
        .loss = wf_metrics_loss(m),
        .acc1 = wf_metrics_percent(m, m->correct),
        .lr = place->lr,
        .img_per_s = wf_metrics_rate(m, now),
        .seconds = spent,
        .seconds_left = spent / (double)step * (double)(steps - step) + place->seconds_after,
    };
    return opts->progress(opts->user, &p);
}

weft_status wf_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                        const wf_eval_place *place, weft_eval_result *result, weft_error *err)
{
    wf_feed feed = {.ctx = model->ctx, .loader = loader};
    wf_metrics m = {.started = wf_seconds()};
    int64_t steps = weft_loader_batches(loader), count = 0;
    bool training = model->training;
    weft_module_eval(model);
    weft_status status = weft_loader_start(loader, 0, 0, err);
    for (int64_t step = 1; status == WEFT_OK; step++) {
        wf_feed_slot batch;
        outcome out;
        status = wf_feed_next(&feed, &batch, &count, err);
        if (status != WEFT_OK || count == 0)
            break;
        status = run_batch(model, batch.images, batch.labels, opts->top5, &out, err);
        if (status != WEFT_OK)
            break;
        wf_metrics_add(&m, count, out.loss, out.correct);
        if (opts->top5 && add_top5(out.logits, batch.labels, &m) != WEFT_OK)
            status = wf_take_error(model->ctx, WEFT_ERR_INTERNAL, NULL, err);
        weft_tensor_unref(out.logits);
        if (status == WEFT_OK && !report(opts, place, &m, step, steps))
            status = wf_error_set(err, WEFT_ERR_INTERRUPTED, "interrupted while evaluating");
    }
    weft_module_train(model, training);
    wf_feed_done(&feed);
    if (status != WEFT_OK)
        return status;
    double now = wf_seconds();
    *result = (weft_eval_result){
        .images = m.images,
        .loss = wf_metrics_loss(&m),
        .acc1 = wf_metrics_percent(&m, m.correct),
        .acc5 = opts->top5 ? wf_metrics_percent(&m, m.correct5) : NAN,
        .img_per_s = wf_metrics_rate(&m, now),
        .seconds = now - m.started,
    };
    return WEFT_OK;
}

weft_status weft_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                          weft_eval_result *result, weft_error *err)
{
    if (!model || !loader || !result)
        return wf_error_set(err, WEFT_ERR_INVALID, "evaluation needs a model, a loader, a result");
    return wf_evaluate(model, loader, opts ? opts : &(weft_eval_opts){0}, &(wf_eval_place){0},
                       result, err);
}

/* ---- prediction ------------------------------------------------------------------------------ */

/* The growing (N, K) array of all logits. */
typedef struct rows {
    float *data;
    int64_t n, capacity, K;
} rows;

static weft_status rows_add(rows *r, weft_tensor *logits, weft_error *err)
{
    weft_shape shape = weft_tensor_shape(logits);
    if (shape.rank != 2 || weft_tensor_dtype(logits) != WEFT_F32)
        return wf_error_set(err, WEFT_ERR_SHAPE, "the model's output is not (N, K) in f32");
    int64_t count = shape.dim[0];
    r->K = shape.dim[1];
    if (r->n + count > r->capacity) {
        int64_t capacity = 2 * (r->n + count);
        float *data = wf_realloc_array(r->data, (size_t)(capacity * r->K), sizeof(float));
        if (!data)
            return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for %lld rows of logits",
                                (long long)capacity);
        r->data = data;
        r->capacity = capacity;
    }
    weft_status status =
        weft_read(logits, r->data + r->n * r->K, (size_t)(count * r->K) * sizeof(float));
    if (status != WEFT_OK)
        return wf_take_error(weft_tensor_context(logits), status, NULL, err);
    r->n += count;
    return WEFT_OK;
}

weft_status weft_predict(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                         float **logits, weft_shape *shape, weft_error *err)
{
    static const weft_eval_opts none = {0};
    if (!model || !loader || !logits || !shape)
        return wf_error_set(err, WEFT_ERR_INVALID, "prediction needs a model and a loader");
    opts = opts ? opts : &none;
    wf_feed feed = {.ctx = model->ctx, .loader = loader};
    wf_metrics m = {.started = wf_seconds()};
    rows all = {0};
    int64_t steps = weft_loader_batches(loader);
    bool training = model->training;
    weft_module_eval(model);
    weft_status status = weft_loader_start(loader, 0, 0, err);
    for (int64_t step = 1; status == WEFT_OK; step++) {
        wf_feed_slot batch;
        outcome out;
        int64_t count = 0;
        status = wf_feed_next(&feed, &batch, &count, err);
        if (status != WEFT_OK || count == 0)
            break;
        status = run_batch(model, batch.images, NULL, true, &out, err);
        if (status != WEFT_OK)
            break;
        status = rows_add(&all, out.logits, err);
        weft_tensor_unref(out.logits);
        m.images += count;
        if (status == WEFT_OK && !report(opts, &(wf_eval_place){0}, &m, step, steps))
            status = wf_error_set(err, WEFT_ERR_INTERRUPTED, "interrupted while predicting");
    }
    weft_module_train(model, training);
    wf_feed_done(&feed);
    if (status != WEFT_OK) {
        wf_free(all.data);
        return status;
    }
    *logits = all.data;
    *shape = WEFT_SHAPE(all.n, all.K);
    return WEFT_OK;
}
