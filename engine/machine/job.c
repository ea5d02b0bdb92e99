/* Reads what Slurm, PBS and LSF tell a job about itself.
 *
 * Threading: no state; any thread. */
#include "engine/machine/job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What a variable says. */
typedef enum role {
    NOTHING, /* recorded only */
    ID,
    ARRAY_ID,
    ARRAY_INDEX,
    NAME,
    QUEUE,
    NODES,
    CPUS,
    RESTARTS,
    END,     /* seconds since 1970 */
    WALLTIME /* seconds, or HH:MM:SS, since the session began */
} role;

/* The environment variables of each scheduler. The first one tells that it is this scheduler. Where
 * two have the same role, the first that is set counts. */
static const struct {
    const char *scheduler;
    struct {
        const char *name;
        role role;
    } variable[24];
} schedulers[] = {
    {"slurm",
     {{"SLURM_JOB_ID", ID},
      {"SLURM_ARRAY_JOB_ID", ARRAY_ID},
      {"SLURM_ARRAY_TASK_ID", ARRAY_INDEX},
      {"SLURM_JOB_NAME", NAME},
      {"SLURM_JOB_PARTITION", QUEUE},
      {"SLURM_JOB_NODELIST", NODES},
      {"SLURM_CPUS_PER_TASK", CPUS},
      {"SLURM_CPUS_ON_NODE", CPUS},
      {"SLURM_RESTART_COUNT", RESTARTS},
      {"SLURM_JOB_END_TIME", END},
      {"SLURM_JOB_START_TIME", NOTHING},
      {"SLURM_ARRAY_TASK_COUNT", NOTHING},
      {"SLURM_CLUSTER_NAME", NOTHING},
      {"SLURM_CPU_BIND", NOTHING},
      {"SLURM_JOB_NUM_NODES", NOTHING},
      {"SLURM_JOB_QOS", NOTHING},
      {"SLURM_MEM_PER_CPU", NOTHING},
      {"SLURM_MEM_PER_NODE", NOTHING},
      {"SLURM_NTASKS", NOTHING},
      {"SLURM_PROCID", NOTHING},
      {"SLURM_SUBMIT_DIR", NOTHING}}},
    {"pbs",
     {{"PBS_JOBID", ID},
      {"PBS_ARRAY_ID", ARRAY_ID},
      {"PBS_ARRAY_INDEX", ARRAY_INDEX},
      {"PBS_ARRAYID", ARRAY_INDEX}, /* Torque */
      {"PBS_JOBNAME", NAME},
      {"PBS_QUEUE", QUEUE},
      {"PBS_NODEFILE", NODES},
      {"NCPUS", CPUS},
      {"PBS_NUM_PPN", CPUS},
      {"PBS_WALLTIME", WALLTIME},
      {"PBS_ENVIRONMENT", NOTHING},
      {"PBS_O_HOST", NOTHING},
      {"PBS_O_WORKDIR", NOTHING}}},
    {"lsf",
     {{"LSB_JOBID", ID},
      {"LSB_JOBINDEX", ARRAY_INDEX},
      {"LSB_JOBNAME", NAME},
      {"LSB_QUEUE", QUEUE},
      {"LSB_HOSTS", NODES},
      {"LSB_DJOB_NUMPROC", CPUS},
      {"LSB_BIND_CPU_LIST", NOTHING},
      {"LSB_EXIT_REQUEUE", NOTHING},
      {"LSB_MCPU_HOSTS", NOTHING},
      {"LSB_RESTART", NOTHING},
      {"LS_SUBCWD", NOTHING}}},
};
enum { N_SCHEDULERS = sizeof schedulers / sizeof *schedulers, MOST = 24 };

const char *wf_job_variable(int i)
{
    for (int s = 0; s < N_SCHEDULERS; s++)
        for (int v = 0; v < MOST && schedulers[s].variable[v].name; v++)
            if (i-- == 0)
                return schedulers[s].variable[v].name;
    return NULL;
}

/* A whole number of at least 0 at the beginning of the text ("4(x2)" says 4); -1: there is none. */
static double number(const char *text)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    return errno == 0 && n < (1ull << 53) ? (double)n : -1;
}

/* "3600", "01:00:00" or Torque's "1:00:00:00", a day, in seconds; -1: none of them. */
static double walltime(const char *text)
{
    double part[4] = {0}; /* the last one first */
    for (int parts = 0; parts < 4; parts++) {
        memmove(part + 1, part, sizeof part - sizeof *part);
        part[0] = number(text);
        text += strspn(text, "0123456789");
        if (part[0] < 0 || (*text != '\0' && *text != ':'))
            return -1;
        if (*text++ == '\0')
            return part[0] + 60 * (part[1] + 60 * (part[2] + 24 * part[3]));
    }
    return -1;
}

static void put(char *to, size_t size, const char *text)
{
    if (to[0] == '\0')
        snprintf(to, size, "%s", text);
}

/* Takes what a variable says, unless one before it has said so. */
static void take(weft_job *job, const char *name, role what, const char *text, double session_start)
{
    double n;
    switch (what) {
    case NOTHING: break;
    case ID: put(job->id, sizeof job->id, text); break;
    case ARRAY_ID: put(job->array_id, sizeof job->array_id, text); break;
    case ARRAY_INDEX: put(job->array_index, sizeof job->array_index, text); break;
    case NAME: put(job->name, sizeof job->name, text); break;
    case QUEUE: put(job->queue, sizeof job->queue, text); break;
    case NODES: put(job->nodes, sizeof job->nodes, text); break;
    case CPUS:
        n = number(text);
        if (job->cpus == 0 && n > 0 && n < 1e6)
            job->cpus = (int)n;
        break;
    case RESTARTS:
        n = number(text);
        if (n >= 0 && n < 1e9)
            job->restarts = (int)n;
        break;
    case END:
    case WALLTIME:
        n = what == END ? number(text) : walltime(text);
        if (n > 0) {
            job->end = what == END ? n : session_start + n;
            job->end_source = name;
        }
        break;
    }
}

void wf_job_read(weft_job *job, wf_job_env env, void *user, double session_start)
{
    *job = (weft_job){.scheduler = "", .restarts = -1, .end_source = ""};
    for (int s = 0; s < N_SCHEDULERS && !*job->scheduler; s++) {
        const char *id = env(user, schedulers[s].variable[0].name);
        if (!id || !*id)
            continue;
        job->scheduler = schedulers[s].scheduler;
        for (int v = 0; v < MOST && schedulers[s].variable[v].name; v++) {
            const char *name = schedulers[s].variable[v].name, *text = env(user, name);
            if (text && *text)
                take(job, name, schedulers[s].variable[v].role, text, session_start);
        }
    }
    if (strcmp(job->scheduler, "slurm") == 0 && job->restarts < 0)
        job->restarts = 0; /* Slurm sets the count with the first restart */
    if (strcmp(job->scheduler, "lsf") == 0) {
        if (strcmp(job->array_index, "0") == 0)
            job->array_index[0] = '\0'; /* LSF's way to say: no array */
        else if (job->array_index[0])
            snprintf(job->array_id, sizeof job->array_id, "%s", job->id);
    }
}

/* ---- this process ---- */

static const char *from_environment(void *user, const char *name)
{
    return getenv(name);
}

static double clock_seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* When a process began, in seconds since 1970; now, where the system does not tell. */
static double process_start(pid_t pid)
{
    char path[64], text[1024];
    double now = clock_seconds(CLOCK_REALTIME);
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return now;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    double ticks = at ? number(at + 1) : -1;
    if (ticks < 0)
        return now;
    double age = clock_seconds(CLOCK_BOOTTIME) - ticks / (double)sysconf(_SC_CLK_TCK);
    return now - fmax(age, 0);
}

void weft_job_get(weft_job *job)
{
    if (!job)
        return;
    pid_t leader = getsid(0);
    wf_job_read(job, from_environment, NULL, process_start(leader > 0 ? leader : getpid()));
}
