/* Creates, runs and destroys a trainer. See trainer_state.h, and include/weft/train.h. */
#include <math.h>
#include <stdio.h>

#include "engine/base/alloc.h"
#include "train/trainer_checkpoint.h"
#include "train/trainer_epoch.h"
#include "train/trainer_files.h"
#include "train/trainer_recipe.h"

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
    return wf_recipe_check(opts, err);
}

static weft_status make_class_weights(weft_trainer *t, weft_error *err)
{
    const weft_train_opts *o = &t->opts;
    if (!o->class_weights)
        return WEFT_OK;
    for (int k = 0; k < o->n_class_weights; k++)
        if (!(o->class_weights[k] >= 0) || !isfinite(o->class_weights[k]))
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "training: the weight of class %d is %g, expected a finite number "
                                "that is not negative",
                                k, (double)o->class_weights[k]);
    t->class_weights =
        weft_tensor_from(t->ctx, WEFT_F32, WEFT_SHAPE(o->n_class_weights), o->class_weights);
    return t->class_weights ? WEFT_OK : wf_take_error(t->ctx, WEFT_ERR_NOMEM, NULL, err);
}

weft_status weft_trainer_create(weft_module *model, const weft_train_opts *opts,
                                weft_trainer **trainer, weft_error *err)
{
    if (!trainer)
        return wf_error_set(err, WEFT_ERR_INVALID, "a trainer needs a place for the result");
    WF_TRY(check(model, opts, err));
    weft_trainer *t = wf_zalloc(sizeof(*t));
    if (!t)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a trainer");
    t->ctx = model->ctx;
    t->opts = *opts;
    t->feed = (wf_feed){.ctx = t->ctx, .loader = opts->train};
    t->epochs = opts->epochs;
    t->steps_per_epoch = wf_recipe_steps(opts);
    if (t->epochs > INT64_MAX / t->steps_per_epoch) {
        wf_free(t);
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training: %lld epochs have more steps than can be counted",
                            (long long)opts->epochs);
    }
    t->total = t->epochs * t->steps_per_epoch;
    if (opts->max_steps && opts->max_steps < t->total) {
        t->total = opts->max_steps;
        t->epochs = (t->total + t->steps_per_epoch - 1) / t->steps_per_epoch;
    }
    weft_status status = make_class_weights(t, err);
    if (status == WEFT_OK)
        status = wf_modes_save(model, &t->modes, err);
    if (status != WEFT_OK) {
        weft_tensor_unref(t->class_weights);
        wf_free(t);
        return status;
    }
    t->model = weft_module_ref(model);
    status = wf_recipe_init(t, err);
    if (status != WEFT_OK) {
        weft_trainer_destroy(t);
        return status;
    }
    if (!model->training) /* set the mode of all modules: an evaluation came before */
        weft_module_train(model, true);
    t->started = wf_seconds();
    wf_trainer_checkpoint_loaded(t);
    *trainer = t;
    return WEFT_OK;
}

void weft_trainer_destroy(weft_trainer *t)
{
    if (!t)
        return;
    wf_trainer_checkpoint_wait(t);
    wf_ckpt_image_done(&t->spare);
    wf_modes_restore(&t->modes);
    wf_feed_done(&t->feed);
    weft_tensor_unref(t->class_weights);
    wf_recipe_done(t);
    weft_eval_result_done(&t->test);
    weft_module_unref(t->model);
    wf_free(t);
}

bool weft_trainer_finished(const weft_trainer *t)
{
    return t && t->finished;
}

void weft_trainer_stop(weft_trainer *t)
{
    if (t)
        t->stop = true;
}

void weft_trainer_get_times(const weft_trainer *t, weft_trainer_times *times)
{
    if (times)
        *times = t ? (weft_trainer_times){.step_seconds = t->times.step_seconds,
                                          .evaluation_seconds = t->tested ? t->test.seconds : 0,
                                          .checkpoint_seconds = t->saved.seconds,
                                          .checkpoint_bytes = t->saved.bytes}
                   : (weft_trainer_times){0};
}

void weft_trainer_get_result(const weft_trainer *t, weft_train_result *result)
{
    if (result)
        *result = t ? wf_trainer_result(t) : (weft_train_result){0};
}

/* Whether the last epoch is over. */
static bool at_end(const weft_trainer *t)
{
    return !t->place.open && t->place.epoch == t->epochs;
}

/* The step, and what follows the last one of an epoch and of the training. */
static weft_status step(weft_trainer *t)
{
    if (!at_end(t)) {
        WF_TRY(wf_trainer_advance(t));
        wf_trainer_checkpoint_tick(t, !t->place.open);
    } else { /* resumed from the last checkpoint: only the run's files are missing */
        WF_TRY(wf_trainer_save_weights(t, "weights.safetensors"));
        WF_TRY(wf_trainer_save_averages(t));
    }
    if (!at_end(t))
        return WEFT_OK;
    wf_trainer_checkpoint_last(t);
    t->finished = true;
    return wf_trainer_finish_run(t);
}

weft_status weft_trainer_step(weft_trainer *t, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    if (!t)
        return wf_error_set(err, WEFT_ERR_INVALID, "there is no trainer");
    WF_TRY(wf_trainer_check_outside(t, err));
    if (t->finished)
        return wf_error_set(err, WEFT_ERR_STATE, "the training is over: %lld steps are done",
                            (long long)t->place.done);
    t->err = err ? err : &local;
    t->inside = true;
    weft_status status = step(t);
    t->inside = false;
    return status;
}

/* A stop leaves a checkpoint of where it came, and only then the less important files. */
static weft_status stop_run(weft_trainer *t, weft_status status, weft_error *err)
{
    weft_error why = WEFT_ERROR_INIT;
    weft_status saved = WEFT_OK;
    if (status == WEFT_ERR_INTERRUPTED)
        saved = wf_trainer_checkpoint_now(t, &why);
    wf_trainer_checkpoint_wait(t);
    if (saved != WEFT_OK) {
        char text[sizeof err->text];
        snprintf(text, sizeof text, "%s", err->text);
        *err = (weft_error)WEFT_ERROR_INIT;
        status = wf_error_set(err, saved, "%s, but no checkpoint was written: %s", text, why.text);
    }
    wf_trainer_abandon_run(t, status);
    return status;
}

weft_status weft_trainer_run(weft_trainer *t, weft_train_result *result, weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    weft_status status = WEFT_OK;
    err = err ? err : &local;
    if (!t)
        return wf_error_set(err, WEFT_ERR_INVALID, "there is no trainer");
    WF_TRY(wf_trainer_check_outside(t, err));
    while (status == WEFT_OK && !t->finished)
        status = weft_trainer_step(t, err);
    if (status != WEFT_OK && !t->finished)
        status = stop_run(t, status, err);
    if (result && (status == WEFT_OK || status == WEFT_ERR_INTERRUPTED))
        *result = wf_trainer_result(t);
    return status;
}

weft_status weft_train(weft_module *model, const weft_train_opts *opts, weft_train_result *result,
                       weft_error *err)
{
    weft_trainer *t = NULL;
    WF_TRY(weft_trainer_create(model, opts, &t, err));
    weft_status status = weft_trainer_run(t, result, err);
    weft_trainer_destroy(t);
    return status;
}
