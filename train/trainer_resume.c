/* How a run goes on: which checkpoint, and what is said of it. See include/weft/checkpoint.h. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/alloc.h"
#include "engine/tensor/context.h"
#include "train/checkpoint/disk.h"
#include "train/checkpoint/manifest.h"
#include "train/snapshot.h"
#include "train/run_dir.h"
#include "train/trainer_best.h"
#include "train/trainer_checkpoint.h"

/* A search for a checkpoint. */
typedef struct search {
    weft_trainer *t;
    weft_note_fn note;
    void *user;
    weft_error *err;
    char *path;          /* of what was found; wf_free */
    wf_ckpt_image image; /* empty: nothing was found */
} search;

static weft_status no_memory(const search *s)
{
    return wf_error_set(s->err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
}

static void tell(const search *s, const char *text)
{
    if (s->note)
        s->note(s->user, text);
}

static bool exists(const char *folder, const char *name)
{
    struct stat st;
    char *path = wf_asprintf("%s/%s", folder, name);
    bool there = path && stat(path, &st) == 0;
    wf_free(path);
    return there;
}

/* ---- which ----------------------------------------------------------------------------------- */

/* The newest of a folder that is not damaged. */
static weft_status find_newest(search *s, const char *folder)
{
    wf_ckpt_list list = {0};
    WF_TRY(wf_ckpt_list_read(folder, &list, s->err));
    weft_status status = WEFT_OK;
    for (int i = 0; i < list.n && status == WEFT_OK && !s->path; i++) {
        weft_error why = WEFT_ERROR_INIT;
        char text[WEFT_ERROR_TEXT + 64], *path = wf_asprintf("%s/%s", folder, list.item[i].name);
        status = path ? wf_ckpt_read(path, s->t->ctx->memory, s->t->ctx->threads, &s->image, &why)
                      : no_memory(s);
        if (status == WEFT_OK) {
            s->path = path;
            break;
        }
        wf_free(path);
        if (status == WEFT_ERR_NOMEM) {
            wf_error_set(s->err, status, "%s", why.text);
            break;
        }
        snprintf(text, sizeof text, "skips a damaged checkpoint: %s", why.text);
        tell(s, text);
        status = WEFT_OK;
    }
    wf_ckpt_list_done(&list);
    return status;
}

/* The one that the user named: a checkpoint, its manifest, or a run's directory. */
static weft_status find_named(search *s, const char *from)
{
    const size_t n = strlen(from), end = sizeof(WF_MANIFEST) - 1;
    bool manifest = n >= end && strcmp(from + n - end, WF_MANIFEST) == 0 &&
                    (n == end || from[n - end - 1] == '/');
    char *path = !manifest  ? wf_strdup(from)
                 : n == end ? wf_strdup(".")
                            : wf_asprintf("%.*s", (int)(n - end - 1), from);
    if (!path)
        return no_memory(s);
    weft_status status;
    if (!exists(path, WF_MANIFEST) && exists(path, WF_RUN_CHECKPOINTS)) {
        char *folder = wf_asprintf("%s/" WF_RUN_CHECKPOINTS, path);
        status = folder ? find_newest(s, folder) : no_memory(s);
        wf_free(folder);
        if (status == WEFT_OK && !s->path)
            status = wf_error_set(s->err, WEFT_ERR_NOT_FOUND,
                                  "%s: there is no checkpoint that is not damaged", path);
    } else if (!exists(path, WF_MANIFEST)) {
        status = wf_error_set(s->err, WEFT_ERR_NOT_FOUND,
                              "%s: is neither a checkpoint (there is no %s) nor a run with "
                              "checkpoints",
                              path, WF_MANIFEST);
    } else {
        status = wf_ckpt_read(path, s->t->ctx->memory, s->t->ctx->threads, &s->image, s->err);
        if (status == WEFT_OK) {
            s->path = path;
            path = NULL;
        }
    }
    wf_free(path);
    return status;
}

static weft_status find(search *s, const char *from)
{
    if (from)
        return find_named(s, from);
    char *folder = wf_run_file(s->t->opts.run, WF_RUN_CHECKPOINTS);
    weft_status status = folder ? find_newest(s, folder) : no_memory(s);
    wf_free(folder);
    return status;
}

/* ---- going on -------------------------------------------------------------------------------- */

static void tell_resumed(const search *s)
{
    char text[1024], differences[512];
    const wf_trainer_place *p = &s->t->place;
    snprintf(text, sizeof text, "resumed from %s: epoch %lld of %lld, %lld of %lld steps done",
             s->path, (long long)(p->epoch + (!p->open && p->epoch < s->t->epochs)),
             (long long)s->t->epochs, (long long)(p->open ? p->step : 0),
             (long long)s->t->steps_per_epoch);
    tell(s, text);
    wf_snapshot_differences(s->t, &s->image, differences, sizeof differences);
    if (!differences[0])
        return;
    snprintf(text, sizeof text,
             "bits will differ from those of a run that was not interrupted: the checkpoint was "
             "made with another %s",
             differences);
    tell(s, text);
}

/* The weights of the best epoch so far are not in a checkpoint. */
static weft_status bring_best(search *s)
{
    weft_trainer *t = s->t;
    const long long epoch = (long long)t->best_epoch;
    bool found, moved;
    weft_status status = wf_trainer_bring_best(t, s->path, &found, &moved, s->err);
    const int64_t best_epoch = t->best_epoch, best_step = t->best_step;
    const double best_acc1 = t->best_acc1;
    if (moved) {
        weft_status again = wf_snapshot_apply(t, &s->image, s->path, status ? NULL : s->err);
        status = status == WEFT_OK ? again : status;
        t->best_epoch = best_epoch;
        t->best_step = best_step;
        t->best_acc1 = best_acc1;
    }
    if (status != WEFT_OK || found || weft_run_resumed(t->opts.run)) /* it makes them again */
        return status;
    char text[256];
    snprintf(text, sizeof text,
             "the weights of epoch %lld, the best one so far, are not beside the checkpoint: "
             "weights_best.safetensors will have the best of the epochs to come",
             epoch);
    tell(s, text);
    return status;
}

static weft_status go_on(search *s)
{
    weft_trainer *t = s->t;
    weft_run *run = t->opts.run;
    const bool found = s->path != NULL;
    if (found)
        WF_TRY(wf_snapshot_apply(t, &s->image, s->path, s->err));
    wf_trainer_checkpoint_loaded(t);
    if (run && weft_run_was_finished(run) && found && !t->place.open &&
        t->place.epoch == t->epochs) {
        t->finished = true;
        return WEFT_OK;
    }
    if (run)
        WF_TRY(wf_run_take_back(run, found ? &s->image : NULL, s->err));
    if (run && found) {
        const char *slash = strrchr(s->path, '/');
        double epochs = (double)t->place.done / (double)t->steps_per_epoch;
        wf_run_keep(run);
        WF_TRY(bring_best(s));
        WF_TRY(
            wf_run_note_resumed(run, t->place.done, epochs, slash ? slash + 1 : s->path, s->err));
    }
    if (found)
        tell_resumed(s);
    if (found && wf_trainer_checkpoints(t)) {
        t->spare = s->image; /* its memory is of the size that the next checkpoint needs */
        s->image = (wf_ckpt_image){0};
    }
    return WEFT_OK;
}

weft_status weft_trainer_resume(weft_trainer *t, const char *from, weft_note_fn note, void *user,
                                weft_error *err)
{
    weft_error local = WEFT_ERROR_INIT;
    search s = {.t = t, .note = note, .user = user, .err = err ? err : &local};
    if (!t)
        return wf_error_set(err, WEFT_ERR_INVALID, "there is no trainer");
    WF_TRY(wf_trainer_check_outside(t, err));
    if (t->place.epoch > 0)
        return wf_error_set(err, WEFT_ERR_STATE, "a training that has begun cannot be resumed");
    if (!from && !(t->opts.run && weft_run_resumed(t->opts.run)))
        return WEFT_OK;
    weft_status status = find(&s, from);
    if (status == WEFT_OK)
        status = go_on(&s);
    wf_ckpt_image_done(&s.image);
    wf_free(s.path);
    return status;
}
