/* When `weft train` leaves because its job ends: --time-limit, --time-margin, and what the batch
 * system says. The policy is weft_wall_time (weft/job.h); here are the clock and the records that it
 * is fed with. Single-threaded. */
#ifndef CLI_TRAIN_TIME_H
#define CLI_TRAIN_TIME_H

#include "session.h"

typedef struct train_time {
    weft_wall_time wall;
    const char *source;       /* of the end: "--time-limit", "SLURM_JOB_END_TIME"; NULL: no end */
    int64_t eval_freq;        /* epochs */
    int64_t test_batches;     /* of an evaluation */
    int64_t steps;            /* that this process has trained */
    double last;              /* when the last step ended */
    weft_wall_answer leaving; /* WEFT_WALL_GO: it is not */
    double margin;            /* that was kept free when it was last asked, in seconds */
    const char *before;       /* what has no time any more: "a step" */
} train_time;

/* Reads the flags and the environment, as early as possible. Returns 0 or the exit status. */
int train_time_begin(train_time *t, const session *s);
/* Refuses to train in a job whose end was over at train_time_begin: returns 0 or the exit status. A
 * finished run needs no time. */
int train_time_check(const train_time *t);
/* What is known before the first step: bytes of a checkpoint, batches of an evaluation. Prints a
 * line where there is an end. */
void train_time_plan(train_time *t, double checkpoint_bytes, int64_t test_batches,
                     int64_t eval_freq);
/* After a step of training or evaluation. False: leave now. */
bool train_time_step(train_time *t, const weft_progress *r);
/* A checkpoint was written. */
void train_time_wrote(train_time *t, const weft_checkpoint_event *e);
/* Where train_time_step has said so: tells why. True: this is an error, because no job of this length
 * has the time. */
bool train_time_end(const train_time *t);

#endif
