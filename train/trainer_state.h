/* What a trainer is inside.
 *
 *   trainer.c        creates, runs and destroys one
 *   trainer_epoch.c  one epoch: its steps, what is done after the last of them
 *   trainer_step.c   one step: a plan
 *   trainer_best.c   the weights of the best epoch
 *   trainer_files.c  weights, the evaluation, the last lines of a run
 *   trainer_recipe.c averages of the weights, clipping, the plateau, early stopping
 *   trainer_times.c  how long a step takes, and how long the rest will
 *   trainer_checkpoint.c  when checkpoints are written
 *   trainer_resume.c how a run goes on from one
 *
 * State that decides what later steps compute needs a part of the checkpoint, too:
 * parts.def. Single-threaded, as the model's context. */
#ifndef WF_TRAIN_TRAINER_STATE_H
#define WF_TRAIN_TRAINER_STATE_H

#include "engine/base/error.h"
#include "train/checkpoint/image.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/modes.h"
#include "weft/train.h"

/* Where training is. `step` of `steps` are done in epoch `epoch`; the epoch is `open` from its
 * first step until its evaluation is over and its lines are written. */
typedef struct wf_trainer_place {
    int64_t epoch; /* from 1; 0: nothing was trained */
    int64_t step, steps;
    bool open;
    int64_t done; /* optimizer steps of the whole training */
} wf_trainer_place;

/* The mean time of a step: the plain mean of the first steps, then an exponential mean. */
typedef struct wf_trainer_times {
    double step_seconds, step_ended;
    int64_t steps_timed;
} wf_trainer_times;

/* The checkpoint that was begun last. */
typedef struct wf_trainer_saved {
    wf_trainer_place place; /* where training was */
    double at;              /* when */
    bool any;               /* there was one in this process */
    bool ready;             /* the first copy was made, or tried */
    bool due;               /* another one is, but this is still being written */
    weft_error err;         /* why it is not there, once it is over */
    double seconds;         /* what the last good one took, copy and write */
    int64_t bytes;          /* and its size; 0: there was none */
} wf_trainer_saved;

/* What recipes add to a training. */
typedef struct wf_trainer_recipe {
    weft_tensor_list clipped;            /* parameters whose gradients are clipped */
    weft_ema *ema;                       /* NULL: none */
    double ema_loss, ema_acc1, ema_acc5; /* of their last evaluation; NaN: none */
    weft_plateau plateau;
    double best;          /* of the monitored figures */
    int64_t figures, bad; /* seen; in a row without a better one */
    bool enough;          /* patience is over */
} wf_trainer_recipe;

struct weft_trainer {
    weft_module *model; /* a reference */
    weft_context *ctx;
    weft_train_opts opts; /* a copy; what it points to is the caller's */
    weft_error *err;      /* of the call that is going on */
    wf_modes modes;       /* the modules' modes before training */
    wf_feed feed;
    weft_tensor *class_weights; /* (K) f32; NULL: none */
    bool feeding;               /* the loader stands at place.step of place.epoch */
    bool finished;
    bool stop;   /* weft_trainer_stop */
    bool inside; /* a step: in one of its callbacks */

    int64_t epochs, steps_per_epoch, total; /* total: optimizer steps */
    wf_trainer_place place;
    double lr;
    wf_metrics epoch_metrics, window; /* window: since the last line of log.jsonl */
    wf_trainer_times times;
    double started;
    double train_seconds;  /* seconds spent in training steps of earlier epochs */
    int64_t train_images;  /* images of earlier epochs */
    weft_eval_result test; /* result of the last evaluation */
    bool tested;
    double best_acc1; /* highest accuracy of all evaluations, and the first epoch that had it */
    int64_t best_epoch;
    int64_t best_step; /* steps done at the end of best_epoch */

    wf_trainer_saved saved;
    struct wf_ckpt_writer *writer; /* of the checkpoint in flight; NULL: none is */
    /* The copy of the state before, whose memory the next copy uses: a page that is touched first
     * costs up to twenty times as much as the copy into it. */
    wf_ckpt_image spare;
    wf_trainer_recipe recipe;
};

/* WEFT_ERR_STATE in a callback of the trainer: its state is halfway to the next, or the averages
 * stand in for the weights. */
static inline weft_status wf_trainer_check_outside(const weft_trainer *t, weft_error *err)
{
    return t->inside ? wf_error_set(err, WEFT_ERR_STATE,
                                    "a callback of a training may ask it to stop, but neither "
                                    "step, nor save, nor load it: it is inside a step")
                     : WEFT_OK;
}

#endif
