/* What a trainer writes into its run's directory. See trainer_state.h. */
#include "train/trainer_files.h"

#include "engine/base/alloc.h"
#include "train/report/report.h"
#include "train/run_dir.h"
#include "train/trainer_checkpoint.h"
#include "train/trainer_times.h"
#include "train/weights.h"

enum { LOG_LINES_PER_EPOCH = 50 };

weft_status wf_trainer_log_window(weft_trainer *t)
{
    const wf_trainer_place *place = &t->place;
    int64_t every = (place->steps + LOG_LINES_PER_EPOCH - 1) / LOG_LINES_PER_EPOCH;
    if (!t->opts.run || (place->step % every != 0 && place->step != place->steps))
        return WEFT_OK;
    weft_progress p = wf_trainer_progress(t, &t->window);
    t->window = (wf_metrics){.started = wf_seconds()};
    double epochs_done = (double)place->done / (double)t->steps_per_epoch;
    return wf_run_log_step(t->opts.run, &p, place->done, epochs_done, t->err);
}

/* The metadata of weights, and `more` behind it; wf_free. */
static weft_safetensors_meta *meta_and(const weft_trainer *t, const weft_safetensors_meta *more)
{
    weft_safetensors_meta *all = wf_alloc_array((size_t)t->opts.n_meta + 1, sizeof *all);
    for (int64_t i = 0; all && i < t->opts.n_meta; i++)
        all[i] = t->opts.meta[i];
    if (all && more)
        all[t->opts.n_meta] = *more;
    return all;
}

/* Weights that are not finite never replace good ones on disk. */
weft_status wf_trainer_write_weights(weft_trainer *t, const char *name,
                                     const weft_safetensors_meta *more)
{
    if (!wf_weights_finite(t->model))
        return wf_error_set(t->err, WEFT_ERR_NUMERIC,
                            "epoch %lld, step %lld: the weights are not finite any more",
                            (long long)t->place.epoch, (long long)t->place.done);
    char *path = wf_run_file(t->opts.run, name);
    weft_safetensors_meta *meta = meta_and(t, more);
    weft_status status =
        path && meta ? weft_module_save_with(t->model, path, meta, t->opts.n_meta + (more != NULL))
                     : wf_error_set(t->err, WEFT_ERR_NOMEM, "out of memory while saving weights");
    if (path && meta && status != WEFT_OK)
        wf_take_error(t->model->ctx, status, NULL, t->err);
    wf_free(meta);
    wf_free(path);
    return status;
}

weft_status wf_trainer_publish(weft_trainer *t)
{
    if (!wf_run_published(t->opts.run)) /* which moves the folder that a checkpoint is written to */
        wf_trainer_checkpoint_wait(t);
    return wf_run_publish(t->opts.run, t->err);
}

weft_status wf_trainer_save_weights(weft_trainer *t, const char *name)
{
    if (!t->opts.run)
        return WEFT_OK;
    WF_TRY(wf_trainer_write_weights(t, name, NULL));
    return wf_trainer_publish(t);
}

weft_status wf_trainer_save_averages(weft_trainer *t)
{
    if (!t->recipe.ema || !t->opts.run)
        return WEFT_OK;
    weft_status status = weft_ema_swap(t->recipe.ema);
    if (status != WEFT_OK)
        return wf_take_error(t->ctx, status, "saving the averages", t->err);
    status = wf_trainer_save_weights(t, "weights_ema.safetensors");
    weft_error_clear(t->ctx);
    weft_ema_swap(t->recipe.ema); /* nothing is recorded, so this cannot fail */
    return status;
}

weft_train_result wf_trainer_result(const weft_trainer *t)
{
    return (weft_train_result){
        .epochs = t->place.epoch,
        .steps = t->place.done,
        .train_loss = wf_metrics_loss(&t->epoch_metrics),
        .train_acc1 = wf_metrics_percent(&t->epoch_metrics, t->epoch_metrics.correct),
        .test_loss = t->tested ? t->test.loss : NAN,
        .test_acc1 = t->tested ? t->test.acc1 : NAN,
        .test_acc5 = t->tested ? t->test.acc5 : NAN,
        .best_acc1 = t->best_epoch ? t->best_acc1 : NAN,
        .best_epoch = t->best_epoch,
        .img_per_s = t->train_seconds > 0 ? (double)t->train_images / t->train_seconds : 0.0,
        .seconds = wf_seconds() - t->started,
        .ema_loss = t->recipe.ema_loss,
        .ema_acc1 = t->recipe.ema_acc1,
        .ema_acc5 = t->recipe.ema_acc5,
        .stopped_early = t->recipe.enough,
    };
}

weft_status wf_trainer_finish_run(weft_trainer *t)
{
    if (!t->opts.run)
        return WEFT_OK;
    weft_train_result r = wf_trainer_result(t);
    WF_TRY(wf_run_log_end(t->opts.run, "finished", NULL, t->err));
    /* If the report cannot be written, this is an error, but the run is finished anyway. */
    weft_status reported = weft_run_write_report(wf_run_folder(t->opts.run), t->err);
    WF_TRY(wf_run_write_result(t->opts.run, &r, t->err));
    return reported;
}

void wf_trainer_abandon_run(weft_trainer *t, weft_status status)
{
    if (!t->opts.run || t->place.done == 0)
        return;
    weft_error ignored = WEFT_ERROR_INIT, *err = t->err;
    t->err = &ignored;
    /* The context may hold the error that ended the run; saving needs a context without error. */
    weft_error_clear(t->ctx);
    wf_trainer_save_weights(t, "weights.safetensors");
    wf_trainer_save_averages(t);
    wf_run_log_end(t->opts.run, status == WEFT_ERR_INTERRUPTED ? "interrupted" : "failed",
                   err->text, &ignored);
    weft_run_write_report(wf_run_folder(t->opts.run), &ignored);
    t->err = err;
}
