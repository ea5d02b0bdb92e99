/* See trainer_checkpoint.h and include/weft/checkpoint.h. */
#include "train/trainer_checkpoint.h"

#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/clock.h"
#include "engine/tensor/context.h"
#include "train/checkpoint/disk.h"
#include "train/snapshot.h"
#include "train/checkpoint/writer.h"
#include "train/run_dir.h"

enum { KEEP = 3 };

bool wf_trainer_checkpoints(const weft_trainer *t)
{
    const weft_checkpoint_opts *o = &t->opts.checkpoints;
    return t->opts.run && (o->steps > 0 || o->epochs > 0 || o->seconds > 0);
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(weft_trainer *t, const wf_ckpt_job *job)
{
    if (t->opts.checkpoints.told)
        t->opts.checkpoints.told(t->opts.checkpoints.user,
                                 &(weft_checkpoint_event){.path = job->path,
                                                          .step = job->step,
                                                          .bytes = job->bytes,
                                                          .copy_seconds = job->copy_seconds,
                                                          .write_seconds = job->write_seconds,
                                                          .status = job->err.status,
                                                          .error = job->err.text});
}

/* Takes over an image, for the next one's copy. */
static void keep_memory(weft_trainer *t, wf_ckpt_image *image)
{
    wf_ckpt_image_done(&t->spare);
    t->spare = *image;
    *image = (wf_ckpt_image){0};
}

/* A checkpoint is as good as weights: from now on this run replaces an older one. */
static void collect(weft_trainer *t)
{
    wf_ckpt_job job;
    if (!t->writer)
        return;
    wf_ckpt_writer_join(t->writer, &job);
    t->writer = NULL;
    if (job.err.status == WEFT_OK)
        wf_run_publish(t->opts.run, &job.err);
    if (job.err.status == WEFT_OK) {
        t->saved.seconds = job.copy_seconds + job.write_seconds;
        t->saved.bytes = job.bytes;
    }
    t->saved.err = job.err;
    tell(t, &job);
    keep_memory(t, &job.image);
    wf_ckpt_job_done(&job);
}

void wf_trainer_checkpoint_wait(weft_trainer *t)
{
    collect(t);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* Copies the state and starts to write it; nothing is in flight. */
static weft_status begin(weft_trainer *t, weft_error *err)
{
    const double started = wf_seconds();
    const int64_t keep = t->opts.checkpoints.keep;
    wf_ckpt_job job = {.keep = keep > 0 ? (int)keep : KEEP,
                       .step = t->place.done,
                       .best = t->best_epoch ? t->best_step : -1};
    t->saved.place = t->place;
    t->saved.any = true;
    t->saved.at = started;
    t->saved.due = false;
    t->saved.err = (weft_error)WEFT_ERROR_INIT;
    job.folder = wf_run_file(t->opts.run, WF_RUN_CHECKPOINTS);
    weft_status status = job.folder ? WEFT_OK : WEFT_ERR_NOMEM;
    if (status != WEFT_OK)
        wf_error_set(err, status, "out of memory for a checkpoint");
    if (status == WEFT_OK)
        status = wf_snapshot_take(t, &t->spare, &job.image, err);
    wf_ckpt_image_done(&t->spare);
    job.copy_seconds = wf_seconds() - started;
    if (status == WEFT_OK)
        status = wf_ckpt_writer_start(&job, &t->writer, err);
    if (status != WEFT_OK)
        wf_ckpt_job_done(&job);
    return status;
}

static bool is_due(const weft_trainer *t, bool epoch_over)
{
    const weft_checkpoint_opts *o = &t->opts.checkpoints;
    const wf_trainer_place *p = &t->place, *last = &t->saved.place;
    const int64_t closed = p->epoch - p->open, last_closed = last->epoch - last->open;
    return (o->steps > 0 && p->done - last->done >= o->steps) ||
           (o->epochs > 0 && epoch_over && closed - last_closed >= o->epochs) ||
           (o->seconds > 0 && wf_seconds() - t->saved.at >= o->seconds);
}

/* After the first step, which has made the optimizer's state: a copy of it that nobody writes, so
 * that no later step waits for new memory. Where there is none, the checkpoint itself will tell. */
static void make_ready(weft_trainer *t)
{
    t->saved.ready = true;
    if (wf_snapshot_take(t, NULL, &t->spare, NULL) != WEFT_OK)
        weft_error_clear(t->ctx);
}

void wf_trainer_checkpoint_tick(weft_trainer *t, bool epoch_over)
{
    if (!wf_trainer_checkpoints(t))
        return;
    if (!t->saved.ready && !t->spare.n && !t->writer)
        make_ready(t);
    if (t->writer && wf_ckpt_writer_done(t->writer))
        collect(t);
    t->saved.due = t->saved.due || is_due(t, epoch_over);
    if (!t->saved.due || t->writer)
        return;
    wf_ckpt_job job = {.step = t->place.done};
    if (begin(t, &job.err) != WEFT_OK) {
        weft_error_clear(t->ctx); /* it is told, and the training goes on */
        t->saved.err = job.err;
        tell(t, &job);
    }
}

void wf_trainer_checkpoint_last(weft_trainer *t)
{
    wf_trainer_checkpoint_wait(t);
    if (!t->saved.due)
        return;
    wf_trainer_checkpoint_tick(t, false);
    wf_trainer_checkpoint_wait(t);
}

void wf_trainer_checkpoint_loaded(weft_trainer *t)
{
    t->saved = (wf_trainer_saved){.place = t->place, .at = wf_seconds(), .ready = t->saved.ready};
}

/* Whether the state that was copied last is the present one. */
static bool is_present(const weft_trainer *t)
{
    return t->saved.any && t->saved.place.done == t->place.done &&
           t->saved.place.open == t->place.open && t->saved.place.epoch == t->place.epoch;
}

weft_status wf_trainer_checkpoint_now(weft_trainer *t, weft_error *err)
{
    if (!wf_trainer_checkpoints(t) || t->place.done == 0)
        return WEFT_OK;
    const bool have = is_present(t);
    collect(t);
    if (have && t->saved.err.status == WEFT_OK)
        return WEFT_OK;
    WF_TRY(begin(t, err));
    collect(t);
    weft_status status = t->saved.err.status;
    return status == WEFT_OK ? status : wf_error_set(err, status, "%s", t->saved.err.text);
}

/* ---- for programs ---------------------------------------------------------------------------- */

weft_status weft_checkpoint_save(weft_trainer *t, const char *path, weft_error *err)
{
    wf_ckpt_image image = {0};
    if (!t || !path || !*path)
        return wf_error_set(err, WEFT_ERR_INVALID, "a checkpoint needs a trainer and a folder");
    WF_TRY(wf_trainer_check_outside(t, err));
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *folder = wf_asprintf("%.*s", (int)n, path);
    weft_status status = folder
                             ? wf_snapshot_take(t, &t->spare, &image, err)
                             : wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
    if (status == WEFT_OK)
        status = wf_ckpt_write(&image, folder, err);
    keep_memory(t, &image);
    wf_free(folder);
    return status;
}

weft_status weft_checkpoint_load(weft_trainer *t, const char *path, weft_error *err)
{
    wf_ckpt_image image = {0};
    if (!t || !path || !*path)
        return wf_error_set(err, WEFT_ERR_INVALID, "a checkpoint needs a trainer and a folder");
    WF_TRY(wf_trainer_check_outside(t, err));
    wf_trainer_checkpoint_wait(t);
    WF_TRY(wf_ckpt_read(path, t->ctx->memory, t->ctx->threads, &image, err));
    weft_status status = wf_snapshot_apply(t, &image, path, err);
    wf_ckpt_image_done(&image);
    if (status == WEFT_OK)
        wf_trainer_checkpoint_loaded(t);
    return status;
}
