/* See trainer_best.h.
 *
 * The file says by the metadata "weft.steps" of which step it is: a run that was killed behind a
 * better epoch and before its checkpoint has the weights of an epoch that the resumed training does
 * not know of yet. */
#include "train/trainer_best.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/tensor/context.h"
#include "train/checkpoint/disk.h"
#include "train/run_dir.h"
#include "train/trainer_files.h"

#define BEST "weights_best.safetensors"
#define MODEL "model.safetensors" /* of a checkpoint: weights like any other */
#define STEPS "weft.steps"

/* ---- writing --------------------------------------------------------------------------------- */

/* Writes the model's weights as those of best_step. */
static weft_status write_best(weft_trainer *t, bool publish)
{
    char steps[24];
    snprintf(steps, sizeof steps, "%" PRId64, t->best_step);
    const weft_safetensors_meta more = {STEPS, steps};
    WF_TRY(wf_trainer_write_weights(t, BEST, &more));
    return publish ? wf_trainer_publish(t) : WEFT_OK;
}

/* Among equals the first stays the best: it needed the least training. */
weft_status wf_trainer_note_best(weft_trainer *t)
{
    if (t->best_epoch && t->test.acc1 <= t->best_acc1)
        return WEFT_OK;
    t->best_acc1 = t->test.acc1;
    t->best_epoch = t->place.epoch;
    t->best_step = t->place.done;
    return t->opts.run ? write_best(t, true) : WEFT_OK;
}

/* ---- bringing -------------------------------------------------------------------------------- */

/* Whether a file has weights of this step. One that does not say it is of an earlier version, and is
 * believed where `old` is true. */
static bool is_of_step(const char *path, int64_t step, bool old)
{
    weft_safetensors *file = NULL;
    if (!path || weft_safetensors_open_header(path, &file, NULL) != WEFT_OK)
        return false;
    const char *text = weft_safetensors_meta_find(file, STEPS);
    bool fits = text ? strtoll(text, NULL, 10) == step : old;
    weft_safetensors_close(file);
    return fits;
}

/* "a/b" of "a/b/c", "." of "c"; wf_free; NULL: out of memory. */
static char *folder_of(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    return n > 0 ? wf_asprintf("%.*s", (int)(n > 1 ? n - 1 : 1), path) : wf_strdup(".");
}

/* The weights in an undamaged checkpoint of this step; wf_free; NULL: there is none. */
static char *in_checkpoints(weft_trainer *t, const char *folder, int64_t step)
{
    wf_ckpt_list list = {0};
    char *weights = NULL;
    if (wf_ckpt_list_read(folder, &list, NULL) != WEFT_OK)
        return NULL;
    for (int i = 0; i < list.n && !weights; i++) {
        wf_ckpt_image image = {0};
        if (list.item[i].step != step)
            continue;
        char *path = wf_asprintf("%s/%s", folder, list.item[i].name);
        if (path && wf_ckpt_read(path, t->ctx->memory, t->ctx->threads, &image, NULL) == WEFT_OK)
            weights = wf_asprintf("%s/" MODEL, path);
        wf_ckpt_image_done(&image);
        wf_free(path);
    }
    wf_ckpt_list_done(&list);
    return weights;
}

/* The weights in the run that the folder of checkpoints belongs to, or NULL. */
static char *in_run(const char *folder, int64_t step)
{
    char *weights = wf_asprintf("%s/../" BEST, folder);
    if (is_of_step(weights, step, false))
        return weights;
    wf_free(weights);
    return NULL;
}

/* Loads weights and writes them as the run's best. False: they cannot be loaded. */
static bool take_over(weft_trainer *t, const char *weights, bool *moved, weft_status *status)
{
    *moved = true;
    if (weft_module_load(t->model, weights, true) != WEFT_OK) {
        weft_error_clear(t->ctx);
        return false;
    }
    *status = write_best(t, false);
    return true;
}

weft_status wf_trainer_bring_best(weft_trainer *t, const char *path, bool *found, bool *moved,
                                  weft_error *err)
{
    weft_status status = WEFT_OK;
    bool there;
    found = found ? found : &there;
    *found = true;
    *moved = false;
    if (!t->opts.run || !t->best_epoch)
        return WEFT_OK;
    char *own = wf_run_file(t->opts.run, BEST), *folder = folder_of(path), *weights = NULL;
    t->err = err;
    if (!own || !folder) {
        status = wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
    } else if (!is_of_step(own, t->best_step, true)) {
        weights = in_checkpoints(t, folder, t->best_step);
        *found = weights && take_over(t, weights, moved, &status);
        if (!*found) {
            wf_free(weights);
            weights = in_run(folder, t->best_step);
            *found = weights && take_over(t, weights, moved, &status);
        }
    }
    if (!*found) {
        t->best_epoch = t->best_step = 0;
        t->best_acc1 = 0;
    }
    wf_free(weights);
    wf_free(folder);
    wf_free(own);
    return status;
}
