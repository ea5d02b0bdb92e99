/* What a training will need, before it begins: memory by part, time, disk. For `weft plan` and
 * `weft train --dry-run`, for `-b auto`, and to refuse what does not fit. Single-threaded. */
#ifndef CLI_TRAIN_PLAN_H
#define CLI_TRAIN_PLAN_H

#include "session.h"

/* The memory of a training by part; the order in which they are printed. */
typedef enum plan_part {
    PLAN_PROGRAM, /* program, libraries and data sets, as resident before the model is made */
    PLAN_WEIGHTS,
    PLAN_OPTIMIZER,
    PLAN_GRADIENTS,
    PLAN_ACTIVATIONS,
    PLAN_SCRATCH,
    PLAN_LOADER,
    PLAN_PLANS,      /* compiled steps, and what compiling them takes */
    PLAN_CHECKPOINT, /* the copy of the state that a checkpoint is written from */
    PLAN_PARTS
} plan_part;

/* What is known of a job before it begins. */
typedef struct plan_job {
    const char *name;           /* "resnet50" */
    int64_t steps, evaluations; /* of the whole training */
    int64_t epochs;
    int64_t test_batches; /* of an evaluation */
    int64_t checkpoints;  /* on disk at once, the one being written included; 0: none */
} plan_job;

typedef struct train_plan {
    size_t part[PLAN_PARTS]; /* bytes */
    size_t peak;             /* their sum */
    size_t state;            /* bytes of a checkpoint */
} train_plan;

/* Opens a training with these options and plans it, and stops there: nothing is printed on success.
 * Only a process that ends afterwards calls it: it need not clean up. *images becomes the number of
 * training images. Returns 0 or the exit status. */
typedef int (*plan_fn)(const cli_options *options, train_plan *plan, int64_t *images);

/* The bytes that the process has in memory. Ask it with the data sets open, before there are loaders
 * and a model: that is what the training finds there. 0: not known. */
size_t plan_resident(void);
void plan_begin(train_plan *p, size_t resident); /* with that figure */

/* Everything below returns 0, or the exit status once the error is printed. */

/* Refuses a model whose weights alone are too much, before they are drawn. */
int plan_check_weights(session *s, const train_plan *p, size_t weights);
/* Plans the memory of a training. checkpoints: whether it writes any. */
int plan_make(session *s, train_plan *p, weft_trainer *trainer, bool checkpoints);
/* Where --memory-limit is less than the plan's peak: lets the backward pass compute again what does not
 * fit, and plans anew. Refuses a limit that cannot be met, and names the least. */
int plan_limit(session *s, train_plan *p, weft_trainer *trainer, bool checkpoints);
/* Refuses a plan that is larger than the memory that is there. Names the three largest parts and
 * the batch size that would fit. */
int plan_check(session *s, const train_plan *p, plan_fn plan);
/* Where --batch-size is auto, makes it the largest that fits, or that of the run that goes on. */
int plan_choose_batch(const char *command, cli_options *options, plan_fn plan);
/* Runs a few steps to time them, and prints the plan with the header of a job script. */
int plan_dry_run(session *s, const train_plan *p, weft_trainer *trainer, const plan_job *job);

#endif
