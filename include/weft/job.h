/* Batch jobs: what the batch system says of this process, and when its time is over.
 *
 * Nothing here needs a context, keeps state or runs a program. Any thread may call it; another
 * thread must not change the environment meanwhile. */
#ifndef WEFT_JOB_H
#define WEFT_JOB_H

#include <stdbool.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the job --------------------------------------------------------------------------------- */

/* The batch job that this process is part of, as its environment tells. A text that is longer than
 * its array is cut. */
typedef struct weft_job {
    const char *scheduler;  /* "slurm", "pbs" or "lsf"; "": none */
    char id[64];            /* of the job; of a task of a job array: the task's own; "": no job */
    char array_id[64];      /* of the job array; "": none */
    char array_index[32];   /* of the task in the job array; "": none */
    char name[128];         /* of the job */
    char queue[128];        /* the queue, Slurm's partition */
    char nodes[256];        /* the hosts, as the scheduler lists them */
    int cpus;               /* that the scheduler gives one task on this host; 0: not known */
    int restarts;           /* how often the job was started again; -1: not known */
    double end;             /* when its time is over, seconds since 1970; 0: not known */
    const char *end_source; /* the environment variable that says so; "" where none does */
} weft_job;

/* Fills in *job from the environment: SLURM_JOB_ID and its like, PBS_JOBID, LSB_JOBID. Outside a
 * batch job all texts are "".
 *
 * The end is SLURM_JOB_END_TIME (seconds since 1970), or PBS_WALLTIME (seconds, or HH:MM:SS) after
 * the start of the process's session, which PBS makes for the job. LSF tells no end. */
void weft_job_get(weft_job *job);

/* ---- time limits ----------------------------------------------------------------------------- */

/* Reads a time limit in the forms of Slurm's --time: "minutes", "minutes:seconds",
 * "hours:minutes:seconds", "days-hours", "days-hours:minutes" and "days-hours:minutes:seconds".
 * *seconds becomes at least 1. WEFT_ERR_INVALID: the text has none of these forms, or the limit is
 * 0 or longer than ten years; err may be NULL. */
weft_status weft_time_limit_parse(const char *text, double *seconds, weft_error *err);

/* What a training may begin before its job ends. The times are seconds of one monotonic clock. */
typedef struct weft_wall_time {
    double start;      /* of this process */
    double end;        /* of the job; INFINITY: there is none */
    double margin;     /* seconds to keep free before the end; < 0: chosen from the next two */
    double step;       /* the slowest of the latest steps, or 0; see weft_wall_time_step */
    double write;      /* the slowest write of a checkpoint; before the first a guess */
    bool wrote;        /* `write` was measured */
    double evaluation; /* the slowest evaluation; 0: there was none yet */
} weft_wall_time;

/* What weft_wall_time says of something to be done. */
typedef enum weft_wall_answer {
    WEFT_WALL_GO,    /* it ends in time */
    WEFT_WALL_LEAVE, /* it does not: write a checkpoint and leave, a new job has the time */
    WEFT_WALL_NEVER  /* a whole job of this length has not the time either */
} weft_wall_answer;

/* Begins a record: a job that started at `start` and ends at `end` (INFINITY: never). margin < 0:
 * it is chosen. checkpoint_bytes: what a checkpoint holds, from which its first write is guessed, at
 * 50 MB/s and a second more. */
void weft_wall_time_init(weft_wall_time *w, double start, double end, double margin,
                         double checkpoint_bytes);
/* Note what a step took, the write of a checkpoint, an evaluation. The bound for steps falls by 2 %
 * with each step that is faster, so that a slow first step is forgotten. */
void weft_wall_time_step(weft_wall_time *w, double seconds);
void weft_wall_time_write(weft_wall_time *w, double seconds);
void weft_wall_time_evaluation(weft_wall_time *w, double seconds);

/* The seconds that are kept free before the end: `margin`, or else one step, two writes and five
 * seconds, in which the process ends and its files reach the disk. */
double weft_wall_time_margin(const weft_wall_time *w);
/* Whether one more step may begin now. The first step of a process may, unless its job has ended:
 * `first` is true for it, so that a job that is started again and again gets ahead. */
weft_wall_answer weft_wall_time_may_step(const weft_wall_time *w, double now, bool first);
/* Whether an evaluation of `batches` batches may begin now. It is expected to take a quarter more
 * than the slowest so far; before the first, as long as so many training steps. */
weft_wall_answer weft_wall_time_may_evaluate(const weft_wall_time *w, double now, double batches);

#ifdef __cplusplus
}
#endif
#endif
