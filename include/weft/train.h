/* Training: the loop over epochs and steps, evaluation, what a run leaves on disk.
 *
 * Nothing here prints: a caller who wants to see progress gets records through a callback. One
 * thread at a time uses a context and so its training. Shape letters: N images of a batch, K
 * classes. */
#ifndef WEFT_TRAIN_H
#define WEFT_TRAIN_H

#include "weft/context.h"
#include "weft/data.h"
#include "weft/module.h"
#include "weft/ops.h"
#include "weft/optim.h"
#include "weft/safetensors.h"
#include "weft/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- progress -------------------------------------------------------------------------------- */

typedef enum weft_phase { WEFT_PHASE_TRAIN, WEFT_PHASE_EVAL } weft_phase;

typedef struct weft_progress {
    weft_phase phase;
    int64_t epoch; /* from 1; 0 outside training */
    int64_t epochs;
    int64_t step, steps; /* of this pass: done, and in all */
    int64_t images;      /* of this pass, done */
    double loss, acc1;   /* means over those images; acc1 in percent */
    double lr;           /* of the last training step */
    double img_per_s;    /* of this pass so far */
    double seconds;      /* since this pass began */
    double seconds_left; /* until all is done, evaluations included; < 0: not known yet */
} weft_progress;

/* Called after every step of training and of evaluation. false: stop cleanly
 * (WEFT_ERR_INTERRUPTED). */
typedef bool (*weft_progress_fn)(void *user, const weft_progress *progress);

/* What an epoch came to; test_* are NaN where it was not evaluated. Accuracies in percent. */
typedef struct weft_epoch {
    int64_t epoch, epochs; /* from 1 */
    int64_t steps;         /* since training began */
    double train_loss, train_acc1;
    double test_loss, test_acc1, test_acc5; /* test_acc5: see weft_eval_result.acc5 */
    double lr;                              /* of its last step */
    double img_per_s;                       /* of its training steps */
    double seconds;                         /* since training began */
} weft_epoch;
typedef void (*weft_epoch_fn)(void *user, const weft_epoch *epoch);

/* Writes seconds as a clock shows them, "0:42", "12:07", "1:02:33", rounded, into text (at most
 * size bytes, terminated); returns text. What is below 0, and NaN, is "0:00". */
char *weft_duration_format(double seconds, char *text, size_t size);

/* ---- the run's directory ---------------------------------------------------------------------
 * config.json, log.jsonl, summary.csv, weights.safetensors, weights_best.safetensors,
 * evaluation.json, curve.svg, report.html, result.json. Files appear whole or line by line.
 * result.json is written last, so a directory with one is a finished run. */

typedef struct weft_run weft_run;

typedef struct weft_run_opts {
    const char *path; /* parents are made too */
    bool numbered;    /* where `path` exists, use path-2, path-3, ... */
    bool overwrite;   /* replace a run that `path` holds; without it that is an error */
} weft_run_opts;
/* Makes the directory and proves that it can be written, before any training. It is locked until
 * weft_run_destroy: another run in it, of this process or not, is refused with WEFT_ERR_STATE; the
 * lock goes with the process, and file systems without locks are used without. A run that is to be
 * replaced stays until this one has weights; what killed runs left is removed. */
weft_status weft_run_create(const weft_run_opts *opts, weft_run **run, weft_error *err);
const char *weft_run_path(const weft_run *run);
/* Closes the directory. One in which no step was ever trained is removed again, if it was made
 * by weft_run_create. NULL: no effect. */
void weft_run_destroy(weft_run *run);

typedef enum weft_setting_kind {
    WEFT_SETTING_TEXT, /* NULL: null */
    WEFT_SETTING_INT,
    WEFT_SETTING_NUMBER,
    WEFT_SETTING_BOOL
} weft_setting_kind;
typedef struct weft_setting {
    const char *name;
    weft_setting_kind kind;
    const char *text;
    int64_t integer;
    double number;
    bool truth;
} weft_setting;
/* Writes config.json: the command line (NULL: not known), the settings under "options", versions,
 * CPU, ISA, threads and the hash of the wisdom in use (weft/tune.h) under "environment". Where
 * there is such wisdom, wisdom.json gets a copy of it. */
weft_status weft_run_write_config(weft_run *run, weft_context *ctx, const char *command,
                                  const weft_setting *settings, int n, weft_error *err);

/* ---- training -------------------------------------------------------------------------------- */

typedef struct weft_train_opts {
    weft_loader *train;
    weft_loader *test; /* NULL: no evaluation */
    weft_optimizer *optimizer;
    const weft_schedule *schedule; /* by step; NULL: what the optimizer has */
    int64_t epochs;                /* at least 1 */
    int64_t max_steps;             /* 0: no limit; the last epoch then ends early */
    int64_t eval_freq; /* evaluate every so many epochs, and after the last; 0, which no epoch
                          is a multiple of, reads as 1 */
    double label_smoothing;
    weft_run *run; /* NULL: nothing is written */
    /* Metadata of the weights file; "format": "pt" is added. */
    const weft_safetensors_meta *meta;
    int64_t n_meta;
    weft_progress_fn progress; /* or NULL */
    weft_epoch_fn epoch;       /* after each epoch; or NULL */
    void *user;
} weft_train_opts;
/* To begin options with; .train and .optimizer are needed besides. */
#define WEFT_TRAIN_OPTS_INIT                                                                       \
    {                                                                                              \
        .epochs = 1, .eval_freq = 1                                                                \
    }

typedef struct weft_train_result {
    int64_t epochs; /* begun */
    int64_t steps;
    double train_loss, train_acc1;          /* of the last epoch */
    double test_loss, test_acc1, test_acc5; /* of the last evaluation; NaN: none */
    double best_acc1;                       /* the highest test_acc1 of all evaluations */
    int64_t best_epoch;                     /* the first that had it; 0: none */
    double img_per_s;                       /* training steps only */
    double seconds;                         /* all of it, evaluations included */
} weft_train_result;

/* The loss of one batch, as weft_train minimises it: cross-entropy of the model's logits and, where
 * its class has an aux_loss_weight, in training mode that of each further output times this weight.
 * labels and opts as for weft_cross_entropy; *logits (may be NULL) becomes the logits. NULL on
 * failure. */
weft_tensor *weft_training_loss(weft_module *model, weft_tensor *images, weft_tensor *labels,
                                const weft_cross_entropy_opts *opts, weft_tensor **logits);

/* Each module keeps its own mode: one that was put in evaluation mode (weft_module_eval), such as a
 * frozen BatchNorm, stays in it. A model that is in evaluation mode itself is trained with all its
 * modules in training mode. Afterwards every module is in the mode that it was in before.
 *
 * Trains `model`: each step is one plan of forward, weft_training_loss, backward,
 * update and metrics; the train_loss that is reported is that loss, label
 * smoothing and auxiliary parts included.
 * A loss that is not finite, in training or in an evaluation, ends it with WEFT_ERR_NUMERIC, which
 * names epoch and step; in training the model then is what it was before that step. WEFT_ERR_INTERRUPTED: the progress callback said stop.
 *
 * With a run, weights.safetensors holds the state after each epoch and at the end, also of an
 * interrupted run and of one that failed, provided that all weights are finite;
 * weights_best.safetensors that of best_epoch; evaluation.json the last evaluation; report.html and
 * curve.svg (report.h) what there was at the end; result.json is written by a finished run only.
 * *result (may be NULL) is also set when interrupted; on other failures it is untouched and
 * err (may be NULL) says why. */
weft_status weft_train(weft_module *model, const weft_train_opts *opts, weft_train_result *result,
                       weft_error *err);

/* ---- evaluation ------------------------------------------------------------------------------
 * In eval mode and without gradients; every module's own mode is restored. Every figure is a function of
 * the model's outputs, summed in double in the loader's order: neither threads nor how images are
 * cut into batches change a bit. (The outputs themselves may be rounded otherwise in batches of
 * another size, where another kernel is the fastest.) */

/* Larger confusion matrices are not counted. */
#define WEFT_CONFUSION_CLASSES 1024

typedef struct weft_eval_opts {
    weft_progress_fn progress; /* or NULL */
    void *user;
    bool per_class; /* count per class, too */
    bool confusion; /* and the confusion matrix, for at most WEFT_CONFUSION_CLASSES classes */
    int worst;      /* keep so many of the worst mistakes */
} weft_eval_opts;

/* In percent; NaN where it would be 0/0. */
typedef struct weft_class_score {
    int64_t support;   /* images of this class */
    int64_t predicted; /* images taken for it */
    int64_t correct;   /* images that are both */
    double precision;  /* correct / predicted */
    double recall;     /* correct / support */
    double f1;         /* 2 correct / (support + predicted) */
} weft_class_score;

/* An image whose class was not the one predicted. */
typedef struct weft_mistake {
    int64_t sample;           /* of the data set */
    int64_t label, predicted; /* predicted -1: the outputs hold a NaN */
    double probability;       /* softmax of the predicted class; NaN where there is none */
    double label_probability; /* and of the label */
    double loss;
} weft_mistake;

/* Memory: what the options ask for, whatever the number of images. */
typedef struct weft_eval_result {
    int64_t images;
    int64_t nan_images; /* with a NaN among their outputs: wrong in every count */
    int classes;        /* outputs of the model */
    double loss;        /* mean cross-entropy; NaN if one image's is */
    double acc1, acc5;  /* percent; acc5 is NaN for at most five classes: all images would count */
    weft_class_score mean; /* sums of the counts; means over the classes that have images, where a
                              precision that is NaN counts as 0 */
    weft_class_score *per_class; /* (classes), or NULL */
    int64_t *confusion;          /* (classes, classes), rows true, columns predicted; or NULL */
    weft_mistake *worst;         /* (n_worst), the highest loss first; or NULL */
    int n_worst;
    double img_per_s, seconds;
} weft_eval_result;

/* One epoch of `loader`. opts may be NULL. On success the caller ends *result with
 * weft_eval_result_done, which frees the arrays that were asked for. */
weft_status weft_evaluate(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                          weft_eval_result *result, weft_error *err);
void weft_eval_result_done(weft_eval_result *result); /* NULL: no effect */

/* The model's outputs for one epoch of `loader`, in its order: *logits (N, K), owned by the caller
 * (free). */
weft_status weft_predict(weft_module *model, weft_loader *loader, const weft_eval_opts *opts,
                         float **logits, weft_shape *shape, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
