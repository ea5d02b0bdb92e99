/* Evaluation and prediction: eval mode, no gradients, one plan for each batch. Single-threaded, as
 * the model's context. */
#include "train/evaluate.h"

#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/modes.h"
#include "train/score.h"

/* Runs the model on one batch. Its outputs are a stored tensor (N, K), f32, which the caller
 * owns. */
static weft_status run_batch(weft_module *model, weft_tensor *images, weft_tensor **logits,
                             weft_error *err)
{
    weft_context *ctx = model->ctx;
    bool was = weft_no_grad_begin(ctx);
    weft_tensor *kept = weft_keep(weft_call(model, images));
    weft_no_grad_end(ctx, was);

    weft_status status = kept ? weft_sync(ctx) : WEFT_ERR_INTERNAL;
    if (status != WEFT_OK) {
        wf_take_error(ctx, status, NULL, err);
        weft_discard(ctx);
    } else if (weft_tensor_shape(kept).rank != 2 || weft_tensor_dtype(kept) != WEFT_F32) {
        status = wf_error_set(err, WEFT_ERR_SHAPE, "the model's output is not (N, K) in f32");
    }
    if (status == WEFT_OK)
        *logits = kept;
    else
        weft_tensor_unref(kept);
    return status;
}

static bool report(const weft_eval_opts *opts, const wf_eval_place *place, const wf_score *score,
                   double started, int64_t step, int64_t steps)
{
    if (!opts->progress)
        return true;
    double spent = wf_seconds() - started;
    weft_progress p = {
        .phase = WEFT_PHASE_EVAL,
        .epoch = place->epoch,
        .epochs = place->epochs,
        .step = step,
        .steps = steps,
        .images = score->images,
        .loss = wf_score_loss(score),
        .acc1 = wf_score_percent(score, score->correct),
        .lr = place->lr,
        .img_per_s = spent > 0 ? (double)score->images / spent : 0.0,
        .seconds = spent,
        .seconds_left = spent / (double)step * (double)(steps - step) + place->seconds_after,
    };
    return opts->progress(opts->user, &p);
}

/* A pass over the loader's batches, and what it does with the outputs of each. */
typedef struct pass {
    const char *doing; /* "evaluating" */
    const weft_eval_opts *opts;
    const wf_eval_place *place;
    double started;
    wf_score score; /* score so far, which progress reports use */
    weft_status (*take)(struct pass *p, weft_tensor *logits, const wf_feed *feed,
                        const wf_feed_slot *batch, int64_t count, weft_error *err);
    void *user;
} pass;

static weft_status run_pass(pass *p, weft_module *model, weft_loader *loader, weft_error *err)
{
    wf_feed feed = {.ctx = model->ctx, .loader = loader};
    int64_t steps = weft_loader_batches(loader), count = 0;
    wf_modes modes;
    p->started = wf_seconds();
    WF_TRY(wf_modes_save(model, &modes, err));
    weft_module_eval(model);
    weft_status status = weft_loader_start(loader, 0, 0, err);
    for (int64_t step = 1; status == WEFT_OK; step++) {
        wf_feed_slot batch;
        weft_tensor *logits = NULL;
        status = wf_feed_next(&feed, &batch, &count, err);
        if (status != WEFT_OK || count == 0)
            break;
        status = run_batch(model, batch.images, &logits, err);
        if (status == WEFT_OK)
            status = p->take(p, logits, &feed, &batch, count, err);
        weft_tensor_unref(logits);
        if (status == WEFT_OK && !report(p->opts, p->place, &p->score, p->started, step, steps))
            status = wf_error_set(err, WEFT_ERR_INTERRUPTED, "interrupted while %s", p->doing);
    }
    wf_modes_restore(&modes);
    wf_feed_done(&feed);
    return status;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static weft_status plan_batch(weft_module *model, wf_feed *feed, int64_t count,
                              weft_step_memory *all, weft_error *err)
{
    wf_feed_slot batch;
    weft_step_memory m;
    WF_TRY(wf_feed_blank(feed, count, &batch, err));
    bool was = weft_no_grad_begin(model->ctx);
    weft_tensor *kept = weft_keep(weft_call(model, batch.images));
    weft_no_grad_end(model->ctx, was);
    weft_status status = kept ? weft_plan_memory(model->ctx, &m) : WEFT_ERR_INTERNAL;
    if (status != WEFT_OK)
        wf_take_error(model->ctx, status, "planning an evaluation", err);
    weft_discard(model->ctx);
    weft_tensor_unref(kept);
    if (status != WEFT_OK)
        return status;
    all->activations = larger(all->activations, m.activations);
    all->scratch = larger(all->scratch, m.scratch);
    all->kept = larger(all->kept, m.kept);
    all->plan += m.plan;
    return WEFT_OK;
}

weft_status wf_evaluate_memory(weft_module *model, weft_loader *loader, weft_step_memory *memory,
                               weft_error *err)
{
    wf_feed feed = {.ctx = model->ctx, .loader = loader};
    const int64_t count = weft_loader_get_info(loader)->count,
                  batch = weft_loader_batch_size(loader);
    weft_step_memory all = {0};
    wf_modes modes;
    WF_TRY(wf_modes_save(model, &modes, err));
    weft_module_eval(model);
    weft_status status = WEFT_OK;
    if (count >= batch)
        status = plan_batch(model, &feed, batch, &all, err);
    if (status == WEFT_OK && count % batch)
        status = plan_batch(model, &feed, count % batch, &all, err);
    wf_modes_restore(&modes);
    wf_feed_done(&feed);
    if (status == WEFT_OK)
        *memory = all;
    return status;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

static weft_status score_batch(pass *p, weft_tensor *logits, const wf_feed *feed,
                               const wf_feed_slot *batch, int64_t count, weft_error *err)
{
    wf_score *score = &p->score;
    weft_shape shape = weft_tensor_shape(logits);
    const float *values = weft_tensor_const_data(logits);
    const int64_t *labels = weft_tensor_const_data(batch->labels);
    if (!values || !labels)
        return wf_take_error(feed->ctx, WEFT_ERR_INTERNAL, NULL, err);
    if (shape.dim[0] != count || (score->classes && score->classes != shape.dim[1]))
        return wf_error_set(err, WEFT_ERR_SHAPE,
                            "the model gave outputs of shape (%lld, %lld) for %lld images",
                            (long long)shape.dim[0], (long long)shape.dim[1], (long long)count);
    return wf_score_add(score, count, shape.dim[1], values, labels, feed->samples, err);
}

weft_status wf_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                        const wf_eval_place *place, weft_eval_result *result, weft_error *err)
{
    pass p = {.doing = "evaluating",
              .opts = opts,
              .place = place,
              .score = wf_score_start(opts),
              .take = score_batch};
    weft_status status = run_pass(&p, model, loader, err);
    if (status == WEFT_OK) {
        double seconds = wf_seconds() - p.started;
        *result = (weft_eval_result){
            .seconds = seconds, .img_per_s = seconds > 0 ? (double)p.score.images / seconds : 0.0};
        wf_score_finish(&p.score, result);
    }
    wf_score_done(&p.score);
    return status;
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

/* Who takes the outputs, and the memory that they are handed out in. */
typedef struct taker {
    weft_outputs_fn take;
    void *user;
    float *logits;
    int64_t capacity; /* elements */
} taker;

static weft_status hand_out(pass *p, weft_tensor *logits, const wf_feed *feed,
                            const wf_feed_slot *batch, int64_t count, weft_error *err)
{
    taker *t = p->user;
    const weft_shape shape = weft_tensor_shape(logits);
    const int64_t n = shape.dim[0], K = shape.dim[1];
    if (n * K > t->capacity) {
        float *more = wf_realloc_array(t->logits, (size_t)(n * K), sizeof(float));
        if (!more)
            return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for %lld rows of logits",
                                (long long)n);
        t->logits = more;
        t->capacity = n * K;
    }
    weft_status status = weft_read(logits, t->logits, (size_t)(n * K) * sizeof(float));
    if (status != WEFT_OK)
        return wf_take_error(weft_tensor_context(logits), status, NULL, err);
    p->score.images += count;
    const weft_outputs outputs = {n, K, t->logits, feed->samples};
    return t->take(t->user, &outputs, err);
}

weft_status weft_predict_each(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                              weft_outputs_fn take, void *user, weft_error *err)
{
    static const weft_eval_opts none = {0};
    if (!model || !loader || !take)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "prediction needs a model, a loader and who takes the outputs");
    taker t = {.take = take, .user = user};
    pass p = {.doing = "predicting",
              .opts = opts ? opts : &none,
              .place = &(wf_eval_place){0},
              .score = {.loss_sum = NAN}, /* without labels only the images are counted */
              .take = hand_out,
              .user = &t};
    weft_status status = run_pass(&p, model, loader, err);
    wf_free(t.logits);
    return status;
}

/* The growing (N, K) array of all logits. */
typedef struct rows {
    float *data;
    int64_t n, capacity, K;
} rows;

static weft_status add_rows(void *user, const weft_outputs *o, weft_error *err)
{
    rows *r = user;
    r->K = o->classes;
    if (r->n + o->n > r->capacity) {
        int64_t capacity = 2 * (r->n + o->n);
        float *data = wf_realloc_array(r->data, (size_t)(capacity * r->K), sizeof(float));
        if (!data)
            return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for %lld rows of logits",
                                (long long)capacity);
        r->data = data;
        r->capacity = capacity;
    }
    memcpy(r->data + r->n * r->K, o->logits, (size_t)(o->n * r->K) * sizeof(float));
    r->n += o->n;
    return WEFT_OK;
}

weft_status weft_predict(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                         float **logits, weft_shape *shape, weft_error *err)
{
    if (!model || !loader || !logits || !shape)
        return wf_error_set(err, WEFT_ERR_INVALID, "prediction needs a model and a loader");
    rows all = {0};
    weft_status status = weft_predict_each(model, loader, opts, add_rows, &all, err);
    if (status != WEFT_OK) {
        wf_free(all.data);
        return status;
    }
    *logits = all.data;
    *shape = WEFT_SHAPE(all.n, all.K);
    return WEFT_OK;
}
