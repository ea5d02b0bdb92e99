/* Time limits as text, and what may begin before a job ends, by a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "weft/job.h"

/* ---- the text ---- */

static const struct {
    const char *text;
    double seconds; /* < 0: refused */
} limits[] = {
    {"30", 1800},
    {"1:30", 90},
    {"0:01", 1},
    {"2:00:00", 7200},
    {"100:00:00", 360000},
    {"1-0", 86400},
    {"1-12", 129600},
    {"1-12:30", 131400},
    {"1-12:30:15", 131415},
    {"0-1", 3600},
    {"7-00:00:00", 604800},
    {"0", -1},
    {"0:00", -1},
    {"", -1},
    {"-", -1},
    {"-5", -1},
    {"1-", -1},
    {"1-2-3", -1},
    {"1:2:3:4", -1},
    {"1-2:3:4:5", -1},
    {"5m", -1},
    {" 5", -1},
    {"5 ", -1},
    {"1:", -1},
    {":30", -1},
    {"1.5", -1},
    {"+5", -1},
    {"UNLIMITED", -1},
    {"9999999999999999999", -1},
    {"9999-0", -1},
    {"1111111111111111-1", -1},
    {"1:2-3", -1},
};

static void test_limits_read_as_slurms(void **state)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        weft_error err = WEFT_ERROR_INIT;
        double seconds = -7;
        weft_status status = weft_time_limit_parse(limits[i].text, &seconds, &err);
        if (limits[i].seconds < 0) {
            if (status != WEFT_ERR_INVALID || seconds != -7 || !strstr(err.text, "time limit"))
                fail_msg("'%s': status %d, %f, '%s'", limits[i].text, status, seconds, err.text);
        } else if (status != WEFT_OK || seconds != limits[i].seconds) {
            fail_msg("'%s': %f, expected %f: %s", limits[i].text, seconds, limits[i].seconds,
                     err.text);
        }
    }
    double seconds;
    assert_int_equal(weft_time_limit_parse(NULL, &seconds, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_time_limit_parse("5", NULL, NULL), WEFT_ERR_INVALID);
}

/* ---- the policy ---- */

static weft_wall_time hour(double margin)
{
    weft_wall_time w;
    weft_wall_time_init(&w, 1000, 1000 + 3600, margin, 0);
    return w;
}

static void test_no_end_allows_all(void **state)
{
    weft_wall_time w;
    weft_wall_time_init(&w, 0, INFINITY, -1, 1e12);
    weft_wall_time_step(&w, 1e6);
    assert_int_equal(weft_wall_time_may_step(&w, 1e12, false), WEFT_WALL_GO);
    assert_int_equal(weft_wall_time_may_evaluate(&w, 1e12, 1e6), WEFT_WALL_GO);
}

static void test_margin_follows_what_is_measured(void **state)
{
    weft_wall_time w;
    weft_wall_time_init(&w, 0, 100, -1, 500e6); /* a write is guessed at 1 + 10 s */
    assert_float_equal(weft_wall_time_margin(&w), 2 * 11 + 5, 1e-9);
    weft_wall_time_step(&w, 3);
    assert_float_equal(weft_wall_time_margin(&w), 3 + 2 * 11 + 5, 1e-9);
    weft_wall_time_write(&w, 2); /* a measured write replaces the guess */
    assert_float_equal(weft_wall_time_margin(&w), 3 + 2 * 2 + 5, 1e-9);
    weft_wall_time_write(&w, 4);
    weft_wall_time_write(&w, 1); /* the slowest counts */
    assert_float_equal(weft_wall_time_margin(&w), 3 + 2 * 4 + 5, 1e-9);
    for (int i = 0; i < 400; i++)
        weft_wall_time_step(&w, 0.5); /* the first, slow step is forgotten */
    assert_float_equal(w.step, 0.5, 1e-9);
    w = hour(120); /* one that was asked for stays */
    weft_wall_time_step(&w, 50);
    assert_float_equal(weft_wall_time_margin(&w), 120, 0);
}

/* The last step that may begin ends before the margin does. */
static void test_steps_end_before_the_margin(void **state)
{
    weft_wall_time w = hour(60);
    weft_wall_time_step(&w, 10);
    assert_int_equal(weft_wall_time_may_step(&w, 4600 - 70, false), WEFT_WALL_GO);
    assert_int_equal(weft_wall_time_may_step(&w, 4600 - 69.9, false), WEFT_WALL_LEAVE);
    assert_int_equal(weft_wall_time_may_step(&w, 5000, false), WEFT_WALL_LEAVE);
}

/* A whole training by a fake clock: steps of `step` seconds that vary by a tenth, checkpoints of
 * `write` seconds. It must leave in time, and not much too early. */
static void test_a_training_leaves_in_time(void **state)
{
    static const struct {
        double limit, step, write;
    } jobs[] = {{60, 0.01, 0.1}, {60, 1, 2}, {3600, 30, 20}, {300, 0.5, 60}, {86400, 1, 5}};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        weft_wall_time w;
        double now = 17, end = 17 + jobs[i].limit;
        weft_wall_time_init(&w, now, end, -1, 50e6 * (jobs[i].write - 1));
        int steps = 0;
        while (weft_wall_time_may_step(&w, now, steps == 0) == WEFT_WALL_GO) {
            double took = jobs[i].step * (steps == 0 ? 3 : 1 + 0.1 * (steps % 2));
            now += took;
            weft_wall_time_step(&w, took);
            steps++;
        }
        double left = end - now;
        if (steps < 2 || left < jobs[i].step + 2 * jobs[i].write ||
            left > 10 + 7 * jobs[i].step + 3 * jobs[i].write)
            fail_msg("job %zu: left %g s before its end, after %d steps", i, left, steps);
    }
}

static void test_an_evaluation_that_cannot_end_is_not_begun(void **state)
{
    weft_wall_time w = hour(10);
    weft_wall_time_step(&w, 2);
    /* Before the first: 100 batches take at most 200 s. */
    assert_int_equal(weft_wall_time_may_evaluate(&w, 4600 - 210, 100), WEFT_WALL_GO);
    assert_int_equal(weft_wall_time_may_evaluate(&w, 4600 - 209, 100), WEFT_WALL_LEAVE);
    weft_wall_time_evaluation(&w, 40); /* then: 50 s */
    assert_int_equal(weft_wall_time_may_evaluate(&w, 4600 - 60, 100), WEFT_WALL_GO);
    assert_int_equal(weft_wall_time_may_evaluate(&w, 4600 - 59, 100), WEFT_WALL_LEAVE);
    /* No job of this length has the time: starting again and again would help nobody. */
    weft_wall_time_evaluation(&w, 3000);
    assert_int_equal(weft_wall_time_may_evaluate(&w, 1001, 100), WEFT_WALL_NEVER);
}

static void test_every_job_gets_ahead(void **state)
{
    weft_wall_time w = hour(600);
    weft_wall_time_step(&w, 100);
    /* Tuning took nearly all the time: the first step is done all the same, the second is not. */
    assert_int_equal(weft_wall_time_may_step(&w, 4590, true), WEFT_WALL_GO);
    assert_int_equal(weft_wall_time_may_step(&w, 4590, false), WEFT_WALL_LEAVE);
    assert_int_equal(weft_wall_time_may_step(&w, 4601, true), WEFT_WALL_LEAVE);
    w = hour(3600); /* nothing fits */
    weft_wall_time_step(&w, 1);
    assert_int_equal(weft_wall_time_may_step(&w, 1000, true), WEFT_WALL_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_read_as_slurms),
        cmocka_unit_test(test_no_end_allows_all),
        cmocka_unit_test(test_margin_follows_what_is_measured),
        cmocka_unit_test(test_steps_end_before_the_margin),
        cmocka_unit_test(test_a_training_leaves_in_time),
        cmocka_unit_test(test_an_evaluation_that_cannot_end_is_not_begun),
        cmocka_unit_test(test_every_job_gets_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
