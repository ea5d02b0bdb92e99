/* Feeds weft_wall_time with a clock and with what training reports. See train_time.h.
 *
 * The clock is monotonic: the end that a batch system gives as a date is turned into it once, so
 * that a clock that is set later changes nothing. */
#include "train_time.h"

#include <math.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A flag's text in seconds; 0 or the exit status. */
static int read_flag(const session *s, const char *name, const char *text, double *seconds)
{
    weft_error err = WEFT_ERROR_INIT;
    if (!text || weft_time_limit_parse(text, seconds, &err) == WEFT_OK)
        return 0;
    return session_usage(s, "%s: %s", name, err.text);
}

int train_time_begin(train_time *t, const session *s)
{
    double now = seconds_of(CLOCK_MONOTONIC), limit = -1, margin = -1;
    weft_job job;
    *t = (train_time){.wall = {.start = now, .end = INFINITY, .margin = -1}};
    int status = read_flag(s, "--time-limit", s->options->time_limit, &limit);
    if (status == 0)
        status = read_flag(s, "--time-margin", s->options->time_margin, &margin);
    if (status)
        return status;
    t->wall.margin = margin;
    weft_job_get(&job);
    if (limit > 0) {
        t->wall.end = now + limit;
        t->source = "--time-limit";
    } else if (job.end > 0) {
        t->wall.end = now + job.end - seconds_of(CLOCK_REALTIME);
        t->source = job.end_source;
    }
    return 0;
}

int train_time_check(const train_time *t)
{
    if (t->wall.end > t->wall.start)
        return 0;
    cli_print(stderr, "weft train: the job has ended already, says %s\n", t->source);
    return EXIT_FAILED;
}

void train_time_plan(train_time *t, double checkpoint_bytes, int64_t test_batches,
                     int64_t eval_freq)
{
    char left[32];
    const weft_wall_time w = t->wall;
    weft_wall_time_init(&t->wall, w.start, w.end, w.margin, checkpoint_bytes);
    t->test_batches = test_batches;
    t->eval_freq = eval_freq > 0 ? eval_freq : 1;
    if (t->source)
        cli_print(stdout, "time  %s to the job's end (%s)\n",
                  weft_duration_format(w.end - seconds_of(CLOCK_MONOTONIC), left, sizeof(left)),
                  t->source);
}

static bool evaluates_after(const train_time *t, const weft_progress *r)
{
    return t->test_batches > 0 && (r->epoch % t->eval_freq == 0 || r->epoch == r->epochs);
}

/* Whether what comes after this record has the time. */
static weft_wall_answer ask(train_time *t, const weft_progress *r, double now)
{
    const bool over = r->step == r->steps;
    if (r->phase == WEFT_PHASE_EVAL) { /* one that takes longer than expected */
        t->before = "the evaluation's end";
        weft_wall_answer a = over ? WEFT_WALL_GO : weft_wall_time_may_step(&t->wall, now, false);
        /* It began with the job, and so would it in the next one. */
        return a == WEFT_WALL_LEAVE && t->steps == 0 ? WEFT_WALL_NEVER : a;
    }
    if (over && evaluates_after(t, r)) {
        t->before = "an evaluation";
        return weft_wall_time_may_evaluate(&t->wall, now, (double)t->test_batches);
    }
    t->before = "another step";
    if (over && r->epoch == r->epochs)
        return WEFT_WALL_GO;
    return weft_wall_time_may_step(&t->wall, now, false);
}

bool train_time_step(train_time *t, const weft_progress *r)
{
    const double now = seconds_of(CLOCK_MONOTONIC);
    if (r->phase == WEFT_PHASE_TRAIN) {
        /* The first step may compile a plan; before an epoch's first step files are written. */
        if (t->steps > 0)
            weft_wall_time_step(&t->wall, r->step > 1 ? now - t->last : r->seconds);
        t->steps++;
        t->last = now;
    } else if (r->step == r->steps) {
        weft_wall_time_evaluation(&t->wall, r->seconds);
    }
    if (!t->source)
        return true;
    t->margin = weft_wall_time_margin(&t->wall); /* the write that follows may change it */
    t->leaving = ask(t, r, now);
    return t->leaving == WEFT_WALL_GO;
}

void train_time_wrote(train_time *t, const weft_checkpoint_event *e)
{
    if (e->status == WEFT_OK)
        weft_wall_time_write(&t->wall, e->copy_seconds + e->write_seconds);
}

bool train_time_end(const train_time *t)
{
    char left[32], margin[32];
    if (t->leaving == WEFT_WALL_GO)
        return false;
    weft_duration_format(t->wall.end - seconds_of(CLOCK_MONOTONIC), left, sizeof(left));
    weft_duration_format(t->margin, margin, sizeof(margin));
    if (t->leaving == WEFT_WALL_LEAVE) {
        cli_print(stdout, "time  %s left (%s), %s of them to be kept free: too short for %s\n",
                  left, t->source, margin, t->before);
        fflush(stdout); /* before the line on stderr that says where it goes on */
    } else {
        cli_print(stderr,
                  "weft train: a job of %.0f s (%s) is too short for %s, %s kept free; the last "
                  "checkpoint stays\n",
                  t->wall.end - t->wall.start, t->source, t->before, margin);
    }
    return t->leaving == WEFT_WALL_NEVER;
}
