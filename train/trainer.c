/* The training loop: loader, forward, loss, backward, update, metrics; evaluation between epochs;
 * and what goes into the run's directory. Single-threaded, as the model's context.
 *
 * A step is one plan. The loss and the count of correct images are recorded as part of it, and read
 * after it has run. */
#include <stdio.h>
#include <string.h>

#include "engine/base/c_locale.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "train/evaluate.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/modes.h"
#include "train/report/report.h"
#include "train/run_dir.h"
#include "train/weights.h"
#include "weft/ops.h"
#include "weft/train.h"

enum { LOG_LINES_PER_EPOCH = 50, STEPS_MEANT = 50, WORST_MISTAKES = 24 };

typedef struct trainer {
    weft_module *model;
    weft_context *ctx;
    const weft_train_opts *opts;
    weft_error *err;
    wf_feed feed;
    int64_t epoch, epochs; /* epoch counts from 1 */
    int64_t steps_per_epoch;
    int64_t done, total; /* optimizer steps of the whole training */
    double lr;
    wf_metrics epoch_metrics, window; /* window: since the last line of log.jsonl */
    double started;
    double step_seconds, step_ended; /* see time_step */
    int64_t steps_timed;
    double train_seconds;  /* seconds spent in training steps of earlier epochs */
    int64_t train_images;  /* images of earlier epochs */
    weft_eval_result test; /* result of the last evaluation */
    bool tested;
    double best_acc1; /* highest accuracy of all evaluations, and the first epoch that had it */
    int64_t best_epoch;
} trainer;

static int64_t eval_freq(const trainer *t)
{
    return t->opts->eval_freq > 0 ? t->opts->eval_freq : 1;
}

static bool evaluates_after(const trainer *t, int64_t epoch)
{
    return t->opts->test && (epoch % eval_freq(t) == 0 || epoch == t->epochs);
}

/* How many evaluations come after `epoch` has been trained, including the one of `epoch`. */
static int64_t evaluations_left(const trainer *t, int64_t epoch)
{
    if (!t->opts->test)
        return 0;
    int64_t freq = eval_freq(t);
    return t->epochs / freq - (epoch - 1) / freq + (t->epochs % freq != 0);
}

/* Updates the running mean of the seconds of a step: the plain mean of the first STEPS_MEANT steps,
 * then an exponential mean. The first step of an epoch does not count, because it may compile a
 * plan. */
static void time_step(trainer *t, int64_t step)
{
    double now = wf_seconds();
    if (step > 1) {
        t->steps_timed += t->steps_timed < STEPS_MEANT;
        t->step_seconds += (now - t->step_ended - t->step_seconds) / (double)t->steps_timed;
    }
    t->step_ended = now;
}

/* Estimates the seconds of all steps and evaluations to come. Before the first evaluation, it is
 * assumed to cost a third of training on as many images. -1: no step was timed yet. */
static double seconds_left(const trainer *t)
{
    double step = t->step_seconds, evaluation = 0;
    if (t->tested)
        evaluation = t->test.seconds;
    else if (t->opts->test)
        evaluation = step / 3 * (double)weft_loader_batches(t->opts->test);
    if (t->steps_timed == 0)
        return -1;
    return step * (double)(t->total - t->done) + evaluation * (double)evaluations_left(t, t->epoch);
}

static weft_progress progress_of(const trainer *t, int64_t step, int64_t steps, const wf_metrics *m)
{
    double now = wf_seconds();
    return (weft_progress){
        .phase = WEFT_PHASE_TRAIN,
        .epoch = t->epoch,
        .epochs = t->epochs,
        .step = step,
        .steps = steps,
        .images = m->images,
        .loss = wf_metrics_loss(m),
        .acc1 = wf_metrics_percent(m, m->correct),
        .lr = t->lr,
        .img_per_s = wf_metrics_rate(m, now),
        .seconds = now - m->started,
        .seconds_left = seconds_left(t),
    };
}

/* ---- one step -------------------------------------------------------------------------------- */

static weft_status set_schedule(trainer *t)
{
    weft_optimizer *optimizer = t->opts->optimizer;
    if (t->opts->schedule) {
        double momentum = weft_schedule_momentum(t->opts->schedule, t->done);
        WF_TRY(weft_optimizer_set_lr(optimizer, -1, weft_schedule_lr(t->opts->schedule, t->done)));
        if (!isnan(momentum))
            WF_TRY(weft_optimizer_set_momentum(optimizer, momentum));
    }
    t->lr = weft_optimizer_lr(optimizer, -1);
    return WEFT_OK;
}

/* Records a step and runs it. On failure the model is unchanged. */
static weft_status run_step(trainer *t, wf_feed_slot batch, double *loss, int64_t *correct)
{
    WF_TRY(set_schedule(t));
    weft_optimizer_zero_grad(t->opts->optimizer);
    weft_cross_entropy_opts loss_opts = {.label_smoothing = t->opts->label_smoothing};
    weft_tensor *logits = NULL;
    weft_tensor *loss_node = weft_check_finite(
        weft_training_loss(t->model, batch.images, batch.labels, &loss_opts, &logits));
    weft_tensor *kept_loss = weft_keep(loss_node);
    weft_tensor *kept_correct = weft_keep(weft_count_correct(logits, batch.labels, NULL, NULL));
    weft_status status = kept_loss && kept_correct ? weft_backward(loss_node) : WEFT_ERR_INTERNAL;
    if (status == WEFT_OK)
        status = weft_optimizer_step(t->opts->optimizer);
    if (status != WEFT_OK)
        weft_discard(t->ctx); /* the work recorded before the failure must not run later */
    if (status == WEFT_OK) {
        *loss = weft_item(kept_loss);
        *correct = (int64_t)weft_item(kept_correct);
    }
    weft_tensor_unref(kept_loss);
    weft_tensor_unref(kept_correct);
    return status;
}

static weft_status train_batch(trainer *t, wf_feed_slot batch, int64_t count, int64_t step)
{
    double loss;
    int64_t correct;
    weft_status status = run_step(t, batch, &loss, &correct);
    if (status != WEFT_OK) {
        char where[128];
        int n = snprintf(where, sizeof(where), "epoch %lld, step %lld", (long long)t->epoch,
                         (long long)step);
        wf_c_locale locale;
        if (weft_error_status(t->ctx) == WEFT_ERR_NUMERIC && wf_c_locale_begin(&locale)) {
            snprintf(where + n, sizeof(where) - (size_t)n,
                     ": the loss is not finite (learning rate %g)", t->lr);
            wf_c_locale_end(&locale);
        }
        return wf_take_error(t->ctx, status, where, t->err);
    }
    t->done++;
    wf_metrics_add(&t->epoch_metrics, count, loss, correct);
    wf_metrics_add(&t->window, count, loss, correct);
    return WEFT_OK;
}

/* ---- one epoch ------------------------------------------------------------------------------- */

static weft_status log_window(trainer *t, int64_t step, int64_t steps)
{
    int64_t every = (steps + LOG_LINES_PER_EPOCH - 1) / LOG_LINES_PER_EPOCH;
    if (!t->opts->run || (step % every != 0 && step != steps))
        return WEFT_OK;
    weft_progress p = progress_of(t, step, steps, &t->window);
    t->window = (wf_metrics){.started = wf_seconds()};
    double epochs_done = (double)t->done / (double)t->steps_per_epoch;
    return wf_run_log_step(t->opts->run, &p, t->done, epochs_done, t->err);
}

static weft_status train_epoch(trainer *t)
{
    WF_TRY(weft_loader_start(t->opts->train, t->epoch - 1, 0, t->err));
    int64_t left = t->total - t->done;
    int64_t steps = t->steps_per_epoch < left ? t->steps_per_epoch : left;
    t->epoch_metrics = t->window = (wf_metrics){.started = wf_seconds()};
    for (int64_t step = 1; step <= steps; step++) {
        wf_feed_slot batch;
        int64_t count;
        WF_TRY(wf_feed_next(&t->feed, &batch, &count, t->err));
        if (count == 0)
            return wf_error_set(t->err, WEFT_ERR_INTERNAL, "the loader ended an epoch early");
        WF_TRY(train_batch(t, batch, count, step));
        time_step(t, step);
        if (t->opts->run)
            wf_run_keep(t->opts->run);
        WF_TRY(log_window(t, step, steps));
        weft_progress p = progress_of(t, step, steps, &t->epoch_metrics);
        if (t->opts->progress && !t->opts->progress(t->opts->user, &p))
            return wf_error_set(t->err, WEFT_ERR_INTERRUPTED,
                                "interrupted at epoch %lld, step %lld", (long long)t->epoch,
                                (long long)step);
    }
    return WEFT_OK;
}

static weft_status evaluate(trainer *t)
{
    wf_eval_place place = {.epoch = t->epoch, .epochs = t->epochs, .lr = t->lr};
    place.seconds_after = t->step_seconds * (double)(t->total - t->done);
    if (t->tested)
        place.seconds_after += t->test.seconds * (double)(evaluations_left(t, t->epoch) - 1);
    weft_eval_opts opts = {.progress = t->opts->progress, .user = t->opts->user};
    if (t->opts->run) { /* for the report */
        opts.per_class = opts.confusion = true;
        opts.worst = WORST_MISTAKES;
    }
    weft_eval_result result;
    WF_TRY(wf_evaluate(t->model, t->opts->test, &opts, &place, &result, t->err));
    weft_eval_result_done(&t->test);
    t->test = result;
    t->tested = true;
    if (!isfinite(result.loss)) {
        char nan[96] = "";
        if (result.nan_images > 0)
            snprintf(nan, sizeof(nan), "; the outputs of %lld of %lld images are NaN",
                     (long long)result.nan_images, (long long)result.images);
        return wf_error_set(
            t->err, WEFT_ERR_NUMERIC,
            "epoch %lld, step %lld: the test loss is not finite (learning rate %g)%s",
            (long long)t->epoch, (long long)t->done, t->lr, nan);
    }
    if (!t->opts->run)
        return WEFT_OK;
    return wf_evaluation_write(wf_run_folder(t->opts->run), &t->test,
                               weft_loader_get_dataset(t->opts->test), t->epoch, t->err);
}

/* Weights that are not finite never replace good ones on disk. */
static weft_status save_weights(trainer *t, const char *name)
{
    if (!t->opts->run)
        return WEFT_OK;
    if (!wf_weights_finite(t->model))
        return wf_error_set(t->err, WEFT_ERR_NUMERIC,
                            "epoch %lld, step %lld: the weights are not finite any more",
                            (long long)t->epoch, (long long)t->done);
    char *path = wf_run_file(t->opts->run, name);
    if (!path)
        return wf_error_set(t->err, WEFT_ERR_NOMEM, "out of memory while saving weights");
    weft_status status = weft_module_save_with(t->model, path, t->opts->meta, t->opts->n_meta);
    wf_free(path);
    if (status != WEFT_OK)
        return wf_take_error(t->model->ctx, status, NULL, t->err);
    return wf_run_publish(t->opts->run, t->err);
}

/* Among equals the first stays the best: it needed the least training. */
static weft_status note_best(trainer *t)
{
    if (t->best_epoch && t->test.acc1 <= t->best_acc1)
        return WEFT_OK;
    t->best_acc1 = t->test.acc1;
    t->best_epoch = t->epoch;
    return save_weights(t, "weights_best.safetensors");
}

static weft_status run_epoch(trainer *t)
{
    WF_TRY(train_epoch(t));
    double now = wf_seconds();
    t->train_seconds += now - t->epoch_metrics.started;
    t->train_images += t->epoch_metrics.images;
    weft_epoch e = {
        .epoch = t->epoch,
        .epochs = t->epochs,
        .steps = t->done,
        .train_loss = wf_metrics_loss(&t->epoch_metrics),
        .train_acc1 = wf_metrics_percent(&t->epoch_metrics, t->epoch_metrics.correct),
        .test_loss = NAN,
        .test_acc1 = NAN,
        .test_acc5 = NAN,
        .lr = t->lr,
        .img_per_s = wf_metrics_rate(&t->epoch_metrics, now),
    };
    WF_TRY(save_weights(t, "weights.safetensors"));
    if (evaluates_after(t, t->epoch)) {
        WF_TRY(evaluate(t));
        WF_TRY(note_best(t));
        e.test_loss = t->test.loss;
        e.test_acc1 = t->test.acc1;
        e.test_acc5 = t->test.acc5;
    }
    e.seconds = wf_seconds() - t->started;
    if (t->opts->run)
        WF_TRY(wf_run_log_epoch(t->opts->run, &e, t->err));
    if (t->opts->epoch)
        t->opts->epoch(t->opts->user, &e);
    return WEFT_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static weft_train_result result_of(const trainer *t)
{
    return (weft_train_result){
        .epochs = t->epoch,
        .steps = t->done,
        .train_loss = wf_metrics_loss(&t->epoch_metrics),
        .train_acc1 = wf_metrics_percent(&t->epoch_metrics, t->epoch_metrics.correct),
        .test_loss = t->tested ? t->test.loss : NAN,
        .test_acc1 = t->tested ? t->test.acc1 : NAN,
        .test_acc5 = t->tested ? t->test.acc5 : NAN,
        .best_acc1 = t->best_epoch ? t->best_acc1 : NAN,
        .best_epoch = t->best_epoch,
        .img_per_s = t->train_seconds > 0 ? (double)t->train_images / t->train_seconds : 0.0,
        .seconds = wf_seconds() - t->started,
    };
}

/* Writes the final files of a finished run. */
static weft_status finish_run(trainer *t)
{
    if (!t->opts->run)
        return WEFT_OK;
    weft_train_result r = result_of(t);
    WF_TRY(wf_run_log_end(t->opts->run, "finished", NULL, t->err));
    /* If the report cannot be written, this is an error, but the run is finished anyway. */
    weft_status reported = weft_run_write_report(wf_run_folder(t->opts->run), t->err);
    WF_TRY(wf_run_write_result(t->opts->run, &r, t->err));
    return reported;
}

/* Writes the final files of a run that ended early: its last good weights, and a last line in the
 * log. The first error stays the reported one. */
static void abandon_run(trainer *t, weft_status status)
{
    if (!t->opts->run || t->done == 0)
        return;
    weft_error ignored = WEFT_ERROR_INIT, *err = t->err;
    t->err = &ignored;
    /* The context may hold the error that ended the run; saving needs a context without error. */
    weft_error_clear(t->ctx);
    save_weights(t, "weights.safetensors");
    wf_run_log_end(t->opts->run, status == WEFT_ERR_INTERRUPTED ? "interrupted" : "failed",
                   err->text, &ignored);
    weft_run_write_report(wf_run_folder(t->opts->run), &ignored);
    t->err = err;
}

static weft_status check(const weft_module *model, const weft_train_opts *opts, weft_error *err)
{
    if (!model || !opts || !opts->train || !opts->optimizer)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training needs a model, a loader and an optimizer");
    if (opts->epochs < 1 || opts->max_steps < 0 || opts->eval_freq < 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training: epochs %lld must be at least 1 (WEFT_TRAIN_OPTS_INIT begins "
                            "options), eval_freq %lld and max_steps %lld not negative",
                            (long long)opts->epochs, (long long)opts->eval_freq,
                            (long long)opts->max_steps);
    if (opts->schedule)
        WF_TRY(weft_schedule_check(opts->schedule, err));
    if (weft_loader_batches(opts->train) < 1)
        return wf_error_set(err, WEFT_ERR_INVALID, "the training loader has no batch");
    return WEFT_OK;
}

weft_status weft_train(weft_module *model, const weft_train_opts *opts, weft_train_result *result,
                       weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    err = err ? err : &local;
    WF_TRY(check(model, opts, err));
    trainer t = {.model = model, .ctx = model->ctx, .opts = opts, .err = err};
    t.feed = (wf_feed){.ctx = model->ctx, .loader = opts->train};
    t.epochs = opts->epochs;
    t.steps_per_epoch = weft_loader_batches(opts->train);
    t.total = t.epochs * t.steps_per_epoch;
    if (opts->max_steps && opts->max_steps < t.total) {
        t.total = opts->max_steps;
        t.epochs = (t.total + t.steps_per_epoch - 1) / t.steps_per_epoch;
    }
    t.started = wf_seconds();
    wf_modes modes;
    WF_TRY(wf_modes_save(model, &modes, err));
    if (!model->training) /* set the mode of all modules: an evaluation came before */
        weft_module_train(model, true);
    weft_status status = WEFT_OK;
    for (t.epoch = 1; t.epoch <= t.epochs; t.epoch++) {
        status = run_epoch(&t);
        if (status != WEFT_OK || t.epoch == t.epochs)
            break;
    }
    wf_modes_restore(&modes);
    wf_feed_done(&t.feed);
    if (status == WEFT_OK)
        status = finish_run(&t);
    else
        abandon_run(&t, status);
    if (result && (status == WEFT_OK || status == WEFT_ERR_INTERRUPTED))
        *result = result_of(&t);
    weft_eval_result_done(&t.test);
    return status;
}
