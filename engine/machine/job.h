/* The batch job of this process, as environment variables tell: `schedulers` in job.c is the one
 * table of their names. */
#ifndef WF_MACHINE_JOB_H
#define WF_MACHINE_JOB_H

#include "weft/job.h"

/* For tests: `env` looks up a variable (NULL: it is not set). session_start: when the process's
 * session began, seconds since 1970. */
typedef const char *(*wf_job_env)(void *user, const char *name);
void wf_job_read(weft_job *job, wf_job_env env, void *user, double session_start);

/* The names of the variables that runs record, one after the other; NULL after the last. None holds
 * a secret (SLURM_JWT and PBS_JOBCOOKIE do). */
const char *wf_job_variable(int i);

#endif
