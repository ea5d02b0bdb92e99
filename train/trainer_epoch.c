/* One epoch: its steps; then weights, evaluation and lines. See trainer_state.h. */
#include "train/trainer_epoch.h"

#include <stdio.h>

#include "train/evaluate.h"
#include "train/report/report.h"
#include "train/run_dir.h"
#include "train/trainer_best.h"
#include "train/trainer_files.h"
#include "train/trainer_recipe.h"
#include "train/trainer_step.h"
#include "train/trainer_times.h"

enum { WORST_MISTAKES = 24 };

/* ---- steps ----------------------------------------------------------------------------------- */

static void open_epoch(weft_trainer *t)
{
    wf_trainer_place *p = &t->place;
    const int64_t left = t->total - p->done;
    p->epoch++;
    p->step = 0;
    p->steps = t->steps_per_epoch < left ? t->steps_per_epoch : left;
    p->open = true;
    t->epoch_metrics = t->window = (wf_metrics){.started = wf_seconds()};
    t->feeding = false;
}

/* Where a step has failed the loader has gone on, but training has not: it goes back. */
static weft_status feed(weft_trainer *t)
{
    if (t->feeding)
        return WEFT_OK;
    const int64_t batch = t->place.step * wf_recipe_accumulate(&t->opts);
    WF_TRY(weft_loader_start(t->opts.train, t->place.epoch - 1, batch, t->err));
    t->feeding = true;
    t->times.step_ended = 0;
    return WEFT_OK;
}

static weft_status train_batch(weft_trainer *t)
{
    WF_TRY(feed(t));
    t->feeding = false;
    WF_TRY(wf_trainer_batch(t));
    t->feeding = true;
    wf_trainer_time_step(t);
    if (t->opts.run)
        wf_run_keep(t->opts.run);
    WF_TRY(wf_trainer_log_window(t));
    weft_progress p = wf_trainer_progress(t, &t->epoch_metrics);
    bool go_on = !t->opts.progress || t->opts.progress(t->opts.user, &p);
    if (go_on && !t->stop)
        return WEFT_OK;
    t->stop = false;
    return wf_error_set(t->err, WEFT_ERR_INTERRUPTED, "interrupted at epoch %lld, step %lld",
                        (long long)t->place.epoch, (long long)t->place.step);
}

/* ---- the end of an epoch --------------------------------------------------------------------- */

static weft_status fail_loss(weft_trainer *t, const weft_eval_result *r)
{
    char nan[96] = "";
    if (r->nan_images > 0)
        snprintf(nan, sizeof(nan), "; the outputs of %lld of %lld images are NaN",
                 (long long)r->nan_images, (long long)r->images);
    return wf_error_set(t->err, WEFT_ERR_NUMERIC,
                        "epoch %lld, step %lld: the test loss is not finite (learning rate %g)%s",
                        (long long)t->place.epoch, (long long)t->place.done, t->lr, nan);
}

static weft_status evaluate(weft_trainer *t)
{
    const int64_t epoch = t->place.epoch;
    wf_eval_place place = {.epoch = epoch, .epochs = t->epochs, .lr = t->lr};
    place.seconds_after = t->times.step_seconds * (double)(t->total - t->place.done);
    if (t->tested)
        place.seconds_after +=
            t->test.seconds * (double)(wf_trainer_evaluations_left(t, epoch) - 1);
    weft_eval_opts opts = {.progress = t->opts.progress, .user = t->opts.user};
    if (t->opts.run) { /* for the report */
        opts.per_class = opts.confusion = true;
        opts.worst = WORST_MISTAKES;
    }
    weft_eval_result result;
    const weft_random_state before = weft_get_random_state(t->ctx);
    weft_status status = wf_evaluate(t->model, t->opts.test, &opts, &place, &result, t->err);
    if (status != WEFT_OK) { /* one that begins anew draws what this one drew */
        weft_set_random_state(t->ctx, before);
        return status;
    }
    weft_eval_result_done(&t->test);
    t->test = result;
    t->tested = true;
    if (!isfinite(result.loss))
        return fail_loss(t, &result);
    WF_TRY(wf_recipe_evaluate(t, &place));
    if (!t->opts.run)
        return WEFT_OK;
    return wf_evaluation_write(wf_run_folder(t->opts.run), &t->test,
                               weft_loader_get_dataset(t->opts.test), epoch, t->err);
}

static weft_status close_epoch(weft_trainer *t)
{
    double now = wf_seconds();
    weft_epoch e = {
        .epoch = t->place.epoch,
        .epochs = t->epochs,
        .steps = t->place.done,
        .train_loss = wf_metrics_loss(&t->epoch_metrics),
        .train_acc1 = wf_metrics_percent(&t->epoch_metrics, t->epoch_metrics.correct),
        .test_loss = NAN,
        .test_acc1 = NAN,
        .test_acc5 = NAN,
        .ema_loss = NAN,
        .ema_acc1 = NAN,
        .ema_acc5 = NAN,
        .lr = t->lr,
        .img_per_s = wf_metrics_rate(&t->epoch_metrics, now),
    };
    double train_seconds = now - t->epoch_metrics.started;
    WF_TRY(wf_trainer_save_weights(t, "weights.safetensors"));
    WF_TRY(wf_trainer_save_averages(t));
    if (wf_trainer_evaluates_after(t, t->place.epoch)) {
        WF_TRY(evaluate(t));
        WF_TRY(wf_trainer_note_best(t));
        e.test_loss = t->test.loss;
        e.test_acc1 = t->test.acc1;
        e.test_acc5 = t->test.acc5;
        e.ema_loss = t->recipe.ema_loss;
        e.ema_acc1 = t->recipe.ema_acc1;
        e.ema_acc5 = t->recipe.ema_acc5;
    }
    e.seconds = wf_seconds() - t->started;
    if (t->opts.run)
        WF_TRY(wf_run_log_epoch(t->opts.run, &e, t->err));
    t->train_seconds += train_seconds;
    t->train_images += t->epoch_metrics.images;
    t->place.open = false;
    if (wf_trainer_evaluates_after(t, t->place.epoch))
        wf_recipe_evaluated(t);
    wf_recipe_set_end(t); /* this epoch may be the last */
    if (t->opts.epoch)
        t->opts.epoch(t->opts.user, &e);
    return WEFT_OK;
}

weft_status wf_trainer_advance(weft_trainer *t)
{
    if (!t->place.open)
        open_epoch(t);
    if (t->place.step < t->place.steps)
        WF_TRY(train_batch(t));
    if (t->place.step < t->place.steps)
        return WEFT_OK;
    return close_epoch(t);
}
