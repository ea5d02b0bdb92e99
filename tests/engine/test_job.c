/* What Slurm, PBS and LSF tell a job about itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/machine/job.h"

/* Every session of these tests began then. */
#define STARTED 1e9

static const char *lookup(void *user, const char *name)
{
    const char *const *vars = user;
    for (; vars[0]; vars += 2)
        if (strcmp(vars[0], name) == 0)
            return vars[1];
    return NULL;
}

typedef struct expected {
    const char *name;
    const char *vars[24];
    const char *scheduler, *id, *array_id, *array_index, *job_name, *queue, *nodes;
    int cpus, restarts;
    double end;
    const char *end_source;
} expected;

static const expected jobs[] = {
    {"no scheduler", {NULL}, "", "", "", "", "", "", "", 0, -1, 0, ""},
    {"an id that is empty is none", {"SLURM_JOB_ID", ""}, "", "", "", "", "", "", "", 0, -1, 0, ""},
    {"slurm",
     {"SLURM_JOB_ID", "812", "SLURM_JOB_NAME", "resnet", "SLURM_JOB_PARTITION", "long",
      "SLURM_JOB_NODELIST", "node[3-4]", "SLURM_CPUS_PER_TASK", "32", "SLURM_CPUS_ON_NODE", "64",
      "SLURM_JOB_END_TIME", "1900000000"},
     "slurm",
     "812",
     "",
     "",
     "resnet",
     "long",
     "node[3-4]",
     32,
     0,
     1.9e9,
     "SLURM_JOB_END_TIME"},
    {"a task of a slurm array, started again",
     {"SLURM_JOB_ID", "814", "SLURM_ARRAY_JOB_ID", "812", "SLURM_ARRAY_TASK_ID", "2",
      "SLURM_RESTART_COUNT", "3", "SLURM_CPUS_ON_NODE", "64"},
     "slurm",
     "814",
     "812",
     "2",
     "",
     "",
     "",
     64,
     3,
     0,
     ""},
    {"an end that is no number is not known",
     {"SLURM_JOB_ID", "8", "SLURM_JOB_END_TIME", "soon", "SLURM_CPUS_PER_TASK", "-1",
      "SLURM_RESTART_COUNT", "99999999999999999999999"},
     "slurm",
     "8",
     "",
     "",
     "",
     "",
     "",
     0,
     0,
     0,
     ""},
    {"pbs",
     {"PBS_JOBID", "77.head", "PBS_JOBNAME", "net", "PBS_QUEUE", "workq", "PBS_NODEFILE",
      "/var/spool/pbs/aux/77", "NCPUS", "16", "PBS_WALLTIME", "3600"},
     "pbs",
     "77.head",
     "",
     "",
     "net",
     "workq",
     "/var/spool/pbs/aux/77",
     16,
     -1,
     STARTED + 3600,
     "PBS_WALLTIME"},
    {"a task of a pbs array, with a clock's walltime",
     {"PBS_JOBID", "77[5].head", "PBS_ARRAY_ID", "77[].head", "PBS_ARRAY_INDEX", "5",
      "PBS_WALLTIME", "02:00:30"},
     "pbs",
     "77[5].head",
     "77[].head",
     "5",
     "",
     "",
     "",
     0,
     -1,
     STARTED + 7230,
     "PBS_WALLTIME"},
    {"torque's name of the index",
     {"PBS_JOBID", "77[5]", "PBS_ARRAYID", "5", "PBS_NUM_PPN", "8", "PBS_WALLTIME", "1:2:3:4:5"},
     "pbs",
     "77[5]",
     "",
     "5",
     "",
     "",
     "",
     8,
     -1,
     0,
     ""},
    {"torque's days",
     {"PBS_JOBID", "77", "PBS_WALLTIME", "1:02:03:04"},
     "pbs",
     "77",
     "",
     "",
     "",
     "",
     "",
     0,
     -1,
     STARTED + 93784,
     "PBS_WALLTIME"},
    {"lsf",
     {"LSB_JOBID", "4711", "LSB_JOBINDEX", "0", "LSB_JOBNAME", "net", "LSB_QUEUE", "normal",
      "LSB_HOSTS", "a a b", "LSB_DJOB_NUMPROC", "3"},
     "lsf",
     "4711",
     "",
     "",
     "net",
     "normal",
     "a a b",
     3,
     -1,
     0,
     ""},
    {"a task of an lsf array",
     {"LSB_JOBID", "4711", "LSB_JOBINDEX", "6"},
     "lsf",
     "4711",
     "4711",
     "6",
     "",
     "",
     "",
     0,
     -1,
     0,
     ""},
};

static void test_schedulers_are_read(void **state)
{
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        const expected *e = &jobs[i];
        weft_job job;
        memset(&job, 0x5a, sizeof job);
        wf_job_read(&job, lookup, (void *)e->vars, STARTED);
        const char *pairs[][2] = {{job.scheduler, e->scheduler}, {job.id, e->id},
                                  {job.array_id, e->array_id},   {job.array_index, e->array_index},
                                  {job.name, e->job_name},       {job.queue, e->queue},
                                  {job.nodes, e->nodes},         {job.end_source, e->end_source}};
        for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
            if (strcmp(pairs[p][0], pairs[p][1]) != 0)
                fail_msg("%s: text %zu is '%s', expected '%s'", e->name, p, pairs[p][0],
                         pairs[p][1]);
        if (job.cpus != e->cpus || job.restarts != e->restarts || job.end != e->end)
            fail_msg("%s: cpus %d, restarts %d, end %f", e->name, job.cpus, job.restarts, job.end);
    }
}

static void test_long_texts_are_cut(void **state)
{
    char list[5000];
    memset(list, 'n', sizeof list - 1);
    list[sizeof list - 1] = '\0';
    const char *vars[] = {"SLURM_JOB_ID", list, "SLURM_JOB_NODELIST", list, NULL};
    weft_job job;
    wf_job_read(&job, lookup, vars, STARTED);
    assert_int_equal(strlen(job.id), sizeof job.id - 1);
    assert_int_equal(strlen(job.nodes), sizeof job.nodes - 1);
}

static void test_recorded_variables_hold_no_secret(void **state)
{
    int n = 0;
    for (const char *name; (name = wf_job_variable(n)); n++) {
        assert_null(strstr(name, "JWT"));
        assert_null(strstr(name, "COOKIE"));
        for (int i = 0; i < n; i++)
            assert_string_not_equal(name, wf_job_variable(i));
    }
    assert_true(n > 40);
}

static void test_a_session_began_before_now(void **state)
{
    setenv("PBS_JOBID", "1", 1);
    setenv("PBS_WALLTIME", "100", 1);
    unsetenv("SLURM_JOB_ID");
    weft_job job;
    weft_job_get(&job);
    double now = (double)time(NULL);
    assert_string_equal(job.scheduler, "pbs");
    assert_true(job.end > 1.5e9 && job.end <= now + 101); /* not before 2017 */
    unsetenv("PBS_JOBID");
    unsetenv("PBS_WALLTIME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedulers_are_read),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_recorded_variables_hold_no_secret),
        cmocka_unit_test(test_a_session_began_before_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
