/* Training: the loop over epochs and steps, evaluation, the files of a run.
 *
 * Nothing here prints. A caller who wants to show progress gives a callback. One thread at a time
 * may use a context, and so the functions here. Shape letters: N images, K classes. */
#ifndef WEFT_TRAIN_H
#define WEFT_TRAIN_H

#include "weft/checkpoint.h"
#include "weft/context.h"
#include "weft/data.h"
#include "weft/ema.h"
#include "weft/module.h"
#include "weft/ops.h"
#include "weft/optim.h"
#include "weft/safetensors.h"
#include "weft/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- progress -------------------------------------------------------------------------------- */

/* What is going on. */
typedef enum weft_phase { WEFT_PHASE_TRAIN, WEFT_PHASE_EVAL } weft_phase;

/* How far training or an evaluation is. "This part" is the present epoch, or the evaluation. */
typedef struct weft_progress {
    weft_phase phase;    /* training or evaluation */
    int64_t epoch;       /* from 1; 0 outside training */
    int64_t epochs;      /* how many there will be */
    int64_t step, steps; /* of this part: done, and in all */
    int64_t images;      /* of this part, done */
    double loss, acc1;   /* means over those images; acc1 in percent */
    double lr;           /* of the last training step */
    double img_per_s;    /* of this part so far */
    double seconds;      /* since this part began */
    double seconds_left; /* until all is done, evaluations included; < 0: not known yet */
} weft_progress;

/* Called after every step of training and of evaluation. Return false to stop: the call that
 * trains or evaluates then returns WEFT_ERR_INTERRUPTED. */
typedef bool (*weft_progress_fn)(void *user, const weft_progress *progress);

/* The figures of an epoch. test_* are NaN where there was no evaluation. Accuracies are in
 * percent. */
typedef struct weft_epoch {
    int64_t epoch, epochs;                  /* which one, from 1, and how many there will be */
    int64_t steps;                          /* since training began */
    double train_loss, train_acc1;          /* means over its training images */
    double test_loss, test_acc1, test_acc5; /* test_acc5: see weft_eval_result.acc5 */
    double lr;                              /* of its last step */
    double img_per_s;                       /* of its training steps */
    double seconds;                         /* since training began */
    double ema_loss, ema_acc1, ema_acc5;    /* of the averages (weft/ema.h); NaN: none */
} weft_epoch;
/* Called after every epoch. */
typedef void (*weft_epoch_fn)(void *user, const weft_epoch *epoch);

/* Writes seconds as a clock shows them, "0:42", "12:07", "1:02:33", rounded, into text (at most
 * size bytes, terminated); returns text. What is below 0, and NaN, is "0:00". */
char *weft_duration_format(double seconds, char *text, size_t size);

/* ---- the run's directory ---------------------------------------------------------------------
 * config.json, log.jsonl, summary.csv, weights.safetensors, weights_best.safetensors,
 * weights_ema.safetensors, evaluation.json, curve.svg, report.html, result.json. Files appear whole
 * or line by line. result.json is written last, so a directory with one is a finished run. */

typedef struct weft_run weft_run; /* a run's directory, open */

/* Which directory. */
typedef struct weft_run_opts {
    const char *path; /* folders above it are made, too */
    bool numbered;    /* if `path` exists, use path-2, path-3, ... */
    bool overwrite;   /* replace a run that `path` holds; without it that is an error */
    bool resume;      /* go on with a run that `path` holds (weft_trainer_resume); not with
                         overwrite */
} weft_run_opts;
#define WEFT_RUN_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */
/* Makes the directory and checks that files can be written there, before any training. Locks it
 * until weft_run_destroy or the end of the process: a second run in it, also of another process,
 * fails with WEFT_ERR_STATE. On a file system without locks there is none. A run that is to be
 * replaced stays until this one has weights. What killed runs have left there is removed. */
weft_status weft_run_create(const weft_run_opts *opts, weft_run **run, weft_error *err);
const char *weft_run_path(const weft_run *run); /* of the directory */
/* Whether weft_run_opts.resume found a run in the directory, and whether that is a finished one. */
bool weft_run_resumed(const weft_run *run);
bool weft_run_was_finished(const weft_run *run);
/* Closes the directory. If weft_run_create has made it and no step was trained, removes it. NULL:
 * no effect. */
void weft_run_destroy(weft_run *run);

/* Which member of a weft_setting has its value. */
typedef enum weft_setting_kind {
    WEFT_SETTING_TEXT,   /* text; NULL becomes null */
    WEFT_SETTING_INT,    /* integer */
    WEFT_SETTING_NUMBER, /* number */
    WEFT_SETTING_BOOL    /* truth */
} weft_setting_kind;
/* One setting of config.json. */
typedef struct weft_setting {
    const char *name;       /* its key */
    weft_setting_kind kind; /* which of the next members counts */
    const char *text;       /* the value of WEFT_SETTING_TEXT */
    int64_t integer;        /* of WEFT_SETTING_INT */
    double number;          /* of WEFT_SETTING_NUMBER */
    bool truth;             /* of WEFT_SETTING_BOOL */
} weft_setting;
/* Writes config.json: the command line (NULL: not known); under "options" the n settings; under
 * "environment" where it runs and on what results depend (weft_info_json in weft/context.h). If
 * there is wisdom, writes a copy of it to wisdom.json. */
weft_status weft_run_write_config(weft_run *run, weft_context *ctx, const char *command,
                                  const weft_setting *settings, int n, weft_error *err);

/* Called with a setting that is not what it was. Both values are as in config.json. */
typedef void (*weft_difference_fn)(void *user, const char *name, const char *was, const char *now);
/* Compares n settings with those that the run in the directory began with (weft_run_opts.resume),
 * before weft_run_write_config replaces them, and calls fn for each that differs. One that
 * config.json does not have is of a later version, and passes. WEFT_ERR_NOT_FOUND: config.json is
 * missing or damaged. */
weft_status weft_run_compare_settings(const weft_run *run, const weft_setting *settings, int n,
                                      weft_difference_fn fn, void *user, weft_error *err);

/* ---- training -------------------------------------------------------------------------------- */

/* A figure of an evaluation. */
typedef enum weft_monitor {
    WEFT_MONITOR_LOSS,     /* test_loss: lower is better */
    WEFT_MONITOR_ACC1,     /* test_acc1: higher is better */
    WEFT_MONITOR_EMA_LOSS, /* the same of the averages */
    WEFT_MONITOR_EMA_ACC1
} weft_monitor;

/* How to train. */
typedef struct weft_train_opts {
    weft_loader *train;            /* batches to train on; needed */
    weft_loader *test;             /* batches to evaluate on; NULL: no evaluation */
    weft_optimizer *optimizer;     /* needed */
    const weft_schedule *schedule; /* of the learning rate; NULL: it stays the optimizer's */
    int64_t epochs;                /* at least 1 */
    int64_t max_steps;             /* stop after so many steps; 0: no limit */
    int64_t eval_freq;      /* evaluate every so many epochs and after the last; 0 reads as 1 */
    double label_smoothing; /* of the training loss */
    /* Weights of the classes in the training loss (K, the model's outputs; not negative). Copied.
     * NULL: all alike */
    const float *class_weights;
    int n_class_weights; /* how many */
    weft_run *run;       /* where files are written; NULL: none are */
    /* Metadata of the weights file, n_meta pairs. "format": "pt" is added. */
    const weft_safetensors_meta *meta;
    int64_t n_meta;
    weft_progress_fn progress;        /* called after each step; or NULL */
    weft_epoch_fn epoch;              /* called after each epoch; or NULL */
    void *user;                       /* given to both */
    weft_checkpoint_opts checkpoints; /* when they are written; all zeros: never */
    /* recipes */
    int64_t accumulate; /* batches a step, whose gradients are averaged; 0 reads as 1 */
    double clip_grad_norm, clip_grad_value; /* limits of weft_clip_grad_norm and _value; 0: none */
    const weft_ema_opts *ema;               /* averages of the weights; NULL: none */
    int64_t patience;     /* stop after so many evaluations without a better figure; 0: do not */
    weft_monitor monitor; /* that figure; it is the one of a plateau schedule, too */
    /* patience: a figure is better that is so by more than this (accuracies are in percent), as
     * Keras has it; 0: by anything */
    double min_delta;
} weft_train_opts;
/* To begin options with. Set train and optimizer, too. */
#define WEFT_TRAIN_OPTS_INIT WEFT_INIT(weft_train_opts, WEFT_SET(epochs, 1), WEFT_SET(eval_freq, 1))

/* What training came to. */
typedef struct weft_train_result {
    int64_t epochs;                         /* begun */
    int64_t steps;                          /* trained */
    double train_loss, train_acc1;          /* of the last epoch */
    double test_loss, test_acc1, test_acc5; /* of the last evaluation; NaN: none */
    double best_acc1;                       /* the highest test_acc1 of all evaluations */
    int64_t best_epoch;                     /* the first that had it; 0: none */
    double img_per_s;                       /* training steps only */
    double seconds;                         /* all of it, evaluations included */
    double ema_loss, ema_acc1, ema_acc5;    /* of the last evaluation of averages; NaN: none */
    bool stopped_early;                     /* weft_train_opts.patience was over */
} weft_train_result;

/* The loss of one batch that weft_train minimises: the cross-entropy of the model's logits. If the
 * model's class has an aux_loss_weight and is in training mode, the cross-entropy of each further
 * output is added, times this weight. labels and opts: as for weft_cross_entropy (labels may be
 * the classes' shares, as weft_batch.targets). *logits (may be
 * NULL) becomes the logits. NULL on failure. */
weft_tensor *weft_training_loss(weft_module *model, weft_tensor *images, weft_tensor *labels,
                                const weft_cross_entropy_opts *opts, weft_tensor **logits);

/* Trains `model`. Each step is one plan: forward, weft_training_loss, backward, update and
 * metrics. With weft_train_opts.accumulate a step is so many batches, each a plan of its own, and
 * the last of them has the update; the last step of an epoch has the batches that are left. Steps of
 * the schedule, of max_steps and of all reports are these. BatchNorm sees each batch by itself. If a
 * later batch of a step fails, its earlier ones have changed running statistics, and nothing else.
 * The train_loss that is reported is that loss, with label smoothing and auxiliary
 * outputs.
 *
 * Modules: one that is in evaluation mode (weft_module_eval), such as a frozen BatchNorm, stays in
 * it. If the model itself is in evaluation mode, all its modules are trained in training mode.
 * Afterwards every module is in the mode that it was in before.
 *
 * Failure: a loss that is not finite, in training or evaluation, ends the call with
 * WEFT_ERR_NUMERIC. The message names epoch and step; the model is what it was before that step.
 * WEFT_ERR_INTERRUPTED: the progress callback returned false; *result (may be NULL) is set. On
 * other failures *result is untouched, and err (may be NULL) says why.
 *
 * Files, if there is a run: weights.safetensors has the state after each epoch and at the end,
 * also when the call was interrupted or failed, as long as all weights are finite.
 * weights_best.safetensors has the state of best_epoch, evaluation.json the last evaluation.
 * weights_ema.safetensors has the averages, if there are any, after each epoch.
 * report.html and curve.svg (weft/report.h) are written at the end. Only a finished run has
 * result.json. Where checkpoints are asked for, they are written while training goes on, and where
 * it is interrupted, before the call returns: WEFT_ERR_INTERRUPTED then means that the state is on
 * disk; where it could not be written, the write's error is returned. */
weft_status weft_train(weft_module *model, const weft_train_opts *opts, weft_train_result *result,
                       weft_error *err);

/* ---- training step by step -------------------------------------------------------------------
 * weft_train as an object that a program can step, save and load. */

/* A new trainer in *trainer, before its first step; the caller owns it. The options are copied;
 * what they point to (loaders, optimizer, schedule, run, metadata) must outlive the trainer, which
 * holds a reference to the model. From here to weft_trainer_destroy the model's modules are in the
 * modes that weft_train trains them in. On failure *trainer is untouched, and err (may be NULL)
 * says why. */
weft_status weft_trainer_create(weft_module *model, const weft_train_opts *opts,
                                weft_trainer **trainer, weft_error *err);
/* Puts the modules back into their modes and frees the trainer. NULL: no effect. */
void weft_trainer_destroy(weft_trainer *trainer);

/* Trains one step, on the next batch, or as many as it accumulates. The last step of an epoch is
 * followed by what weft_train does there:
 * weights, evaluation, a line of the log, the callbacks; the last of the training by the run's
 * final files. Between two calls the program may do with the model what it likes.
 *
 * Failures are weft_train's. After one the same call can be made again: a step that failed is tried
 * again on the same batch, an evaluation that was interrupted begins anew. WEFT_ERR_STATE: the
 * training is over, or this is a callback of the same trainer. */
weft_status weft_trainer_step(weft_trainer *trainer, weft_error *err);
/* Trains to the end, from wherever the trainer is: weft_train is weft_trainer_create, this, and
 * weft_trainer_destroy. */
weft_status weft_trainer_run(weft_trainer *trainer, weft_train_result *result, weft_error *err);
/* Whether the last step and what follows it are done. */
bool weft_trainer_finished(const weft_trainer *trainer);
/* Asks for a stop, from a callback or between two steps: the step that is going on is finished,
 * then weft_trainer_step or weft_trainer_run returns WEFT_ERR_INTERRUPTED, as where the progress
 * callback returns false. */
void weft_trainer_stop(weft_trainer *trainer);
/* The bytes of memory that a training needs at its peak, besides program and data sets. */
typedef struct weft_train_memory {
    size_t weights;     /* parameters and statistics */
    size_t optimizer;   /* its state, and other state that steps keep */
    size_t gradients;   /* of the parameters */
    size_t activations; /* what a step computes on its way */
    size_t scratch;     /* kernels' workspace, of all threads */
    size_t loader;      /* batches in the making, and those that steps read */
    size_t plans;       /* compiled steps and kernels, as measured */
    size_t total;       /* of all these */
} weft_train_memory;
/* Says what memory the training would need, without any step: compiles the plans of a step and of
 * an evaluation, which these then use. Ask it once, before the first step: what the plans take is
 * measured while they are made. The trainer stays as it is. err may be NULL. */
weft_status weft_trainer_plan_memory(weft_trainer *trainer, weft_train_memory *memory,
                                     weft_error *err);
/* What a part of this training takes, as far as it was measured in this process; else 0. */
typedef struct weft_trainer_times {
    double step_seconds;       /* the mean of the latest steps */
    double evaluation_seconds; /* the last evaluation */
    double checkpoint_seconds; /* the last checkpoint, from the copy to the last fsync */
    int64_t checkpoint_bytes;  /* and its size */
} weft_trainer_times;
/* Fills in *times; between two steps, or from a callback. */
void weft_trainer_get_times(const weft_trainer *trainer, weft_trainer_times *times);
/* The averages of the weights that the trainer keeps, borrowed; NULL: it has none. */
weft_ema *weft_trainer_ema(weft_trainer *trainer);
/* What training has come to so far. */
void weft_trainer_get_result(const weft_trainer *trainer, weft_train_result *result);

/* ---- evaluation ------------------------------------------------------------------------------
 * Runs the model in evaluation mode and without gradients, and restores every module's mode.
 * Figures are computed from the model's outputs in double, in the loader's order, so they depend
 * neither on threads nor on the batch size. (The outputs themselves may: with another batch size
 * another kernel may be chosen, which rounds otherwise.) */

/* With more classes than this there is no confusion matrix. */
#define WEFT_CONFUSION_CLASSES 1024

/* What an evaluation computes besides loss and accuracy. */
typedef struct weft_eval_opts {
    weft_progress_fn progress; /* called after each step; or NULL */
    void *user;                /* given to it */
    bool per_class;            /* figures of each class */
    bool confusion;            /* the confusion matrix */
    int worst;                 /* keep so many of the worst mistakes */
} weft_eval_opts;
#define WEFT_EVAL_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* The figures of a class, in percent; NaN where they would be 0/0. */
typedef struct weft_class_score {
    int64_t support;   /* images of this class */
    int64_t predicted; /* images for which the model predicts it */
    int64_t correct;   /* images that are both */
    double precision;  /* correct / predicted */
    double recall;     /* correct / support */
    double f1;         /* 2 correct / (support + predicted) */
} weft_class_score;

/* An image whose class is not the one predicted. */
typedef struct weft_mistake {
    int64_t sample;           /* of the data set */
    int64_t label, predicted; /* predicted -1: the outputs hold a NaN */
    double probability;       /* softmax of the predicted class; NaN where there is none */
    double label_probability; /* softmax of the label */
    double loss;              /* cross-entropy of the image */
} weft_mistake;

/* What an evaluation came to. Its arrays are those that the options asked for. */
typedef struct weft_eval_result {
    int64_t images;     /* evaluated */
    int64_t nan_images; /* images with a NaN among their outputs; they count as wrong everywhere */
    int classes;        /* outputs of the model */
    double loss;        /* mean cross-entropy; NaN if one image's is */
    double acc1, acc5;  /* in percent; acc5 is NaN for five classes or fewer: all would be right */
    /* Counts: sums over the classes. Figures: means over the classes that have images; a precision
     * that is NaN counts as 0. */
    weft_class_score mean;
    weft_class_score *per_class; /* (classes), or NULL */
    int64_t *confusion;          /* (classes, classes), rows true, columns predicted; or NULL */
    weft_mistake *worst;         /* (n_worst), the highest loss first; or NULL */
    int n_worst;                 /* how many mistakes are there */
    double img_per_s, seconds;   /* that evaluating took */
} weft_eval_result;

/* Evaluates the model on one epoch of `loader`. opts may be NULL. On success the caller frees the
 * result's arrays with weft_eval_result_done. */
weft_status weft_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                          weft_eval_result *result, weft_error *err);
void weft_eval_result_done(weft_eval_result *result); /* frees its arrays; NULL: no effect */

/* The model's outputs for one epoch of `loader`, in its order: *logits, of the shape (N, K) that
 * *shape becomes. The caller frees it with free(). opts may be NULL; only its callback counts. */
weft_status weft_predict(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                         float **logits, weft_shape *shape, weft_error *err);

/* The model's outputs for a batch; valid during the call that gets them. */
typedef struct weft_outputs {
    int64_t n;              /* images */
    int64_t classes;        /* K */
    const float *logits;    /* (n, K) */
    const int64_t *samples; /* (n) which samples of the data set they are */
} weft_outputs;
/* Takes the outputs of a batch. A status other than WEFT_OK ends the pass, which returns it; err
 * then has the reason. */
typedef weft_status (*weft_outputs_fn)(void *user, const weft_outputs *outputs, weft_error *err);
/* As weft_predict, but hands out the outputs batch by batch, in the loader's order, so that memory
 * does not grow with the images. */
weft_status weft_predict_each(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                              weft_outputs_fn take, void *user, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
